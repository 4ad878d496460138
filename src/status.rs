//! The statuses: one table of number, name and text, and one of system errors.

use std::ffi::CStr;

use crate::abi;
use crate::abi::asock_status;

/// What a call or an operation came to. The numbers are those of the C surface.
#[repr(i8)] // Records keep it: small.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)] // Each is described where its number is fixed, in `abi`.
pub enum Status {
    #[default]
    Ok = abi::ASOCK_OK as i8,
    InvalidArgument = abi::ASOCK_INVALID_ARGUMENT as i8,
    InvalidState = abi::ASOCK_INVALID_STATE as i8,
    BadHandle = abi::ASOCK_BAD_HANDLE as i8,
    NotSupported = abi::ASOCK_NOT_SUPPORTED as i8,
    WouldDeadlock = abi::ASOCK_WOULD_DEADLOCK as i8,
    Forked = abi::ASOCK_FORKED as i8,
    OutOfMemory = abi::ASOCK_OUT_OF_MEMORY as i8,
    QueueFull = abi::ASOCK_QUEUE_FULL as i8,
    TooManySockets = abi::ASOCK_TOO_MANY_SOCKETS as i8,
    Internal = abi::ASOCK_INTERNAL as i8,
    Canceled = abi::ASOCK_CANCELED as i8,
    Closed = abi::ASOCK_CLOSED as i8,
    Stopped = abi::ASOCK_STOPPED as i8,
    TimedOut = abi::ASOCK_TIMED_OUT as i8,
    HostNotFound = abi::ASOCK_HOST_NOT_FOUND as i8,
    NameServerFailed = abi::ASOCK_NAME_SERVER_FAILED as i8,
    ConnectionRefused = abi::ASOCK_CONNECTION_REFUSED as i8,
    ConnectionReset = abi::ASOCK_CONNECTION_RESET as i8,
    ConnectionAborted = abi::ASOCK_CONNECTION_ABORTED as i8,
    NetworkUnreachable = abi::ASOCK_NETWORK_UNREACHABLE as i8,
    HostUnreachable = abi::ASOCK_HOST_UNREACHABLE as i8,
    NotConnected = abi::ASOCK_NOT_CONNECTED as i8,
    AlreadyConnected = abi::ASOCK_ALREADY_CONNECTED as i8,
    ShutDown = abi::ASOCK_SHUT_DOWN as i8,
    AddressInUse = abi::ASOCK_ADDRESS_IN_USE as i8,
    AddressNotAvailable = abi::ASOCK_ADDRESS_NOT_AVAILABLE as i8,
    AccessDenied = abi::ASOCK_ACCESS_DENIED as i8,
    MessageTooLong = abi::ASOCK_MESSAGE_TOO_LONG as i8,
    OsError = abi::ASOCK_OS_ERROR as i8,
}

/// A result whose failure is a status. The failure is never `Status::Ok`.
pub type Answer<T> = Result<T, Status>;

/// An error number of the operating system, as it came; 0 means none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OsError(pub i32);

/// Every status once, in the order of the contract.
#[rustfmt::skip] // One row, one line: it is a table.
const TABLE: [(Status, &CStr, &CStr); 30] = [
    (Status::Ok, c"ASOCK_OK", c"ok"),
    (Status::InvalidArgument, c"ASOCK_INVALID_ARGUMENT", c"invalid argument"),
    (Status::InvalidState, c"ASOCK_INVALID_STATE", c"not possible in this state"),
    (Status::BadHandle, c"ASOCK_BAD_HANDLE", c"bad handle"),
    (Status::NotSupported, c"ASOCK_NOT_SUPPORTED", c"not supported"),
    (Status::WouldDeadlock, c"ASOCK_WOULD_DEADLOCK", c"the call would wait for its own thread"),
    (Status::Forked, c"ASOCK_FORKED", c"the handle belongs to the parent process"),
    (Status::OutOfMemory, c"ASOCK_OUT_OF_MEMORY", c"out of memory"),
    (Status::QueueFull, c"ASOCK_QUEUE_FULL", c"send queue full"),
    (Status::TooManySockets, c"ASOCK_TOO_MANY_SOCKETS", c"too many sockets"),
    (Status::Internal, c"ASOCK_INTERNAL", c"internal error"),
    (Status::Canceled, c"ASOCK_CANCELED", c"canceled"),
    (Status::Closed, c"ASOCK_CLOSED", c"socket closed"),
    (Status::Stopped, c"ASOCK_STOPPED", c"runtime stopped"),
    (Status::TimedOut, c"ASOCK_TIMED_OUT", c"timed out"),
    (Status::HostNotFound, c"ASOCK_HOST_NOT_FOUND", c"host not found"),
    (Status::NameServerFailed, c"ASOCK_NAME_SERVER_FAILED", c"name server failed"),
    (Status::ConnectionRefused, c"ASOCK_CONNECTION_REFUSED", c"connection refused"),
    (Status::ConnectionReset, c"ASOCK_CONNECTION_RESET", c"connection reset"),
    (Status::ConnectionAborted, c"ASOCK_CONNECTION_ABORTED", c"connection aborted"),
    (Status::NetworkUnreachable, c"ASOCK_NETWORK_UNREACHABLE", c"network unreachable"),
    (Status::HostUnreachable, c"ASOCK_HOST_UNREACHABLE", c"host unreachable"),
    (Status::NotConnected, c"ASOCK_NOT_CONNECTED", c"not connected"),
    (Status::AlreadyConnected, c"ASOCK_ALREADY_CONNECTED", c"already connected"),
    (Status::ShutDown, c"ASOCK_SHUT_DOWN", c"sending side shut down"),
    (Status::AddressInUse, c"ASOCK_ADDRESS_IN_USE", c"address in use"),
    (Status::AddressNotAvailable, c"ASOCK_ADDRESS_NOT_AVAILABLE", c"address not available"),
    (Status::AccessDenied, c"ASOCK_ACCESS_DENIED", c"access denied"),
    (Status::MessageTooLong, c"ASOCK_MESSAGE_TOO_LONG", c"message too long"),
    (Status::OsError, c"ASOCK_OS_ERROR", c"system error"),
];

/// What each error of the system means. One that is not here is `OsError`. EPIPE is told apart by the engine, which
/// knows whether it was our own shutdown; here it stands for the other cause.
const SYSTEM: [(i32, Status); 34] = [
    (libc::ECONNREFUSED, Status::ConnectionRefused),
    (libc::ECONNRESET, Status::ConnectionReset),
    (libc::EPIPE, Status::ConnectionReset),
    (libc::ECONNABORTED, Status::ConnectionAborted),
    (libc::ETIMEDOUT, Status::TimedOut),
    (libc::ECANCELED, Status::Canceled),
    (libc::ENETUNREACH, Status::NetworkUnreachable),
    (libc::ENETDOWN, Status::NetworkUnreachable),
    (libc::ENETRESET, Status::ConnectionReset),
    (libc::EHOSTUNREACH, Status::HostUnreachable),
    (libc::EHOSTDOWN, Status::HostUnreachable),
    (libc::ENOTCONN, Status::NotConnected),
    (libc::EDESTADDRREQ, Status::NotConnected),
    (libc::EISCONN, Status::AlreadyConnected),
    (libc::ESHUTDOWN, Status::ShutDown),
    (libc::EADDRINUSE, Status::AddressInUse),
    (libc::EADDRNOTAVAIL, Status::AddressNotAvailable),
    // The path of a unix socket that is not there, as .NET says it too.
    (libc::ENOENT, Status::AddressNotAvailable),
    (libc::ENOTDIR, Status::AddressNotAvailable),
    (libc::EACCES, Status::AccessDenied),
    (libc::EPERM, Status::AccessDenied),
    (libc::EROFS, Status::AccessDenied),
    (libc::EMSGSIZE, Status::MessageTooLong),
    (libc::EMFILE, Status::TooManySockets),
    (libc::ENFILE, Status::TooManySockets),
    (libc::ENOMEM, Status::OutOfMemory),
    (libc::ENOBUFS, Status::OutOfMemory),
    (libc::EINVAL, Status::InvalidArgument),
    (libc::EDOM, Status::InvalidArgument),
    (libc::EAFNOSUPPORT, Status::NotSupported),
    (libc::EPROTONOSUPPORT, Status::NotSupported),
    (libc::ESOCKTNOSUPPORT, Status::NotSupported),
    (libc::EOPNOTSUPP, Status::NotSupported),
    (libc::ENOPROTOOPT, Status::NotSupported),
];

impl Status {
    /// The number that crosses the boundary.
    pub const fn code(self) -> asock_status {
        self as asock_status
    }

    /// The name of the constant, such as `ASOCK_CONNECTION_REFUSED`.
    pub fn name(self) -> &'static CStr {
        self.row().1
    }

    /// The meaning in a few words, such as `connection refused`.
    pub fn text(self) -> &'static CStr {
        self.row().2
    }

    /// The status with this number, if there is one.
    pub fn from_code(code: i32) -> Option<Status> {
        TABLE
            .iter()
            .map(|row| row.0)
            .find(|status| status.code() == code)
    }

    /// What an error of the system means to a user; no error is `Ok`.
    pub fn of_os(error: OsError) -> Status {
        if error.0 == 0 {
            return Status::Ok;
        }
        let known = SYSTEM.iter().find(|row| row.0 == error.0);
        known.map_or(Status::OsError, |row| row.1)
    }

    fn row(self) -> &'static (Status, &'static CStr, &'static CStr) {
        // Every status is in the table; the first row stands in so that nothing here can panic.
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_row() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(Status::from_code(row.0.code()), Some(row.0));
            assert_eq!(row.0.name(), row.1);
            assert_eq!(row.0.text(), row.2);
            assert!(TABLE[..index]
                .iter()
                .all(|other| other.0 != row.0 && other.1 != row.1 && other.2 != row.2));
        }
    }

    #[test]
    fn numbers_are_those_of_the_first_commit() {
        let numbers: Vec<i32> = TABLE.iter().map(|row| row.0.code()).collect();
        let mut expected: Vec<i32> = (0..=10).map(|number| -number).collect();
        expected.extend((20..=23).map(|number| -number));
        expected.extend((40..=53).map(|number| -number));
        expected.push(-99);
        assert_eq!(numbers, expected);
    }

    #[test]
    fn unknown_numbers_are_none() {
        for code in [1, -11, -19, -24, -39, -54, -98, -100, i32::MIN, i32::MAX] {
            assert_eq!(Status::from_code(code), None);
        }
    }

    #[test]
    fn errors_of_the_system() {
        assert_eq!(
            Status::of_os(OsError(libc::ECONNREFUSED)),
            Status::ConnectionRefused
        );
        assert_eq!(Status::of_os(OsError(libc::EPIPE)), Status::ConnectionReset);
        assert_eq!(Status::of_os(OsError(libc::ETIMEDOUT)), Status::TimedOut);
        assert_eq!(Status::of_os(OsError(libc::EIO)), Status::OsError);
        assert_eq!(Status::of_os(OsError(-5)), Status::OsError);
        assert_eq!(Status::of_os(OsError(0)), Status::Ok);
        for (index, row) in SYSTEM.iter().enumerate() {
            assert!(
                SYSTEM[..index].iter().all(|other| other.0 != row.0),
                "errno {} is there twice",
                row.0
            );
        }
    }
}
