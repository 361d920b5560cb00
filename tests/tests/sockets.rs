//! Unix sockets that were opened elsewhere.
//!
//! Unix only: a socket has no counterpart on Windows that a program could hold.
#![cfg(unix)]

use sealpipe_driver::{
    Error,
    vocabulary::{Access, Config, EndpointError, Role, User},
};
use sealpipe_tests::{Adapter, api::Connection, modes, talk, within};

sealpipe_tests::on_every_adapter! {
    of_std_and_of_tokio,
    whose_other_end_is_not_allowed,
}

async fn of_std_and_of_tokio<R: Adapter>() {
    for (name, builder) in modes() {
        let config = builder.build().unwrap();
        within(async {
            // A blocking one of std's, and one of tokio's.
            let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
            b.set_nonblocking(true).unwrap();
            let b = tokio::net::UnixStream::from_std(b).unwrap();
            let (a, b) = tokio::join!(
                R::from_std(a, Role::Initiator, &Access::SameUser, config.clone()),
                R::from_std(
                    b.into_std().unwrap(),
                    Role::Responder,
                    &Access::SameUser,
                    config
                ),
            );
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(a.peer().unwrap().user, User::current().unwrap(), "{name}");
            talk(&a, &b).await;
        })
        .await;
    }
}

async fn whose_other_end_is_not_allowed<R: Adapter>() {
    within(async {
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        let nobody = Access::Users(Vec::new());
        let refused = R::from_std(a, Role::Initiator, &nobody, Config::default()).await;
        assert!(matches!(
            refused,
            Err(Error::Endpoint(EndpointError::WrongUser { .. }))
        ));
    })
    .await;
}
