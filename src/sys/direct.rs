//! The calls of every round trip, made past the C library. Its own are points where a thread may be canceled, which costs
//! two atomic steps at each call in a program with threads; ours are never canceled.

use super::socket::RawDescriptor;

/// As `send`.
///
/// # Safety
/// `bytes` may be read for `length` bytes.
pub unsafe fn send(
    socket: RawDescriptor,
    bytes: *const u8,
    length: usize,
    bits: libc::c_int,
) -> libc::ssize_t {
    let (number, nowhere) = (libc::SYS_sendto, std::ptr::null::<libc::sockaddr>());
    // SAFETY: as the caller promises; there is no address, and its length is none.
    let answer = unsafe { libc::syscall(number, socket.0, bytes, length, bits, nowhere, 0_usize) };
    answer as libc::ssize_t
}

/// As `recv`.
///
/// # Safety
/// `room` may be written for `length` bytes.
pub unsafe fn receive(
    socket: RawDescriptor,
    room: *mut u8,
    length: usize,
    bits: libc::c_int,
) -> libc::ssize_t {
    let number = libc::SYS_recvfrom;
    let (from, size) = (
        std::ptr::null_mut::<libc::sockaddr>(),
        std::ptr::null_mut::<libc::socklen_t>(),
    );
    // SAFETY: as the caller promises; no address is asked for.
    let answer = unsafe { libc::syscall(number, socket.0, room, length, bits, from, size) };
    answer as libc::ssize_t
}

/// As `epoll_wait`.
///
/// # Safety
/// `events` may be written for `room` of them.
pub unsafe fn epoll_wait(
    epoll: RawDescriptor,
    events: *mut libc::epoll_event,
    room: libc::c_int,
    timeout_ms: libc::c_int,
) -> libc::c_int {
    let (number, no_mask) = (libc::SYS_epoll_pwait, std::ptr::null::<libc::sigset_t>());
    // SAFETY: as the caller promises; without a mask its size does not matter.
    let answer =
        unsafe { libc::syscall(number, epoll.0, events, room, timeout_ms, no_mask, 8_usize) };
    answer as libc::c_int
}
