//! Programs that are started, started again when they fail, and listened to.

use sealpipe_process_manager::{Happened, Line, Process, State};
use sealpipe_tokio::{Format, Json, RemoteError, Server};
use std::{
    collections::{BTreeMap, VecDeque},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::{Notify, watch},
};

/// The daemon's own errors begin here.
const NO_SUCH_PROCESS: u64 = 300;
const RUNS_ALREADY: u64 = 301;
const BAD_NAME: u64 = 302;
const CANNOT_START: u64 = 303;

/// A program that fails is started again so often, each time after twice as long.
const RESTARTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Lines that are kept of each program.
const LINES: usize = 1_000;
/// A longer line is shown as several.
const LINE: u64 = 4 << 10;

#[derive(Default)]
pub(crate) struct Supervisor(Mutex<BTreeMap<String, Arc<Supervised>>>);

impl Supervisor {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Supervised>>> {
        lock(&self.0)
    }

    pub(crate) fn start(
        &self,
        server: &Server,
        name: String,
        program: String,
        arguments: Vec<String>,
    ) -> Result<Process, RemoteError> {
        let mut all = self.all();
        if name.is_empty() || name.len() > 64 || name.contains(['/', '*']) {
            let why = "a name has 1 to 64 bytes, none of them / or *";
            return Err(RemoteError::new(BAD_NAME, why));
        }
        if all.get(&name).is_some_and(|old| old.process().is_alive()) {
            let why = format!("{name} runs already; stop it first");
            return Err(RemoteError::new(RUNS_ALREADY, why));
        }
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn().map_err(|error| {
            RemoteError::new(
                CANNOT_START,
                format!("{program} cannot be started: {error}"),
            )
        })?;
        let process = Process {
            name: name.clone(),
            state: State::Running {
                pid: child.id().unwrap_or(0),
            },
            restarts: 0,
        };
        let supervised = Arc::new(Supervised {
            server: server.clone(),
            process: watch::Sender::new(process.clone()),
            lines: Mutex::default(),
            stop: Notify::new(),
        });
        all.insert(name, supervised.clone());
        tokio::spawn(async move { supervised.supervise(command, child).await });
        Ok(process)
    }

    /// Returns when it has ended.
    pub(crate) async fn stop(&self, name: &str) -> Result<Process, RemoteError> {
        Ok(self.find(name)?.stop().await)
    }

    pub(crate) async fn stop_all(&self) {
        let all: Vec<_> = self.all().values().cloned().collect();
        for supervised in all {
            supervised.stop().await;
        }
    }

    pub(crate) fn list(&self) -> Vec<Process> {
        self.all().values().map(|one| one.process()).collect()
    }

    pub(crate) fn find(&self, name: &str) -> Result<Arc<Supervised>, RemoteError> {
        let found = self.all().get(name).cloned();
        found
            .ok_or_else(|| RemoteError::new(NO_SUCH_PROCESS, format!("there is no process {name}")))
    }
}

pub(crate) struct Supervised {
    server: Server,
    process: watch::Sender<Process>,
    lines: Mutex<VecDeque<Line>>,
    stop: Notify,
}

impl Supervised {
    pub(crate) fn process(&self) -> Process {
        self.process.borrow().clone()
    }

    /// What has become of it, and what it printed last. The end of a process is told
    /// after its last line.
    pub(crate) fn logs(&self) -> (Process, Vec<Line>) {
        let process = self.process();
        (process, lock(&self.lines).iter().cloned().collect())
    }

    async fn stop(&self) -> Process {
        self.stop.notify_one();
        let mut process = self.process.subscribe();
        // The sender is this one's own.
        match process.wait_for(|process| !process.is_alive()).await {
            Ok(process) => process.clone(),
            Err(_) => self.process(),
        }
    }

    async fn supervise(&self, mut command: Command, mut child: Child) {
        for restarts in 0.. {
            let state = State::Running {
                pid: child.id().unwrap_or(0),
            };
            self.change(state, restarts).await;
            let status = tokio::select! {
                status = self.run(&mut child) => status,
                () = self.stop.notified() => {
                    // It may have ended meanwhile.
                    let _ = child.kill().await;
                    return self.change(State::Stopped, restarts).await;
                }
            };
            let how = match status {
                Ok(status) if status.success() => return self.change(State::Ended, restarts).await,
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            if restarts == RESTARTS {
                return self.change(State::Failed(how), restarts).await;
            }
            self.change(State::Waiting, restarts).await;
            tokio::select! {
                () = tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(restarts)) => {}
                () = self.stop.notified() => return self.change(State::Stopped, restarts).await,
            }
            child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    return self
                        .change(State::Failed(error.to_string()), restarts)
                        .await;
                }
            };
        }
    }

    /// Until it has ended, and all that it printed is published.
    async fn run(&self, child: &mut Child) -> std::io::Result<std::process::ExitStatus> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (status, (), ()) = tokio::join!(child.wait(), self.listen(stdout), self.listen(stderr));
        status
    }

    async fn listen(&self, output: Option<impl AsyncRead + Unpin>) {
        let Some(output) = output else { return };
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = (&mut output).take(LINE);
            if !matches!(limited.read_until(b'\n', &mut line).await, Ok(1..)) {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.print(text).await;
        }
    }

    async fn print(&self, text: String) {
        let line = {
            let mut lines = lock(&self.lines);
            let number = lines.back().map_or(0, |last| last.number + 1);
            if lines.len() == LINES {
                lines.pop_front();
            }
            let line = Line { number, text };
            lines.push_back(line.clone());
            line
        };
        self.publish("log", &Happened::Printed(line)).await;
    }

    async fn change(&self, state: State, restarts: u32) {
        self.process.send_modify(|process| {
            process.state = state;
            process.restarts = restarts;
        });
        self.publish("state", &Happened::Changed(self.process()))
            .await;
    }

    async fn publish(&self, what: &str, happened: &Happened) {
        let topic = format!("{}/{what}", self.process.borrow().name);
        // The name is one segment, and everything can be written as JSON.
        if let Ok(event) = Json::encode(happened) {
            let _ = self.server.publish(&topic, event).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
