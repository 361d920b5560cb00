//! What `sealpipe doctor` finds, and that it disturbs nobody.

mod support;

use sealpipe_blocking::LocalStream;
use support::{Ended, Place, Program};

fn doctor(name: &str, options: &[&str]) -> Ended {
    Program::start(&[&["doctor", name], options].concat()).end()
}

#[track_caller]
fn reports(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(ended.stdout.contains(part), "{part:?} is not in {ended:#?}");
    }
    let problems = ended.stdout.contains("\nproblem: ");
    assert_eq!(problems, ended.code != Some(0), "{ended:#?}");
    assert_eq!(problems, !ended.stdout.ends_with("\nall is well\n"));
}

#[test]
fn a_server_that_is_well_is_described_and_does_not_notice() {
    let place = Place::new();
    let mut listener = place.listen(&["--json", "--count", "1"]);
    for _ in 0..3 {
        let found = doctor(&place.name, &[]).expect(0);
        reports(
            &found,
            &[
                "is looked for at, in this order:\n  ",
                "a server listens at ",
                "version 1 of the protocol, plain",
            ],
        );
        #[cfg(unix)]
        reports(
            &found,
            &["test.sock: a socket of uid ", ", mode 600\n", ": process "],
        );
        // Wine tells both as they were set. It has one user only: what the doctor says
        // of another's pipe is shown on Unix, below.
        #[cfg(windows)]
        reports(
            &found,
            &[
                r"  \\.\pipe\S-1-5-",
                " of SID S-1-5-",
                "permissions are D:P(D;;",
            ],
        );
    }
    // So is one who comes and says nothing.
    drop(LocalStream::connect(&place.name).unwrap());
    place.send(&["hello"]).expect(0);
    // The first connection that there was.
    let line = listener.line();
    assert!(line.starts_with("{\"connection\":1,"), "{line}");
    let ended = listener.end().expect(0);
    assert!(!ended.stderr.contains("WARN"), "{ended:#?}");
}

#[test]
fn keys_are_compared_where_one_is_given() {
    let place = Place::new();
    let (right, wrong) = (place.key("5a"), place.key("a5"));
    let mut listener = place.listen(&["--json", "--count", "1", "--key-file", &right]);
    let found = doctor(&place.name, &[]).expect(0);
    reports(
        &found,
        &["version 1 of the protocol, sealed; its first key is "],
    );
    let found = doctor(&place.name, &["--key-file", &right]).expect(0);
    reports(&found, &["it holds your key, "]);
    let found = doctor(&place.name, &["--key-file", &wrong]).expect(4);
    reports(&found, &["give both programs the same key"]);
    place.send(&["hello", "--key-file", &right]).expect(0);
    let line = listener.line();
    assert!(line.starts_with("{\"connection\":1,"), "{line}");
    listener.end().expect(0);

    let place = Place::new();
    let _listener = place.listen(&[]);
    let key = place.key("5a");
    let found = doctor(&place.name, &["--key-file", &key]).expect(4);
    reports(&found, &["give both the same key, or neither one"]);
}

#[test]
fn nothing_there_is_3_and_what_cannot_be_is_2() {
    let place = Place::new();
    let found = doctor(&place.name, &[]).expect(3);
    reports(
        &found,
        &[
            "no server answers\n",
            "problem: no server at ",
            "start it, or check the name",
        ],
    );
    doctor("two words", &[]).expect(2);
    let missing = place.dir.path().join("missing");
    doctor(&place.name, &["--key-file", missing.to_str().unwrap()])
        .expect(2)
        .says("openssl rand -hex 32");
    let elsewhere = if cfg!(windows) {
        "a/b"
    } else {
        r"\\.\pipe\app"
    };
    doctor(elsewhere, &[])
        .expect(2)
        .says("cannot be used on this system");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::{
        fs::{self, Permissions},
        io::{Read, Write},
        os::unix::{
            fs::{PermissionsExt, symlink},
            net::{UnixListener, UnixStream},
            process::CommandExt,
        },
        path::Path,
        process::Command,
    };

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_left_or_in_the_way_is_3() {
        let place = Place::new();
        drop(UnixListener::bind(&place.name).unwrap());
        let found = doctor(&place.name, &[]).expect(3);
        reports(&found, &["a socket of uid ", "problem: nobody listens on "]);

        let file = place.file("file", "");
        let found = doctor(&file, &[]).expect(3);
        reports(&found, &["a file of uid ", "is a file, not a socket"]);

        let link = place.dir.path().join("link");
        symlink(&place.name, &link).unwrap();
        let found = doctor(link.to_str().unwrap(), &[]).expect(3);
        reports(&found, &["a link to a socket of uid "]);
        symlink("nowhere", place.dir.path().join("broken")).unwrap();
        let broken = place.dir.path().join("broken");
        let found = doctor(broken.to_str().unwrap(), &[]).expect(3);
        reports(&found, &["a link to nothing, not a socket"]);

        let nowhere = place.dir.path().join("no/socket");
        let found = doctor(nowhere.to_str().unwrap(), &[]).expect(3);
        reports(&found, &["/no cannot hold the endpoint: it does not exist"]);
    }

    #[test]
    fn a_directory_that_anyone_may_change_is_a_problem() {
        let place = Place::new();
        let _listener = place.listen(&[]);
        set_mode(place.dir.path(), 0o777);
        let found = doctor(&place.name, &[]).expect(3);
        reports(
            &found,
            &["anyone may replace the socket in it", "version 1"],
        );
        set_mode(place.dir.path(), 0o1777);
        doctor(&place.name, &[]).expect(0);
    }

    #[test]
    fn directories_that_are_passed_over_are_told() {
        let place = Place::new();
        let runtime = place.dir.path();
        let name = format!("sealpipe-doctor-{}", std::process::id());
        let asked = || {
            let program = Program::start_with(&["doctor", &name], |command| {
                command.env("XDG_RUNTIME_DIR", runtime)
            });
            program.end().expect(3)
        };
        set_mode(runtime, 0o700);
        let path = runtime.join(format!("{name}.sock"));
        let path = path.to_str().unwrap();
        reports(
            &asked(),
            &[&format!("order:\n  {path}: nothing\n  /tmp/{name}-")],
        );
        set_mode(runtime, 0o755);
        let found = asked();
        reports(
            &found,
            &[
                "passed over: ",
                "its mode 755 lets others in; set it to 700",
            ],
        );
        assert!(!found.stdout.contains(path), "{found:?}");
    }

    /// What the doctor says of a server that does `answer` with its first client.
    fn against(answer: impl FnOnce(&mut UnixStream) + Send + 'static, options: &[&str]) -> Ended {
        let place = Place::new();
        let server = UnixListener::bind(&place.name).unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            answer(&mut stream);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let ended = doctor(&place.name, options);
        serving.join().unwrap();
        ended
    }

    /// A preface with that version and status.
    fn preface(version: u8, status: u8) -> impl FnOnce(&mut UnixStream) + Send + 'static {
        move |stream| {
            stream.read_exact(&mut [0; 16]).unwrap();
            let [mode, reserved] = [0; 2];
            let head = [0xf5, b'I', b'P', b'C', version, mode, status, reserved];
            // In two pieces, as it may come.
            stream.write_all(&head).unwrap();
            stream.write_all(&[0; 8]).unwrap();
        }
    }

    #[test]
    fn strange_servers_are_told_apart() {
        let web = |stream: &mut UnixStream| stream.write_all(b"HTTP/1.1 400 ").unwrap();
        reports(
            &against(web, &[]).expect(4),
            &["does not speak sealpipe: it sent \"HTTP/1.1\""],
        );
        reports(
            &against(preface(2, 3), &[]).expect(4),
            &[
                "it speaks version 2",
                "the peer speaks version 2 of the protocol",
            ],
        );
        reports(
            &against(preface(1, 1), &[]).expect(4),
            &["refused the connection: this user may not connect"],
        );
        reports(
            &against(preface(1, 2), &[]).expect(3),
            &["too many connections"],
        );
        reports(
            &against(preface(1, 7), &[]).expect(3),
            &["it is shutting down"],
        );
        reports(
            &against(|_| {}, &["--timeout", "0.3"]).expect(5),
            &["it hangs or does not speak sealpipe"],
        );
        let leaves = |stream: &mut UnixStream| {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        };
        reports(
            &against(leaves, &[]).expect(3),
            &["before the peer had sent a byte"],
        );
    }

    /// It takes root to have a server of somebody else's.
    #[test]
    fn another_users_server_is_4() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can become another user");
            return;
        }
        let place = Place::new();
        set_mode(place.dir.path(), 0o777);
        let program = place.dir.path().join("program");
        // By another process: what this one holds open for writing cannot be run.
        let copied = Command::new("cp")
            .args([env!("CARGO_BIN_EXE_sealpipe").as_ref(), program.as_os_str()])
            .status();
        assert!(copied.unwrap().success());
        set_mode(&program, 0o755);
        let mut listener = Program::start_at(&program, &["listen", &place.name], |command| {
            command.uid(65534).gid(65534)
        });
        listener.wait_for("listening on ");
        set_mode(place.dir.path(), 0o755);
        reports(
            &doctor(&place.name, &[]).expect(4),
            &[
                "a socket of uid 65534",
                "runs as uid 65534, and only the same user (uid 0) is allowed",
                "refused the connection: this user may not connect",
            ],
        );
    }
}
