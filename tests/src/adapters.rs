//! Every adapter that there is, and what runs a test on each.

use crate::Raw;
use sealpipe_driver::{
    Connection, Error, Runtime,
    vocabulary::{Config, Role},
};
use sealpipe_smol::Smol;
use sealpipe_tokio::Tokio;
use tokio_util::compat::TokioAsyncReadCompatExt;

/// The adapters, one a line: hands them, and what else it was given, to a macro.
#[macro_export]
macro_rules! adapters {
    ($macro:ident, $($given:tt)*) => {
        $crate::$macro! {
            [
                tokio sealpipe_tokio::Tokio,
                smol sealpipe_smol::Smol,
            ]
            $($given)*
        }
    };
}

/// Makes a test of each function for each adapter: `on::smol::…` of the function
/// that is generic over the runtime. What stands after `on two threads:` gets a
/// runtime with two workers.
#[macro_export]
macro_rules! on_every_adapter {
    ($($test:ident),+ $(,)? $(; on two threads: $($threaded:ident),+ $(,)?)?) => {
        $crate::adapters!(tests_on, ($($test)+) ($($($threaded)+)?));
    };
}

/// The other half of [`on_every_adapter`].
#[macro_export]
macro_rules! tests_on {
    ([$($adapter:ident $runtime:path),+ $(,)?] $tests:tt $threaded:tt) => {
        mod on {
            $(mod $adapter {
                use $runtime as Adapter;
                $crate::tests_on!(#[::tokio::test] $tests);
                $crate::tests_on!(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)] $threaded
                );
            })+
        }
    };
    (#[$attribute:meta] ()) => {};
    (#[$attribute:meta] ($test:ident $($rest:ident)*)) => {
        #[$attribute]
        async fn $test() {
            super::super::$test::<Adapter>().await;
        }
        $crate::tests_on!(#[$attribute] ($($rest)*));
    };
}

/// Awaits a function that is generic over the runtime for the adapter of that name,
/// for a process that was told the name.
///
/// # Panics
/// If there is no such adapter.
#[macro_export]
macro_rules! on_adapter {
    ($name:expr, $function:ident($($argument:expr),* $(,)?)) => {
        $crate::adapters!(adapter_named, ($name) $function ($($argument),*))
    };
}

/// The other half of [`on_adapter`].
#[macro_export]
macro_rules! adapter_named {
    ([$($adapter:ident $runtime:path),+ $(,)?] ($name:expr) $function:ident $arguments:tt) => {
        match $name {
            $(stringify!($adapter) => $function::<$runtime> $arguments.await,)+
            other => panic!("no adapter: {other}"),
        }
    };
}

/// The names of the adapters.
pub const ADAPTERS: &[&str] = adapters!(adapter_names,);

#[doc(hidden)]
#[macro_export]
macro_rules! adapter_names {
    ([$($adapter:ident $runtime:path),+ $(,)?]) => {
        &[$(stringify!($adapter)),+]
    };
}

/// An adapter that takes the raw streams of the tests for its own.
pub trait Adapter: Runtime {
    /// A connection over a raw stream.
    ///
    /// # Errors
    /// As `Connection::from_io`.
    fn connection(
        stream: Raw,
        role: Role,
        config: Config,
    ) -> impl Future<Output = Result<Connection<Self>, Error>> + Send;
}

impl Adapter for Tokio {
    async fn connection(
        stream: Raw,
        role: Role,
        config: Config,
    ) -> Result<Connection<Self>, Error> {
        Connection::from_io(stream, role, config).await
    }
}

impl Adapter for Smol {
    async fn connection(
        stream: Raw,
        role: Role,
        config: Config,
    ) -> Result<Connection<Self>, Error> {
        Connection::from_io(stream.compat(), role, config).await
    }
}
