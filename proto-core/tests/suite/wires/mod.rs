//! Connections on other systems' wires.

mod bytes;
mod course;

use crate::common;
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};
use common::{Side, seconds};
use sealpipe_core::{
    ConfigBuilder, Role, Wire,
    wire::foreign::{NONCE, base64},
};
use std::sync::Arc;

const WIRES: [Wire; 4] = [
    Wire::Le32,
    Wire::Be32,
    Wire::LegacySealed,
    Wire::Base64Lines,
];

fn on(wire: Wire) -> ConfigBuilder {
    common::builder(wire == Wire::LegacySealed).wire(wire)
}

fn side(builder: ConfigBuilder) -> Side {
    let config = Arc::new(builder.build().expect("a valid configuration"));
    let mut side = Side::new(config, Role::Responder, 7, seconds(1));
    side.take(true);
    side
}

/// What an old program writes for a message.
fn by_hand(wire: Wire, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match wire {
        Wire::Base64Lines => {
            base64::encode(payload, &mut out);
            out.push(b'\n');
        }
        Wire::LegacySealed => {
            let (nonce, mut body) = ([9; NONCE], payload.to_vec());
            let tag = ChaCha20Poly1305::new(&core::array::from_fn(|i| i as u8).into())
                .encrypt_in_place_detached(&nonce.into(), &[], &mut body)
                .unwrap();
            out.extend(u32::try_from(body.len() + 28).unwrap().to_le_bytes());
            out.extend([&nonce[..], &body, &tag].concat());
        }
        _ => {
            out.extend(wire.prefix(u32::try_from(payload.len()).unwrap()));
            out.extend_from_slice(payload);
        }
    }
    out
}
