//! `sealpipe send --wire pipecom`.

use super::{
    input::{Input, Item},
    tally::{Fate, Tally},
};
use crate::{
    args::{Ack, Send},
    exit::{Code, Failure},
    pipecom::{self, usage},
    text::note,
};
use sealpipe_blocking::pipecom::{Error, Outcome, SendOptions};
use sealpipe_smol::Smol;

/// How often to look for a listener, unless that is said: for about a tenth of a
/// second, in which one of PipeCom's own has its FIFO closed between two messages.
const ATTEMPTS: u32 = 8;

pub(crate) async fn run(args: Send) -> Result<(), Failure> {
    if args.ack() != Ack::Processed {
        return Err(usage("every message is acknowledged; leave --ack away"));
    }
    if args.expect_reply {
        return Err(usage("it has no replies; leave --expect-reply away"));
    }
    let pipe = pipecom::pipe(&args.common)?;
    let options = SendOptions::new()
        .listener(args.common.access())
        .timeout(Some(args.reach.timeout))
        .attempts(match (args.reach.attempts, args.reach.wait) {
            (None, false) => Some(ATTEMPTS),
            (attempts, _) => attempts,
        })
        .max_message(args.common.max_message());
    let mut tally = Tally::new(&args)?;
    let mut input = Input::open(&args)?;
    while let Some(item) = input.next().await {
        let (index, payload) = match item {
            Item::Message { index, payload } => (index, payload),
            Item::TooLarge { index, length } => {
                let max = args.common.max_message();
                tally
                    .take::<Smol>(index, Fate::TooLarge { length, max })
                    .await;
                continue;
            }
            Item::Unreadable { index, error } => {
                tally.take::<Smol>(index, Fate::Unreadable(error)).await;
                continue;
            }
        };
        let Ok(text) = std::str::from_utf8(&payload) else {
            tally.not_sent(index);
            let why = format_args!("it is not UTF-8, and PipeCom carries text only");
            tally.fail(index, Code::Rejected, why);
            continue;
        };
        let Err(error) = options.send(&pipe, text) else {
            tally.processed(index);
            continue;
        };
        match error.outcome() {
            Outcome::NotSent => tally.not_sent(index),
            Outcome::Unknown => tally.unknown(index),
        }
        tally.fail(index, pipecom::of(&error), format_args!("{error}"));
        // The next would fare no better.
        if !matches!(
            error,
            Error::Timeout { .. } | Error::NotAcknowledged { .. } | Error::TooLarge { .. }
        ) {
            input.rest(|index| tally.not_sent(index));
            break;
        }
    }
    tally.tell_more();
    let code = tally.end();
    // The last line, for scripts.
    note(format_args!("{tally}"));
    match code {
        Code::Done => Ok(()),
        code => Err(Failure::silent(code)),
    }
}
