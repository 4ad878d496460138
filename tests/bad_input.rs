//! Bad input: every exported function with NULL for each of its pointers, unknown flags and numbers, hosts that are no
//! text, lengths that no object has, and structs of sizes that cannot be. The answer is the contract's, nothing is
//! written, nothing is begun, and what was pending before is as well as ever.
//!
//! The calls are a table, which is compared with the header, so that no function is forgotten. Bad handles have a test of
//! their own (`promise_09_bad_handles`); here they only show that a bad handle comes before a bad argument. The same in
//! small is a program in C, which is run under valgrind where there is one.
#![allow(unsafe_code)] // The functions under test take pointers.
#![allow(clippy::print_stderr)] // A part that is left out must say so where people look.

mod common;

use asock::*;
use common::calls::*;
use common::datagram::bound;
use common::*;
use std::cell::UnsafeCell;
use std::collections::BTreeSet;
use std::ffi::{c_char, c_void, CStr};
use std::io::{Read, Write};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Duration;

/// What every out-parameter holds before a call, and after it.
const UNTOUCHED: u64 = 0x5a5a_5a5a_5a5a_5a5a;

/// More than any object has.
const HUGE: usize = isize::MAX as usize + 1;

/// The handles that the calls are made with, and the place where nothing may be written.
struct World {
    worker: asock_runtime,
    poll: asock_runtime,
    socket: asock_socket,
    datagrams: asock_socket,
    op: asock_op,
    place: UnsafeCell<[u64; 32]>,
    recorder: Arc<Recorder>,
}

impl World {
    /// A place for any out-parameter.
    fn out<T>(&self) -> *mut T {
        self.place.get().cast()
    }

    fn me(&self) -> *mut c_void {
        self.recorder.user_data()
    }
}

struct Case {
    function: &'static str,
    what: &'static str,
    call: fn(&World) -> asock_status,
    expected: asock_status,
}

/// One call of the table: `case!(WORLD, FUNCTION(ARGUMENTS), WHAT IS BAD)`.
macro_rules! case {
    ($world:ident, $function:ident($($argument:expr),* $(,)?), $what:literal) => {
        case!($world, $function($($argument),*), $what, ASOCK_INVALID_ARGUMENT)
    };
    ($world:ident, $function:ident($($argument:expr),* $(,)?), $what:literal, $expected:ident) => {
        Case {
            function: stringify!($function),
            what: $what,
            // Some functions take no pointer, and some calls do not look at the world.
            #[allow(unused_unsafe, unused_variables)]
            // SAFETY: the arguments are bad only in ways that the header says are answered.
            call: |$world: &World| unsafe { $function($($argument),*) },
            expected: $expected,
        }
    };
}

const CALL: asock_callback = Some(record);

/// A bound socket for datagrams.
fn datagrams(runtime: &Runtime) -> asock_socket {
    bound(runtime, "127.0.0.1").0
}

/// Four good bytes.
fn data() -> *const c_void {
    b"data".as_ptr().cast()
}

/// A good host.
fn local() -> *const c_char {
    c"127.0.0.1".as_ptr()
}

fn not_utf8() -> *const c_char {
    c"\xff\xfe.example".as_ptr()
}

fn empty() -> *const c_char {
    c"".as_ptr()
}

/// One byte more than the longest host, and no zero behind it.
fn over_long() -> *const c_char {
    static TEXT: [u8; 254] = [b'x'; 254];
    TEXT.as_ptr().cast()
}

fn kept<T>(value: T) -> *const T {
    Box::leak(Box::new(value))
}

fn good_address() -> *const asock_address {
    kept(address("127.0.0.1", 9))
}

fn no_address() -> *const asock_address {
    &NO_ADDRESS
}

/// Longer than its room, or with a family that there is not.
fn malformed(length: u32) -> *const asock_address {
    kept(asock_address {
        storage: [u64::MAX; 16],
        length,
        reserved: 0,
    })
}

fn piece(world: &World, length: usize) -> asock_buffer {
    asock_buffer {
        data: world.out(),
        length,
    }
}

fn null_piece(length: usize) -> asock_buffer {
    asock_buffer {
        data: null_mut(),
        length,
    }
}

/// A struct that begins with its size, with one word at `at` that is not zero.
fn sized<T>(size: usize, at: usize, word: u64) -> *mut T {
    let mut memory = vec![0_u64; 64];
    memory[at] = word;
    memory[0] = size as u64;
    memory.leak().as_mut_ptr().cast()
}

fn configured(change: fn(&mut asock_runtime_config)) -> *const asock_runtime_config {
    let mut config = config(ASOCK_DELIVER_ON_WORKER);
    change(&mut config);
    kept(config)
}

const STATS: usize = size_of::<asock_stats>();
const CONFIG: usize = size_of::<asock_runtime_config>();

fn table() -> Vec<Case> {
    let parts = [runtimes(), sockets(), operations(), more_operations()];
    parts.into_iter().flatten().collect()
}

#[rustfmt::skip] // A case is a line, or nobody reads them.
fn runtimes() -> Vec<Case> {
    vec![
        case!(w, asock_set_log(6, None, null_mut()), "unknown level"),
        case!(w, asock_set_log(u32::MAX, None, null_mut()), "unknown level"),

        case!(w, asock_runtime_start(null(), null_mut()), "NULL runtime"),
        case!(w, asock_runtime_start(sized(0, 0, 0), w.out()), "size 0"),
        case!(w, asock_runtime_start(sized(CONFIG - 4, 0, 0), w.out()), "size too small"),
        case!(w, asock_runtime_start(sized(CONFIG + 8, CONFIG / 8, 1), w.out()), "an unknown tail"),
        case!(w, asock_runtime_start(sized(CONFIG + 64, CONFIG / 8 + 7, 1 << 63), w.out()), "an unknown tail"),
        case!(w, asock_runtime_start(sized(usize::MAX, 0, 0), w.out()), "size too large"),
        case!(w, asock_runtime_start(configured(|c| c.delivery = 2), w.out()), "unknown delivery"),
        case!(w, asock_runtime_start(configured(|c| c.delivery = u32::MAX), w.out()), "unknown delivery"),
        case!(w, asock_runtime_start(configured(|c| c.backend = 5), w.out()), "unknown backend"),
        case!(w, asock_runtime_start(configured(|c| c.backend = ASOCK_BACKEND_IOCP), w.out()), "not here", ASOCK_NOT_SUPPORTED),

        case!(w, asock_runtime_stats(w.worker, null_mut()), "NULL stats"),
        case!(w, asock_runtime_stats(w.worker, sized(0, 0, 0)), "size 0"),
        case!(w, asock_runtime_stats(w.worker, sized(STATS - 1, 0, 0)), "size too small"),
        case!(w, asock_runtime_stats(w.worker, sized(STATS + 8, STATS / 8, 1)), "an unknown tail"),
        case!(w, asock_runtime_stats(w.worker, sized(usize::MAX, 0, 0)), "size too large"),

        case!(w, asock_poll(w.poll, 0, null_mut(), 1, w.out()), "NULL results"),
        case!(w, asock_poll(w.poll, 0, w.out(), 1, null_mut()), "NULL count"),
        case!(w, asock_poll(w.poll, 0, w.out(), 0, w.out()), "capacity 0"),
        case!(w, asock_poll(w.poll, 0, w.out(), usize::MAX, w.out()), "huge capacity"),
        case!(w, asock_poll(w.poll, -2, w.out(), 1, w.out()), "negative limit"),
        case!(w, asock_poll(w.poll, i32::MIN, w.out(), 1, w.out()), "negative limit"),
        case!(w, asock_dispatch(w.poll, 0, 0, 0, null_mut()), "NULL count"),
        case!(w, asock_dispatch(w.poll, -2, 0, 0, w.out()), "negative limit"),
        case!(w, asock_poll_fd(w.poll, null_mut()), "NULL fd"),
    ]
}

#[rustfmt::skip] // As above.
fn sockets() -> Vec<Case> {
    vec![
        case!(w, asock_open(w.worker, ASOCK_STREAM, null_mut()), "NULL socket"),
        case!(w, asock_open(w.worker, 0, w.out()), "unknown type"),
        case!(w, asock_open(w.worker, 3, w.out()), "unknown type"),
        case!(w, asock_open(w.worker, u32::MAX, w.out()), "unknown type"),
        case!(w, asock_adopt(w.worker, 0, null_mut()), "NULL socket"),
        case!(w, asock_adopt(w.worker, -1, w.out()), "no descriptor"),
        case!(w, asock_adopt(w.worker, i64::MAX, w.out()), "no descriptor"),
        case!(w, asock_release(w.socket, null_mut()), "NULL"),
        case!(w, asock_bind(w.socket, empty(), 0), "empty host"),
        case!(w, asock_bind(w.socket, not_utf8(), 0), "host that is no text"),
        case!(w, asock_bind(w.socket, over_long(), 0), "over-long host"),
        case!(w, asock_bind(w.socket, c"localhost".as_ptr(), 0), "a name"),
        case!(w, asock_shutdown(w.socket, 0), "unknown side"),
        case!(w, asock_shutdown(w.socket, 4), "unknown side"),
        case!(w, asock_shutdown(w.socket, u32::MAX), "unknown side"),
        case!(w, asock_set_option(w.socket, 0, 0), "unknown option"),
        case!(w, asock_set_option(w.socket, ASOCK_OPTION_SEND_QUEUED, 0), "to read only"),
        case!(w, asock_set_option(w.socket, ASOCK_OPTION_TTL, i64::MAX), "out of range"),
        case!(w, asock_get_option(w.socket, u32::MAX, w.out()), "unknown option"),
        case!(w, asock_get_option(w.socket, ASOCK_OPTION_TTL, null_mut()), "NULL value"),
        case!(w, asock_join_group(w.datagrams, null(), 1), "NULL address"),
        case!(w, asock_join_group(w.datagrams, malformed(129), 1), "too long"),
        case!(w, asock_join_group(w.datagrams, good_address(), 1), "no group"),
        case!(w, asock_leave_group(w.datagrams, null(), 1), "NULL address"),
        case!(w, asock_leave_group(w.datagrams, no_address(), 1), "no address"),
        case!(w, asock_leave_group(w.datagrams, good_address(), 1), "no group"),
        case!(w, asock_local_address(w.socket, null_mut()), "NULL address"),
        case!(w, asock_remote_address(w.socket, null_mut()), "NULL address"),
    ]
}

#[rustfmt::skip] // As above.
fn operations() -> Vec<Case> {
    vec![
        case!(w, asock_begin_connect(w.socket, null(), 80, CALL, w.me(), w.out()), "NULL host"),
        case!(w, asock_begin_connect(w.socket, empty(), 80, CALL, w.me(), w.out()), "empty host"),
        case!(w, asock_begin_connect(w.socket, over_long(), 80, CALL, w.me(), w.out()), "over-long host"),
        case!(w, asock_begin_connect(w.socket, not_utf8(), 80, CALL, w.me(), w.out()), "host that is no text"),
        case!(w, asock_begin_connect(w.socket, local(), 0, CALL, w.me(), w.out()), "port 0"),
        case!(w, asock_begin_connect(w.socket, c"localhost".as_ptr(), 0, CALL, w.me(), w.out()), "port 0"),
        case!(w, asock_begin_connect(w.socket, c"unix:".as_ptr(), 1, CALL, w.me(), w.out()), "empty path"),
        case!(w, asock_begin_connect(w.socket, c"fe80::1%nowhere".as_ptr(), 1, CALL, w.me(), w.out()), "unknown interface"),
        case!(w, asock_begin_connect_address(w.socket, null(), CALL, w.me(), w.out()), "NULL address"),
        case!(w, asock_begin_connect_address(w.socket, no_address(), CALL, w.me(), w.out()), "no address"),
        case!(w, asock_begin_connect_address(w.socket, malformed(129), CALL, w.me(), w.out()), "too long"),
        case!(w, asock_begin_connect_address(w.socket, malformed(16), CALL, w.me(), w.out()), "unknown family"),
        case!(w, asock_begin_send(w.socket, null(), 1, 0, CALL, w.me(), w.out()), "NULL with a length"),
        case!(w, asock_begin_send(w.socket, null(), 1, ASOCK_SEND_COPY, CALL, w.me(), w.out()), "NULL with a length"),
        case!(w, asock_begin_send(w.socket, data(), 4, 8, CALL, w.me(), w.out()), "unknown flag"),
        case!(w, asock_begin_send(w.socket, data(), 4, u32::MAX, CALL, w.me(), w.out()), "unknown flags"),
        case!(w, asock_begin_send(w.socket, data(), HUGE, 0, CALL, w.me(), w.out()), "huge"),
        case!(w, asock_begin_send(w.socket, data(), usize::MAX, ASOCK_SEND_COPY, CALL, w.me(), w.out()), "huge"),
        case!(w, asock_begin_receive(w.socket, null_mut(), 1, 0, CALL, w.me(), w.out()), "NULL with a length"),
        case!(w, asock_begin_receive(w.socket, w.out(), 8, 8, CALL, w.me(), w.out()), "unknown flag"),
        case!(w, asock_begin_receive(w.socket, w.out(), 8, u32::MAX, CALL, w.me(), w.out()), "unknown flags"),
        case!(w, asock_begin_receive(w.socket, w.out(), 8, 3, CALL, w.me(), w.out()), "all and peek"),
        case!(w, asock_begin_receive(w.socket, w.out(), 8, 5, CALL, w.me(), w.out()), "all and urgent"),
        case!(w, asock_begin_receive(w.socket, w.out(), HUGE, 0, CALL, w.me(), w.out()), "huge"),
        case!(w, asock_begin_receive(w.socket, w.out(), usize::MAX, 0, CALL, w.me(), w.out()), "huge"),
        case!(w, asock_begin_receive(w.socket, w.out(), 8, 0, None, w.me(), null_mut()), "nobody could see it"),
        case!(w, asock_begin_accept(w.socket, None, w.me(), null_mut()), "nobody could see it"),
        case!(w, asock_begin_close(w.socket, 3, CALL, w.me(), w.out()), "drain and reset"),
        case!(w, asock_begin_close(w.socket, 4, CALL, w.me(), w.out()), "unknown flag"),
        case!(w, asock_begin_close(w.socket, u32::MAX, CALL, w.me(), w.out()), "unknown flags"),
    ]
}

#[rustfmt::skip] // As above.
fn more_operations() -> Vec<Case> {
    vec![
        case!(w, asock_begin_send_vectored(w.socket, null(), 1, 0, CALL, w.me(), w.out()), "NULL pieces"),
        case!(w, asock_begin_send_vectored(w.socket, kept(piece(w, 1)), 0, 0, CALL, w.me(), w.out()), "no pieces"),
        case!(w, asock_begin_send_vectored(w.socket, kept(piece(w, 1)), usize::MAX, 0, CALL, w.me(), w.out()), "huge"),
        case!(w, asock_begin_send_vectored(w.socket, kept(null_piece(1)), 1, 0, CALL, w.me(), w.out()), "NULL piece"),
        case!(w, asock_begin_send_vectored(w.socket, kept(piece(w, HUGE)), 1, 0, CALL, w.me(), w.out()), "huge piece"),
        case!(w, asock_begin_send_vectored(w.socket, kept([piece(w, HUGE - 1), piece(w, 1)]).cast(), 2, 0, CALL, w.me(), w.out()), "huge together"),
        case!(w, asock_begin_send_vectored(w.socket, kept(piece(w, 1)), 1, 8, CALL, w.me(), w.out()), "unknown flag"),
        case!(w, asock_begin_receive_vectored(w.socket, null(), 1, 0, CALL, w.me(), w.out()), "NULL pieces"),
        case!(w, asock_begin_receive_vectored(w.socket, kept(piece(w, 1)), 0, 0, CALL, w.me(), w.out()), "no pieces"),
        case!(w, asock_begin_receive_vectored(w.socket, kept(null_piece(1)), 1, 0, CALL, w.me(), w.out()), "NULL piece"),
        case!(w, asock_begin_receive_vectored(w.socket, kept([piece(w, HUGE - 1), piece(w, 1)]).cast(), 2, 0, CALL, w.me(), w.out()), "huge together"),
        case!(w, asock_begin_receive_vectored(w.socket, kept(piece(w, 1)), 1, 3, CALL, w.me(), w.out()), "all and peek"),
        case!(w, asock_begin_send_file(w.socket, -1, 0, 1, CALL, w.me(), w.out()), "no descriptor"),
        case!(w, asock_begin_send_file(w.socket, 0, u64::MAX, 1, CALL, w.me(), w.out()), "past every file"),
        case!(w, asock_begin_send_file(w.socket, 0, i64::MAX as u64, 1, CALL, w.me(), w.out()), "past every file"),
        case!(w, asock_begin_send_to(w.datagrams, null(), 1, 0, good_address(), CALL, w.me(), w.out()), "NULL with a length"),
        case!(w, asock_begin_send_to(w.datagrams, data(), HUGE, 0, good_address(), CALL, w.me(), w.out()), "huge"),
        case!(w, asock_begin_send_to(w.datagrams, data(), 4, 8, good_address(), CALL, w.me(), w.out()), "unknown flag"),
        case!(w, asock_begin_send_to(w.datagrams, data(), 4, 0, null(), CALL, w.me(), w.out()), "NULL address"),
        case!(w, asock_begin_send_to(w.datagrams, data(), 4, 0, no_address(), CALL, w.me(), w.out()), "no address"),
        case!(w, asock_begin_send_to(w.datagrams, data(), 4, ASOCK_SEND_OUT_OF_BAND, good_address(), CALL, w.me(), w.out()), "urgent"),
        case!(w, asock_begin_send_to(w.socket, data(), 4, 0, good_address(), CALL, w.me(), w.out()), "a stream"),
        case!(w, asock_begin_receive_from(w.socket, w.out(), 8, 0, w.out(), CALL, w.me(), w.out()), "a stream"),
        case!(w, asock_begin_receive_from(w.datagrams, w.out(), 8, ASOCK_RECEIVE_OUT_OF_BAND, w.out(), CALL, w.me(), w.out()), "urgent"),
        case!(w, asock_begin_receive_from(w.datagrams, w.out(), 8, 0, w.out(), None, w.me(), null_mut()), "nobody could see it"),
        case!(w, asock_begin_receive(w.datagrams, w.out(), 8, ASOCK_RECEIVE_ALL, CALL, w.me(), w.out()), "all of a datagram"),
        case!(w, asock_begin_receive(w.datagrams, w.out(), 8, ASOCK_RECEIVE_OUT_OF_BAND, CALL, w.me(), w.out()), "urgent"),
        case!(w, asock_begin_send(w.datagrams, data(), 4, ASOCK_SEND_OUT_OF_BAND, CALL, w.me(), w.out()), "urgent"),
        case!(w, asock_begin_receive_from(w.datagrams, null_mut(), 1, 0, w.out(), CALL, w.me(), w.out()), "NULL with a length"),
        case!(w, asock_begin_receive_from(w.datagrams, w.out(), HUGE, 0, w.out(), CALL, w.me(), w.out()), "huge"),
        case!(w, asock_begin_receive_from(w.datagrams, w.out(), 8, ASOCK_RECEIVE_ALL, w.out(), CALL, w.me(), w.out()), "all"),
        case!(w, asock_begin_receive_from(w.datagrams, w.out(), 8, 0, null_mut(), CALL, w.me(), w.out()), "NULL from"),
        case!(w, asock_begin_resolve(w.worker, null(), 80, w.out(), 1, CALL, w.me(), w.out()), "NULL host"),
        case!(w, asock_begin_resolve(w.worker, empty(), 80, w.out(), 1, CALL, w.me(), w.out()), "empty host"),
        case!(w, asock_begin_resolve(w.worker, over_long(), 80, w.out(), 1, CALL, w.me(), w.out()), "over-long host"),
        case!(w, asock_begin_resolve(w.worker, not_utf8(), 80, w.out(), 1, CALL, w.me(), w.out()), "host that is no text"),
        case!(w, asock_begin_resolve(w.worker, local(), 0, w.out(), 1, CALL, w.me(), w.out()), "port 0"),
        case!(w, asock_begin_resolve(w.worker, local(), 80, null_mut(), 1, CALL, w.me(), w.out()), "NULL with a capacity"),
        case!(w, asock_begin_resolve(w.worker, local(), 80, w.out(), usize::MAX, CALL, w.me(), w.out()), "huge capacity"),

        case!(w, asock_wait(w.op, -2), "negative limit"),
        case!(w, asock_wait(w.op, i32::MIN), "negative limit"),
        case!(w, asock_end(w.op, null_mut()), "NULL result"),

        case!(w, asock_address_parse(null(), 80, w.out()), "NULL host"),
        case!(w, asock_address_parse(local(), 80, null_mut()), "NULL address"),
        case!(w, asock_address_parse(over_long(), 80, w.out()), "over-long host"),
        case!(w, asock_address_parse(not_utf8(), 80, w.out()), "host that is no text"),
        case!(w, asock_address_format(null(), w.out(), 200), "NULL address"),
        case!(w, asock_address_format(good_address(), null_mut(), 200), "NULL text"),
        case!(w, asock_address_format(good_address(), w.out(), 0), "no room"),
        case!(w, asock_address_format(malformed(129), w.out(), 200), "too long"),
        case!(w, asock_address_format(malformed(16), w.out(), 200), "unknown family"),
    ]
}

/// Functions without a handle: nothing comes before their arguments.
const FREE: [&str; 4] = [
    "asock_set_log",
    "asock_runtime_start",
    "asock_address_parse",
    "asock_address_format",
];

/// Functions of which no argument but a handle can be bad, or which have no status to tell it with.
const ALWAYS_GOOD: [&str; 15] = [
    "asock_version",
    "asock_version_string",
    "asock_status_name",
    "asock_status_text",
    "asock_runtime_drain",
    "asock_runtime_stop",
    "asock_wake",
    "asock_listen",
    "asock_close",
    "asock_begin_timer",
    "asock_forget",
    "asock_cancel",
    "asock_set_deadline",
    "asock_address_family",
    "asock_address_port",
];

#[test]
fn no_function_is_forgotten() {
    let header = include_str!("../include/asock.h");
    let names = header.lines().filter_map(|line| {
        // A declaration begins at the start of its line, with its return type.
        let (before, _) = line.split_once('(')?;
        let name = before.rsplit([' ', '*']).next()?;
        (name.starts_with("asock_") && !line.starts_with([' ', '/', '#'])).then_some(name)
    });
    let declared: BTreeSet<_> = names.filter(|name| !line_is_type(name)).collect();
    let cases = table();
    let tested: BTreeSet<_> = cases.iter().map(|case| case.function).collect();
    let tested: BTreeSet<_> = tested.into_iter().chain(ALWAYS_GOOD).collect();
    assert!(declared.len() > 40, "{declared:?}");
    assert_eq!(declared, tested);
}

/// The types of callbacks look like functions: `typedef void (*asock_callback)(...)`.
fn line_is_type(name: &str) -> bool {
    name.ends_with("_callback")
}

fn check(world: &World, expected: impl Fn(&Case) -> asock_status) {
    for case in table() {
        let (function, what) = (case.function, case.what);
        assert_eq!((case.call)(world), expected(&case), "{function}: {what}");
        // SAFETY: nobody else has the place now.
        let place = unsafe { world.place.get().read() };
        assert_eq!(place, [UNTOUCHED; 32], "{function}: {what}: written");
    }
}

#[test]
fn bad_arguments_are_answered_and_nothing_else_happens() {
    let (worker, poll) = (Runtime::on_worker(), Runtime::on_poll());
    let (socket, mut peer) = pair(&worker);
    let recorder = worker.recorder();
    let room = Memory::new(5);
    let op = plain_receive(socket, &room, ASOCK_RECEIVE_ALL);
    let datagrams = datagrams(&worker);
    let before = [&worker, &poll].map(|runtime| runtime.stats());
    let world = World {
        worker: worker.handle(),
        poll: poll.handle(),
        socket,
        datagrams,
        op,
        place: UnsafeCell::new([UNTOUCHED; 32]),
        recorder: Arc::clone(&recorder),
    };
    check(&world, |case| case.expected);
    for (runtime, before) in [&worker, &poll].into_iter().zip(before) {
        let after = runtime.stats();
        assert_eq!(after.operations_begun, before.operations_begun);
        assert_eq!(after.operations_pending, before.operations_pending);
        assert_eq!(after.sockets_open, before.sockets_open);
    }
    // What was there is as well as ever.
    assert_pending(&worker, op);
    peer.write_all(b"alive").expect("connected");
    assert_eq!(end(op).bytes, 5);
    assert_eq!(room.bytes(), b"alive");
    recorder.put(socket, b"kicking");
    let mut heard = [0; 7];
    peer.read_exact(&mut heard).expect("connected");
    assert_eq!(&heard, b"kicking");
    worker.stop();
    assert_eq!(
        recorder.count(),
        1,
        "the last send, and no completion of a call that failed"
    );
}

#[test]
fn a_bad_handle_comes_first() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let stale = runtime.open();
    assert_eq!(asock_close(stale), ASOCK_OK);
    // A handle of another kind, for want of a runtime that is gone and yet not stopped.
    let world = World {
        worker: stale,
        poll: stale,
        socket: stale,
        datagrams: stale,
        op: stale,
        place: UnsafeCell::new([UNTOUCHED; 32]),
        recorder: Arc::clone(&recorder),
    };
    check(&world, |case| match FREE.contains(&case.function) {
        true => case.expected,
        false => ASOCK_BAD_HANDLE,
    });
    assert_eq!(recorder.count(), 0);
}

/// What the table must not be mistaken about: these are allowed.
#[test]
fn what_may_be_null_or_unknown() {
    let peer = Peer::echo();
    let runtime = Runtime::on_worker();
    let socket = runtime.connected(peer.port());
    let nobody = null_mut();
    // SAFETY: NULL is allowed for each of these.
    unsafe {
        let send = asock_begin_send(socket, null(), 0, 0, None, nobody, null_mut());
        let timer = asock_begin_timer(runtime.handle(), 0, None, nobody, null_mut());
        let log = asock_set_log(ASOCK_LOG_TRACE, None, nobody);
        assert_eq!([send, timer, log], [ASOCK_OK; 3]);
    }
    for code in [1, -11, -98, i32::MIN, i32::MAX] {
        // SAFETY: never NULL, and ends with a zero.
        let texts = [asock_status_name(code), asock_status_text(code)]
            .map(|text| unsafe { CStr::from_ptr(text) });
        assert_eq!(texts, [c"ASOCK_UNKNOWN_STATUS", c"unknown status"]);
    }
    // A struct of a newer program that asks for nothing that we do not know.
    let mut handle = 0;
    // SAFETY: the struct is as long as it says, and `handle` may be written.
    let status = unsafe { asock_runtime_start(sized(CONFIG + 64, 0, 0), &raw mut handle) };
    assert_eq!(status, ASOCK_OK);
    assert_eq!(asock_runtime_stop(handle), ASOCK_OK);
    let recorder = runtime.recorder();
    recorder.completion_of(recorder.close(socket, ASOCK_CLOSE_DRAIN));
}

#[test]
fn the_same_in_c_and_under_valgrind() {
    let Some(workshop) = c::Workshop::open() else {
        return;
    };
    let program = workshop.program("bad_input.c");
    let ran = c::run(&mut Command::new(&program), LIMIT);
    ran.assert_success("bad_input");
    let has_valgrind = Command::new("valgrind").arg("--version").output();
    if !has_valgrind.is_ok_and(|answer| answer.status.success()) {
        eprintln!("valgrind is missing: bad_input.c was run without it");
        return;
    }
    let mut command = Command::new("valgrind");
    command
        .env("ASOCK_BACKEND", "epoll") // Valgrind 3.19 does not understand rings.
        .args(["--quiet", "--error-exitcode=9", "--leak-check=full"])
        .args(["--errors-for-leak-kinds=definite", "--fair-sched=yes"])
        .arg(&program);
    c::run(&mut command, Duration::from_secs(240)).assert_success("bad_input under valgrind");
}
