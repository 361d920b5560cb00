//! What the demonstration found, side by side.

use super::{
    child::Report,
    sender::{LARGE, SMALL, Sent},
};
use crate::round_trips::Shown;
use std::fmt;

/// What one mode gave.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) sent: Sent,
    pub(super) report: Report,
}

impl Column {
    /// What is not as it must be, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let Column { name, sent, report } = self;
        let account = &sent.account;
        let fault = if report.messages != account.messages {
            format!(
                "{} messages were sent and {} arrived",
                account.messages, report.messages
            )
        } else if report.misplaced > 0 {
            format!("{} messages arrived out of order", report.misplaced)
        } else if report.changed > 0
            || report.bytes != account.bytes
            || report.lengths != account.lengths
        {
            format!("{} messages arrived changed", report.changed.max(1))
        } else if sent.acknowledged != account.messages {
            format!(
                "{} of {} messages were acknowledged",
                sent.acknowledged, account.messages
            )
        } else {
            return None;
        };
        Some(format!("{name}: {fault}"))
    }
}

/// The columns as a table.
pub(super) struct Table<'a>(pub(super) &'a [Column]);

impl Table<'_> {
    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        label: &str,
        cell: impl Fn(&Column) -> String,
    ) -> fmt::Result {
        write!(f, "{label:<36}")?;
        for column in self.0 {
            write!(f, "{:>14}", cell(column))?;
        }
        Ok(())
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let small = format_args!("of {SMALL} B").to_string();
        let large = format_args!("in messages of {} KiB", LARGE >> 10).to_string();
        self.row(f, "", |column| column.name.to_owned())?;
        writeln!(f)?;
        self.row(f, "messages sent", |column| {
            grouped(column.sent.account.messages)
        })?;
        writeln!(f)?;
        self.row(f, "messages delivered", |column| {
            grouped(column.report.messages)
        })?;
        writeln!(f)?;
        self.row(f, "messages acknowledged as processed", |column| {
            grouped(column.sent.acknowledged)
        })?;
        writeln!(f)?;
        self.row(f, &format!("round trip {small}, median"), |column| {
            Shown(column.sent.round_trips.percentile(50)).to_string()
        })?;
        writeln!(f)?;
        self.row(
            f,
            &format!("round trip {small}, 99th percentile"),
            |column| Shown(column.sent.round_trips.percentile(99)).to_string(),
        )?;
        writeln!(f)?;
        self.row(f, &format!("messages/s {small}"), |column| {
            grouped(column.sent.messages_per_second as u64)
        })?;
        writeln!(f)?;
        self.row(f, &format!("MB/s {large}"), |column| {
            grouped((column.sent.bytes_per_second / 1e6) as u64)
        })
    }
}

/// With a space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{demo::pattern::Account, round_trips::RoundTrips};

    fn column() -> Column {
        let mut account = Account::new();
        account.add(5);
        account.add(0);
        Column {
            name: "plain",
            sent: Sent {
                account,
                acknowledged: 2,
                round_trips: RoundTrips::default(),
                messages_per_second: 1234.5,
                bytes_per_second: 2e9,
            },
            report: Report {
                messages: 2,
                bytes: 5,
                lengths: account.lengths,
                changed: 0,
                misplaced: 0,
            },
        }
    }

    #[test]
    fn every_fault_is_found() {
        assert_eq!(column().fault(), None);
        let faults: [fn(&mut Column); 6] = [
            |column| column.report.messages = 1,
            |column| column.report.bytes = 4,
            |column| column.report.lengths = 0,
            |column| column.report.changed = 1,
            |column| column.report.misplaced = 1,
            |column| column.sent.acknowledged = 1,
        ];
        for spoil in faults {
            let mut column = column();
            spoil(&mut column);
            assert!(
                column
                    .fault()
                    .is_some_and(|fault| fault.starts_with("plain: "))
            );
        }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1 234 567");
        let table = Table(&[column()]).to_string();
        assert!(table.contains("messages/s of 64 B"), "{table}");
        assert!(table.contains("1 234"), "{table}");
    }
}
