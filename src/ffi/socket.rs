//! The calls on a socket that answer at once: opening, closing, options and addresses.

use std::ffi::c_char;

use super::{guard, host_text, literal, of_runtime, of_socket, require};
use crate::abi::*;
use crate::address::Address;
use crate::runtime::{self, Local, Setting};
use crate::status::{Answer, Status};
use crate::sys::Kind;

/// Makes a socket in a runtime: ASOCK_STREAM or ASOCK_DATAGRAM. It has no descriptor
/// of the system yet, since the address that it will connect to decides of which family that is.
///
/// `*socket` is written on ASOCK_OK; the caller owns the socket and closes it with `asock_close` or `asock_begin_close`.
/// Runtime 0 is the default runtime, which is started if it does not run.
///
/// Any thread, also inside a callback; never waits for the network. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED;
/// ASOCK_INVALID_ARGUMENT for NULL or an unknown type; ASOCK_STOPPED; ASOCK_TOO_MANY_SOCKETS past `max_sockets`;
/// ASOCK_OUT_OF_MEMORY; for runtime 0 also what `asock_runtime_start` returns.
#[no_mangle]
pub unsafe extern "C" fn asock_open(
    runtime: asock_runtime,
    r#type: u32,
    socket: *mut asock_socket,
) -> asock_status {
    guard(|| {
        let arguments = require(!socket.is_null()).and(match r#type {
            ASOCK_STREAM => Ok(Kind::Stream),
            ASOCK_DATAGRAM => Ok(Kind::Datagram),
            _ => Err(Status::InvalidArgument),
        });
        let kind = of_runtime(runtime, arguments)?;
        let opened = runtime::open(runtime, kind)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { socket.write(opened) };
        Ok(())
    })
}

/// Makes a socket of a descriptor that the application has (on Windows a SOCKET), and takes ownership of it on ASOCK_OK;
/// on any other status it stays the caller's. It may be a TCP, UDP or Unix socket (stream or datagram), fresh, bound,
/// connected or listening; anything else, such as a file, a pipe or a raw socket, is ASOCK_INVALID_ARGUMENT. `*socket` is
/// written on ASOCK_OK. Nobody else in the process may use the descriptor from then on.
///
/// It becomes close-on-exec and, on epoll, non-blocking, which holds for all that share it; io_uring leaves that as it is.
/// Its options stay as they are, but that connections of an adopted listener have ASOCK_OPTION_NODELAY on. A close shuts a
/// connection down, also for those that share it; a listener that was adopted is only closed. The file of an adopted unix
/// socket is never removed.
///
/// Any thread, also inside a callback; makes a few short system calls on the calling thread. Returns ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT also for NULL or a number that is no descriptor; ASOCK_STOPPED;
/// ASOCK_TOO_MANY_SOCKETS past `max_sockets`; ASOCK_OUT_OF_MEMORY; for runtime 0 also what `asock_runtime_start` returns.
#[no_mangle]
pub unsafe extern "C" fn asock_adopt(
    runtime: asock_runtime,
    os_socket: i64,
    socket: *mut asock_socket,
) -> asock_status {
    guard(|| {
        of_runtime(
            runtime,
            require(!socket.is_null()).and(descriptor_number(os_socket)),
        )?;
        let adopted = runtime::adopt(runtime, os_socket)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { socket.write(adopted) };
        Ok(())
    })
}

/// Gives the descriptor of a socket back to the application, which owns it from then on; the handle is stale on ASOCK_OK,
/// and `*os_socket` is written then. It has the number that it always had, is close-on-exec and non-blocking, whichever the
/// driver and however it was adopted. Connection and options are as they were.
///
/// While an operation of the socket is pending, a shutdown that has not taken effect among them, and on a socket that has
/// no descriptor: ASOCK_INVALID_STATE, and nothing has changed. Inside a callback its own operation is pending no more.
///
/// Any thread, also inside a callback; never waits for the network. Returns ASOCK_OK; ASOCK_INVALID_STATE;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL.
#[no_mangle]
pub unsafe extern "C" fn asock_release(socket: asock_socket, os_socket: *mut i64) -> asock_status {
    guard(|| {
        of_socket(socket, require(!os_socket.is_null()))?;
        let number = runtime::release(socket)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { os_socket.write(number) };
        Ok(())
    })
}

/// Gives a socket its local address: `host` is a literal address, "unix:PATH" or "unix:@NAME" (the port is then ignored),
/// or NULL for any address, of both families ("::" is the same): an IPv6 socket that takes IPv4 too, unless ASOCK_OPTION_V6_ONLY was set, and
/// IPv4 alone on a machine without IPv6. Port 0 lets the system choose one, which `asock_local_address` then tells. `host`
/// is copied.
///
/// The socket gets its descriptor here, and the options that were set before hold for it. A stream socket may then listen
/// or connect. A connect that fails leaves the socket bound: it keeps its descriptor, its address, and a port that was
/// given; one that the system chose may be another after that. A name is tried one address after the other.
///
/// "unix:PATH" makes a file; one that is there already, even a stale one, is ASOCK_ADDRESS_IN_USE and is never removed. The
/// file that was made is removed when the socket is closed or its runtime stops, unless something else is in its place by
/// then; after `asock_release` it is the caller's. A relative path is looked up again then.
///
/// Any thread, also inside a callback; makes a few short system calls on the calling thread. Returns ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for a host that is empty, longer than 253 bytes, not UTF-8 or no
/// literal address; ASOCK_INVALID_STATE for a socket that is bound, connecting or connected; ASOCK_ADDRESS_IN_USE;
/// ASOCK_ADDRESS_NOT_AVAILABLE, also for a path in no directory; ASOCK_ACCESS_DENIED; ASOCK_TOO_MANY_SOCKETS where the
/// system has no more descriptors; ASOCK_OUT_OF_MEMORY; what the system says to an option set before.
#[no_mangle]
pub unsafe extern "C" fn asock_bind(
    socket: asock_socket,
    host: *const c_char,
    port: u16,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that a host is a text that ends with a zero.
        let local = of_socket(socket, unsafe { local(host, port) })?;
        runtime::bind(socket, local)
    })
}

/// An address of this machine.
///
/// Safety: as for `host_text`, or NULL.
unsafe fn local(host: *const c_char, port: u16) -> Answer<Local> {
    if host.is_null() {
        return Ok(Local::Any(port));
    }
    // SAFETY: passed on by the caller of this function.
    let address = literal(unsafe { host_text(host) }?, port)?;
    address.map(Local::Address).ok_or(Status::InvalidArgument)
}

/// Lets a bound stream socket accept connections. `backlog` is how many may wait to be accepted; 0 or a negative number
/// means as many as the system allows. Once more on a socket that listens sets another backlog. `asock_begin_accept` then
/// takes one connection after the other. A listener does nothing else: a connect completes with ASOCK_INVALID_STATE, a send
/// or receive with ASOCK_NOT_CONNECTED.
///
/// Any thread, also inside a callback; makes one short system call on the calling thread. Returns ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_STATE for a socket that is not bound, or is connecting or connected;
/// ASOCK_NOT_SUPPORTED for a bound datagram socket; ASOCK_ADDRESS_IN_USE where another socket listens at the address
/// already: with ASOCK_OPTION_REUSE_ADDRESS, which `asock_bind` turns on, two may be bound to it, but one listens.
#[no_mangle]
pub extern "C" fn asock_listen(socket: asock_socket, backlog: i32) -> asock_status {
    guard(|| runtime::listen(socket, backlog))
}

/// Ends a direction of a connection, or both: ASOCK_SHUTDOWN_RECEIVE, ASOCK_SHUTDOWN_SEND, ASOCK_SHUTDOWN_BOTH.
///
/// SEND takes effect after the sends begun before it: they go out first, then the peer sees the end of the stream; sends
/// begun later complete with ASOCK_SHUT_DOWN. RECEIVE completes the pending receives with 0 bytes; sends go on. While a
/// connect is pending, all of it takes effect after the connect. Shutting down again is ASOCK_OK. Of a datagram socket the
/// peer is told nothing, and after RECEIVE every later receive completes with 0 bytes at once.
///
/// Any thread, also inside a callback; never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED;
/// ASOCK_INVALID_ARGUMENT for an unknown `how`; ASOCK_NOT_CONNECTED for a socket that is neither connected nor connecting;
/// ASOCK_STOPPED while its runtime is being stopped; ASOCK_OUT_OF_MEMORY.
#[no_mangle]
pub extern "C" fn asock_shutdown(socket: asock_socket, how: u32) -> asock_status {
    guard(|| {
        let how = match how {
            ASOCK_SHUTDOWN_RECEIVE => Ok((true, false)),
            ASOCK_SHUTDOWN_SEND => Ok((false, true)),
            ASOCK_SHUTDOWN_BOTH => Ok((true, true)),
            _ => Err(Status::InvalidArgument),
        };
        let (receive, send) = of_socket(socket, how)?;
        runtime::shutdown(socket, receive, send)
    })
}

/// Closes a socket. The handle is stale when this returns. Pending operations complete with ASOCK_CLOSED, soon, through
/// the usual delivery; an operation that had ended before keeps its own result. Queued sends are dropped, then the peer
/// sees the end of the stream, or a reset if ASOCK_OPTION_LINGER_S is 0. It is also a reset, as with every TCP program, where
/// bytes have arrived that nobody has received; then what the peer has not got yet is lost, after a draining close too.
/// Buffers are the caller's again with their completions, not before. To know when all is over, or to send what is queued
/// first, use `asock_begin_close`.
///
/// Any thread, also inside a callback; never waits, neither for the network nor for a callback, and is never refused by a
/// drain. Returns ASOCK_OK; ASOCK_BAD_HANDLE, also for a socket that is closed already; ASOCK_FORKED.
#[no_mangle]
pub extern "C" fn asock_close(socket: asock_socket) -> asock_status {
    guard(|| runtime::close(socket))
}

/// Sets an option (one of ASOCK_OPTION_...). Options set before there is a descriptor are kept, hold for the connection
/// whichever address it ends on, and also for a later connect after a failed one; one that the system then refuses fails
/// that connect. The library's time-outs bind the operations begun after this call.
///
/// Any thread, also inside a callback; makes at most one short system call on the calling thread. Returns ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for an unknown option, one that can only be read, or a value out
/// of range; what the system answers, such as ASOCK_ACCESS_DENIED or ASOCK_NOT_SUPPORTED.
#[no_mangle]
pub extern "C" fn asock_set_option(socket: asock_socket, option: u32, value: i64) -> asock_status {
    guard(|| {
        let setting = of_socket(socket, setting(option))?;
        runtime::set_option(socket, setting, value)
    })
}

/// Reads an option (one of ASOCK_OPTION_...). Before there is a descriptor it gives what was set, or the default; after
/// that the system's own answer, which may differ from what was set (Linux doubles the sizes of buffers).
///
/// `*value` is written on ASOCK_OK only. Any thread, also inside a callback; makes at most one short system call on the
/// calling thread. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL or an unknown option;
/// what the system answers.
#[no_mangle]
pub unsafe extern "C" fn asock_get_option(
    socket: asock_socket,
    option: u32,
    value: *mut i64,
) -> asock_status {
    guard(|| {
        let arguments = require(!value.is_null()).and(setting(option));
        let setting = of_socket(socket, arguments)?;
        let answer = runtime::get_option(socket, setting)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { value.write(answer) };
        Ok(())
    })
}

/// Has a datagram socket receive what is sent to a group of receivers, an IPv4 address from 224.0.0.0 to 239.255.255.255 or
/// an IPv6 address that begins with ff, whose port does not matter. `interface_index` says where from; 0 lets the system
/// choose, or the address with its scope. The socket has to be bound, to any address or to the group's, and to the port
/// that is sent to; on one for both families, groups of either can be joined. From the first of them on it receives what
/// is sent to groups that it has joined, and to no others. The close leaves all of them. To send to a group, a socket need
/// not have joined it.
///
/// Any thread, also inside a callback; makes one short system call on the calling thread. Returns ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL, an address that is no group's, or a stream socket;
/// ASOCK_INVALID_STATE for a socket that is neither bound nor connected and has not sent; ASOCK_ADDRESS_IN_USE for a group
/// that it has joined there; ASOCK_NOT_SUPPORTED for one of another family; what else the system answers.
#[no_mangle]
pub unsafe extern "C" fn asock_join_group(
    socket: asock_socket,
    group: *const asock_address,
    interface_index: u32,
) -> asock_status {
    // SAFETY: passed on from the header.
    guard(|| unsafe { change_group(socket, group, interface_index, true) })
}

/// Ends what `asock_join_group` with the same group and interface has begun.
///
/// Threads and returns as there, but ASOCK_ADDRESS_NOT_AVAILABLE for a group that it has not joined there.
#[no_mangle]
pub unsafe extern "C" fn asock_leave_group(
    socket: asock_socket,
    group: *const asock_address,
    interface_index: u32,
) -> asock_status {
    // SAFETY: passed on from the header.
    guard(|| unsafe { change_group(socket, group, interface_index, false) })
}

/// Safety: `group` is NULL or points to an address.
unsafe fn change_group(
    socket: u64,
    group: *const asock_address,
    interface_index: u32,
    join: bool,
) -> Answer<()> {
    let group = require(!group.is_null()).and_then(|()| {
        // SAFETY: not NULL, and the caller of this function says that it is an address then.
        Address::from_abi(unsafe { &*group }).ok_or(Status::InvalidArgument)
    });
    let group = of_socket(socket, group)?;
    of_socket(socket, require(group.is_group()))?;
    runtime::change_group(socket, &group, interface_index, join)
}

/// The local address of a socket; before a bind or a connect: `length` 0. `*address` is written on ASOCK_OK only and is
/// a plain value.
///
/// Any thread, also inside a callback; makes at most one short system call on the calling thread. Returns ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL; what the system answers.
#[no_mangle]
pub unsafe extern "C" fn asock_local_address(
    socket: asock_socket,
    address: *mut asock_address,
) -> asock_status {
    // SAFETY: passed on from the header.
    guard(|| unsafe { tell(socket, address, runtime::local_address) })
}

/// The address that a socket is connected to; before a connect: `length` 0. It is remembered after a reset. `*address`
/// is written on ASOCK_OK only and is a plain value.
///
/// Any thread, also inside a callback; makes at most one short system call on the calling thread. Returns ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL; what the system answers.
#[no_mangle]
pub unsafe extern "C" fn asock_remote_address(
    socket: asock_socket,
    address: *mut asock_address,
) -> asock_status {
    // SAFETY: passed on from the header.
    guard(|| unsafe { tell(socket, address, runtime::remote_address) })
}

/// Safety: `place` is NULL or may be written.
unsafe fn tell(
    socket: u64,
    place: *mut asock_address,
    ask: impl FnOnce(u64) -> Answer<Address>,
) -> Answer<()> {
    of_socket(socket, require(!place.is_null()))?;
    let address = ask(socket)?.to_abi();
    // SAFETY: not NULL, and the caller of this function says that it may be written.
    unsafe { place.write(address) };
    Ok(())
}

fn setting(option: u32) -> Answer<Setting> {
    Setting::of(option).ok_or(Status::InvalidArgument)
}

/// A descriptor is no negative number and, where it is an `int`, no larger one.
pub(super) fn descriptor_number(os_socket: i64) -> Answer<()> {
    require(os_socket >= 0 && (cfg!(windows) || os_socket <= i64::from(i32::MAX)))
}
