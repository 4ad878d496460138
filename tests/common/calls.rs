//! Short calls of the library with their pointers wrapped once, and the two ends of a connection.

use super::{begun, on_both, record, Completion, Listener, Memory, Recorder, Runtime};
use asock::*;
use std::ffi::{CStr, CString};
use std::net::TcpStream;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// A connected socket of the library, and the other end of its line.
pub fn pair(runtime: &Runtime) -> (asock_socket, TcpStream) {
    let listener = Listener::new();
    let socket = runtime.connected(listener.port());
    (socket, listener.accept())
}

/// More than the line of a narrow pair holds when the other end does not read.
pub const BIG: usize = 2 << 20;

/// The same with a small send buffer, so that a send soon has to wait.
pub fn narrow_pair(runtime: &Runtime) -> (asock_socket, TcpStream) {
    let (socket, peer) = pair(runtime);
    assert_eq!(set(socket, ASOCK_OPTION_SEND_BUFFER, 256 * 1024), ASOCK_OK);
    (socket, peer)
}

pub fn set(socket: asock_socket, option: u32, value: i64) -> asock_status {
    asock_set_option(socket, option, value)
}

pub fn get(socket: asock_socket, option: u32) -> Result<i64, asock_status> {
    let mut value = i64::MIN;
    // SAFETY: `value` may be written.
    let status = unsafe { asock_get_option(socket, option, &raw mut value) };
    written(status, value, value == i64::MIN)
}

/// No address.
pub const NO_ADDRESS: asock_address = asock_address {
    storage: [0; 16],
    length: 0,
    reserved: 0,
};

/// What no call writes: an out-parameter that still is this was left alone.
const UNWRITTEN: asock_address = asock_address {
    storage: [0x5555_5555_5555_5555; 16],
    length: 0x5555_5555,
    reserved: 0x5555_5555,
};

/// An out-parameter is written exactly when the call succeeds.
pub fn written<T>(status: asock_status, value: T, is_untouched: bool) -> Result<T, asock_status> {
    assert_eq!(is_untouched, status != ASOCK_OK, "status {status}");
    if status == ASOCK_OK {
        Ok(value)
    } else {
        Err(status)
    }
}

pub fn parse(host: &CStr, port: u16) -> Result<asock_address, asock_status> {
    let mut address = UNWRITTEN;
    // SAFETY: the host ends with a zero, and `address` may be written.
    let status = unsafe { asock_address_parse(host.as_ptr(), port, &raw mut address) };
    written(status, address, address == UNWRITTEN)
}

/// A literal address that is known to be good.
pub fn address(host: &str, port: u16) -> asock_address {
    let host = CString::new(host).expect("a host has no zero inside");
    parse(&host, port).expect("a good address")
}

pub fn format(address: &asock_address, capacity: usize) -> Result<String, asock_status> {
    assert!(capacity <= ASOCK_ADDRESS_TEXT_MAX);
    let mut text = [b'~'; ASOCK_ADDRESS_TEXT_MAX + 1];
    // SAFETY: there is more room than that.
    let status = unsafe { asock_address_format(address, text.as_mut_ptr().cast(), capacity) };
    let rest = if status == ASOCK_OK { capacity } else { 0 };
    let untouched = text[rest..].iter().all(|byte| *byte == b'~');
    assert!(untouched, "written past {rest}");
    let text = text.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let text = String::from_utf8(text.to_vec()).expect("text");
    (status == ASOCK_OK).then_some(text).ok_or(status)
}

pub fn text(address: &asock_address) -> String {
    format(address, ASOCK_ADDRESS_TEXT_MAX).expect("it always suffices")
}

pub fn local(socket: asock_socket) -> Result<asock_address, asock_status> {
    let mut address = UNWRITTEN;
    // SAFETY: `address` may be written.
    let status = unsafe { asock_local_address(socket, &raw mut address) };
    written(status, address, address == UNWRITTEN)
}

pub fn remote(socket: asock_socket) -> Result<asock_address, asock_status> {
    let mut address = UNWRITTEN;
    // SAFETY: `address` may be written.
    let status = unsafe { asock_remote_address(socket, &raw mut address) };
    written(status, address, address == UNWRITTEN)
}

/// `asock_poll` with room for `capacity` records.
pub fn poll(
    runtime: &Runtime,
    timeout_ms: i32,
    capacity: usize,
) -> (asock_status, Vec<asock_result>) {
    let mut results = Vec::with_capacity(capacity);
    let mut count = usize::MAX;
    let room = results.as_mut_ptr();
    // SAFETY: the room is for `capacity` records, and `count` may be written.
    let status =
        unsafe { asock_poll(runtime.handle(), timeout_ms, room, capacity, &raw mut count) };
    let count = written(status, count, count == usize::MAX).unwrap_or(0);
    assert!(count <= capacity);
    // SAFETY: so many records were written.
    unsafe { results.set_len(count) };
    (status, results)
}

/// `asock_dispatch`: the status, and the number of callbacks called.
pub fn dispatch(
    runtime: &Runtime,
    timeout_ms: i32,
    max_callbacks: usize,
    budget_us: u32,
) -> (asock_status, usize) {
    let mut count = usize::MAX;
    // SAFETY: `count` may be written.
    let status = unsafe {
        asock_dispatch(
            runtime.handle(),
            timeout_ms,
            max_callbacks,
            budget_us,
            &raw mut count,
        )
    };
    let count = written(status, count, count == usize::MAX).unwrap_or(0);
    (status, count)
}

/// A timer without a callback.
pub fn plain_timer(runtime: &Runtime, delay_ms: u64) -> asock_op {
    // SAFETY: there is nothing that would have to outlive it.
    begun(|op| unsafe { asock_begin_timer(runtime.handle(), delay_ms, None, null_mut(), op) })
}

/// A receive without a callback. `room` must outlive it.
pub fn plain_receive(socket: asock_socket, room: &Memory, flags: u32) -> asock_op {
    let (pointer, length) = (room.pointer(), room.len());
    // SAFETY: the caller keeps the memory.
    begun(|op| unsafe { asock_begin_receive(socket, pointer, length, flags, None, null_mut(), op) })
}

/// `asock_end`, whatever it answers.
pub fn try_end(op: asock_op) -> Result<asock_result, asock_status> {
    // SAFETY: a record of integers and pointers may be all zero, and is written by the call.
    let mut result: asock_result = unsafe { std::mem::zeroed() };
    // SAFETY: it may be written.
    let status = unsafe { asock_end(op, &raw mut result) };
    written(status, result, result.op == 0)
}

/// Whether a descriptor is readable, or becomes so within the limit.
pub fn is_readable(descriptor: i64, timeout_ms: i32) -> bool {
    let mut entry = libc::pollfd {
        fd: i32::try_from(descriptor).expect("a descriptor"),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which may be written.
    let answer = unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
    assert!(answer >= 0);
    assert_eq!(entry.revents & (libc::POLLNVAL | libc::POLLERR), 0);
    answer == 1
}

/// What an operation looks like that is pending for certain: the worker has had a turn, in which it would have ended.
#[track_caller]
pub fn assert_pending(runtime: &Runtime, op: asock_op) {
    have_a_turn(runtime);
    assert_eq!(asock_wait(op, 0), ASOCK_TIMED_OUT, "it has ended");
}

/// Waits until the worker has had a turn.
#[track_caller]
pub fn have_a_turn(runtime: &Runtime) {
    let after = plain_timer(runtime, 0);
    assert_eq!(asock_wait(after, -1), ASOCK_OK);
    if !runtime.delivers_on_poll() {
        assert_eq!(asock_forget(after), ASOCK_OK);
    }
}

/// That the time since `start` is no less than so many milliseconds: a limit never strikes early.
#[track_caller]
pub fn assert_passed(start: Instant, ms: u128) {
    let passed = start.elapsed().as_micros();
    assert!(passed >= ms * 1000, "after {passed} µs, not {ms} ms");
}

/// What cuts an operation that is pending, and the status that it has then: a cancel, and a limit that it runs into.
pub const CUTS: [(asock_status, fn(asock_op)); 2] = [
    (ASOCK_CANCELED, |op| assert_eq!(asock_cancel(op), ASOCK_OK)),
    (ASOCK_TIMED_OUT, |op| {
        assert_eq!(asock_set_deadline(op, 5), ASOCK_OK);
    }),
];

/// What ends all that is pending on a socket.
pub type Ending = fn(&Runtime, &Recorder, asock_socket);

/// Each of the ways in which a socket or its runtime ends: the status that it gives to what is pending, how many completions
/// of its own it brings, and what does it.
pub const ENDINGS: [(asock_status, usize, Ending); 5] = [
    (ASOCK_CLOSED, 0, |_, _, socket| {
        assert_eq!(asock_close(socket), ASOCK_OK);
    }),
    (ASOCK_CLOSED, 1, |_, recorder, socket| {
        recorder.close(socket, 0);
    }),
    (ASOCK_CLOSED, 1, |_, recorder, socket| {
        recorder.close(socket, ASOCK_CLOSE_RESET);
    }),
    (ASOCK_STOPPED, 0, |runtime, _, _| {
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    }),
    (ASOCK_STOPPED, 0, |runtime, _, _| runtime.stop()),
];

/// When something is due that was begun with a delay: the call took a moment, so it is a span.
#[derive(Clone, Copy)]
pub struct Due {
    earliest: Instant,
    latest: Instant,
}

impl Due {
    pub fn after<T>(delay_ms: u64, begin: impl FnOnce() -> T) -> (T, Due) {
        let delay = Duration::from_millis(delay_ms);
        let earliest = Instant::now() + delay;
        let begun = begin();
        let latest = Instant::now() + delay;
        (begun, Due { earliest, latest })
    }
}

/// Waits until the worker knows of all that was begun, and gives the time at which it does.
pub fn until_known(runtime: &Runtime) -> Instant {
    have_a_turn(runtime);
    Instant::now()
}

/// Runs a body whose steps must come before limits of time strike, on each delivery. It is given by how much to stretch
/// its times, and says whether its steps came in time: if not, nothing is shown, and it runs again with more.
#[track_caller]
pub fn on_both_in_time(body: impl Fn(&Runtime, u64) -> bool) {
    on_both(|runtime| {
        let in_time = [1, 2, 4, 8, 16].iter().any(|by| body(&runtime, *by));
        assert!(in_time, "this machine is too slow to show anything");
    });
}

/// That these were due one after the other, as far as can be told: those that were due before the worker knew of all of
/// them may have come late. False where that is all of them. The library counts in whole milliseconds.
#[track_caller]
#[must_use]
pub fn are_in_order(known: Instant, dues: impl IntoIterator<Item = Due>) -> bool {
    let tick = Duration::from_millis(2);
    let mut last = None;
    for due in dues.into_iter().filter(|due| due.earliest > known) {
        assert!(
            last.is_none_or(|last| last <= due.latest + tick),
            "out of order"
        );
        last = last.max(Some(due.earliest));
    }
    last.is_some()
}

impl Recorder {
    #[track_caller]
    pub fn connect_address(&self, socket: asock_socket, address: &asock_address) -> asock_op {
        let user_data = self.user_data();
        // SAFETY: the address is read during the call; the recorder outlives the operation.
        begun(|op| unsafe {
            asock_begin_connect_address(socket, address, Some(record), user_data, op)
        })
    }

    /// Connects, and waits for it.
    #[track_caller]
    pub fn connect_now(&self, socket: asock_socket, port: u16) -> Completion {
        let op = self.connect(socket, port);
        self.completion_of(op)
    }

    /// Receives once, and waits for it: the completion, and the bytes that it tells of.
    #[track_caller]
    pub fn take(&self, socket: asock_socket, length: usize, flags: u32) -> (Completion, Vec<u8>) {
        let room = Memory::new(length);
        let op = self.receive(socket, &room, flags);
        let completion = self.completion_of(op);
        assert_eq!(completion.buffer, room.pointer());
        let mut bytes = room.bytes();
        assert!(completion.bytes <= bytes.len());
        assert!(
            bytes[completion.bytes..].iter().all(|byte| *byte == 0),
            "bytes were written that the completion does not tell of"
        );
        bytes.truncate(completion.bytes);
        (completion, bytes)
    }

    /// Receives successfully until so many bytes are there.
    #[track_caller]
    pub fn take_bytes(&self, socket: asock_socket, length: usize) -> Vec<u8> {
        let (completion, bytes) = self.take(socket, length, ASOCK_RECEIVE_ALL);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        bytes
    }

    /// Sends, and waits until it has succeeded.
    #[track_caller]
    pub fn put(&self, socket: asock_socket, bytes: &[u8]) {
        let op = self.send(socket, &Memory::of(bytes), 0);
        let completion = self.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(completion.bytes, bytes.len());
    }
}
