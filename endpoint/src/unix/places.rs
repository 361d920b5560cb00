//! From what was asked for to places in the file system.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{directory, environment::Environment};
use crate::Error;
use crate::address::{Address, Place, Trust};
use crate::endpoint::{Endpoint, Kind};

/// How many bytes of path fit into a socket address beside the final NUL.
pub(super) const LONGEST_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

pub(crate) fn addresses(endpoint: &Endpoint) -> Result<Vec<Address>, Error> {
    let environment = environment(endpoint);
    match &endpoint.kind {
        Kind::Name(name) => {
            in_directories(&environment, Some(name), name.as_bytes(), name.as_ref())
        }
        Kind::Path(path) if path.as_os_str().len() <= LONGEST_PATH => {
            Ok(vec![at(path.clone(), Trust::Given)])
        }
        Kind::Path(path) => {
            // Absolute, so that both sides derive the same from wherever they
            // were started.
            let whole = std::path::absolute(path).map_err(|source| {
                Error::io("finding the current directory", path.display(), source)
            })?;
            in_directories(&environment, None, whole.as_os_str().as_bytes(), path)
        }
        Kind::Pipe(name) => Err(Error::Unsupported {
            what: format!("the Windows pipe {name}"),
            hint: "use a name, or the path of a socket",
        }),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Kind::Abstract(name) => Ok(vec![Place::Abstract(name.clone()).into()]),
        Kind::Url(url) => Err(url.unsupported()),
    }
}

/// The directories that [`addresses`] passes over, each with the reason.
pub(crate) fn passed_over(endpoint: &Endpoint) -> Vec<Error> {
    let derived = match &endpoint.kind {
        Kind::Name(_) => true,
        Kind::Path(path) => path.as_os_str().len() > LONGEST_PATH,
        _ => false,
    };
    if !derived {
        return Vec::new();
    }
    environment(endpoint)
        .runtime()
        .iter()
        .filter_map(|runtime| {
            let reason = directory::check_private(runtime).err()?;
            Some(directory::unusable(runtime, reason))
        })
        .collect()
}

fn environment(endpoint: &Endpoint) -> Environment {
    match &endpoint.environment {
        Some(given) => given.clone(),
        None => Environment::current(),
    }
}

/// The places for a name, or where there is none for the short form of
/// `identity`, in the documented order.
fn in_directories(
    environment: &Environment,
    name: Option<&str>,
    identity: &[u8],
    asked: &Path,
) -> Result<Vec<Address>, Error> {
    let uid = rustix::process::geteuid().as_raw();
    let hash = fnv1a(identity);
    let mut found = Vec::new();
    for runtime in environment.runtime() {
        if let Err(reason) = directory::check_private(runtime) {
            tracing::debug!(directory = %runtime.display(), reason, "not used for endpoints");
            continue;
        }
        let long = name.map(|name| runtime.join(format!("{name}.sock")));
        let short = runtime.join(format!("sealpipe-{hash:016x}.sock"));
        if let Some(path) = first_that_fits(long, short) {
            found.push(at(path, Trust::Private { create: false }));
        }
    }
    let shared = environment.temporary();
    let long = name.map(|name| shared.join(format!("{name}-{uid}/{name}.sock")));
    let short = shared.join(format!("sealpipe-{uid}/{hash:016x}.sock"));
    if let Some(path) = first_that_fits(long, short) {
        found.push(at(path, Trust::Private { create: true }));
    }
    if found.is_empty() {
        return Err(Error::PathTooLong {
            path: asked.to_owned(),
            limit: LONGEST_PATH,
        });
    }
    Ok(found)
}

fn first_that_fits(long: Option<PathBuf>, short: PathBuf) -> Option<PathBuf> {
    let fits = |path: &PathBuf| path.as_os_str().len() <= LONGEST_PATH;
    long.filter(fits).or(Some(short).filter(fits))
}

fn at(path: PathBuf, trust: Trust) -> Address {
    Place::Path { path, trust }.into()
}

/// FNV-1a, 64 bits: both sides need the same short name, not a secret one. Two
/// names of one user that met in it would find the address in use; nothing
/// else can come of it, for the directory is that user's alone.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_path_that_fits_nowhere_says_so() {
        let deep = PathBuf::from(format!("/{}", "d".repeat(120)));
        let endpoint = Endpoint::path(deep.join("a.sock")).within(Environment::new([], deep));
        let error = addresses(&endpoint).unwrap_err();
        assert!(matches!(error, Error::PathTooLong { .. }), "{error}");
        assert!(error.to_string().contains("128 bytes"), "{error}");
    }

    #[test]
    fn a_path_that_just_fits_is_taken_as_it_is() {
        let path = PathBuf::from(format!("/{}", "x".repeat(LONGEST_PATH - 1)));
        let found = addresses(&Endpoint::path(&path)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].as_path(), Some(path.as_path()));
        let longer = addresses(&Endpoint::path(format!("{}x", path.display()))).unwrap();
        assert!(longer.iter().all(|short| short.as_path() != Some(&path)));
    }
}
