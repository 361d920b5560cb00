//! Running a program: what it says, how it ends. Children do not outlive their test.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

/// Nothing in these tests takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// An address of this test alone.
pub struct Place {
    pub name: String,
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let name = if cfg!(windows) {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            format!("sealpipe-program-test-{}-{count}", std::process::id())
        } else {
            dir.path().join("test.sock").to_str().unwrap().to_owned()
        };
        Place { name, dir }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum From {
    Stdout,
    Stderr,
}

/// A line, or the end.
type Said = (From, Option<Vec<u8>>);

/// A running program.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Receiver<Said>,
    texts: BTreeMap<From, Vec<u8>>,
    open: usize,
}

/// What a program left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Starts the program at `path`.
    pub fn of(path: impl AsRef<OsStr>, arguments: &[&str]) -> Program {
        Program::prepared(path, arguments, |command| command)
    }

    /// The same, with more to be said about it.
    pub fn prepared(
        path: impl AsRef<OsStr>,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Program {
        let mut command = Command::new(path);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = match command.spawn() {
            // Wine, when it is very busy: "internal error".
            Err(error) if cfg!(windows) && error.raw_os_error() == Some(1359) => command.spawn(),
            spawned => spawned,
        }
        .unwrap();
        let (sender, said) = channel();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mut open = 0;
        let streams = [
            (
                From::Stdout,
                out.map(|out| Box::new(out) as Box<dyn Read + Send>),
            ),
            (
                From::Stderr,
                err.map(|err| Box::new(err) as Box<dyn Read + Send>),
            ),
        ];
        for (from, stream) in streams {
            let Some(stream) = stream else { continue };
            open += 1;
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                loop {
                    let mut line = Vec::new();
                    let more = stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0);
                    let _ = sender.send((from, more.then_some(line)));
                    if !more {
                        return;
                    }
                }
            });
        }
        Program {
            stdin: child.stdin.take(),
            child,
            said,
            texts: BTreeMap::new(),
            open,
        }
    }

    /// Takes in the next thing it says. `None`: it has closed its outputs.
    fn hear(&mut self, until: Instant) -> Option<(From, Vec<u8>)> {
        while self.open > 0 {
            let left = until.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok((from, Some(line))) => {
                    self.texts.entry(from).or_default().extend_from_slice(&line);
                    return Some((from, line));
                }
                Ok((_, None)) => self.open -= 1,
                Err(RecvTimeoutError::Timeout) => panic!("it hangs, having said {:?}", self.all()),
                Err(RecvTimeoutError::Disconnected) => self.open = 0,
            }
        }
        None
    }

    fn all(&self) -> Vec<String> {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        self.texts.values().map(text).collect()
    }

    /// Waits for a line with `text` in it, on stderr.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_on(From::Stderr, text)
    }

    /// The next line on stdout, without its line feed.
    pub fn line(&mut self) -> String {
        self.wait_on(From::Stdout, "").trim_end().to_owned()
    }

    fn wait_on(&mut self, wanted: From, text: &str) -> String {
        let until = Instant::now() + LIMIT;
        while let Some((from, line)) = self.hear(until) {
            let line = String::from_utf8(line).unwrap();
            if from == wanted && line.contains(text) {
                return line;
            }
        }
        panic!("it ended without saying {text:?}: {:?}", self.all())
    }

    /// Types something, and leaves stdin open.
    pub fn input(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        // It may have ended before it has read all; what it says then is checked.
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes its stdin and waits for its end.
    pub fn end(mut self) -> Ended {
        self.stdin = None;
        self.end_with_open_stdin()
    }

    /// Waits for its end.
    pub fn end_with_open_stdin(mut self) -> Ended {
        let until = Instant::now() + LIMIT;
        while self.hear(until).is_some() {}
        let status: ExitStatus = self.child.wait().unwrap();
        let mut text =
            |from| String::from_utf8(self.texts.remove(&from).unwrap_or_default()).unwrap();
        Ended {
            code: status.code(),
            stdout: text(From::Stdout),
            stderr: text(From::Stderr),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Checks the exit code; shows everything if it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Ended {
        assert!(self.stderr.contains(text), "{text:?} is not in {self:#?}");
        self
    }
}
