//! Promise 3: arguments now, state later. A begin itself fails only for what its arguments show, for want of room, or on a
//! draining runtime, and then nothing was begun: no completion comes, and `op` is as it was. All that concerns the
//! connection arrives in the completion.
#![allow(unsafe_code)] // The functions under test take pointers, and the allocator is a trait of unsafe functions.

mod common;

use asock::*;
use common::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{c_char, c_void, CString};
use std::io::Read;
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// What `op` holds before a call that is to leave it alone.
const UNTOUCHED: asock_op = 0x1234_5678_9abc_def0;

thread_local! {
    static NO_MEMORY: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, which has nothing left for a thread that says so.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: NULL is an answer that every caller must expect; all else is the system's.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if NO_MEMORY.get() {
            return null_mut();
        }
        // SAFETY: passed on from the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on from the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Makes calls that must begin nothing, and looks whether they have.
struct Refusals {
    runtime: Runtime,
    recorder: Arc<Recorder>,
}

impl Refusals {
    fn on(runtime: Runtime) -> Refusals {
        let recorder = runtime.recorder();
        Refusals { runtime, recorder }
    }

    /// The call gives `expected` and leaves no trace but, perhaps, in the log.
    #[track_caller]
    fn expect(
        &self,
        expected: asock_status,
        call: impl FnOnce(asock_callback, *mut c_void, *mut asock_op) -> asock_status,
    ) {
        let before = self.runtime.stats().operations_begun;
        let mut op = UNTOUCHED;
        let status = call(Some(record), self.recorder.user_data(), &raw mut op);
        assert_eq!(status, expected);
        assert_eq!(op, UNTOUCHED);
        assert_eq!(self.runtime.stats().operations_begun, before);
    }

    #[track_caller]
    fn connect(&self, expected: asock_status, socket: asock_socket, host: &[u8], port: u16) {
        let host = CString::new(host).expect("a host has no zero inside");
        self.connect_raw(expected, socket, host.as_ptr(), port);
    }

    #[track_caller]
    fn connect_raw(
        &self,
        expected: asock_status,
        socket: asock_socket,
        host: *const c_char,
        port: u16,
    ) {
        // SAFETY: the host is NULL or ends with a zero.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_connect(socket, host, port, callback, user_data, op)
        });
    }

    #[track_caller]
    fn connect_address(
        &self,
        expected: asock_status,
        socket: asock_socket,
        address: *const asock_address,
    ) {
        // SAFETY: the address is NULL or one.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_connect_address(socket, address, callback, user_data, op)
        });
    }

    #[track_caller]
    fn send(
        &self,
        expected: asock_status,
        socket: asock_socket,
        data: *const c_void,
        length: usize,
        flags: u32,
    ) {
        // SAFETY: nothing is begun, so nothing is read.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_send(socket, data, length, flags, callback, user_data, op)
        });
    }

    /// A vectored send and a vectored receive.
    #[track_caller]
    fn vectored(
        &self,
        expected: asock_status,
        socket: asock_socket,
        pieces: &[asock_buffer],
        flags: u32,
    ) {
        let (first, count) = (pieces.as_ptr(), pieces.len());
        // SAFETY: nothing is begun, so nothing but the array is read.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_send_vectored(socket, first, count, flags, callback, user_data, op)
        });
        // SAFETY: as above.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_receive_vectored(socket, first, count, flags, callback, user_data, op)
        });
    }

    #[track_caller]
    fn send_file(&self, expected: asock_status, socket: asock_socket, file: i64, length: u64) {
        // SAFETY: nothing is begun, and no memory is referred to.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_send_file(socket, file, 0, length, callback, user_data, op)
        });
    }

    #[track_caller]
    fn receive(
        &self,
        expected: asock_status,
        socket: asock_socket,
        room: *mut c_void,
        length: usize,
        flags: u32,
    ) {
        // SAFETY: nothing is begun, so nothing is written.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_receive(socket, room, length, flags, callback, user_data, op)
        });
    }

    #[track_caller]
    fn close(&self, expected: asock_status, socket: asock_socket, flags: u32) {
        // SAFETY: nothing is begun.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_close(socket, flags, callback, user_data, op)
        });
    }

    #[track_caller]
    fn timer(&self, expected: asock_status, runtime: asock_runtime) {
        // SAFETY: nothing is begun.
        self.expect(expected, |callback, user_data, op| unsafe {
            asock_begin_timer(runtime, 0, callback, user_data, op)
        });
    }

    /// Each begin with this socket and otherwise good arguments.
    #[track_caller]
    fn every(&self, expected: asock_status, socket: asock_socket, runtime: asock_runtime) {
        let byte = Memory::new(1);
        let piece = asock_buffer {
            data: byte.pointer(),
            length: 1,
        };
        let file = files::file_of(b"x");
        let address = loopback(1);
        self.connect(expected, socket, b"127.0.0.1", 1);
        self.connect_address(expected, socket, &raw const address);
        self.send(expected, socket, byte.pointer(), 1, 0);
        self.send(expected, socket, byte.pointer(), 1, ASOCK_SEND_COPY);
        self.receive(expected, socket, byte.pointer(), 1, 0);
        self.vectored(expected, socket, &[piece, piece], 0);
        self.vectored(expected, socket, &[piece], 0);
        self.send_file(expected, socket, files::number_of(&file), 1);
        self.send_file(expected, socket, files::number_of(&file), 0);
        self.close(expected, socket, 0);
        self.timer(expected, runtime);
    }

    /// Nothing came of it, and nothing will.
    fn finish(self) {
        self.runtime.stop();
        assert_eq!(self.recorder.count(), 0);
    }
}

#[test]
fn bad_arguments_are_answered_by_the_call() {
    on_both(|runtime| {
        let refusals = Refusals::on(runtime);
        let bad = ASOCK_INVALID_ARGUMENT;
        let socket = refusals.runtime.open();
        let byte = Memory::new(1);
        let place = byte.pointer();

        refusals.connect_raw(bad, socket, null(), 1);
        refusals.connect(bad, socket, b"", 1);
        refusals.connect(bad, socket, &[b'a'; 254], 1);
        refusals.connect(bad, socket, b"example\xff.org", 1);
        refusals.connect(bad, socket, b"127.0.0.1", 0);
        refusals.connect(bad, socket, b"unix:", 0);
        refusals.connect(
            bad,
            socket,
            &[b"unix:/".as_slice(), &[b'a'; 120]].concat(),
            0,
        );

        let mut address = loopback(1);
        refusals.connect_address(bad, socket, null());
        address.length = 0;
        refusals.connect_address(bad, socket, &raw const address);
        address.length = 129;
        refusals.connect_address(bad, socket, &raw const address);
        address.length = 3;
        refusals.connect_address(bad, socket, &raw const address);

        let huge = isize::MAX as usize + 1;
        refusals.send(bad, socket, null(), 1, 0);
        refusals.send(bad, socket, place, 1, 8);
        refusals.send(bad, socket, place, 1, 1 << 31);
        refusals.send(bad, socket, place, huge, 0);
        refusals.send(bad, socket, place, usize::MAX, ASOCK_SEND_COPY);
        refusals.receive(bad, socket, null_mut(), 1, 0);
        refusals.receive(bad, socket, place, 1, 8);
        refusals.receive(bad, socket, place, 1, 1 << 31);
        let piece = |data, length| asock_buffer { data, length };
        refusals.vectored(bad, socket, &[], 0);
        refusals.vectored(bad, socket, &[piece(place, 1)], 8);
        refusals.vectored(bad, socket, &[piece(place, 1), piece(null_mut(), 1)], 0);
        refusals.vectored(bad, socket, &[piece(place, 1), piece(place, usize::MAX)], 0);
        let most = isize::MAX as usize;
        refusals.vectored(bad, socket, &[piece(place, most), piece(place, 1)], 0);
        refusals.send_file(bad, socket, -1, 1);
        refusals.send_file(bad, socket, i64::from(i32::MAX), 1);
        refusals.receive(bad, socket, place, huge, 0);
        let all = ASOCK_RECEIVE_ALL;
        refusals.receive(bad, socket, place, 1, all | ASOCK_RECEIVE_PEEK);
        refusals.receive(bad, socket, place, 1, all | ASOCK_RECEIVE_OUT_OF_BAND);
        refusals.close(bad, socket, ASOCK_CLOSE_DRAIN | ASOCK_CLOSE_RESET);
        refusals.close(bad, socket, 4);

        // The socket is what it was: such a close has not closed it.
        assert_eq!(asock_close(socket), ASOCK_OK);
        refusals.finish();
    });
}

#[test]
fn bad_handles_are_answered_by_the_call_and_before_all_else() {
    on_both(|runtime| {
        let refusals = Refusals::on(runtime);
        let runtime = refusals.runtime.handle();
        let stale = refusals.runtime.open();
        assert_eq!(asock_close(stale), ASOCK_OK);
        let timer = begun(|op| {
            // SAFETY: nothing but the place for the handle is given.
            unsafe { asock_begin_timer(runtime, 3_600_000, None, null_mut(), op) }
        });
        let bad = ASOCK_BAD_HANDLE;
        for socket in [0, stale, runtime, timer, u64::MAX, 1] {
            refusals.every(bad, socket, stale);
            // Also where the other arguments are bad as well.
            refusals.connect_raw(bad, socket, null(), 0);
            refusals.connect_address(bad, socket, null());
            refusals.send(bad, socket, null(), 1, 8);
            refusals.receive(bad, socket, null_mut(), usize::MAX, 8);
            refusals.vectored(bad, socket, &[], 8);
            refusals.send_file(bad, socket, -1, u64::MAX);
            refusals.close(bad, socket, u32::MAX);
        }
        refusals.finish();
    });
}

/// Nobody could see its result; where records are polled, everybody can.
#[test]
fn a_receive_that_nobody_could_see_is_refused() {
    let begin = |runtime: &Runtime, room: &Memory| {
        let socket = runtime.open();
        // SAFETY: the memory outlives the runtime.
        unsafe { asock_begin_receive(socket, room.pointer(), 1, 0, None, null_mut(), null_mut()) }
    };
    let room = Memory::new(1);
    assert_eq!(begin(&Runtime::on_worker(), &room), ASOCK_INVALID_ARGUMENT);
    assert_eq!(begin(&Runtime::on_poll(), &room), ASOCK_OK);
}

#[test]
fn a_full_queue_is_answered_by_the_call() {
    on_both(|runtime| {
        let (socket, mut peer) = calls::pair(&runtime);
        let refusals = Refusals::on(runtime);
        let sends = refusals.runtime.recorder();
        let limit = ASOCK_OPTION_SEND_QUEUE_LIMIT;
        assert_eq!(asock_set_option(socket, limit, 1000), ASOCK_OK);
        // Larger than the limit, but the queue is empty; and more than the system's buffers take.
        let large = Memory::new(16 * 1024 * 1024);
        let first = sends.send(socket, &large, 0);
        let byte = Memory::of(b"x");
        refusals.send(ASOCK_QUEUE_FULL, socket, byte.pointer(), 1, 0);
        refusals.send(ASOCK_QUEUE_FULL, socket, byte.pointer(), 1, ASOCK_SEND_COPY);
        let file = files::file_of(b"x");
        refusals.send_file(ASOCK_QUEUE_FULL, socket, files::number_of(&file), 1);
        let (status, _) = sends.try_send_pieces(socket, &pieces::cut(b"ab", &[1]), 0);
        assert_eq!(status, ASOCK_QUEUE_FULL);
        assert!(is_pending(first));
        // As soon as it has left, there is room again.
        let mut gone = vec![0; large.len()];
        peer.read_exact(&mut gone).expect("it is being sent");
        sends.completion_of(first).expect(ASOCK_KIND_SEND, ASOCK_OK);
        let second = sends.send(socket, &byte, 0);
        sends
            .completion_of(second)
            .expect(ASOCK_KIND_SEND, ASOCK_OK);
        refusals.finish();
        assert_eq!(sends.count(), 2);
    });
}

#[test]
fn a_draining_runtime_begins_nothing() {
    on_both(|runtime| {
        let socket = runtime.open();
        let refusals = Refusals::on(runtime);
        let runtime = refusals.runtime.handle();
        assert_eq!(asock_runtime_drain(runtime), ASOCK_OK);
        refusals.every(ASOCK_STOPPED, socket, runtime);
        // The refused close has not made the handle stale.
        assert_eq!(asock_close(socket), ASOCK_OK);
        refusals.finish();
    });
}

/// Runs a call on a thread that has no memory left.
fn without_memory(call: impl FnOnce() -> asock_status) -> asock_status {
    NO_MEMORY.set(true);
    let status = call();
    NO_MEMORY.set(false);
    status
}

#[test]
fn want_of_memory_is_answered_by_the_call() {
    on_both(|runtime| {
        let refusals = Refusals::on(runtime);
        let socket = refusals.runtime.open();
        let runtime = refusals.runtime.handle();
        let byte = Memory::new(1);
        let (data, address) = (byte.pointer(), loopback(1));
        // SAFETY: nothing is begun.
        refusals.expect(ASOCK_OUT_OF_MEMORY, |callback, user_data, op| unsafe {
            without_memory(|| {
                asock_begin_send(socket, data, 1, ASOCK_SEND_COPY, callback, user_data, op)
            })
        });
        // SAFETY: nothing is begun.
        refusals.expect(ASOCK_OUT_OF_MEMORY, |callback, user_data, op| unsafe {
            without_memory(|| {
                let address = &raw const address;
                asock_begin_connect_address(socket, address, callback, user_data, op)
            })
        });
        let piece = asock_buffer { data, length: 1 };
        let pieces = [piece, piece];
        let first = pieces.as_ptr();
        // SAFETY: nothing is begun.
        refusals.expect(ASOCK_OUT_OF_MEMORY, |callback, user_data, op| unsafe {
            without_memory(|| {
                asock_begin_send_vectored(socket, first, 2, 0, callback, user_data, op)
            })
        });
        // SAFETY: nothing is begun.
        refusals.expect(ASOCK_OUT_OF_MEMORY, |callback, user_data, op| unsafe {
            without_memory(|| {
                asock_begin_receive_vectored(socket, first, 2, 0, callback, user_data, op)
            })
        });
        let file = files::file_of(b"x");
        let number = files::number_of(&file);
        // SAFETY: nothing is begun.
        refusals.expect(ASOCK_OUT_OF_MEMORY, |callback, user_data, op| unsafe {
            without_memory(|| asock_begin_send_file(socket, number, 0, 1, callback, user_data, op))
        });
        assert!(!files::is_open_elsewhere(&file), "it is kept open");
        // Operations come out of a stock; when it is used up, the rest is refused, and only the rest.
        let timers = refusals.runtime.recorder();
        let mut count = 0;
        let refused = loop {
            let mut op = UNTOUCHED;
            // SAFETY: the recorder outlives the operation.
            let status = without_memory(|| unsafe {
                let user_data = timers.user_data();
                asock_begin_timer(runtime, 3_600_000, Some(record), user_data, &raw mut op)
            });
            if status != ASOCK_OK {
                assert_eq!(op, UNTOUCHED);
                break status;
            }
            count += 1;
            assert!(count < 1_000_000, "the stock has no end");
        };
        assert_eq!(refused, ASOCK_OUT_OF_MEMORY);
        // A close that there is no room for has not closed. With room again, all goes on.
        // SAFETY: nothing is begun.
        refusals.expect(ASOCK_OUT_OF_MEMORY, |callback, user_data, op| unsafe {
            without_memory(|| asock_begin_close(socket, 0, callback, user_data, op))
        });
        let close = timers.close(socket, 0);
        timers
            .completion_of(close)
            .expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        assert_eq!(refusals.runtime.stats().operations_pending, count);
        refusals.finish();
        assert_eq!(timers.count() as u64, count + 1);
    });
}

#[test]
fn the_state_of_the_connection_comes_later() {
    on_both(|runtime| {
        let listener = Listener::new();
        let refused = Refused::new();
        let recorder = runtime.recorder();
        let byte = Memory::of(b"x");
        let expect = |op, kind, status| recorder.completion_of(op).expect(kind, status);
        let (send, receive) = (ASOCK_KIND_SEND, ASOCK_KIND_RECEIVE);

        // Never connected.
        let socket = runtime.open();
        expect(recorder.send(socket, &byte, 0), send, ASOCK_NOT_CONNECTED);
        expect(
            recorder.receive(socket, &byte, 0),
            receive,
            ASOCK_NOT_CONNECTED,
        );

        // Nobody listens, no such path; what waits for the connection shares its fate.
        let connect = recorder.connect(socket, refused.port());
        let behind = recorder.send(socket, &byte, 0);
        expect(connect, ASOCK_KIND_CONNECT, ASOCK_CONNECTION_REFUSED);
        let fate = recorder.completion_of(behind).status;
        // It waited, unless the refusal was there before it was begun.
        assert!([ASOCK_CONNECTION_REFUSED, ASOCK_NOT_CONNECTED].contains(&fate));
        let connect = recorder.connect_to(socket, "unix:/no/such/path", 0);
        expect(connect, ASOCK_KIND_CONNECT, ASOCK_ADDRESS_NOT_AVAILABLE);

        // Connected already.
        let connect = recorder.connect(socket, listener.port());
        expect(connect, ASOCK_KIND_CONNECT, ASOCK_OK);
        let peer = listener.accept();
        let connect = recorder.connect(socket, listener.port());
        expect(connect, ASOCK_KIND_CONNECT, ASOCK_ALREADY_CONNECTED);

        // Shut down.
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        expect(recorder.send(socket, &byte, 0), send, ASOCK_SHUT_DOWN);

        // Reset by the peer.
        reset(peer);
        expect(
            recorder.receive(socket, &byte, 0),
            receive,
            ASOCK_CONNECTION_RESET,
        );
        expect(
            recorder.receive(socket, &byte, 0),
            receive,
            ASOCK_CONNECTION_RESET,
        );
    });
}
