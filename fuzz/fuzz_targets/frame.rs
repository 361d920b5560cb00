//! A stream of frames: header, every body, the head of DATA. Decoding never
//! panics, never takes more than there is, and whatever decodes survives being
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealpipe_core::wire::{
    DataHead, Frame, FrameHeader, FrameType, MAX_DATA_HEAD, MAX_FRAME_PLAIN, MAX_FRAME_SEALED,
};

fn header(bytes: &[u8], max: usize) -> Option<FrameHeader> {
    let header = FrameHeader::decode(bytes, max).ok()??;
    assert!(header.header_len <= bytes.len().min(9));
    assert!(header.header_len + header.body_len <= max);
    let mut encoded = Vec::new();
    FrameHeader::encode(header.frame_type, header.body_len, &mut encoded);
    assert_eq!(encoded[0], bytes[0]);
    let again = FrameHeader::decode(&encoded, max)
        .expect("valid")
        .expect("whole");
    assert_eq!(
        (again.frame_type, again.body_len, again.header_len),
        (header.frame_type, header.body_len, encoded.len()),
    );
    // Every part of it is wanted more of, never wrong.
    for n in 0..header.header_len {
        assert_eq!(FrameHeader::decode(&bytes[..n], max), Ok(None));
    }
    Some(header)
}

fn data_head(fin: bool, body: &[u8]) {
    let Ok((head, length)) = DataHead::decode(fin, body) else {
        return;
    };
    assert!(length <= body.len().min(MAX_DATA_HEAD));
    assert_eq!(head.total.is_none(), fin);
    // What follows the head has no say in it.
    assert_eq!(DataHead::decode(fin, &body[..length]), Ok((head, length)));
    assert!(length == 0 || DataHead::decode(fin, &body[..length - 1]).is_err());
    let mut encoded = Vec::new();
    head.encode(&mut encoded);
    assert_eq!(encoded.len(), head.encoded_len());
    assert!(encoded.len() <= length, "a longer form than the shortest");
    assert_eq!(DataHead::decode(fin, &encoded), Ok((head, encoded.len())));
}

fn body(frame_type: FrameType, body: &[u8]) {
    let Ok(frame) = Frame::decode(frame_type, body) else {
        return;
    };
    let mut encoded = Vec::new();
    frame.encode(&mut encoded);
    let header = header(&encoded, usize::MAX).expect("a header");
    assert_eq!(header.frame_type, frame_type);
    assert_eq!(encoded.len(), header.header_len + header.body_len);
    let again = Frame::decode(frame_type, &encoded[header.header_len..]);
    assert_eq!(again, Ok(frame));
}

fuzz_target!(|data: &[u8]| {
    header(data, MAX_FRAME_SEALED);
    let mut rest = data;
    while let Some(header) = header(rest, MAX_FRAME_PLAIN) {
        let end = (header.header_len + header.body_len).min(rest.len());
        let bytes = &rest[header.header_len..end];
        match header.frame_type {
            FrameType::Data { first: true, fin } => data_head(fin, bytes),
            FrameType::Data { .. } => {}
            other => body(other, bytes),
        }
        rest = &rest[end..];
    }
});
