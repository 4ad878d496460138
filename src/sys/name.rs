//! Names: of hosts, as the system's resolver knows them, and of interfaces.

use super::last_error;
use crate::address::Address;
use crate::status::{OsError, Status};
use std::ffi::{CStr, CString};

/// The addresses of a host, in the order in which the system prefers them (RFC 6724), without a
/// port. This may take as long as the system's resolver likes.
pub fn look_up(host: &CStr) -> Result<Vec<Address>, (Status, OsError)> {
    // SAFETY: every field of this struct may be zero.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    hints.ai_socktype = libc::SOCK_STREAM; // One entry an address, and not one a protocol.
    let mut list = std::ptr::null_mut();
    // SAFETY: the text ends with a zero, and the other pointers are those of locals.
    let answer = unsafe {
        libc::getaddrinfo(
            host.as_ptr(),
            std::ptr::null(),
            &raw const hints,
            &raw mut list,
        )
    };
    if answer != 0 {
        return Err(failure(answer));
    }
    let mut addresses = Vec::new();
    let mut entry = list;
    // SAFETY: the list is the resolver's own until it is freed below, and ends with a null.
    while let Some(found) = unsafe { entry.as_ref() } {
        if !found.ai_addr.is_null() {
            // SAFETY: the resolver gave the length of the address that it points to.
            let bytes = unsafe {
                std::slice::from_raw_parts(found.ai_addr.cast::<u8>(), found.ai_addrlen as usize)
            };
            let address = Address::from_bytes(bytes);
            if address != Address::NONE && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        entry = found.ai_next;
    }
    // SAFETY: the list came from `getaddrinfo`, and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    if addresses.is_empty() {
        return Err((Status::HostNotFound, OsError(0)));
    }
    Ok(addresses)
}

/// What an answer of the resolver means. Its numbers are no errno.
fn failure(answer: libc::c_int) -> (Status, OsError) {
    /// The name exists and has no address; POSIX has dropped the name, systems still say it.
    const NO_DATA: libc::c_int = -5;
    /// The name has no address of the family that was asked for.
    const NO_SUCH_FAMILY: libc::c_int = -9;
    match answer {
        libc::EAI_NONAME | NO_DATA | NO_SUCH_FAMILY => (Status::HostNotFound, OsError(0)),
        libc::EAI_MEMORY => (Status::OutOfMemory, OsError(0)),
        libc::EAI_SYSTEM => {
            let error = last_error();
            (Status::of_os(error), error)
        }
        _ => (Status::NameServerFailed, OsError(0)),
    }
}

/// The number of a network interface, for the scope of an address such as `fe80::1%eth0`.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the pointer is that of a text with its zero byte, and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Family;

    #[test]
    fn localhost_has_an_address() {
        let found = look_up(c"localhost").expect("the hosts file knows it");
        assert!(found.iter().all(Address::is_loopback));
        assert!(found.iter().any(|address| address.family() == Family::Ipv4));
    }

    #[test]
    fn a_name_that_cannot_be() {
        let failed = look_up(c"no..such").expect_err("is no name");
        assert!(matches!(
            failed.0,
            Status::HostNotFound | Status::NameServerFailed
        ));
    }

    #[test]
    fn names_that_no_interface_has() {
        assert_eq!(interface_index(""), None);
        assert_eq!(interface_index("no such interface here"), None);
        assert_eq!(interface_index("l\0o"), None);
    }
}
