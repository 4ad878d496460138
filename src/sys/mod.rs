//! The system, made safe: every call of libc is here, and nothing above knows that an error is an errno or that a
//! descriptor is a number. Linux for now; another system brings another set of these files with the same names.
//!
//! Every descriptor made here is non-blocking and close-on-exec, every interrupted call is repeated, and no call
//! raises SIGPIPE.

#![allow(
    unsafe_code,
    reason = "system calls take raw pointers; each block says why its pointers are good"
)]

pub mod clock;
mod direct;
pub mod epoll;
pub mod event;
pub mod file;
pub mod message;
pub mod multicast;
pub mod name;
pub mod option;
pub mod outside;
mod port;
pub mod process;
pub mod server;
pub mod socket;
pub mod thread;

pub use epoll::{Epoll, Event, Events};
pub use event::EventFd;
pub use message::Message;
pub use option::SocketOption;
pub use process::PerProcess;
pub use socket::{Descriptor, Kind, RawDescriptor, ReceiveFlags, SendFlags};

use crate::status::OsError;

/// What a system call gives: a value, or the number of the error.
pub type SysResult<T> = Result<T, OsError>;

/// Nothing can be done at present; try again when the descriptor is ready.
pub const WOULD_BLOCK: OsError = OsError(libc::EAGAIN);
/// The call was interrupted before it had done anything.
pub const INTERRUPTED: OsError = OsError(libc::EINTR);
/// The operation was taken back.
pub const CANCELED: OsError = OsError(libc::ECANCELED);
/// A time that was to be waited for is over.
pub const TIME_IS_OVER: OsError = OsError(libc::ETIME);
/// This machine has no such thing.
pub const NOT_SUPPORTED: OsError = OsError(libc::EOPNOTSUPP);
/// There is no room.
pub const OUT_OF_MEMORY: OsError = OsError(libc::ENOMEM);
/// This machine has no such family of addresses.
pub const NO_SUCH_FAMILY: OsError = OsError(libc::EAFNOSUPPORT);
/// This machine has no such address.
pub const NO_SUCH_ADDRESS: OsError = OsError(libc::EADDRNOTAVAIL);
/// The peer refused the connection.
pub const CONNECTION_REFUSED: OsError = OsError(libc::ECONNREFUSED);

/// The error of the call just made on this thread.
fn last_error() -> OsError {
    OsError(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// The answer of a call that says -1 and sets errno when it fails.
fn checked(answer: libc::c_int) -> SysResult<libc::c_int> {
    if answer == -1 {
        Err(last_error())
    } else {
        Ok(answer)
    }
}

/// The same for a call that gives a count of bytes, and that is repeated while signals interrupt it.
#[inline(always)]
fn retried(mut call: impl FnMut() -> libc::ssize_t) -> SysResult<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => match last_error() {
                OsError(libc::EINTR) => {}
                error => return Err(error),
            },
        }
    }
}
