//! What the tests on Unix share: places of their own, and helper processes.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use sealpipe_endpoint::{Access, Endpoint, Environment, Error, connect, listen};

const ROLE: &str = "SEALPIPE_TEST_ROLE";
const PLACE: &str = "SEALPIPE_TEST_PLACE";

/// A directory of the test's own, which only this user may enter.
pub fn own_directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sp").tempdir().unwrap()
}

/// The endpoint of that name, as if `shared` were `/tmp` and there were no
/// runtime directory.
pub fn named(name: &str, shared: &Path) -> Endpoint {
    Endpoint::name(name)
        .unwrap()
        .within(Environment::new([], shared))
}

/// What is in a directory.
pub fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// One word for a result, to be told to another process.
fn word<T>(result: &Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{:?}|{error}", error.kind()),
    }
}

/// Another process that runs this same test binary.
pub struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts it with a role, for `helper` (below) to play.
    pub fn start(role: &str, place: &Path) -> Helper {
        let program = std::env::current_exe().unwrap();
        Helper::start_by(Command::new(program), role, place)
    }

    pub fn start_by(mut command: Command, role: &str, place: &Path) -> Helper {
        let mut child = command
            .args(["--exact", "helper", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(PLACE, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut helper = Helper {
            child,
            input,
            output,
        };
        assert_eq!(helper.answer(), "ready");
        helper
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on.
    pub fn go(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// The next thing it has to say.
    pub fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).unwrap();
            assert_ne!(length, 0, "the helper ended without an answer");
            if let Some((_, answer)) = line.trim_end().split_once("@@") {
                return answer.to_owned();
            }
        }
    }

    /// Ends it in the hard way.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end in its own way.
    pub fn end(mut self) {
        self.input = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a helper process does; in the test process itself, nothing.
pub fn helper() {
    let (Ok(role), Some(place)) = (std::env::var(ROLE), std::env::var_os(PLACE)) else {
        return;
    };
    let endpoint = Endpoint::path(&place);
    let mut lines = std::io::stdin().lines();
    println!("@@ready");
    let _ = lines.next();
    match role.as_str() {
        "listen" => {
            let result = listen(&endpoint, &Access::SameUser);
            println!("@@{}", word(&result));
            let _ = lines.next();
            drop(result);
        }
        "listen with umask" => {
            // Process-wide, so not for a test that shares its process.
            let mut modes = String::new();
            for umask in [0o000, 0o077, 0o177] {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
                for access in [Access::SameUser, Access::Anyone] {
                    let _listener = listen(&endpoint, &access).unwrap();
                    let there = std::fs::metadata(&place).unwrap();
                    let mode = std::os::unix::fs::MetadataExt::mode(&there) & 0o777;
                    modes.push_str(&format!(" {mode:o}"));
                }
            }
            println!("@@{}", modes.trim());
        }
        "bind without lock" => {
            let result = std::os::unix::net::UnixListener::bind(&place);
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(&place, open).unwrap();
            println!("@@{}", if result.is_ok() { "ok" } else { "failed" });
            let _ = lines.next();
        }
        "connect" => {
            let result = connect(&endpoint, &Access::SameUser);
            println!("@@{}", word(&result));
        }
        "connect unchecked" => {
            let result = std::os::unix::net::UnixStream::connect(&place);
            println!("@@{}", if result.is_ok() { "ok" } else { "failed" });
            let _ = lines.next();
        }
        other => panic!("no such role: {other}"),
    }
}
