//! From what was asked for to the full name of a pipe.

use super::token;
use crate::address::{Address, Place};
use crate::endpoint::{Endpoint, Kind};
use crate::{Error, User};

pub(crate) fn addresses(endpoint: &Endpoint) -> Result<Vec<Address>, Error> {
    match &endpoint.kind {
        Kind::Name(name) => {
            let User::Sid(sid) = User::current()? else {
                return Ok(Vec::new());
            };
            Ok(named(&sid, name, token::in_app_container()))
        }
        Kind::Pipe(name) => Ok(vec![at(name.clone())]),
        Kind::Url(url) => Err(url.unsupported()),
        Kind::Path(path) => Err(Error::Unsupported {
            what: format!("the socket path {}", path.display()),
            hint: r"use a name, or a full pipe name as \\.\pipe\app",
        }),
    }
}

/// In an app container only names of its own can be made; others' are there to be
/// connected to, if they let it in.
fn named(sid: &str, name: &str, in_app_container: bool) -> Vec<Address> {
    let own = in_app_container.then(|| at(format!(r"\\.\pipe\LOCAL\{sid}\{name}")));
    let everywhere = at(format!(r"\\.\pipe\{sid}\{name}"));
    own.into_iter().chain([everywhere]).collect()
}

fn at(name: String) -> Address {
    Place::Pipe(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_app_container_the_own_place_comes_before_the_usual_one() {
        let places = |contained| -> Vec<String> {
            let places = named("S-1-5-21-7", "app", contained);
            places.iter().map(ToString::to_string).collect()
        };
        let (own, usual) = (r"\\.\pipe\LOCAL\S-1-5-21-7\app", r"\\.\pipe\S-1-5-21-7\app");
        assert_eq!(places(true), [own, usual]);
        assert_eq!(places(false), [usual]);
    }
}
