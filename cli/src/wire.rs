//! `--wire`: how messages travel, for listeners and senders that are other systems'.

use crate::exit::{Code, Failure};
use clap::ValueEnum;
use sealpipe_driver::vocabulary::Wire;

/// A wire, as it is said on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum WireName {
    /// sealpipe's own
    #[default]
    Native,
    /// A length of 4 bytes, little-endian: bunctl-ipc, and named_pipe_ipc without a key
    Le32,
    /// A length of 4 bytes, big-endian: ipcez
    Be32,
    /// named_pipe_ipc with a key. Weaker than the native wire with one: a message that is
    /// repeated or reordered goes unseen
    Le32Sealed,
    // A wire that is not spoken over a connection's stream (PipeCom's FIFOs) goes here, and
    // into `wire` as `None`; the commands that know it ask before they connect.
}

impl WireName {
    pub(crate) const fn wire(self) -> Wire {
        match self {
            WireName::Native => Wire::Native,
            WireName::Le32 => Wire::Le32,
            WireName::Be32 => Wire::Be32,
            WireName::Le32Sealed => Wire::LegacySealed,
        }
    }

    pub(crate) const fn is_native(self) -> bool {
        matches!(self, WireName::Native)
    }

    /// The largest message, unless another limit is said: that of the wire's own system.
    pub(crate) const fn max_message(self) -> usize {
        match self {
            WireName::Native | WireName::Be32 | WireName::Le32Sealed => 4 << 20,
            WireName::Le32 => 10 << 20,
        }
    }

    /// What needs more than messages is refused before anything is connected.
    pub(crate) fn needs_native(self, what: &str, instead: &str) -> Result<(), Failure> {
        if self.is_native() {
            return Ok(());
        }
        let wire = self.wire();
        Err(Failure::new(
            Code::Usage,
            format!("the wire {wire} carries bare messages, and no {what}; {instead}"),
        ))
    }
}
