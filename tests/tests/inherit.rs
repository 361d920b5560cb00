//! A child that is started while connections stand inherits none of them: the other
//! side hears of the end although the child lives on.

use sealpipe_driver::vocabulary::{Config, Role};
use sealpipe_tests::{
    Adapter, Hand, Helper,
    api::{Connection, Listener},
    place, raw, role, say, within,
};
use std::time::Duration;

sealpipe_tests::on_every_adapter! {
    the_end_comes_though_a_child_lives_on,
}

#[test]
fn helper() {
    if role().is_some() {
        say("lives");
        // Until its parent lets it go.
        let _ = std::io::stdin().lines().next();
    }
}

async fn the_end_comes_though_a_child_lives_on<R: Adapter>() {
    within(async {
        // The hands do not answer a goodbye: that is waited for no longer than this.
        let config = Config::plain()
            .close_timeout(Duration::from_millis(100))
            .build()
            .unwrap();
        let accepting = place();
        let mut listener = R::bind(&accepting.endpoint, config.clone()).unwrap();
        let connecting = place();
        let mut server = raw::Listener::bind(&connecting.endpoint);
        let (mut client, accepted, connected, mut server) = tokio::join!(
            async {
                let stream = raw::connect_patiently(&accepting.endpoint).await;
                Hand::open(stream, Role::Initiator, config.clone()).await
            },
            listener.accept(),
            R::connect(&connecting.endpoint, config.clone()),
            async { Hand::open(server.accept().await, Role::Responder, config.clone()).await },
        );
        let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
        let mut child = Helper::start("stay", &[]);
        assert_eq!(child.line(), "lives");
        assert!(accepted.is_connected() && connected.is_connected());
        // A goodbye, and then the end of the stream itself.
        drop((accepted, connected));
        client.ended().await;
        server.ended().await;
        child.end();
    })
    .await;
}
