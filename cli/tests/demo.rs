//! `sealpipe demo`, and what leads a newcomer to it.

mod support;

use support::Program;

#[test]
fn the_demonstration_succeeds_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let demo = Program::start_with(&["demo"], |command| {
        // Where it keeps its sockets on Unix.
        command.env("TMPDIR", temporary.path())
    });
    let demo = demo.end().expect(0);
    assert_eq!(demo.stderr, "", "no progress bar without a terminal");
    let row = |label: &str| -> Vec<u64> {
        let line = demo
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(label));
        let line = line.unwrap_or_else(|| panic!("no {label:?} in {demo:?}"));
        // Columns are apart by more than the space between thousands.
        let cells = line.split("  ").map(|cell| cell.replace(' ', ""));
        let cells = cells.filter(|cell| !cell.is_empty());
        cells.map(|cell| cell.parse().unwrap()).collect()
    };
    let sent = row("messages sent");
    assert_eq!(sent.len(), 2, "plain and sealed");
    assert!(sent.iter().all(|count| *count >= 140), "{demo:?}");
    assert_eq!(row("messages delivered"), sent);
    assert_eq!(row("messages acknowledged as processed"), sent);
    for label in ["messages/s of 64 B", "MB/s in messages of 64 KiB"] {
        assert!(row(label).iter().all(|number| *number > 0), "{demo:?}");
    }
    for label in [
        "round trip of 64 B, median",
        "round trip of 64 B, 99th percentile",
    ] {
        assert!(demo.stdout.contains(label), "{demo:?}");
    }
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn an_interrupted_demonstration_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo =
        Program::start_with(&["demo"], |command| command.env("TMPDIR", temporary.path()));
    demo.line();
    demo.interrupt();
    demo.end().expect(1).says("interrupted");
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
}

#[test]
fn help_leads_on() {
    let help = Program::start(&["--help"]).end().expect(0);
    for text in ["sealpipe demo", "sealpipe listen greetings", "Exit codes:"] {
        assert!(help.stdout.contains(text), "{help:?}");
    }
    assert!(!help.stdout.contains("demo-listener"));
    for (command, text) in [
        ("listen", "a line feed \\n"),
        (
            "send",
            "sent 0 received 0 processed 9 rejected 0 notsent 1 unknown 0",
        ),
        ("ping", "round trips"),
        ("demo", "fresh key"),
    ] {
        let help = Program::start(&[command, "--help"]).end().expect(0);
        assert!(help.stdout.contains(text), "{help:?}");
    }
    Program::start(&["--version"]).end().expect(0);
    assert!(
        Program::start(&[])
            .end()
            .expect(2)
            .stderr
            .contains("Usage:")
    );
}
