//! The streams of bytes that connections run on, for protocols of one's own. Those of
//! sealpipe-blocking, which have std's interface, are tested there.

use sealpipe_blocking::LocalStream;
use sealpipe_driver::{
    ConnectOptions, Error, LocalListener,
    vocabulary::{Access, Config, EndpointError, ErrorKind, Role, User},
};
use sealpipe_tests::{Asynchronous, Place, Raw, place, talk, within};
use std::{
    io::{ErrorKind as IoErrorKind, Read, Write},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

sealpipe_tests::on_every_adapter! {
    ; of futures:
        bytes_cross_both_ways_at_once_and_the_end_is_told,
        both_know_who_the_other_is,
        a_client_that_is_not_allowed_gets_nothing,
        a_server_that_is_not_wanted_is_refused,
        a_server_that_starts_later_is_waited_for,
        a_dropped_accept_loses_no_client,
        many_come_at_once,
        a_thread_is_at_the_other_end,
        a_connection_runs_on_them
}

/// More than any buffer between the two takes.
const MUCH: usize = 3_000_000;

fn options<R: Asynchronous>() -> ConnectOptions<R> {
    ConnectOptions::new(Config::default()).timeout(Duration::from_secs(20))
}

/// The client's end and the server's.
async fn connected<R: Asynchronous>() -> (R::LocalStream, R::LocalStream, Place) {
    let place = place();
    let mut listener = LocalListener::<R>::bind(&place.endpoint).unwrap();
    let options = options::<R>();
    let (client, server) = tokio::join!(options.open(&place.endpoint), listener.accept());
    (client.unwrap(), server.unwrap(), place)
}

fn much() -> Vec<u8> {
    (0..MUCH).map(|n| (n % 251) as u8).collect()
}

async fn bytes_cross_both_ways_at_once_and_the_end_is_told<R: Asynchronous>() {
    within(async {
        let (a, b, _place) = connected::<R>().await;
        let exchange = async |stream: Raw| {
            let (mut read, mut write) = tokio::io::split(stream);
            let sends = async {
                write.write_all(&much()).await.unwrap();
                write.flush().await.unwrap();
            };
            let mut got = vec![0; MUCH];
            let (_, received) = tokio::join!(sends, read.read_exact(&mut got));
            received.unwrap();
            assert!(got == much());
            read.unsplit(write)
        };
        let (mut a, mut b) = tokio::join!(exchange(R::raw_of(a)), exchange(R::raw_of(b)));
        a.write_all(b"bye").await.unwrap();
        a.flush().await.unwrap();
        drop(a);
        let mut rest = Vec::new();
        b.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"bye");
        // Who has gone takes nothing more: at once, or with the next.
        while b.write_all(&[0; 1024]).await.is_ok() {}
    })
    .await;
}

async fn both_know_who_the_other_is<R: Asynchronous>() {
    within(async {
        let (client, server, _place) = connected::<R>().await;
        let own = User::current().unwrap();
        let peer = R::peer_of(&client).expect("the server is known at once");
        assert_eq!(peer.user, own);
        assert_eq!(R::peer_of(&server).is_some(), cfg!(unix));
        if let Some(peer) = R::peer_of(&server) {
            assert_eq!(peer.user, own);
            assert_eq!(peer.process, Some(std::process::id()));
        }
    })
    .await;
}

async fn a_client_that_is_not_allowed_gets_nothing<R: Asynchronous>() {
    within(async {
        let place = place();
        // The system lets it in, and the check does not.
        let listener = sealpipe_endpoint::listen(&place.endpoint, &Access::SameUser).unwrap();
        let nobody = Access::Users(Vec::new());
        let mut listener = LocalListener::<R>::listen(listener, nobody).unwrap();
        let mut client = R::raw_of(options::<R>().open(&place.endpoint).await.unwrap());
        // It may have been sent away before.
        let _ = client.write_all(b"let me in").await;
        let refused = async {
            if cfg!(unix) {
                // Nobody is handed out.
                let error = listener.accept().await.map(drop);
                panic!("it was accepted: {error:?}");
            }
            let mut server = R::raw_of(listener.accept().await.unwrap());
            let error = server.read(&mut [0; 16]).await.unwrap_err();
            assert_eq!(error.kind(), IoErrorKind::PermissionDenied, "{error}");
        };
        let told = async {
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            assert!(answer.is_empty());
        };
        if cfg!(unix) {
            tokio::select! { () = refused => {}, () = told => {} }
        } else {
            tokio::join!(refused, told);
        }
    })
    .await;
}

async fn a_server_that_is_not_wanted_is_refused<R: Asynchronous>() {
    within(async {
        let place = place();
        let _listener = LocalListener::<R>::bind(&place.endpoint).unwrap();
        let nobody = options::<R>().server(Access::Users(Vec::new()));
        let error = nobody.open(&place.endpoint).await.map(drop).unwrap_err();
        assert!(
            matches!(&error, Error::Endpoint(EndpointError::WrongUser { .. })),
            "{error}"
        );
    })
    .await;
}

async fn a_server_that_starts_later_is_waited_for<R: Asynchronous>() {
    within(async {
        let place = place();
        let error = options::<R>().open(&place.endpoint).await.map(drop);
        assert!(
            matches!(&error, Err(Error::Endpoint(error)) if error.kind() == ErrorKind::NotFound),
            "{error:?}"
        );
        let patient = options::<R>().wait_for_server(true);
        let mut client = Box::pin(patient.open(&place.endpoint));
        assert!(futures_util::poll!(client.as_mut()).is_pending());
        let mut listener = LocalListener::<R>::bind(&place.endpoint).unwrap();
        let (client, server) = tokio::join!(client, listener.accept());
        drop((client.unwrap(), server.unwrap()));
        assert_eq!(listener.address(), &place.endpoint.addresses().unwrap()[0]);
    })
    .await;
}

async fn a_dropped_accept_loses_no_client<R: Asynchronous>() {
    within(async {
        let place = place();
        let mut listener = LocalListener::<R>::bind(&place.endpoint).unwrap();
        let options = options::<R>();
        for n in 0..10u8 {
            for _ in 0..n % 3 {
                assert!(futures_util::poll!(Box::pin(listener.accept())).is_pending());
            }
            let mut client = R::raw_of(options.open(&place.endpoint).await.unwrap());
            // Whether it finds the client or is too early: it is given up.
            let early = futures_util::poll!(Box::pin(listener.accept()));
            let server = match early {
                std::task::Poll::Ready(server) => server,
                std::task::Poll::Pending => listener.accept().await,
            };
            let mut server = R::raw_of(server.unwrap());
            client.write_all(&[n]).await.unwrap();
            client.flush().await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), n);
        }
    })
    .await;
}

async fn many_come_at_once<R: Asynchronous>() {
    const CLIENTS: u8 = 100;
    within(async {
        let place = place();
        let mut listener = LocalListener::<R>::bind(&place.endpoint).unwrap();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let endpoint = place.endpoint.clone();
                tokio::spawn(async move {
                    let mut client = R::raw_of(options::<R>().open(&endpoint).await.unwrap());
                    client.write_u8(n).await.unwrap();
                    client.flush().await.unwrap();
                    assert_eq!(client.read_u8().await.unwrap(), n);
                })
            })
            .collect();
        let mut seen = Vec::new();
        for _ in 0..CLIENTS {
            let mut server = R::raw_of(listener.accept().await.unwrap());
            let n = server.read_u8().await.unwrap();
            server.write_u8(n).await.unwrap();
            server.flush().await.unwrap();
            seen.push(n);
            // Kept by its client until the answer is read.
            tokio::spawn(async move { server.read(&mut [0]).await });
        }
        for client in clients {
            client.await.unwrap();
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..CLIENTS).collect::<Vec<_>>());
    })
    .await;
}

async fn a_thread_is_at_the_other_end<R: Asynchronous>() {
    within(async {
        let place = place();
        let mut listener = LocalListener::<R>::bind(&place.endpoint).unwrap();
        let endpoint = place.endpoint.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let access = Access::SameUser;
            let mut client = LocalStream::connect_with(&endpoint, &access, None).unwrap();
            client.write_all(&much()).unwrap();
            let mut answer = [0; 4];
            client.read_exact(&mut answer).unwrap();
            answer
        });
        let mut server = R::raw_of(listener.accept().await.unwrap());
        let mut got = vec![0; MUCH];
        server.read_exact(&mut got).await.unwrap();
        assert!(got == much());
        server.write_all(b"good").await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(&thread.await.unwrap(), b"good");
    })
    .await;
}

async fn a_connection_runs_on_them<R: Asynchronous>() {
    within(async {
        use sealpipe_tests::Adapter;
        let (client, server, _place) = connected::<R>().await;
        let (a, b) = tokio::join!(
            <R as Adapter>::over(R::raw_of(client), Role::Initiator, Config::default()),
            <R as Adapter>::over(R::raw_of(server), Role::Responder, Config::default()),
        );
        talk(&a.unwrap(), &b.unwrap()).await;
    })
    .await;
}
