//! Reaching a listener.

use crate::{
    args::{Common, Reach},
    exit::Failure,
    key,
};
use sealpipe_driver::{ConnectOptions, Connection, Runtime};

/// Connects as the options say.
pub(crate) async fn connect<R: Runtime>(
    common: &Common,
    reach: &Reach,
) -> Result<Connection<R>, Failure> {
    let config = key::config(common, Some(reach.timeout))?;
    let mut options = ConnectOptions::new(config)
        .server(common.access())
        .timeout(reach.timeout)
        // To try again makes sense only if it may not be there yet.
        .wait_for_server(reach.wait || reach.attempts.is_some());
    if let Some(attempts) = reach.attempts {
        options = options.attempts(attempts);
    }
    options.connect(&common.endpoint).await.map_err(|error| {
        Failure::of(
            &error,
            format_args!("cannot connect to {}", common.endpoint),
        )
    })
}
