//! What the bytes of an input mean: limits, then operations. The corpus is written in
//! this language.

use arbitrary::{Arbitrary, Unstructured};

#[derive(Debug, Arbitrary)]
pub(crate) struct Input {
    /// Bit 0: sealed. Bit 1: messages of many frames. Bit 2: resumption.
    pub(crate) start: u8,
    pub(crate) limits: [Limits; 2],
    pub(crate) ops: Ops,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Limits {
    /// In units of 32 bytes, or of 2 KiB.
    pub(crate) max_message: u8,
    /// Beyond the largest message, in the same units.
    pub(crate) window: u8,
    pub(crate) window_messages: u8,
    pub(crate) queue: u8,
    pub(crate) queue_messages: u8,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Send {
        size: u16,
        how: u8,
    },
    SendUntracked {
        size: u16,
        how: u8,
    },
    SendUntil {
        size: u16,
        how: u8,
        millis: u8,
    },
    Reserved {
        size: u16,
        how: u8,
        used: bool,
    },
    Recv {
        most: u8,
    },
    Settle {
        which: u8,
        code: u8,
    },
    /// Past the queue, with so many bytes written at once.
    SendThrough {
        size: u16,
        bytes: u16,
    },
    Cancel {
        which: u8,
    },
    Finish,
    Close,
    Abandon,
    Ping,
    Idle,
    Release,
    Timeout,
    Pass {
        millis: u16,
    },
    /// This side makes output, and so many bytes of it are written.
    Write {
        bytes: u16,
    },
    /// This side reads so many bytes of what was written to it.
    Read {
        bytes: u16,
    },
    /// Both sides do all that they can without their programs.
    Run,
    /// The stream breaks, with or without what is on its way.
    Cut {
        drop: bool,
    },
    /// The initiator begins to resume over another stream, if it can.
    Reconnect,
}

/// Which side does what. By hand and not derived: one byte for each of them, and
/// as many as the input has.
#[derive(Debug)]
pub(crate) struct Ops(pub(crate) Vec<(usize, Op)>);

impl<'a> Arbitrary<'a> for Ops {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Ops> {
        let mut ops = Vec::new();
        while let Ok(byte) = u8::arbitrary(u)
            && !u.is_empty()
        {
            ops.push((usize::from(byte >> 7), op(byte & 0x3f, u)?));
        }
        Ok(Ops(ops))
    }
}

fn op(which: u8, u: &mut Unstructured<'_>) -> arbitrary::Result<Op> {
    Ok(match which % 32 {
        _ if which == 63 => Op::Reconnect,
        _ if which == 62 => Op::SendThrough {
            size: u.arbitrary()?,
            bytes: u.arbitrary()?,
        },
        0..=4 => Op::Send {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
        },
        5 => Op::SendUntracked {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
        },
        6 => Op::SendUntil {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
            millis: u.arbitrary()?,
        },
        7 => Op::Reserved {
            size: u.arbitrary()?,
            how: u.arbitrary()?,
            used: u.arbitrary()?,
        },
        8..=9 => Op::Recv {
            most: u.arbitrary()?,
        },
        10..=12 => Op::Settle {
            which: u.arbitrary()?,
            code: u.arbitrary()?,
        },
        13 => Op::Cancel {
            which: u.arbitrary()?,
        },
        14 => Op::Finish,
        15 => Op::Close,
        16 => Op::Abandon,
        17 => Op::Ping,
        18 => Op::Idle,
        19 => Op::Release,
        20 => Op::Timeout,
        21 => Op::Pass {
            millis: u.arbitrary()?,
        },
        22..=25 => Op::Write {
            bytes: u.arbitrary()?,
        },
        26..=29 => Op::Read {
            bytes: u.arbitrary()?,
        },
        30 => Op::Run,
        _ => Op::Cut {
            drop: u.arbitrary()?,
        },
    })
}
