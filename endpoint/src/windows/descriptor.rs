//! Who may open a pipe.
#![allow(unsafe_code)]

use std::io;
use std::ptr;

use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::PSECURITY_DESCRIPTOR;

use super::memory::{Local, wide};
use crate::{Access, Error, ListenOptions, User};

/// What a client needs and no more: to read, to write, and to read the owner.
/// The usual generic write would include the right to make instances of the
/// pipe, and so to pose as the server.
pub(super) const CLIENT_RIGHTS: u32 = 0x0012_019b;

/// A self-relative security descriptor.
#[derive(Clone, Debug)]
pub(super) struct Descriptor {
    /// In units of u64, for its alignment.
    bytes: Box<[u64]>,
}

impl Descriptor {
    pub(super) fn of(options: &ListenOptions) -> Result<Descriptor, Error> {
        let text = text(options, &User::current()?)?;
        Descriptor::parse(&text)
            .map_err(|source| Error::io("making the security descriptor", text, source))
    }

    pub(super) fn pointer(&self) -> PSECURITY_DESCRIPTOR {
        self.bytes.as_ptr().cast_mut().cast()
    }

    fn parse(text: &str) -> io::Result<Descriptor> {
        let text = wide(text);
        let mut made = Local(ptr::null_mut());
        let mut size = 0_u32;
        // SAFETY: the text ends with a NUL, and the pointers for the results
        // are to live variables.
        let result = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut made.0,
                &raw mut size,
            )
        };
        if result == 0 {
            return Err(io::Error::last_os_error());
        }
        let size = usize::try_from(size).unwrap_or(0);
        let mut bytes = vec![0_u64; size.div_ceil(8)].into_boxed_slice();
        // SAFETY: the descriptor is self-relative and has `size` bytes, for
        // which the new buffer has room; they do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(made.0.cast::<u8>(), bytes.as_mut_ptr().cast(), size);
        }
        Ok(Descriptor { bytes })
    }
}

/// The descriptor as text (SDDL). The owner is named, for else it would be the
/// administrators' group where the program runs elevated, and the client would
/// not know whose it is. The list is protected, so that nothing is inherited,
/// and refuses the network before all else, unless that is allowed.
fn text(options: &ListenOptions, owner: &User) -> Result<String, Error> {
    let owner = sid(owner)?;
    let network = if options.remote_clients {
        ""
    } else {
        "(D;;GA;;;NU)"
    };
    let mut text = format!("O:{owner}D:P{network}(A;;GA;;;{owner})(A;;GA;;;SY)");
    let mut allow = |who: &str| text.push_str(&format!("(A;;0x{CLIENT_RIGHTS:x};;;{who})"));
    match &options.access {
        Access::SameUser => {}
        Access::Users(users) => {
            for user in users {
                allow(sid(user)?);
            }
        }
        Access::Anyone => allow("AU"),
    }
    Ok(text)
}

/// The SID, once it is sure that it is one: it becomes part of a text that is
/// parsed.
fn sid(user: &User) -> Result<&str, Error> {
    match user {
        User::Sid(sid)
            if sid.starts_with("S-1-")
                && sid[4..]
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'-') =>
        {
            Ok(sid)
        }
        _ => Err(Error::InvalidUser {
            user: user.clone(),
            hint: "give the SID of an account, as S-1-5-21-…",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> User {
        User::Sid(text.to_owned())
    }

    fn allowing(access: Access) -> ListenOptions {
        ListenOptions::new().access(access)
    }

    #[test]
    fn the_text_follows_the_access() {
        let owner = account("S-1-5-21-1");
        let same = text(&ListenOptions::new(), &owner).unwrap();
        assert_eq!(
            same,
            "O:S-1-5-21-1D:P(D;;GA;;;NU)(A;;GA;;;S-1-5-21-1)(A;;GA;;;SY)"
        );
        let wider = text(
            &allowing(Access::Users(vec![account("S-1-5-21-2")])),
            &owner,
        )
        .unwrap();
        assert_eq!(wider, format!("{same}(A;;0x12019b;;;S-1-5-21-2)"));
        let anyone = text(&allowing(Access::Anyone), &owner).unwrap();
        assert_eq!(anyone, format!("{same}(A;;0x12019b;;;AU)"));
        let remote = text(&ListenOptions::new().remote_clients(true), &owner).unwrap();
        assert_eq!(remote, same.replace("(D;;GA;;;NU)", ""));
    }

    #[test]
    fn what_is_no_sid_does_not_get_into_the_text() {
        for user in [
            account("WD"),
            account("S-1-1-0)(A;;GA;;;WD"),
            account(""),
            User::Uid(0),
        ] {
            let error = Descriptor::of(&allowing(Access::Users(vec![user]))).unwrap_err();
            assert!(matches!(error, Error::InvalidUser { .. }), "{error}");
        }
    }
}
