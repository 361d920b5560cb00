//! Section 13: a message on each of the other wires, both ways.

use crate::PROTOCOL;
use bytes::Buf;
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};
use sealpipe_core::{Config, Connection, Key, Message, RecvBuf, Role, SendBuf, Time, Wire};
use std::sync::Arc;

/// The nonce of section 13 is where this generator lets a connection begin.
struct Nines;

impl TryRng for Nines {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("the core draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("the core draws bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(9);
        Ok(())
    }
}

impl TryCryptoRng for Nines {}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn hello_is_what_the_page_says_on_each_wire() {
    let (_, section) = PROTOCOL.split_once("\n## 13. ").unwrap();
    for wire in [
        Wire::Le32,
        Wire::Be32,
        Wire::LegacySealed,
        Wire::Base64Lines,
    ] {
        let name = format!("{wire}:");
        let line = section.lines().find_map(|line| line.strip_prefix(&name));
        let bytes = from_hex(line.unwrap().trim());
        let config = match wire {
            Wire::LegacySealed => {
                Config::sealed(Key::from_bytes(core::array::from_fn(|i| i as u8)))
            }
            _ => Config::plain(),
        };
        let config = Arc::new(config.wire(wire).build().unwrap());
        let mut connection =
            Connection::new(config, Role::Initiator, &mut Nines, Time::ZERO).unwrap();
        connection.send(Time::ZERO, Message::new("hello")).unwrap();
        let mut output = SendBuf::new();
        connection.poll_transmit(Time::ZERO, &mut output);
        assert_eq!(output.copy_to_bytes(output.remaining()), bytes, "{wire}");
        let mut input = RecvBuf::new();
        assert_eq!(input.fill_from(&bytes), bytes.len());
        connection.handle_input(Time::ZERO, &mut input).unwrap();
        assert_eq!(connection.recv().unwrap().payload, "hello");
    }
}
