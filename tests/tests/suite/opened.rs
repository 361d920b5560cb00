//! Sockets and pipes that were opened elsewhere.

use sealpipe_driver::{
    Error,
    vocabulary::{Access, Config, ConnectionError, EndpointError, Role, User},
};
use sealpipe_endpoint::Stream;
use sealpipe_tests::{Adapter, api::Connection, modes, talk, within};

sealpipe_tests::on_every_adapter! {
    either_end_of_a_stream,
    whose_other_end_is_not_allowed,
    what_is_no_such_stream,
}

/// The client's end and the server's, as a program without sealpipe would have them.
#[cfg(unix)]
fn streams() -> (Stream, Stream) {
    // One blocks and the other does not: both will do.
    let (a, b) = Stream::pair().unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

/// The client's end and the server's.
#[cfg(windows)]
fn streams() -> (Stream, Stream) {
    let place = sealpipe_tests::place();
    let listener = sealpipe_endpoint::listen(&place.endpoint, &Access::SameUser).unwrap();
    let (server, _claim) = listener.into_parts();
    let client = sealpipe_endpoint::connect(&place.endpoint, &Access::SameUser).unwrap();
    let connected = server.try_clone().unwrap();
    sealpipe_endpoint::PipeInstance::new(server)
        .unwrap()
        .try_connect()
        .unwrap();
    (client.stream, connected)
}

async fn either_end_of_a_stream<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        // Who connected may wait for the other to begin.
        for roles in [
            (Role::Initiator, Role::Responder),
            (Role::Responder, Role::Initiator),
        ] {
            within(async {
                let (a, b) = streams();
                let (a, b) = tokio::join!(
                    R::from_handle(a, roles.0, &Access::SameUser, config.clone()),
                    R::from_handle(b, roles.1, &Access::SameUser, config.clone()),
                );
                let (a, b) = (a.unwrap(), b.unwrap());
                for side in [&a, &b] {
                    let user = &side.peer().unwrap().user;
                    assert_eq!(*user, User::current().unwrap(), "{name}");
                }
                talk(&a, &b).await;
            })
            .await;
        }
    }
}

async fn whose_other_end_is_not_allowed<R: Adapter>() {
    within(async {
        let nobody = Access::Users(Vec::new());
        let (a, b) = streams();
        let refused = R::from_handle(a, Role::Initiator, &nobody, Config::default()).await;
        assert!(
            matches!(
                refused,
                Err(Error::Endpoint(EndpointError::WrongUser { .. }))
            ),
            "{refused:?}"
        );
        drop(b);
        let (a, b) = streams();
        let (a, refused) = tokio::join!(
            R::from_handle(a, Role::Initiator, &Access::SameUser, Config::default()),
            R::from_handle(b, Role::Responder, &nobody, Config::default()),
        );
        assert!(a.is_err());
        match refused.unwrap_err() {
            Error::Endpoint(EndpointError::WrongUser { .. }) if cfg!(unix) => {}
            // It was found out in the middle of the handshake.
            Error::Connection(ConnectionError::Refused(_)) if cfg!(windows) => {}
            error => panic!("{error}"),
        }
    })
    .await;
}

async fn what_is_no_such_stream<R: Adapter>() {
    #[cfg(unix)]
    let file = std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    #[cfg(windows)]
    let file = std::fs::File::open("NUL").unwrap();
    let config = Config::default();
    let refused = R::from_handle(file.into(), Role::Initiator, &Access::SameUser, config).await;
    assert!(
        matches!(refused, Err(Error::Endpoint(_) | Error::Io { .. })),
        "{refused:?}"
    );
}
