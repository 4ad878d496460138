//! Addresses as values: no socket, no name server, no waiting.

use std::ffi::c_char;
use std::fmt::{self, Write};

use super::{endpoint, guard, require};
use crate::abi::*;
use crate::address::{Address, Family};
use crate::runtime::Host;
use crate::status::{Answer, Status};

/// Reads a literal address: IPv4 as a strict dotted quad (octal, hexadecimal and short forms are none), IPv6 with an
/// optional %scope (a number, or the name of an interface), "unix:PATH", or "unix:@NAME" for a name in Linux's abstract
/// space (the port is then ignored). Names are not looked up: see `asock_begin_resolve`.
///
/// `host` is read during the call only. `*address` is written on ASOCK_OK only and is a plain value. Any thread; never
/// waits. Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for NULL, a host that is empty, longer than 253 bytes, not UTF-8 or no
/// literal address, a path longer than the system takes (107 bytes on Linux), an unknown interface, or port 0 with
/// anything but "unix:".
#[no_mangle]
pub unsafe extern "C" fn asock_address_parse(
    host: *const c_char,
    port: u16,
    address: *mut asock_address,
) -> asock_status {
    guard(|| {
        require(!address.is_null())?;
        // SAFETY: the header says that a host is a text that ends with a zero.
        let parsed = match unsafe { endpoint(host, port) }? {
            Host::Address(address) => address,
            Host::Name(..) => return Err(Status::InvalidArgument),
        };
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { address.write(parsed.to_abi()) };
        Ok(())
    })
}

/// Writes an address as text with a final zero, at most `capacity` bytes in all: "127.0.0.1:80", "[::1]:80",
/// "[fe80::1%3]:80", "unix:/p", "unix:@n", and nothing but the zero for no address. IPv6 is written as RFC 5952 says. Bytes
/// of a path that are no text are written as "?". ASOCK_ADDRESS_TEXT_MAX bytes always suffice.
///
/// `text` is the caller's and is written on ASOCK_OK only. Any thread; never waits. Returns ASOCK_OK;
/// ASOCK_INVALID_ARGUMENT for NULL, a malformed address, or too little room.
#[no_mangle]
pub unsafe extern "C" fn asock_address_format(
    address: *const asock_address,
    text: *mut c_char,
    capacity: usize,
) -> asock_status {
    guard(|| {
        // SAFETY: passed on from the header.
        let address = unsafe { given(address) }?;
        require(!text.is_null())?;
        let mut room = Room {
            bytes: [0; ASOCK_ADDRESS_TEXT_MAX],
            used: 0,
        };
        write!(room, "{address}").map_err(|_| Status::Internal)?;
        // One byte is left for the final zero, which is there already.
        let written = &room.bytes[..room.used + 1];
        require(written.len() <= capacity)?;
        // SAFETY: the header says that `text` has room for `capacity` bytes; ours is a local.
        unsafe {
            text.cast::<u8>()
                .copy_from_nonoverlapping(written.as_ptr(), written.len())
        };
        Ok(())
    })
}

/// The family of an address: ASOCK_FAMILY_IPV4, ASOCK_FAMILY_IPV6 or ASOCK_FAMILY_UNIX; ASOCK_FAMILY_NONE for NULL, no
/// address, or a malformed one. Any thread; never fails.
#[no_mangle]
pub unsafe extern "C" fn asock_address_family(address: *const asock_address) -> u32 {
    // SAFETY: passed on from the header.
    match unsafe { given(address) }.map(|address| address.family()) {
        Ok(Family::Ipv4) => ASOCK_FAMILY_IPV4,
        Ok(Family::Ipv6) => ASOCK_FAMILY_IPV6,
        Ok(Family::Unix) => ASOCK_FAMILY_UNIX,
        Ok(Family::None) | Err(_) => ASOCK_FAMILY_NONE,
    }
}

/// The port of an address, in the machine's own byte order; 0 for a unix socket, NULL, no address, or a malformed one.
/// Any thread; never fails.
#[no_mangle]
pub unsafe extern "C" fn asock_address_port(address: *const asock_address) -> u16 {
    // SAFETY: passed on from the header.
    unsafe { given(address) }.map_or(0, |address| address.port())
}

/// Safety: `address` is NULL or points to an `asock_address`.
unsafe fn given(address: *const asock_address) -> Answer<Address> {
    require(!address.is_null())?;
    // SAFETY: not NULL, and the caller of this function says that it is an address then.
    Address::from_abi(unsafe { &*address }).ok_or(Status::InvalidArgument)
}

/// Room for the text of any address, so that formatting allocates nothing.
struct Room {
    bytes: [u8; ASOCK_ADDRESS_TEXT_MAX],
    used: usize,
}

impl Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.used + text.len();
        if end >= self.bytes.len() {
            return Err(fmt::Error);
        }
        self.bytes[self.used..end].copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}
