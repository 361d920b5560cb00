//! The same work on each system. A server echoes everything, or takes everything
//! and answers only the message `e`.

use crate::{
    bare,
    idle::{self, Alone},
    run::Task,
    sealpipe,
};
use sealpipe_smol::Smol;
use sealpipe_tokio::{Config, Key, Tokio};
use std::{future::Future, time::Duration};

/// In the order of the table; the second is what the others are compared with.
pub(crate) const SYSTEMS: [&str; 7] = [
    "std",
    "tokio-codec",
    "smol-stream",
    "sealpipe",
    "sealpipe-smol",
    "sealpipe-blocking",
    "sealpipe-sealed",
];

pub(crate) fn config(system: &str) -> Config {
    match system {
        "sealpipe-sealed" => Config::sealed(Key::from_bytes([7; 32]))
            .build()
            .expect("a valid configuration"),
        _ => Config::default(),
    }
}

/// Runs a future by what a program of that system would.
pub(crate) fn on<T>(system: &str, future: impl Future<Output = T>) -> T {
    match system {
        "smol-stream" | "sealpipe-smol" => smol::block_on(future),
        _ => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future),
    }
}

pub(crate) fn serve(system: &str, path: &str, echo: bool) {
    let config = config(system);
    match system {
        "std" => bare::serve_std(path, echo),
        "tokio-codec" => on(system, bare::serve_codec(path, echo)),
        "smol-stream" => on(system, bare::serve_smol(path, echo)),
        "sealpipe-smol" => on(system, sealpipe::serve::<Smol>(config, path, echo)),
        "sealpipe-blocking" => sealpipe::serve_blocking(config, path, echo),
        _ => on(system, sealpipe::serve::<Tokio>(config, path, echo)),
    }
}

pub(crate) fn drive(system: &str, path: &str, task: &Task) -> Duration {
    let config = config(system);
    match system {
        "std" => bare::drive_std(path, task),
        "tokio-codec" => on(system, bare::drive_codec(path, task)),
        "smol-stream" => on(system, bare::drive_smol(path, task)),
        "sealpipe-smol" => on(system, sealpipe::drive::<Smol>(config, path, task)),
        "sealpipe-blocking" => sealpipe::drive_blocking(config, path, task),
        _ => on(system, sealpipe::drive::<Tokio>(config, path, task)),
    }
}

pub(crate) fn serve_crowd(system: &str, path: &str) {
    match system {
        "sealpipe-smol" => on(system, idle::serve_crowd::<Smol>(system, path)),
        _ => on(system, idle::serve_crowd::<Tokio>(system, path)),
    }
}

pub(crate) fn among(system: &str, path: &str, crowd: usize) -> Alone {
    match system {
        "sealpipe-smol" => on(system, idle::among::<Smol>(system, path, crowd)),
        _ => on(system, idle::among::<Tokio>(system, path, crowd)),
    }
}
