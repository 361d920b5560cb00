//! Logs, on stderr.

use crate::exit::{Code, Failure};
use std::io;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

const VARIABLE: &str = "SEALPIPE_LOG";

/// Starts logging, as much as `-v` was given or else the environment says.
pub(crate) fn start(verbose: u8) -> Result<(), Failure> {
    let warnings = Targets::new().with_default(LevelFilter::WARN);
    let filter = match verbose {
        0 => match std::env::var_os(VARIABLE) {
            Some(text) if !text.is_empty() => parse(&text.to_string_lossy())?,
            _ => warnings,
        },
        1 => warnings.with_target("sealpipe", LevelFilter::DEBUG),
        2 => warnings.with_target("sealpipe", LevelFilter::TRACE),
        _ => Targets::new().with_default(LevelFilter::TRACE),
    };
    let layer = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .log_internal_errors(false)
        .with_filter(filter);
    tracing_subscriber::registry().with(layer).init();
    Ok(())
}

fn parse(text: &str) -> Result<Targets, Failure> {
    text.parse().map_err(|error| {
        Failure::new(
            Code::Usage,
            format!(
                "the variable {VARIABLE} cannot be used: {error}; set it to a level (off, error, \
                 warn, debug, trace), or to some such as \"warn,sealpipe_endpoint=trace\""
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_taken() {
        for good in ["off", "trace", "warn,sealpipe_endpoint=trace"] {
            parse(good).unwrap();
        }
        assert_eq!(parse("a=b=c").unwrap_err().code, Code::Usage);
    }
}
