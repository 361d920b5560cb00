//! Which key a build gets. Used by the build script, and by a test, which
//! includes this file.
//!
//! # Why this package has no dependency, not even for its build script
//!
//! Two programs share a key only if cargo compiles this package once for both.
//! Cargo names a build script's output directory by a hash that covers the
//! features of everything the script depends on, all the way down. With
//! `getrandom` as a build dependency, and so `libc` under it, some other
//! package's build dependency that turns on one more feature of `libc` is
//! enough for `cargo build -p daemon` and `cargo build -p client` to make two
//! keys. So the randomness is asked of the system directly.

use std::{
    ffi::OsStr,
    fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// The environment variable that sets the key.
pub(crate) const VARIABLE: &str = "SEALPIPE_BUILD_KEY";

/// The key that the library compiles in.
pub(crate) const KEY_FILE: &str = "key";

/// A copy of the key, there only while the key is one that was drawn here.
const DRAWN_FILE: &str = "drawn";

pub(crate) type Key = [u8; 32];

/// Why there is no key. Never shows any part of what the variable holds: it
/// may be a real key with one slip in it, and build logs are kept.
#[derive(Debug)]
pub(crate) enum Error {
    NotText,
    Length { characters: usize },
    Digit { position: usize },
    Random(io::Error),
    File(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WANTED: &str = "must be exactly 64 hexadecimal digits (32 bytes), \
             or be unset, for a key drawn at random";
        match self {
            Self::NotText => write!(f, "{VARIABLE} {WANTED}; it is not valid text"),
            Self::Length { characters: 0 } => write!(f, "{VARIABLE} {WANTED}; it is set but empty"),
            Self::Length { characters } => {
                write!(f, "{VARIABLE} {WANTED}; it has {characters} characters")
            }
            Self::Digit { position } => write!(
                f,
                "{VARIABLE} {WANTED}; its character {position} is not such a digit"
            ),
            Self::Random(error) => write!(
                f,
                "the system gave no random bytes for a key ({error}); \
                 set {VARIABLE} to 64 hexadecimal digits to build without"
            ),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// Leaves the key of this build in `out_dir`.
///
/// In this order: the key that is given; the key that an earlier run drew here;
/// a new one. A given key is never kept for a run without one: whoever unsets
/// the variable means to stop using its value, which may be known to others.
///
/// The key file is written on every run, and the drawn key is removed before a
/// given one is written, so a run that is cut short anywhere cannot make a
/// given key pass for a drawn one.
pub(crate) fn settle(
    out_dir: &Path,
    given: Option<&OsStr>,
    random: impl FnOnce(&mut Key) -> io::Result<()>,
) -> Result<(), Error> {
    let drawn_file = out_dir.join(DRAWN_FILE);
    let key = match given {
        Some(text) => {
            let key = parse(text)?;
            match fs::remove_file(&drawn_file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::File(drawn_file, error));
                }
                _ => key,
            }
        }
        None => match drawn(&drawn_file)? {
            Some(key) => key,
            None => {
                let mut key = Key::default();
                random(&mut key).map_err(Error::Random)?;
                write(drawn_file, &key)?;
                key
            }
        },
    };
    write(out_dir.join(KEY_FILE), &key)
}

/// The key drawn by an earlier run, if there is a whole one.
fn drawn(file: &Path) -> Result<Option<Key>, Error> {
    match fs::read(file) {
        // A run that died while it wrote leaves a short file: as good as none.
        Ok(bytes) => Ok(Key::try_from(bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::File(file.to_owned(), error)),
    }
}

fn write(file: PathBuf, key: &Key) -> Result<(), Error> {
    fs::write(&file, key).map_err(|error| Error::File(file, error))
}

/// Reads 64 hexadecimal digits of either case, and nothing else: no blanks, no
/// `0x`, no separators, so that one key has one spelling but for case.
pub(crate) fn parse(text: &OsStr) -> Result<Key, Error> {
    let text = text.to_str().ok_or(Error::NotText)?;
    let mut digits = [0_u8; 64];
    let mut characters = 0;
    for (index, character) in text.chars().enumerate() {
        characters = index + 1;
        if let Some(place) = digits.get_mut(index) {
            *place = match character.to_digit(16) {
                Some(digit) => digit as u8,
                None => 0xff,
            };
        }
    }
    if characters != digits.len() {
        return Err(Error::Length { characters });
    }
    if let Some(index) = digits.iter().position(|&digit| digit == 0xff) {
        return Err(Error::Digit {
            position: index + 1,
        });
    }
    let mut key = Key::default();
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(key)
}

/// Fills `key` from the generator of the system that the build runs on.
#[cfg(unix)]
pub(crate) fn system_random(key: &mut Key) -> io::Result<()> {
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, key)
}

/// Fills `key` from the generator of the system that the build runs on.
#[cfg(windows)]
pub(crate) fn system_random(key: &mut Key) -> io::Result<()> {
    // RtlGenRandom goes by this name in advapi32. Unlike the newer ProcessPrng
    // it has an import library with every toolchain.
    #[link(name = "advapi32")]
    unsafe extern "system" {
        #[link_name = "SystemFunction036"]
        fn rtl_gen_random(buffer: *mut u8, length: u32) -> u8;
    }

    // SAFETY: the buffer is valid for writes of `key.len()` bytes, all that the
    // function is told to write.
    match unsafe { rtl_gen_random(key.as_mut_ptr(), key.len() as u32) } {
        0 => Err(io::Error::other("RtlGenRandom failed")),
        _ => Ok(()),
    }
}

/// Fails: how to ask this system for random bytes is not known here.
#[cfg(not(any(unix, windows)))]
pub(crate) fn system_random(_: &mut Key) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
