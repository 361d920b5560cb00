//! Running `sealpipe` as a program.
#![allow(dead_code, unreachable_pub, missing_docs)]

mod program;

pub use program::{Ended, Place, Program};
use std::{ffi::OsStr, process::Command};

impl Place {
    /// A file beside it with that content; its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }

    pub fn key(&self, digits: &str) -> String {
        self.file(&format!("{digits}.key"), digits.repeat(32))
    }

    /// A listener with these options, once it can be connected to.
    pub fn listen(&self, options: &[&str]) -> Program {
        let mut program = Program::start(&[&["listen", &self.name], options].concat());
        program.wait_for("listening on ");
        program
    }

    pub fn send(&self, options: &[&str]) -> Ended {
        Program::start(&[&["send", &self.name], options].concat()).end()
    }

    /// Sends these lines.
    pub fn send_lines(&self, lines: impl AsRef<[u8]>, options: &[&str]) -> Ended {
        let mut program = Program::start(&[&["send", &self.name, "-"], options].concat());
        program.input(lines.as_ref());
        program.end()
    }
}

impl Program {
    pub fn start(arguments: &[&str]) -> Program {
        Program::start_with(arguments, |command| command)
    }

    pub fn start_with(
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Program {
        Program::start_at(env!("CARGO_BIN_EXE_sealpipe"), arguments, prepare)
    }

    /// The same from a copy of the program.
    pub fn start_at(
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Program {
        Program::prepared(program, arguments, |command| {
            prepare(command.env_remove("SEALPIPE_LOG"))
        })
    }

    /// Control-C.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }
}

impl Ended {
    /// The line that counts outcomes, as (sent, received, processed, rejected,
    /// notsent, unknown); it is the last on stderr, and there is one.
    #[track_caller]
    pub fn outcomes(&self) -> [u64; 6] {
        let lines: Vec<_> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("sent "))
            .collect();
        assert_eq!(lines.len(), 1, "{self:#?}");
        assert_eq!(self.stderr.lines().last(), Some(lines[0]), "{self:#?}");
        let words: Vec<_> = lines[0].split(' ').collect();
        let names = [
            "sent",
            "received",
            "processed",
            "rejected",
            "notsent",
            "unknown",
        ];
        assert_eq!(words.len(), 12);
        std::array::from_fn(|index| {
            assert_eq!(words[2 * index], names[index]);
            words[2 * index + 1].parse().unwrap()
        })
    }
}
