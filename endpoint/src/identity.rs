//! Who is on the other side, and who may be.

use std::fmt;

use crate::Error;

/// A user of the operating system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum User {
    /// The user id of a Unix system.
    Uid(u32),
    /// The security identifier of a Windows account, as `S-1-5-21-…`.
    Sid(String),
}

impl User {
    /// The user that this process acts as: its effective user id, or the user
    /// of its token on Windows (also while a thread impersonates another).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] on Windows, when the token of the process cannot be read.
    pub fn current() -> Result<User, Error> {
        #[cfg(unix)]
        return Ok(crate::unix::current_user());
        #[cfg(windows)]
        return crate::windows::current_user();
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Uid(uid) => write!(f, "uid {uid}"),
            User::Sid(sid) => write!(f, "SID {sid}"),
        }
    }
}

/// The program on the other side of a connection, as the system tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The user it runs as. This alone decides what it may do.
    pub user: User,
    /// Its primary group, on Unix.
    pub group: Option<u32>,
    /// Its process id, where the system says. Information for people and logs:
    /// the id of a process that ended is given to another, so it must never
    /// decide about access.
    pub process: Option<u32>,
}

impl Peer {
    /// A peer of that user, of which nothing else is known.
    #[must_use]
    pub fn new(user: User) -> Peer {
        Peer {
            user,
            group: None,
            process: None,
        }
    }
}

/// Who may be on the other side. A listener asks it about its clients, a
/// client about its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Only programs of the very same user (root or SYSTEM are others too).
    #[default]
    SameUser,
    /// Exactly these users; one's own is among them only if it is listed.
    Users(Vec<User>),
    /// Every user of this machine. Other machines are refused all the same.
    Anyone,
}

impl Access {
    /// Whether that peer is allowed.
    ///
    /// # Errors
    ///
    /// [`Error::WrongUser`], naming whom it found and whom it wanted, if not;
    /// add the place by [`Error::at`]. [`Error::Io`] if the own user cannot be
    /// told (Windows only).
    pub fn check(&self, found: &Peer) -> Result<(), Error> {
        let allowed = match self {
            Access::SameUser => User::current()? == found.user,
            Access::Users(users) => users.contains(&found.user),
            Access::Anyone => true,
        };
        if allowed {
            return Ok(());
        }
        Err(Error::WrongUser {
            found: found.user.clone(),
            wanted: self.clone(),
            address: None,
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::SameUser => match User::current() {
                Ok(user) => write!(f, "the same user ({user})"),
                Err(_) => write!(f, "the same user"),
            },
            Access::Users(users) => {
                for (index, user) in users.iter().enumerate() {
                    let before = if index == 0 { "" } else { " or " };
                    write!(f, "{before}{user}")?;
                }
                if users.is_empty() {
                    write!(f, "nobody")?;
                }
                Ok(())
            }
            Access::Anyone => write!(f, "anyone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody_else() -> User {
        match User::current().unwrap() {
            User::Uid(uid) => User::Uid(uid.wrapping_add(1)),
            User::Sid(sid) => User::Sid(format!("{sid}9")),
        }
    }

    #[test]
    fn the_same_user_passes_and_another_is_named() {
        let own = User::current().unwrap();
        Access::SameUser.check(&Peer::new(own.clone())).unwrap();
        let other = somebody_else();
        let error = Access::SameUser.check(&Peer::new(other.clone()));
        let text = error.unwrap_err().to_string();
        assert!(text.contains(&format!("runs as {other}")), "{text}");
        assert!(text.contains(&own.to_string()), "{text}");
    }

    #[test]
    fn listed_users_are_exactly_those() {
        let other = somebody_else();
        let access = Access::Users(vec![other.clone()]);
        access.check(&Peer::new(other)).unwrap();
        let own = Peer::new(User::current().unwrap());
        let error = access.check(&own).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::WrongUser);
        Access::Anyone.check(&own).unwrap();
        let nobody = Access::Users(Vec::new()).check(&own).unwrap_err();
        assert!(nobody.to_string().contains("only nobody"));
    }
}
