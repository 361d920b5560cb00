//! Every adapter that there is, and what runs a test on each.

/// The adapters, one a line: hands them, and what else it was given, to a macro.
#[macro_export]
macro_rules! adapters {
    ($macro:ident, $($given:tt)*) => {
        $crate::$macro! {
            [
                tokio sealpipe_tokio::Tokio,
                smol sealpipe_smol::Smol,
                blocking $crate::Blocking,
            ]
            $($given)*
        }
    };
}

/// Makes a test of each function for each adapter: `on::smol::…` of the function
/// that is generic over the adapter. What stands after `on two threads:` gets a
/// runtime with two workers. What stands after `of futures:` is about the futures of
/// the API, which the blocking adapter has not.
#[macro_export]
macro_rules! on_every_adapter {
    (
        $($test:ident),* $(,)?
        $(; on two threads: $($threaded:ident),+ $(,)?)?
        $(; of futures: $($future:ident),+ $(,)?)?
        $(; of futures, on two threads: $($both:ident),+ $(,)?)?
    ) => {
        $crate::adapters!(
            tests_on,
            ($($test)*) ($($($threaded)+)?) ($($($future)+)?) ($($($both)+)?)
        );
    };
}

/// The other half of [`on_every_adapter`].
#[macro_export]
macro_rules! tests_on {
    (
        [$($adapter:ident $type:path),+ $(,)?]
        $tests:tt $threaded:tt $futures:tt $both:tt
    ) => {
        mod on {
            $(mod $adapter {
                use $type as Adapter;
                $crate::tests_on!(#[::tokio::test] $tests);
                $crate::tests_on!(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)] $threaded
                );
                $crate::tests_on!($adapter $futures $both);
            })+
        }
    };
    (blocking $futures:tt $both:tt) => {};
    ($adapter:ident $futures:tt $both:tt) => {
        $crate::tests_on!(#[::tokio::test] $futures);
        $crate::tests_on!(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)] $both
        );
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

/// Awaits a function that is generic over the adapter for the one of that name,
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
    ([$($adapter:ident $type:path),+ $(,)?] ($name:expr) $function:ident $arguments:tt) => {
        match $name {
            $(<$type as $crate::Adapter>::NAME => $function::<$type> $arguments.await,)+
            other => panic!("no adapter: {other}"),
        }
    };
}

/// The names of the adapters.
pub const ADAPTERS: &[&str] = adapters!(adapter_names,);

#[doc(hidden)]
#[macro_export]
macro_rules! adapter_names {
    ([$($adapter:ident $type:path),+ $(,)?]) => {
        &[$(<$type as $crate::Adapter>::NAME),+]
    };
}
