//! A key made at compile time, for programs that are built together.
//!
//! A daemon and its command line, or a desktop program and its helper, often
//! come from one build. Each depends on this crate and calls [`build_key`], and
//! both get the same 32 bytes, which no source file holds and nobody had to
//! install:
//!
//! ```
//! let key: [u8; 32] = sealpipe_build_key::build_key();
//! // Hand it to whatever seals the connection, on both ends.
//! # assert_ne!(key, [0; 32]);
//! ```
//!
//! # What it protects
//!
//! Programs of another build are kept apart: another version, another checkout,
//! a program that happens to open the same pipe. Each gets a clear error about
//! the key instead of half-understood messages. Who only sees the bytes on the
//! connection learns nothing from them and can forge none.
//!
//! # What it does not protect
//!
//! The key lies in the executable as it is. **Anybody who can read the
//! executable, or the target directory, has the key**, and a program that is
//! handed out has a key that everybody knows. It is no secret of a user or of a
//! machine: where that is needed, make 32 random bytes on that machine and keep
//! them in a file that only the user can read.
//!
//! # When two programs have the same key
//!
//! Exactly when cargo compiled this crate once for both of them: in one target
//! directory, for the same target, with the same profile and compiler. The key
//! then stays the same from build to build, and it does not matter whether the
//! programs are built by one command or by several, or which features they turn
//! on. The crate has no features and no dependencies so that this holds.
//!
//! These get **different keys**:
//!
//! - debug and release builds, and profiles that set other options;
//! - builds for different targets, such as the 32-bit and the 64-bit one; also
//!   builds with `--target` and without, even if both are for the host, or a
//!   program and a build script or procedural macro;
//! - separate target directories: other workspaces, `cargo install`, another
//!   machine, a container, a continuous-integration job;
//! - builds before and after `cargo clean`, an update of the compiler or of
//!   this crate, or a change of `RUSTFLAGS`.
//!
//! # Setting the key
//!
//! The environment variable `SEALPIPE_BUILD_KEY`, 64 hexadecimal digits, sets
//! the key while building, and programs built with the same value have the same
//! key, wherever and however they are built:
//!
//! ```sh
//! SEALPIPE_BUILD_KEY=$(openssl rand -hex 32) cargo build --release
//! ```
//!
//! A malformed value, or an empty one, fails the build. Setting, changing or
//! unsetting the variable rebuilds this crate and what depends on it; unsetting
//! draws a new key and does not keep the value that was set.
//!
//! **Reproducible builds need the variable**: without it, two builds of the
//! same sources differ in these 32 bytes. Treat a value that is meant to be
//! secret as any other secret of the build: cargo keeps it in the target
//! directory, and the executable holds it.
#![no_std]
#![forbid(unsafe_code)]

/// The key of this build: the same in all programs for which cargo compiled
/// this crate once, or that were built with the same `SEALPIPE_BUILD_KEY`.
///
/// See the [crate's documentation](crate) for what it protects and what not.
///
/// The bytes are the key itself. Do not print them, and do not hold them in a
/// type whose `Debug` does.
#[must_use]
pub fn build_key() -> [u8; 32] {
    *include_bytes!(concat!(env!("OUT_DIR"), "/key"))
}
