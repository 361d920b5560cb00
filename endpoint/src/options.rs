//! What a listener can be told, and what a client gets.

use crate::{Access, Address, Endpoint, Error, Listener, Peer, Stream};

/// How to listen.
///
/// ```no_run
/// use sealpipe_endpoint::{Endpoint, ListenOptions};
/// let listener = ListenOptions::new().backlog(64).listen(&Endpoint::name("app")?)?;
/// # Ok::<(), sealpipe_endpoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    pub(crate) access: Access,
    #[cfg_attr(windows, allow(dead_code))]
    pub(crate) backlog: u16,
    #[cfg_attr(unix, allow(dead_code))]
    pub(crate) pipe_buffer: u32,
    #[cfg_attr(unix, allow(dead_code))]
    pub(crate) remote_clients: bool,
    #[cfg_attr(unix, allow(dead_code))]
    pub(crate) message_mode: bool,
}

impl ListenOptions {
    /// The same user only, of this machine, 1024 clients in the backlog, pipe
    /// buffers of 64 KiB.
    #[must_use]
    pub fn new() -> ListenOptions {
        ListenOptions {
            access: Access::SameUser,
            backlog: 1024,
            pipe_buffer: 64 * 1024,
            remote_clients: false,
            message_mode: false,
        }
    }

    /// Who may connect. The permissions of the socket or pipe follow it: for
    /// the same user mode 0600, or a protected DACL for that user and SYSTEM;
    /// for anything wider mode 0666, or entries for those users (for
    /// authenticated users, if anyone may). Whoever accepts must still
    /// [`check`](Access::check) each client, for a mode cannot name a user.
    #[must_use]
    pub fn access(mut self, access: Access) -> ListenOptions {
        self.access = access;
        self
    }

    /// How many clients the system may keep until they are accepted. The
    /// system may have a lower limit of its own. Unix only: Windows has one
    /// waiting client per pipe instance.
    #[must_use]
    pub fn backlog(mut self, clients: u16) -> ListenOptions {
        self.backlog = clients;
        self
    }

    /// How many bytes a pipe buffers in each direction. Windows only.
    #[must_use]
    pub fn pipe_buffer(mut self, bytes: u32) -> ListenOptions {
        self.pipe_buffer = bytes;
        self
    }

    /// Whether programs on other machines may connect too, where Windows shares
    /// its pipes with the network; [`access`](Self::access) still says whose.
    /// What goes over the network so is not sealed by the system. Windows
    /// only: a Unix socket has no remote clients.
    #[must_use]
    pub fn remote_clients(mut self, allowed: bool) -> ListenOptions {
        self.remote_clients = allowed;
        self
    }

    /// Whether the pipe keeps messages apart: each write is one, and
    /// `PipeReader::try_read_message` reads one. Bytes in a row unless set. Windows
    /// only.
    #[must_use]
    pub fn message_mode(mut self, messages: bool) -> ListenOptions {
        self.message_mode = messages;
        self
    }

    /// Who may connect, as set by [`access`](Self::access), for the check of
    /// each client.
    #[must_use]
    pub fn allowed(&self) -> &Access {
        &self.access
    }

    /// Claims the endpoint's first address and listens there.
    ///
    /// Of several programs that start at once, one gets it. What a program
    /// that was killed left behind is taken over. What another listens on
    /// never is, and for a name neither if it listens at another of the
    /// name's addresses.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`] when another program has it;
    /// [`Error::Directory`] when its directory is missing or cannot be
    /// trusted; [`Error::NotASocket`] when something else is there;
    /// [`Error::PermissionDenied`] when the system forbids it;
    /// [`Error::AccessTooWide`] for [`Access::Anyone`] on an abstract socket;
    /// [`Error::InvalidUser`] when a listed user has no meaning here;
    /// [`Error::PathTooLong`] and [`Error::Unsupported`] as for
    /// [`Endpoint::addresses`]; [`Error::Io`] for anything else.
    pub fn listen(&self, endpoint: &Endpoint) -> Result<Listener, Error> {
        #[cfg(unix)]
        return crate::unix::listen(endpoint, self);
        #[cfg(windows)]
        return crate::windows::listen(endpoint, self);
    }
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

/// A connection to a server whose identity was checked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The handle, ready to be given to a runtime.
    pub stream: Stream,
    /// Which of the endpoint's addresses answered.
    pub address: Address,
    /// The server.
    pub peer: Peer,
}
