//! What an endpoint looks like from outside, for people who wonder why two
//! programs do not meet.

use crate::{Address, Endpoint, Error, User};

/// The places of an endpoint, with what is there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// Each of [`Endpoint::addresses`], in that order. Never empty.
    pub places: Vec<Inspected>,
    /// Directories in which a name would be looked for as well, if they were fit:
    /// each with the reason. Two programs that do not agree on these look in
    /// different places.
    pub passed_over: Vec<Error>,
}

/// One place of an endpoint.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspected {
    /// Where.
    pub address: Address,
    /// What is there, as far as it can be seen without connecting: nothing can be
    /// of a Windows pipe.
    pub found: Option<Found>,
    /// What keeps programs from meeting there, or from meeting there safely.
    pub trouble: Option<Error>,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// In words, with an article: a socket, unless there is trouble.
    pub what: &'static str,
    /// Whose it is.
    pub owner: User,
    /// The permission bits of Unix, as in 0o600. Connecting takes the right to
    /// write.
    pub mode: u32,
}

/// Looks at all the places of an endpoint; makes nothing, and connects to nothing.
///
/// # Errors
///
/// As [`Endpoint::addresses`].
pub fn inspect(endpoint: &Endpoint) -> Result<Inspection, Error> {
    let addresses = endpoint.addresses()?;
    #[cfg(unix)]
    return Ok(Inspection {
        places: addresses.into_iter().map(crate::unix::inspect).collect(),
        passed_over: crate::unix::passed_over(endpoint),
    });
    #[cfg(windows)]
    return Ok(Inspection {
        places: addresses
            .into_iter()
            .map(|address| Inspected {
                address,
                found: None,
                trouble: None,
            })
            .collect(),
        passed_over: Vec::new(),
    });
}
