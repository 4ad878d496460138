//! What concerns the library as a whole: its version, the words for statuses, and the log.

use std::ffi::{c_char, c_void, CStr};

use super::{guard, require};
use crate::abi::{
    asock_log_callback, asock_status, ASOCK_LOG_TRACE, ASOCK_VERSION_MAJOR, ASOCK_VERSION_MINOR,
    ASOCK_VERSION_PATCH,
};
use crate::foreign::UserData;
use crate::status::Status;

/// The version of the library that was loaded: (major << 16) | (minor << 8) | patch. Any thread, never fails.
#[no_mangle]
pub extern "C" fn asock_version() -> u32 {
    ASOCK_VERSION_MAJOR << 16 | ASOCK_VERSION_MINOR << 8 | ASOCK_VERSION_PATCH
}

/// The version of the library that was loaded as text, such as "0.1.0". The text is the library's and stays for ever.
/// Any thread, never fails.
#[no_mangle]
pub extern "C" fn asock_version_string() -> *const c_char {
    const TEXT: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => panic!("a version has no zero inside"),
        };
    TEXT.as_ptr()
}

/// The name of a status, such as "ASOCK_CONNECTION_REFUSED"; "ASOCK_UNKNOWN_STATUS" for a number that is none. Never
/// NULL; the text is the library's and stays for ever. Any thread.
#[no_mangle]
pub extern "C" fn asock_status_name(status: asock_status) -> *const c_char {
    Status::from_code(status)
        .map_or(c"ASOCK_UNKNOWN_STATUS", Status::name)
        .as_ptr()
}

/// The meaning of a status in a few words of English, such as "connection refused"; "unknown status" for a number that
/// is none. Never NULL; the text is the library's and stays for ever. Any thread.
#[no_mangle]
pub extern "C" fn asock_status_text(status: asock_status) -> *const c_char {
    Status::from_code(status)
        .map_or(c"unknown status", Status::text)
        .as_ptr()
}

/// Sends what the library has to report to `log`, up to `level` (ASOCK_LOG_ERROR to ASOCK_LOG_TRACE), for all runtimes
/// of the process. NULL, or ASOCK_LOG_OFF, turns it off, as it is at the start: the library never writes to the terminal.
///
/// `log` is called from any thread, several at a time. When this call returns, the function that was set before no
/// longer runs and its `user_data` may be released; so it waits for one that is running. `user_data` stays the caller's.
///
/// Any thread. Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for an unknown level; ASOCK_WOULD_DEADLOCK from inside `log`.
#[no_mangle]
pub unsafe extern "C" fn asock_set_log(
    level: u32,
    log: asock_log_callback,
    user_data: *mut c_void,
) -> asock_status {
    guard(|| {
        require(level <= ASOCK_LOG_TRACE)?;
        crate::log::set(level, log, UserData::new(user_data))
    })
}
