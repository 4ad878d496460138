//! The operations: begin, wait, end, forget, cancel, deadline.

use std::ffi::{c_char, c_void};

use super::{
    array_of, buffer, destination, endpoint, flags_within, guard, notify, of_operation, of_runtime,
    of_socket, require, time_limit,
};
use crate::abi::*;
use crate::foreign::{AddressOut, Buffer, Pieces};
use crate::runtime::{self, Host};
use crate::status::{Answer, Status};

const SEND_FLAGS: u32 = ASOCK_SEND_COPY | ASOCK_SEND_MORE | ASOCK_SEND_OUT_OF_BAND;
const RECEIVE_FLAGS: u32 = ASOCK_RECEIVE_ALL | ASOCK_RECEIVE_PEEK | ASOCK_RECEIVE_OUT_OF_BAND;
const CLOSE_FLAGS: u32 = ASOCK_CLOSE_DRAIN | ASOCK_CLOSE_RESET;

/// Begins to connect a socket to a host: a literal IPv4 or IPv6 address, the name of a host (at most 253 bytes), or
/// "unix:PATH" (the port is then ignored). A name is looked up by the system's resolver, on a thread of the runtime's own,
/// and its addresses are tried as RFC 8305 says (Happy Eyeballs): the families take turns, every 250 ms another attempt
/// joins those that have not ended, the first that connects wins, and if none does the last failure is the completion's
/// status. A time-out covers the look-up and all attempts. A listener whose queue is full is waited for, over unix sockets
/// too. `host` is copied.
///
/// Operations begun while the connect is pending wait for it, and complete with its status if it fails; a second connect
/// then completes with ASOCK_ALREADY_CONNECTED if the first succeeds. After a failed connect the socket may connect again,
/// and its options are kept.
///
/// The connect of a datagram socket sends nothing. It names the peer to whom `asock_begin_send` sends, and the only one
/// from whom datagrams are received; of several addresses it is the first that the system can reach. Another connect
/// changes the peer, for the sends begun after it; if it fails, those that were begun behind it complete with its status,
/// and the peer is who it was.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
/// returns ASOCK_INVALID_ARGUMENT for a host that is NULL, empty, longer, or not UTF-8, an address that cannot be, or port 0.
/// Completes with ASOCK_OK; ASOCK_CONNECTION_REFUSED, ASOCK_NETWORK_UNREACHABLE, ASOCK_HOST_UNREACHABLE, ASOCK_TIMED_OUT,
/// ASOCK_HOST_NOT_FOUND, ASOCK_NAME_SERVER_FAILED, ASOCK_ADDRESS_NOT_AVAILABLE, ASOCK_ACCESS_DENIED,
/// ASOCK_TOO_MANY_SOCKETS; ASOCK_ALREADY_CONNECTED, the connection being unharmed; ASOCK_INVALID_STATE on a socket that
/// listens; what the system says to an option set before, or else; or one of the four that end any operation.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_connect(
    socket: asock_socket,
    host: *const c_char,
    port: u16,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that a host is a text that ends with a zero.
        let host = of_socket(socket, unsafe { endpoint(host, port) })?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_connect(socket, host, notify)
    })
}

/// Begins to connect a socket to one address, which is copied. Otherwise like `asock_begin_connect`.
///
/// Returns ASOCK_INVALID_ARGUMENT for NULL, no address, a malformed one, or one with port 0.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_connect_address(
    socket: asock_socket,
    address: *const asock_address,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that `address` points to an address.
        let address = of_socket(socket, unsafe { destination(address) })?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_connect(socket, Host::Address(address), notify)
    })
}

/// Begins to send `length` bytes on a connection: all of them. It completes when the system has taken every byte, so
/// ASOCK_OK means `bytes == length`. Sends take effect in the order begun, and their successes complete in that order.
///
/// `data` belongs to the library until the completion is delivered: do not change or release it before (with
/// ASOCK_SEND_COPY: only during the call). With neither `callback` nor `op`, on a runtime that delivers on its worker,
/// nobody is told: `data` is then free when an `asock_begin_close` of the socket completes or the runtime has stopped.
/// A length of 0 is allowed (`data` may be NULL) and completes in its turn. `flags`: ASOCK_SEND_COPY, ASOCK_SEND_MORE,
/// ASOCK_SEND_OUT_OF_BAND.
///
/// On a datagram socket a send is one datagram, which may be empty, to the peer that the last connect has named. It goes
/// as a whole or not at all (ASOCK_MESSAGE_TOO_LONG), and its failure stops none of those behind it. That nobody listens
/// at the peer's port is known after the send: ASOCK_CONNECTION_REFUSED comes once, to the first receive that is pending,
/// or else to the next operation that the system refuses for it, of which a send has sent nothing. The socket stays as it
/// is. ASOCK_SEND_MORE changes nothing, since each send is a datagram of its own.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
/// returns ASOCK_QUEUE_FULL past ASOCK_OPTION_SEND_QUEUE_LIMIT, and ASOCK_INVALID_ARGUMENT for an unknown flag, or NULL with
/// a length, a length that no object can have, or ASOCK_SEND_OUT_OF_BAND on a datagram socket. Completes with ASOCK_OK;
/// ASOCK_NOT_CONNECTED; ASOCK_SHUT_DOWN; ASOCK_MESSAGE_TOO_LONG;
/// ASOCK_CONNECTION_RESET; ASOCK_TIMED_OUT; the status of the connect that it waited for; or one of the four that end any
/// operation. `bytes` tells how much of it was sent. A send that is cut after its first byte has broken the stream: those
/// queued behind it complete with its status and 0 bytes; sends begun after its completion go on.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_send(
    socket: asock_socket,
    data: *const c_void,
    length: usize,
    flags: u32,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        let known = flags_within(flags, SEND_FLAGS);
        // SAFETY: promise 6: the memory is the library's until the completion. It is only read.
        let data = known.and_then(|()| unsafe { buffer(data.cast_mut(), length) });
        let data = of_socket(socket, data)?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_send(socket, data, flags, notify)
    })
}

/// Begins to receive at most `length` bytes from a connection. It completes when there is at least one byte, with as many
/// as there are, or with 0 bytes and ASOCK_OK when the peer has closed its side, and again on each later receive.
/// Receives take effect in the order begun, and their successes complete in that order.
///
/// `buffer` belongs to the library until the completion is delivered: do not read, change or release it before. A receive
/// of length 0 (`buffer` may be NULL) completes when there is something to read, or the end, and takes nothing.
/// `flags`: ASOCK_RECEIVE_ALL completes when the buffer is full or the stream ends; ASOCK_RECEIVE_PEEK leaves the bytes in
/// the stream; ASOCK_RECEIVE_OUT_OF_BAND takes the urgent byte.
///
/// On a datagram socket a receive takes one datagram, of which at most `length` bytes are kept: ASOCK_RESULT_TRUNCATED in
/// `flags` of the completion tells that there were more. A datagram may be empty, so 0 bytes are no end. Of length 0 the
/// receive leaves the datagram where it is. The socket need not be connected if it is bound or has sent.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
/// returns ASOCK_INVALID_ARGUMENT for an unknown flag, ALL together with another flag, NULL with a length, a length that no
/// object can have, ALL or OUT_OF_BAND on a datagram socket, and, on a runtime that delivers on its worker, neither
/// `callback` nor `op`, since nobody could see the result. Completes with ASOCK_OK; ASOCK_NOT_CONNECTED; ASOCK_CONNECTION_RESET; ASOCK_TIMED_OUT; the status of the connect
/// that it waited for; or one of the four that end any operation. `bytes` of a receive that was cut short are in the
/// buffer and consumed.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_receive(
    socket: asock_socket,
    buffer: *mut c_void,
    length: usize,
    flags: u32,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        // SAFETY: promise 6: the memory is the library's until the completion.
        let room = receive_flags(flags).and_then(|()| unsafe { super::buffer(buffer, length) });
        let room = of_socket(socket, room)?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_receive(socket, room, flags, notify)
    })
}

/// Closes a socket and tells when all is over: it completes after every other completion of the socket has been delivered
/// and its callback has returned. The handle is stale when this call returns ASOCK_OK.
///
/// With no flag like `asock_close`: what is queued is dropped. ASOCK_CLOSE_DRAIN: what is queued is sent first, while
/// pending receives end at once. ASOCK_CLOSE_RESET: the connection is reset (RST). A draining close that is met by a drain,
/// a stop, `asock_cancel` or a deadline drops its queue, closes, and completes with that status. Every other close
/// completes with ASOCK_OK, also where a send that it waited for has failed: that is in the send's own completion.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above; on any
/// status but ASOCK_OK the socket stays open. Also returns ASOCK_INVALID_ARGUMENT for an unknown flag or both.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_close(
    socket: asock_socket,
    flags: u32,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        let arguments = flags_within(flags, CLOSE_FLAGS).and(require(flags != CLOSE_FLAGS));
        of_socket(socket, arguments)?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_close(socket, flags, notify)
    })
}

/// Like `asock_begin_send`, from several pieces of memory in one operation: their bytes follow one another, and `bytes` of
/// the completion counts all of them. Any number of pieces, and some or all of them may have the length 0. The array is
/// copied, the pieces belong to the library until the completion is delivered (with ASOCK_SEND_COPY: only during the call).
/// `buffer` of the completion is `data` of the first piece.
///
/// On a datagram socket the pieces make one datagram; more of them than the system takes at once (1024 on Linux, those of
/// length 0 not counted) are ASOCK_MESSAGE_TOO_LONG.
///
/// Also returns ASOCK_INVALID_ARGUMENT for no pieces, a piece that is NULL with a length, or lengths that together no object
/// can have.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_send_vectored(
    socket: asock_socket,
    buffers: *const asock_buffer,
    count: usize,
    flags: u32,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        let known = flags_within(flags, SEND_FLAGS);
        // SAFETY: the header says that `buffers` points to `count` pieces, and promise 6 is about their memory.
        let pieces = known.and_then(|()| unsafe { pieces(buffers, count) });
        let pieces = of_socket(socket, pieces)?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_send_vectored(socket, &pieces, flags, &notify)
    })
}

/// Like `asock_begin_receive`, into several pieces of memory, filled in their order: none is begun before the one before it
/// is full, and `bytes` of the completion counts all of them. ASOCK_RECEIVE_ALL fills them all. Any number of pieces, and
/// some of them may have the length 0; if all have, it is a receive of length 0. The array is copied, the pieces belong to
/// the library until the completion is delivered. `buffer` of the completion is `data` of the first piece.
///
/// On a datagram socket one datagram is spread over the pieces (more of them than 1024, those of length 0 not counted:
/// completes with ASOCK_MESSAGE_TOO_LONG).
///
/// Also returns ASOCK_INVALID_ARGUMENT for no pieces, a piece that is NULL with a length, or lengths that together no object
/// can have.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_receive_vectored(
    socket: asock_socket,
    buffers: *const asock_buffer,
    count: usize,
    flags: u32,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that `buffers` points to `count` pieces, and promise 6 is about their memory.
        let pieces = receive_flags(flags).and_then(|()| unsafe { pieces(buffers, count) });
        let pieces = of_socket(socket, pieces)?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_receive_vectored(socket, &pieces, flags, &notify)
    })
}

/// Begins to send `length` bytes of a file, from `offset` on, without bringing them into the application's memory: all of
/// them. It takes its place among the other sends, completes as ASOCK_KIND_SEND when the system has taken every byte, and
/// its bytes count for ASOCK_OPTION_SEND_QUEUED and ASOCK_OPTION_SEND_QUEUE_LIMIT. `buffer` of the completion is NULL.
///
/// `os_file` is the descriptor (Windows: a HANDLE) of a regular file that is open for reading. It stays the caller's, who
/// may close it as soon as this call has returned; its own position is neither used nor moved. The file itself is read
/// while it is sent, and after the completion what the peer has not yet confirmed is still sent from it: what is written
/// into the file meanwhile may or may not be what arrives. A length of 0 completes in its turn, and nothing is read.
///
/// The file is read on a thread of the runtime's own, so a slow disk does not hold up other sockets; at most 16 parts of
/// files are read at once. A cancel, a deadline, a close and a stop wait for the read in progress, of 1 MiB at most: the
/// completion comes when the disk has answered (`asock_close` itself never waits, `asock_runtime_stop` does).
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
/// returns ASOCK_QUEUE_FULL past ASOCK_OPTION_SEND_QUEUE_LIMIT; ASOCK_INVALID_ARGUMENT for a number that is no such file, or
/// an end that no file can have; ASOCK_TOO_MANY_SOCKETS if the process has no descriptor left. Completes like
/// `asock_begin_send`; also with ASOCK_INVALID_ARGUMENT if the file ends before `offset + length` (`bytes` tells how many
/// there were), or its file system has no such way of sending (`os_error` is then set); with ASOCK_OS_ERROR if it cannot be
/// read; and with ASOCK_NOT_SUPPORTED on a datagram socket.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_send_file(
    socket: asock_socket,
    os_file: i64,
    offset: u64,
    length: u64,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        let end = offset.checked_add(length);
        let ends = require(end.is_some_and(|end| end <= i64::MAX as u64));
        let arguments = super::socket::descriptor_number(os_file).and(ends);
        let length = arguments.and(usize::try_from(length).map_err(|_| Status::InvalidArgument));
        let length = of_socket(socket, length)?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_send_file(socket, os_file, offset, length, &notify)
    })
}

/// Begins to accept a connection on a listening socket. `value` of the completion is the new `asock_socket`, which belongs
/// to whoever receives the completion: a connected socket of the listener's runtime, on the worker that had the fewest
/// sockets when the accept was begun, with both addresses. Several accepts may be pending; connections go to them in the
/// order begun.
///
/// The new socket has ASOCK_OPTION_NODELAY on unless it was turned off on the listener, the listener's other options of the
/// system, and its send and receive time-outs and send queue limit; the other options of the library's own begin anew.
/// Where the listener is of both families, the address of an IPv4 peer reads "[::ffff:127.0.0.1]:80".
///
/// With no room for another descriptor it completes with ASOCK_TOO_MANY_SOCKETS and `os_error`; the connection waits on, and
/// the listener does not try again for 100 ms, so that beginning anew at once is the right answer. Past `max_sockets` it
/// completes with ASOCK_TOO_MANY_SOCKETS when a connection comes, which is then closed. A connection that has come when a
/// cancel or a close arrives is handed over. One that nobody can learn of, after `asock_forget` or when `asock_dispatch`
/// drops the record, is closed.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also returns
/// ASOCK_INVALID_ARGUMENT, on a runtime that delivers on its worker, for neither `callback` nor `op`, since nobody could see
/// the result. Completes with ASOCK_OK; ASOCK_INVALID_STATE on a socket that does not listen; ASOCK_TIMED_OUT, also after
/// ASOCK_OPTION_ACCEPT_TIMEOUT_MS; ASOCK_TOO_MANY_SOCKETS; ASOCK_OUT_OF_MEMORY; or one of the four that end any operation.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_accept(
    listener: asock_socket,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_accept(listener, notify)
    })
}

/// Begins to send one datagram of `length` bytes, which may be 0, to an address, which is copied. The socket need not be
/// bound: the first send gives it a descriptor of the address's family and a port that the system chooses. A socket for
/// both families (`asock_bind` with NULL) sends to addresses of either. On a connected socket this datagram goes to `to`
/// all the same, where the system allows that (Linux does). `data` is as in `asock_begin_send`; `flags`: ASOCK_SEND_COPY,
/// ASOCK_SEND_MORE, which changes nothing.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
/// returns ASOCK_QUEUE_FULL past ASOCK_OPTION_SEND_QUEUE_LIMIT, and ASOCK_INVALID_ARGUMENT for a stream socket, another
/// flag, NULL with a length, a length that no object can have, or an address that is NULL, none, malformed or has port 0.
/// Completes with ASOCK_OK; ASOCK_MESSAGE_TOO_LONG; ASOCK_SHUT_DOWN; ASOCK_ACCESS_DENIED for a broadcast without
/// ASOCK_OPTION_BROADCAST; ASOCK_NOT_SUPPORTED for an address of another family than the socket's; what else the system
/// says; the status of the connect that it waited for; or one of the four that end any operation.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_send_to(
    socket: asock_socket,
    data: *const c_void,
    length: usize,
    flags: u32,
    to: *const asock_address,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        let known = flags_within(flags, SEND_FLAGS & !ASOCK_SEND_OUT_OF_BAND);
        // SAFETY: promise 6: the memory is the library's until the completion. It is only read.
        let data = known.and_then(|()| unsafe { buffer(data.cast_mut(), length) });
        // SAFETY: the header says that `to` points to an address.
        let arguments = data.and_then(|data| Ok((data, unsafe { destination(to) }?)));
        let (data, to) = of_socket(socket, arguments)?;
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_send_to(socket, data, flags, &to, notify)
    })
}

/// Begins to receive one datagram, of which at most `length` bytes are kept (ASOCK_RESULT_TRUNCATED in `flags` of the
/// completion tells that there were more), and writes its sender to `*from`. A sender may have no name: on unix sockets
/// that is an address of ASOCK_FAMILY_UNIX without a path. On a socket for both families, an IPv4 sender has an IPv6
/// address that says so ("::ffff:192.0.2.1").
///
/// `buffer` and `from` belong to the library until the completion is delivered; `from` is written if the status is
/// ASOCK_OK, before that. A datagram may be empty, so 0 bytes are no end. A receive of length 0 leaves the datagram where
/// it is and tells who has sent it. `flags`: ASOCK_RECEIVE_PEEK leaves it there, too. After ASOCK_SHUTDOWN_RECEIVE it
/// completes with 0 bytes, and `from` is left alone.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
/// returns ASOCK_INVALID_ARGUMENT for a stream socket, another flag, NULL as `from`, NULL with a length, a length that no
/// object can have, and, on a runtime that delivers on its worker, neither `callback` nor `op`, since nobody could see the
/// result. Completes with ASOCK_OK; ASOCK_INVALID_STATE on a socket that is neither bound nor connected and has not sent;
/// ASOCK_CONNECTION_REFUSED as in `asock_begin_send`; ASOCK_TIMED_OUT; the status of the connect that it waited for; or one
/// of the four that end any operation.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_receive_from(
    socket: asock_socket,
    buffer: *mut c_void,
    length: usize,
    flags: u32,
    from: *mut asock_address,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        let arguments = flags_within(flags, ASOCK_RECEIVE_PEEK).and(require(!from.is_null()));
        // SAFETY: promise 6: the memory is the library's until the completion.
        let room = arguments.and_then(|()| unsafe { super::buffer(buffer, length) });
        let room = of_socket(socket, room)?;
        // SAFETY: as the memory; it is not NULL.
        let from = unsafe { AddressOut::new(from) };
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_receive_from(socket, room, flags, from, notify)
    })
}

/// Begins to look up the addresses of a host, with `port` in each; a literal address and "unix:PATH" need no look-up.
/// They are written to `addresses`, best first, at most `capacity` of them (0 with NULL: only counted), and `value` of the
/// completion is how many there are (ASOCK_RESULT_TRUNCATED tells when that is more). `addresses` belongs to the library
/// until the completion is delivered; `host` is copied.
///
/// Names are looked up by the system's resolver, on threads of the runtime's own; a literal address completes at once,
/// and no look-up ever holds up anything else, save other names when all of these threads are busy. Runtime 0 is started
/// if it does not run.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
/// returns ASOCK_INVALID_ARGUMENT for a bad host or port, as in `asock_begin_connect`, or NULL with a capacity; for
/// runtime 0 what `asock_runtime_start` returns. Completes
/// with ASOCK_OK; ASOCK_HOST_NOT_FOUND; ASOCK_NAME_SERVER_FAILED; or one of the four that end any operation.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_resolve(
    runtime: asock_runtime,
    host: *const c_char,
    port: u16,
    addresses: *mut asock_address,
    capacity: usize,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that a host is a text that ends with a zero.
        let host = of_runtime(runtime, unsafe { endpoint(host, port) })?;
        of_runtime(runtime, array_of(addresses.cast_const(), capacity))?;
        // SAFETY: promise 6: the array is the library's until the completion.
        let room = unsafe { Buffer::new(addresses.cast(), capacity) };
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_resolve(runtime, host, room, notify)
    })
}

/// Begins to wait for `delay_ms` milliseconds; 0 completes soon. It completes with ASOCK_OK when they have passed, never
/// earlier; or with one of the four that end any operation. Runtime 0 is started if it does not run.
///
/// `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. A callback
/// runs on the worker that began the timer, else on the first. For runtime 0 it also returns what `asock_runtime_start`
/// does.
#[no_mangle]
pub unsafe extern "C" fn asock_begin_timer(
    runtime: asock_runtime,
    delay_ms: u64,
    callback: asock_callback,
    user_data: *mut c_void,
    op: *mut asock_op,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that `op` is NULL or may be written.
        let notify = unsafe { notify(callback, user_data, op) };
        runtime::begin_timer(runtime, delay_ms, notify)
    })
}

/// Waits until an operation is no longer pending, at most `timeout_ms` milliseconds (0: only asks; -1: without limit). Its
/// result is fixed then and its buffer is released; its callback may not have run yet. The handle stays what it was.
///
/// Returns ASOCK_OK, also for any handle that was ever issued and is retired; ASOCK_TIMED_OUT past the limit;
/// ASOCK_WOULD_DEADLOCK where it would have to wait on a worker of any runtime; ASOCK_BAD_HANDLE; ASOCK_FORKED;
/// ASOCK_INVALID_ARGUMENT for a `timeout_ms` below -1. Any thread, several at a time.
#[no_mangle]
pub extern "C" fn asock_wait(op: asock_op, timeout_ms: i32) -> asock_status {
    guard(|| {
        of_operation(op, time_limit(timeout_ms))?;
        runtime::wait(op, timeout_ms)
    })
}

/// Waits, without limit, until an operation that was begun without a callback on a runtime that delivers on its worker has
/// completed, hands over its result, and retires the handle. `*result` is written on ASOCK_OK only and is the caller's.
/// ASOCK_OK says that there is a result: whether the operation succeeded is in `result->status`.
///
/// The result outlives a stop of its runtime until it is collected or `asock_forget` lets it go. Of several threads that
/// end one operation, one gets the result, the others ASOCK_BAD_HANDLE.
///
/// Returns ASOCK_OK; ASOCK_INVALID_STATE for an operation that has a callback or belongs to a runtime that delivers on poll;
/// ASOCK_WOULD_DEADLOCK where it would have to wait on a worker of any runtime; ASOCK_BAD_HANDLE; ASOCK_FORKED;
/// ASOCK_INVALID_ARGUMENT for NULL, the result being still there. Any thread.
#[no_mangle]
pub unsafe extern "C" fn asock_end(op: asock_op, result: *mut asock_result) -> asock_status {
    guard(|| {
        require(!result.is_null()).or_else(|status| runtime::check_end(op).and(Err(status)))?;
        let ended = runtime::end(op)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { result.write(ended) };
        Ok(())
    })
}

/// Says that nobody will end an operation: its record goes when it completes, at once if it has. `asock_end` and a second
/// forget then give ASOCK_BAD_HANDLE; cancel, set_deadline and wait reach it until it completes. Its buffer still belongs
/// to the library until then: wait for it, or close the socket with `asock_begin_close`.
///
/// Any thread, also inside a callback; never waits. Returns ASOCK_OK; ASOCK_INVALID_STATE where `asock_end` would not work;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED.
#[no_mangle]
pub extern "C" fn asock_forget(op: asock_op) -> asock_status {
    guard(|| runtime::forget(op))
}

/// Asks for an operation to end now: it completes with ASOCK_CANCELED, out of turn, and `bytes` tells how much of it was
/// done. One that had ended before keeps its own result. The completion still comes, exactly once, and the buffer belongs
/// to the library until then.
///
/// Any thread, also inside a callback; never waits. Returns ASOCK_OK, also when the operation has ended but is not yet
/// retired; ASOCK_BAD_HANDLE; ASOCK_FORKED.
#[no_mangle]
pub extern "C" fn asock_cancel(op: asock_op) -> asock_status {
    guard(|| runtime::cancel(op))
}

/// Limits an operation to `timeout_ms` milliseconds from now, in place of the socket's time-out option or an earlier
/// deadline; a negative number takes the limit away. When they have passed, it completes with ASOCK_TIMED_OUT, out of turn,
/// and `bytes` tells how much of it was done.
///
/// Any thread, also inside a callback; never waits. Returns ASOCK_OK, also when the operation has ended but is not yet
/// retired; ASOCK_BAD_HANDLE; ASOCK_FORKED.
#[no_mangle]
pub extern "C" fn asock_set_deadline(op: asock_op, timeout_ms: i64) -> asock_status {
    guard(|| runtime::set_deadline(op, timeout_ms))
}

/// To fill the buffer and to leave what is in it cannot both be meant; nor has the urgent byte a buffer to fill.
fn receive_flags(flags: u32) -> Answer<()> {
    let all = flags & ASOCK_RECEIVE_ALL != 0;
    flags_within(flags, RECEIVE_FLAGS).and(require(!all || flags == ASOCK_RECEIVE_ALL))
}

/// The pieces of a vectored operation: at least one, each with memory, and together no more than an object can have.
///
/// Safety: `buffers` is NULL or points to `count` pieces, during the call; their memory is as promise 6 says.
unsafe fn pieces(buffers: *const asock_buffer, count: usize) -> Answer<Pieces> {
    require(count > 0)?;
    array_of(buffers, count)?;
    let mut total = 0_usize;
    for at in 0..count {
        // SAFETY: within the array that the caller of this function promises.
        let piece = unsafe { buffers.add(at).read() };
        array_of(piece.data.cast::<u8>().cast_const(), piece.length)?;
        total = total
            .checked_add(piece.length)
            .ok_or(Status::InvalidArgument)?;
    }
    require(total <= isize::MAX as usize)?;
    // SAFETY: passed on by the caller of this function; there is one at least.
    Ok(unsafe { Pieces::new(buffers, count, total) })
}
