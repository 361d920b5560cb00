//! The second implementation, in Python: how its program is run.

use std::{
    path::Path,
    process::{Output, Stdio},
};
use tokio::process::Command;

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn interpreter() -> (String, bool) {
    match std::env::var("SEALPIPE_TEST_PYTHON") {
        Ok(program) => (program, true),
        Err(_) => (String::from("python3"), false),
    }
}

/// Whether to run; says so if not.
///
/// # Panics
/// If it must run and cannot.
pub fn there_is_python(sealed: bool) -> bool {
    there_is_python_with(if sealed { "cryptography" } else { "sys" })
}

/// Whether to run what needs a package; says so if not.
///
/// # Panics
/// If it must run and cannot.
pub fn there_is_python_with(package: &str) -> bool {
    let (program, must) = interpreter();
    let there = std::process::Command::new(&program)
        .args(["-c", &format!("import {package}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        let what = format!("{program} with {package}");
        assert!(!must, "SEALPIPE_TEST_PYTHON is set, and there is no {what}");
        println!("skipped: there is no {what}");
    }
    there
}

/// The peer's program, with these arguments.
pub fn peer(arguments: &[&str]) -> Command {
    script("sealpipe_peer.py", arguments)
}

/// A program of `tests/peer`, with these arguments.
pub fn script(name: &str, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peer")
        .join(name);
    let mut command = Command::new(interpreter().0);
    command
        // No compiled files are left in the folder.
        .arg("-B")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What it said: on standard output, on standard error.
///
/// # Panics
/// If that is not text.
pub fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8(output.stdout.clone()).expect("text"),
        String::from_utf8(output.stderr.clone()).expect("text"),
    )
}
