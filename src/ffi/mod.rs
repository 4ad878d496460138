//! The C functions: plain and thin. Each one checks what its arguments show, turns them into values of the library, and
//! makes one call of the runtime. The comments above them become `include/asock.h`, so they speak to the reader of C.
//!
//! The order of checks: a bad handle wins over a bad argument (the contract says so), but a good call shall not pay for
//! looking its handle up twice. So the arguments are checked first, and only when one of them is bad is the runtime
//! asked whether the handle is bad too.
#![allow(unsafe_code)] // The boundary: exported names, and pointers that come from C.
#![allow(clippy::missing_safety_doc)] // The comments are the C header's; they say who owns what, function by function.

use std::ffi::{c_char, c_void};
use std::mem::{size_of, MaybeUninit};
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::abi::{asock_callback, asock_op, asock_status, ASOCK_OK};
use crate::address::{Address, Family, ParseFailure};
use crate::foreign::{Buffer, HandleOut, Notify, UserData};
use crate::runtime::{check_operation, check_runtime, check_socket, interface_index, Host};
use crate::status::{Answer, Status};

mod address;
mod library;
mod operation;
mod runtime;
mod socket;

pub use address::*;
pub use library::*;
pub use operation::*;
pub use runtime::*;
pub use socket::*;

/// The longest host, in bytes, without the final zero: that of a name. No literal address and no path is longer.
const HOST_MAX: usize = 253;

/// No struct that grows will ever be larger; a larger `size` was never set.
const STRUCT_MAX: usize = 4096;

/// Runs the body of an exported function. No panic crosses the boundary (promise 10): it becomes a status.
fn guard(body: impl FnOnce() -> Answer<()>) -> asock_status {
    let outcome = crate::log::inside(|| catch_unwind(AssertUnwindSafe(body)));
    match outcome {
        Ok(Ok(())) => ASOCK_OK,
        Ok(Err(status)) => status.code(),
        Err(payload) => {
            // Dropping a payload may panic again; one that is left alone cannot.
            std::mem::forget(payload);
            Status::Internal.code()
        }
    }
}

/// The arguments of a call on a runtime: if they are bad, a bad handle comes first.
fn of_runtime<T>(runtime: u64, arguments: Answer<T>) -> Answer<T> {
    arguments.or_else(|status| check_runtime(runtime).and(Err(status)))
}

/// The same for a call on a socket.
fn of_socket<T>(socket: u64, arguments: Answer<T>) -> Answer<T> {
    arguments.or_else(|status| check_socket(socket).and(Err(status)))
}

/// The same for a call on an operation.
fn of_operation<T>(operation: u64, arguments: Answer<T>) -> Answer<T> {
    arguments.or_else(|status| check_operation(operation).and(Err(status)))
}

/// An argument that must hold.
fn require(holds: bool) -> Answer<()> {
    if holds {
        Ok(())
    } else {
        Err(Status::InvalidArgument)
    }
}

/// Flags of which only those in `known` have a meaning.
fn flags_within(flags: u32, known: u32) -> Answer<()> {
    require(flags & !known == 0)
}

/// A limit of waiting: -1 is none, and no other negative number means anything.
fn time_limit(timeout_ms: i32) -> Answer<()> {
    require(timeout_ms >= -1)
}

/// An array of `count` things of type T that no machine could hold, or one that is not there.
fn array_of<T>(first: *const T, count: usize) -> Answer<()> {
    require(count <= isize::MAX as usize / size_of::<T>() && (count == 0 || !first.is_null()))
}

/// The memory of a send or a receive.
///
/// Safety: as the contract says (promise 6): valid for `length` bytes until the completion is delivered.
unsafe fn buffer(data: *mut c_void, length: usize) -> Answer<Buffer> {
    array_of(data.cast::<u8>().cast_const(), length)?;
    // SAFETY: promise 6, passed on by the caller of this function.
    Ok(unsafe { Buffer::new(data.cast(), length) })
}

/// How the caller wants to hear of the operation.
///
/// Safety: as the contract says: `op` is NULL or may be written during the call.
unsafe fn notify(callback: asock_callback, user_data: *mut c_void, op: *mut asock_op) -> Notify {
    Notify {
        callback,
        user_data: UserData::new(user_data),
        // SAFETY: the header says that `op` is NULL or points to a place that may be written.
        op: unsafe { HandleOut::new(op) },
    }
}

/// The text of a host. At most `HOST_MAX` bytes and the zero behind them are read.
///
/// Safety: `host` is NULL or points to bytes that end with a zero, or to more than `HOST_MAX` of them.
unsafe fn host_text<'a>(host: *const c_char) -> Answer<&'a str> {
    require(!host.is_null())?;
    let host = host.cast::<u8>();
    // SAFETY: every byte before this one was not the final zero, so this one is still within the text.
    let length = (0..=HOST_MAX).find(|at| unsafe { host.add(*at).read() } == 0);
    let length = length.ok_or(Status::InvalidArgument)?;
    require(length > 0)?;
    // SAFETY: these bytes were just read, and the caller leaves them alone during the call.
    let bytes = unsafe { std::slice::from_raw_parts(host, length) };
    std::str::from_utf8(bytes).map_err(|_| Status::InvalidArgument)
}

/// The address that a host spells out; none if it is a name.
fn literal(host: &str, port: u16) -> Answer<Option<Address>> {
    match Address::parse(host, port, &interface_index) {
        Ok(address) => Ok(Some(address)),
        Err(ParseFailure::NotLiteral) => Ok(None),
        Err(ParseFailure::Invalid) => Err(Status::InvalidArgument),
    }
}

/// A host that something is to be sent to: only a unix socket has no port.
///
/// Safety: as for `host_text`.
unsafe fn endpoint<'a>(host: *const c_char, port: u16) -> Answer<Host<'a>> {
    // SAFETY: passed on by the caller of this function.
    let text = unsafe { host_text(host) }?;
    let address = literal(text, port)?;
    let is_unix = address.is_some_and(|address| address.family() == Family::Unix);
    require(port != 0 || is_unix)?;
    Ok(address.map_or(Host::Name(text, port), Host::Address))
}

/// An address that something is to be sent to.
///
/// Safety: `address` is NULL or points to an `asock_address`.
unsafe fn destination(address: *const crate::abi::asock_address) -> Answer<Address> {
    require(!address.is_null())?;
    // SAFETY: not NULL, and the header says that it is an address then.
    let address = Address::from_abi(unsafe { &*address }).ok_or(Status::InvalidArgument)?;
    match address.family() {
        Family::None => Err(Status::InvalidArgument),
        Family::Unix => Ok(address),
        Family::Ipv4 | Family::Ipv6 => require(address.port() != 0).map(|()| address),
    }
}

/// How much of a struct that begins with its own `size` the caller has. `first` is the size of its first version.
///
/// Safety: `place` is NULL or points to such a struct, `size` bytes long.
unsafe fn declared_size<T>(place: *const T, first: usize) -> Answer<usize> {
    require(!place.is_null())?;
    // SAFETY: not NULL; every such struct begins with its size.
    let size = unsafe { place.cast::<usize>().read() };
    require((first..=STRUCT_MAX).contains(&size))?;
    if size > size_of::<T>() {
        let bytes = place.cast::<u8>();
        // SAFETY: the caller says that the struct is `size` bytes long.
        let tail =
            unsafe { std::slice::from_raw_parts(bytes.add(size_of::<T>()), size - size_of::<T>()) };
        // The caller is newer than the library, and wants something that the library does not know.
        require(tail.iter().all(|byte| *byte == 0))?;
    }
    Ok(size)
}

/// A struct that configures: what an older caller does not have is zero.
///
/// Safety: as for `declared_size`; and T may be all zeros, and consists of integers only.
unsafe fn read_sized<T: Copy>(place: *const T, first: usize) -> Answer<T> {
    // SAFETY: passed on by the caller of this function.
    let size = unsafe { declared_size(place, first) }?.min(size_of::<T>());
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: both are at least `size` bytes long and do not overlap; T may be any bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(place.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), size);
        Ok(value.assume_init())
    }
}

#[cfg(test)]
mod tests;
