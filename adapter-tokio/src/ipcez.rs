//! One endpoint string, wherever the other program is; see [`sealpipe_driver::ipcez`].

use crate::{ConnectOptions, Tokio};
pub use sealpipe_driver::ipcez::{ConnectError, MAX_MESSAGE, Os, Target, Variables, config};

/// A connection with one handler; see [`sealpipe_driver::ipcez::Socket`].
pub type Socket = sealpipe_driver::ipcez::Socket<Tokio>;
/// A claimed endpoint, whose clients may be originals; see
/// [`sealpipe_driver::ipcez::Listener`].
pub type Listener = sealpipe_driver::ipcez::Listener<Tokio>;

/// Connects to the endpoint on ipcez's wire; see [`sealpipe_driver::ipcez::connect`].
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(endpoint: &str) -> Result<Socket, ConnectError> {
    sealpipe_driver::ipcez::connect(endpoint).await
}

/// Connects as the options say; see [`sealpipe_driver::ipcez::connect_with`].
///
/// # Errors
/// [`ConnectError`].
pub async fn connect_with(
    endpoint: &str,
    options: &ConnectOptions,
) -> Result<Socket, ConnectError> {
    sealpipe_driver::ipcez::connect_with(endpoint, options).await
}
