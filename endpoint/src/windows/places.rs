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
            let everywhere = at(format!(r"\\.\pipe\{sid}\{name}"));
            if token::in_app_container() {
                Ok(vec![
                    at(format!(r"\\.\pipe\LOCAL\{sid}\{name}")),
                    everywhere,
                ])
            } else {
                Ok(vec![everywhere])
            }
        }
        Kind::Pipe(name) => Ok(vec![at(name.clone())]),
        Kind::Path(path) => Err(Error::Unsupported {
            what: format!("the socket path {}", path.display()),
            hint: r"use a name, or a full pipe name as \\.\pipe\app",
        }),
    }
}

fn at(name: String) -> Address {
    Address {
        place: Place::Pipe(name),
    }
}
