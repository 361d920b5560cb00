//! Base64 (RFC 4648, section 4): the usual alphabet, padded, and in one form only.

use bytes::BufMut;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD: u8 = b'=';

/// How many characters `n` bytes become.
pub const fn encoded_len(n: usize) -> usize {
    n.div_ceil(3).saturating_mul(4)
}

/// Appends `bytes`, encoded, without a line feed.
pub fn encode(bytes: &[u8], out: &mut impl BufMut) {
    let (whole, rest) = bytes.as_chunks::<3>();
    for group in whole {
        out.put_slice(&digits(*group));
    }
    let [a, b, c, d] = match rest {
        [one] => digits([*one, 0, 0]),
        [one, two] => digits([*one, *two, 0]),
        _ => return,
    };
    let third = if rest.len() == 2 { c } else { PAD };
    debug_assert_eq!(
        d, ALPHABET[0],
        "a group that is not whole ends in zero bits"
    );
    out.put_slice(&[a, b, third, PAD]);
}

fn digits([a, b, c]: [u8; 3]) -> [u8; 4] {
    let bits = u32::from_be_bytes([0, a, b, c]);
    [18u32, 12, 6, 0].map(|shift| {
        let digit = usize::try_from(bits.wrapping_shr(shift) & 63).unwrap_or(0);
        ALPHABET.get(digit).copied().unwrap_or(PAD)
    })
}

/// Decodes in place: the bytes then stand at the front of `text`. `None` if it is not
/// base64 as [`encode`] makes it: another character (white space too), padding that is
/// missing or misplaced, bits that were left over and are not zero.
pub fn decode(text: &mut [u8]) -> Option<usize> {
    let groups = text.len() / 4;
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut written = 0usize;
    for group in 0..groups {
        let at = group.saturating_mul(4);
        let digits = *text.get(at..)?.first_chunk::<4>()?;
        let pads = match digits {
            [_, _, PAD, PAD] => 2,
            [_, _, _, PAD] => 1,
            _ => 0usize,
        };
        if pads > 0 && group.saturating_add(1) != groups {
            return None;
        }
        let mut bits = 0u32;
        for digit in digits.iter().take(4usize.saturating_sub(pads)) {
            bits = bits.wrapping_shl(6) | u32::from(value(*digit)?);
        }
        bits = match pads {
            0 => bits,
            1 => bits.wrapping_shl(6),
            _ => bits.wrapping_shl(12),
        };
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (kept, rest) = bytes.split_at_checked(3usize.saturating_sub(pads))?;
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        for byte in kept {
            *text.get_mut(written)? = *byte;
            written = written.saturating_add(1);
        }
    }
    Some(written)
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit.wrapping_sub(b'A'),
        b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
