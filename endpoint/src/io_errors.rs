//! Errors of reading, writing and accepting that every adapter must take alike.

use std::io;

/// What an error of accepting a client means for the loop that accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcceptErrorKind {
    /// No error at all: the client was faster than the wait for it. Windows
    /// reports it as 535 (ERROR_PIPE_CONNECTED); take it as accepted.
    Connected,
    /// That client is gone, or the call was interrupted; accept the next.
    Retry,
    /// The process or the system has no room (descriptors, memory). Wait a
    /// little, a [`Backoff`](crate::Backoff) long, and go on accepting: asking
    /// again at once would only spin.
    Pause,
    /// The listener itself is broken.
    Fatal,
}

/// What to do about an error of accepting a client.
#[must_use]
pub fn accept_error_kind(error: &io::Error) -> AcceptErrorKind {
    match error.raw_os_error() {
        Some(code) => accept_code(code),
        None => match error.kind() {
            io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => AcceptErrorKind::Retry,
            io::ErrorKind::OutOfMemory => AcceptErrorKind::Pause,
            _ => AcceptErrorKind::Fatal,
        },
    }
}

/// Whether an error of reading or writing only says that the peer is gone, as
/// a read of zero bytes does: reset, aborted or broken pipe, by kind or by the
/// system's code; 109, 232 and 233 on Windows.
#[must_use]
pub fn is_end_of_stream(error: &io::Error) -> bool {
    // The kind knows the codes of Windows' sockets, too.
    let is_end = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    );
    is_end || error.raw_os_error().is_some_and(end_code)
}

#[cfg(unix)]
fn accept_code(code: i32) -> AcceptErrorKind {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(code) {
        // Some systems report the client's own trouble from accept.
        Errno::INTR
        | Errno::AGAIN
        | Errno::CONNABORTED
        | Errno::CONNRESET
        | Errno::PROTO
        | Errno::PIPE
        | Errno::TIMEDOUT => AcceptErrorKind::Retry,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => AcceptErrorKind::Pause,
        _ => AcceptErrorKind::Fatal,
    }
}

#[cfg(unix)]
fn end_code(code: i32) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_raw_os_error(code),
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED | Errno::NOTCONN
    )
}

#[cfg(windows)]
fn accept_code(code: i32) -> AcceptErrorKind {
    use windows_sys::Win32::Foundation as code;
    match code.cast_unsigned() {
        code::ERROR_PIPE_CONNECTED => AcceptErrorKind::Connected,
        // The client connected and closed again before it was waited for.
        code::ERROR_NO_DATA
        | code::ERROR_BROKEN_PIPE
        | code::ERROR_PIPE_NOT_CONNECTED
        | code::ERROR_OPERATION_ABORTED => AcceptErrorKind::Retry,
        code::ERROR_TOO_MANY_OPEN_FILES
        | code::ERROR_NOT_ENOUGH_MEMORY
        | code::ERROR_OUTOFMEMORY
        | code::ERROR_NO_SYSTEM_RESOURCES
        | code::ERROR_NOT_ENOUGH_QUOTA
        | code::ERROR_COMMITMENT_LIMIT
        | code::ERROR_PIPE_BUSY => AcceptErrorKind::Pause,
        _ => AcceptErrorKind::Fatal,
    }
}

#[cfg(windows)]
fn end_code(code: i32) -> bool {
    use windows_sys::Win32::Foundation as code;
    matches!(
        code.cast_unsigned(),
        code::ERROR_BROKEN_PIPE | code::ERROR_NO_DATA | code::ERROR_PIPE_NOT_CONNECTED
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    const CASES: &[(i32, AcceptErrorKind)] = &[
        (libc::ECONNABORTED, AcceptErrorKind::Retry),
        (libc::EINTR, AcceptErrorKind::Retry),
        (libc::EMFILE, AcceptErrorKind::Pause),
        (libc::ENFILE, AcceptErrorKind::Pause),
        (libc::EBADF, AcceptErrorKind::Fatal),
        (libc::EINVAL, AcceptErrorKind::Fatal),
    ];
    #[cfg(windows)]
    const CASES: &[(i32, AcceptErrorKind)] = &[
        (535, AcceptErrorKind::Connected),
        (232, AcceptErrorKind::Retry),
        (109, AcceptErrorKind::Retry),
        (4, AcceptErrorKind::Pause),
        (231, AcceptErrorKind::Pause),
        (6, AcceptErrorKind::Fatal),
    ];
    #[cfg(unix)]
    const ENDS: &[i32] = &[libc::ECONNRESET, libc::EPIPE];
    #[cfg(windows)]
    const ENDS: &[i32] = &[109, 232, 233, 10053, 10054];
    #[cfg(unix)]
    const NO_END: i32 = libc::EAGAIN;
    #[cfg(windows)]
    const NO_END: i32 = 234;

    #[test]
    fn errors_of_accept_are_told_apart() {
        for &(code, kind) in CASES {
            assert_eq!(
                accept_error_kind(&io::Error::from_raw_os_error(code)),
                kind,
                "{code}"
            );
        }
        let custom = io::Error::from(io::ErrorKind::Interrupted);
        assert_eq!(accept_error_kind(&custom), AcceptErrorKind::Retry);
    }

    #[test]
    fn every_code_of_a_gone_peer_is_an_end() {
        for &code in ENDS {
            assert!(
                is_end_of_stream(&io::Error::from_raw_os_error(code)),
                "{code}"
            );
        }
        assert!(!is_end_of_stream(&io::Error::from_raw_os_error(NO_END)));
        assert!(is_end_of_stream(&io::ErrorKind::BrokenPipe.into()));
        assert!(!is_end_of_stream(&io::ErrorKind::WouldBlock.into()));
    }
}
