//! Other processes, which are the same test binary run again: a test file that
//! wants them has a test named `helper` that plays the role it is given.

use sealpipe_endpoint::Endpoint;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const ROLE: &str = "SEALPIPE_TEST_ROLE";
const ARGUMENTS: &str = "SEALPIPE_TEST_ARGUMENTS";
/// Before each line for the test, among those of the test harness.
const MARK: &str = "@@";

/// In a helper process: what it is to do, and with what. In the test process
/// itself nothing.
pub fn role() -> Option<(String, Vec<String>)> {
    let role = std::env::var(ROLE).ok()?;
    let arguments = std::env::var(ARGUMENTS).unwrap_or_default();
    Some((role, arguments.lines().map(str::to_owned).collect()))
}

/// In a helper process: tells the test a line.
pub fn say(line: &str) {
    println!("{MARK}{line}");
}

/// Another process, killed when this is dropped.
pub struct Helper {
    child: Child,
    /// Its standard input, unless it was taken.
    pub input: Option<ChildStdin>,
    /// Its standard output, unless it was taken.
    pub output: Option<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts one in `role`.
    pub fn start(role: &str, arguments: &[&str]) -> Helper {
        let program = std::env::current_exe().expect("this program");
        Helper::start_by(Command::new(program), role, arguments)
    }

    /// Starts one at a place.
    pub fn at(endpoint: &Endpoint, role: &str, arguments: &[&str]) -> Helper {
        let endpoint = endpoint.to_string();
        let arguments: Vec<&str> = [endpoint.as_str()]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        Helper::start(role, &arguments)
    }

    /// Starts one by a command that has been prepared.
    ///
    /// # Panics
    /// If that cannot be.
    pub fn start_by(mut command: Command, role: &str, arguments: &[&str]) -> Helper {
        let mut child = command
            .args(["--exact", "helper", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(ARGUMENTS, arguments.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        Helper {
            child,
            input,
            output,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says; blocks.
    ///
    /// # Panics
    /// If it ends without one.
    pub fn line(&mut self) -> String {
        let line = self.next_line();
        line.expect("the helper ended without an answer")
    }

    /// The next line that it says, while this thread's runtime goes on.
    ///
    /// # Panics
    /// As [`line`](Self::line).
    pub async fn heard(self) -> (Helper, String) {
        let mut helper = self;
        let hearing = tokio::task::spawn_blocking(move || {
            let line = helper.line();
            (helper, line)
        });
        hearing.await.expect("an answer")
    }

    /// The next line that it says, or `None` when it has ended.
    ///
    /// # Panics
    /// If its output was taken.
    pub fn next_line(&mut self) -> Option<String> {
        let output = self.output.as_mut().expect("its output");
        let mut line = String::new();
        loop {
            line.clear();
            // A line that a killed process has begun is no line.
            if output.read_line(&mut line).ok()? == 0 || !line.ends_with('\n') {
                return None;
            }
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// Tells it a line.
    ///
    /// # Panics
    /// If it has ended.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input");
        writeln!(input, "{line}").expect("it listens");
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Closes its input, and waits until it ends by itself.
    ///
    /// # Panics
    /// If it failed.
    pub fn end(mut self) {
        drop(self.input.take());
        // Whatever it still says must not keep it.
        while self.output.is_some() && self.next_line().is_some() {}
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "the helper failed: {status}");
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
