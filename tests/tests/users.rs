//! A process of another user, on a path that its permissions would let it reach:
//! refused as a client and as an impostor server. It takes root to become
//! somebody else; elsewhere these say that they were skipped.
//!
//! Unix only: Wine and most machines have one account to run tests as.
#![cfg(unix)]

use sealpipe_tests::{Helper, mode, role, say, within};
use sealpipe_tokio::{
    Access, ConnectOptions, Connection, ConnectionError, Endpoint, EndpointError, Error,
    ListenOptions, Listener, Status, User,
};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::Command,
};

const NOBODY: u32 = 65_534;

struct Open {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Open {
    fn endpoint(&self) -> Endpoint {
        Endpoint::path(self.directory.path().join("app.sock"))
    }

    fn as_nobody(&self, role: &str, mode: &str) -> Helper {
        let mut command = Command::new(&self.program);
        command.uid(NOBODY).gid(NOBODY);
        Helper::start_by(command, role, &[&self.endpoint().to_string(), mode])
    }
}

/// A directory that anyone may enter and write to, with this program in it.
fn open_directory() -> Option<Open> {
    if User::current().unwrap() != User::Uid(0) {
        println!("skipped: only root can become another user");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = directory.path().join("program");
    // By another process: a file that a child of this one holds open for writing,
    // if only for a moment, cannot be run.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().unwrap())
        .arg(&program)
        .status()
        .unwrap();
    assert!(copied.success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Some(Open { directory, program })
}

#[test]
fn helper() {
    let Some((role, arguments)) = role() else {
        return;
    };
    let endpoint: Endpoint = arguments[0].parse().unwrap();
    let config = mode(&arguments[1]).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match role.as_str() {
            // It does not mind whose the server is: what refuses it is the server.
            "client" => {
                let options = ConnectOptions::new(config).server(Access::Anyone);
                match options.connect(&endpoint).await {
                    Ok(_) => say("connected"),
                    Err(error) => say(&format!("{error}")),
                }
            }
            "checking client" => match Connection::connect(&endpoint, config).await {
                Ok(_) => say("connected"),
                Err(error) => say(&format!("{error}")),
            },
            "impostor" => {
                let options = ListenOptions::new(config).access(Access::Anyone);
                let mut listener = options.bind(&endpoint).unwrap();
                say("listening");
                while let Ok(connection) = listener.accept().await {
                    say("served");
                    drop(connection);
                }
            }
            other => panic!("{other}"),
        }
    });
}

#[tokio::test]
async fn another_users_client_is_refused_by_both() {
    let Some(open) = open_directory() else { return };
    for mode_name in ["plain", "sealed"] {
        within(async {
            let config = mode(mode_name).build().unwrap();
            // Only root may be served, and anybody can reach the socket.
            let only_root = Access::Users(vec![User::Uid(0)]);
            let mut listener = ListenOptions::new(config.clone())
                .access(only_root.clone())
                .bind(&open.endpoint())
                .unwrap();
            let socket = open.directory.path().join("app.sock");
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
            for (role, wanted) in [
                ("client", "this user may not connect"),
                ("checking client", "runs as uid 0"),
            ] {
                let mut client = open.as_nobody(role, mode_name);
                let said = tokio::task::spawn_blocking(move || client.line());
                let said = said.await.unwrap();
                assert!(said.contains(wanted), "{role}: {said}");
                if role == "checking client" {
                    assert!(said.contains("the same user (uid 65534)"), "{said}");
                }
            }
            // Others are served, and none of those was ever a connection.
            let endpoint = open.endpoint();
            let (client, server) =
                tokio::join!(Connection::connect(&endpoint, config), listener.accept());
            client.unwrap();
            assert_eq!(server.unwrap().peer().unwrap().user, User::Uid(0));
            drop(listener);
        })
        .await;
        while open.directory.path().join("app.sock").exists() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_server_names_whom_it_found_and_whom_it_wanted() {
    // What the listener logs is the error of the check itself.
    let Some(open) = open_directory() else { return };
    within(async {
        let (socket, _claim) = sealpipe_endpoint::listen(&open.endpoint(), &Access::Anyone)
            .unwrap()
            .into_parts();
        let listener = tokio::net::UnixListener::from_std(socket).unwrap();
        let mut client = open.as_nobody("client", "plain");
        let (stream, _) = listener.accept().await.unwrap();
        let refused = Connection::from_std(
            stream.into_std().unwrap(),
            sealpipe_tokio::Role::Responder,
            &Access::SameUser,
            mode("plain").build().unwrap(),
        )
        .await;
        let Err(Error::Endpoint(EndpointError::WrongUser { found, wanted, .. })) = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!((found, wanted), (&User::Uid(NOBODY), &Access::SameUser));
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("runs as uid 65534"), "{text}");
        assert!(text.contains("the same user (uid 0)"), "{text}");
        drop(tokio::task::spawn_blocking(move || client.line()).await);
    })
    .await;
}

#[tokio::test]
async fn an_impostor_server_is_refused() {
    let Some(open) = open_directory() else { return };
    within(async {
        let mut impostor = open.as_nobody("impostor", "plain");
        assert_eq!(impostor.line(), "listening");
        let config = mode("plain").build().unwrap();
        let Err(Error::Endpoint(error)) =
            Connection::connect(&open.endpoint(), config.clone()).await
        else {
            panic!("it spoke to an impostor")
        };
        let EndpointError::WrongUser { found, wanted, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((found, wanted), (&User::Uid(NOBODY), &Access::SameUser));
        let text = error.to_string();
        assert!(text.contains("runs as uid 65534"), "{text}");
        assert!(text.contains("uid 0"), "{text}");
        assert!(text.contains("app.sock"), "{text}");
        // The path does let it through: who asks for that user gets there.
        ConnectOptions::new(config.clone())
            .server(Access::Users(vec![User::Uid(NOBODY)]))
            .connect(&open.endpoint())
            .await
            .unwrap();
        assert_eq!(impostor.line(), "served");
        // And the name cannot be had while the impostor holds it.
        let Err(Error::Endpoint(error)) = Listener::bind(&open.endpoint(), config) else {
            panic!("it took the name")
        };
        assert!(error.to_string().contains("uid 65534"), "{error}");
    })
    .await;
}

#[test]
fn a_refusal_is_told_as_one() {
    let refused = ConnectionError::Refused(Status::Refused).to_string();
    assert_eq!(
        refused,
        "the listener refused the connection: this user may not connect"
    );
}
