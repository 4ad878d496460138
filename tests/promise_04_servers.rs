//! Promise 4 for servers, datagrams, pieces and files: no callback runs inside the begin that caused it or inside another
//! callback, and from inside a callback every function may be called.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::datagram::{bound, open, try_bind, Sender};
use common::files::{file_of, number_of};
use common::handles::{self, Entry, Kind};
use common::server::{listener, port};
use common::*;
use std::cell::Cell;
use std::ffi::c_void;
use std::net::{Ipv4Addr, TcpStream};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

const CHAIN: usize = 20_000;
/// What is begun in turn: an accept now and then, and mostly the others.
const KINDS: usize = 7;
const BETWEEN_ACCEPTS: usize = 50 * KINDS;

thread_local! {
    /// Callbacks that run on this thread, one inside the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// This thread is inside a call of the library.
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// A chain of operations, each begun inside the callback of the one before. It is their `user_data`.
struct Chain {
    /// Connected to somebody who sends back what he gets.
    stream: asock_socket,
    /// It sends to itself.
    datagrams: asock_socket,
    own: asock_address,
    listener: asock_socket,
    port: u16,
    /// The descriptor of a file with a byte in it.
    file: i64,
    byte: Memory,
    from: Sender,
    clients: Mutex<Vec<TcpStream>>,
    completed: AtomicUsize,
    accepted: AtomicUsize,
    deepest: AtomicUsize,
    inside: AtomicUsize,
    failed: AtomicUsize,
}

impl Chain {
    /// Begins the next one: operations that can be done at once, which is the temptation.
    fn begin(&self, turn: usize) {
        let me: *mut c_void = std::ptr::from_ref(self).cast_mut().cast();
        let (byte, call, none) = (self.byte.pointer(), Some(next as _), null_mut());
        let piece = asock_buffer {
            data: byte,
            length: 1,
        };
        let (piece, own) = (&raw const piece, &raw const self.own);
        if turn % BETWEEN_ACCEPTS == KINDS - 1 {
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
            let mut clients = self.clients.lock().expect("nobody panics with it");
            clients.push(client.expect("it listens"));
        }
        let outer = CALLING.replace(true);
        // SAFETY: the chain outlives its runtime.
        let status = unsafe {
            let (stream, datagrams, file) = (self.stream, self.datagrams, self.file);
            match turn % KINDS {
                0 => asock_begin_send_to(datagrams, byte, 1, 0, own, call, me, none),
                1 => {
                    let from = self.from.pointer();
                    asock_begin_receive_from(datagrams, byte, 1, 0, from, call, me, none)
                }
                2 => asock_begin_send_vectored(stream, piece, 1, 0, call, me, none),
                3 => asock_begin_receive_vectored(stream, piece, 1, 0, call, me, none),
                4 => asock_begin_send_file(stream, file, 0, 1, call, me, none),
                5 => asock_begin_receive(stream, byte, 1, 0, call, me, none),
                _ if turn % BETWEEN_ACCEPTS == KINDS - 1 => {
                    asock_begin_accept(self.listener, call, me, none)
                }
                _ => asock_begin_send_vectored(stream, piece, 1, 0, call, me, none),
            }
        };
        CALLING.set(outer);
        if status != ASOCK_OK {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

unsafe extern "C" fn next(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the chain outlives its runtime, and the record is valid during the call.
    let (chain, result) = unsafe { (&*user_data.cast::<Chain>(), &*result) };
    let depth = DEPTH.get() + 1;
    DEPTH.set(depth);
    chain.deepest.fetch_max(depth, Ordering::SeqCst);
    let bytes = usize::from(result.kind != ASOCK_KIND_ACCEPT);
    let well = result.status == ASOCK_OK && result.bytes == bytes;
    chain
        .inside
        .fetch_add(CALLING.get().into(), Ordering::SeqCst);
    chain.failed.fetch_add((!well).into(), Ordering::SeqCst);
    if result.kind == ASOCK_KIND_ACCEPT {
        chain.accepted.fetch_add(1, Ordering::SeqCst);
        asock_close(result.value);
    }
    let turn = chain.completed.fetch_add(1, Ordering::SeqCst) + 1;
    if turn < CHAIN {
        chain.begin(turn);
    }
    DEPTH.set(depth - 1);
}

#[test]
fn a_chain_of_completions_never_nests() {
    let peer = Peer::echo();
    let file = file_of(b"7");
    on_both(|runtime| {
        let (datagrams, own) = bound(&runtime, "127.0.0.1");
        let listener = listener(&runtime);
        let chain = Chain {
            stream: runtime.connected(peer.port()),
            datagrams,
            own,
            port: port(listener),
            listener,
            file: number_of(&file),
            byte: Memory::new(1),
            from: Sender::default(),
            clients: Mutex::default(),
            completed: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            deepest: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        };
        chain.begin(0);
        let watchdog = Watchdog::new("the end of the chain");
        while chain.completed.load(Ordering::SeqCst) < CHAIN {
            if runtime.delivers_on_poll() {
                assert_eq!(runtime.dispatch(), ASOCK_OK);
            } else {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        drop(watchdog);
        // Before the chain goes: the runtime refers to it.
        runtime.stop();
        assert_eq!(chain.completed.load(Ordering::SeqCst), CHAIN);
        assert_eq!(chain.failed.load(Ordering::SeqCst), 0);
        assert_eq!(chain.inside.load(Ordering::SeqCst), 0, "inside a begin");
        assert_eq!(chain.deepest.load(Ordering::SeqCst), 1);
        assert!(chain.accepted.load(Ordering::SeqCst) >= CHAIN / BETWEEN_ACCEPTS);
    });
}

/// One of the sorts of sockets, made inside a callback.
fn fresh(runtime: asock_runtime, sort: usize) -> asock_socket {
    let mut socket = 0;
    let type_ = match sort {
        0 | 1 => ASOCK_STREAM,
        _ => ASOCK_DATAGRAM,
    };
    // SAFETY: the handle may be written.
    let opened = unsafe { asock_open(runtime, type_, &raw mut socket) };
    assert_eq!(opened, ASOCK_OK);
    if sort > 0 {
        assert_eq!(try_bind(socket, Some("127.0.0.1"), 0), ASOCK_OK);
    }
    if sort == 1 {
        assert_eq!(asock_listen(socket, 0), ASOCK_OK);
    }
    socket
}

/// The functions that act on a socket, and those that make something of a runtime.
fn entries() -> impl Iterator<Item = &'static Entry> {
    let makes = ["asock_adopt", "asock_begin_resolve", "asock_begin_timer"];
    handles::all().filter(move |entry| entry.kind == Kind::Socket || makes.contains(&entry.name))
}

#[test]
fn every_function_of_sockets_may_be_called_inside_a_callback() {
    on_both(|runtime| {
        let watchdog = Watchdog::new("a call inside a callback");
        let handle = runtime.handle();
        let caller = runtime.recorder_with(move |_| {
            for sort in 0..3 {
                for entry in entries() {
                    let socket = fresh(handle, sort);
                    let on = match entry.kind {
                        Kind::Socket => socket,
                        _ => handle,
                    };
                    let status = (entry.good)(on);
                    let sane = ![
                        ASOCK_WOULD_DEADLOCK,
                        ASOCK_BAD_HANDLE,
                        ASOCK_INTERNAL,
                        ASOCK_STOPPED,
                    ]
                    .contains(&status);
                    assert!(sane, "{} answers {status}", entry.name);
                    let gone = ["asock_close", "asock_begin_close"].contains(&entry.name)
                        || entry.name == "asock_release" && status == ASOCK_OK;
                    let expected = if gone { ASOCK_BAD_HANDLE } else { ASOCK_OK };
                    assert_eq!(asock_close(socket), expected, "{}", entry.name);
                }
            }
        });
        caller.timer(0);
        caller.wait_for(1);
        until("all is closed", || {
            runtime.dispatch_if_polled();
            runtime.stats().sockets_open == 0
        });
        // The worker goes on.
        let recorder = runtime.recorder();
        let socket = open(&runtime);
        assert_eq!(try_bind(socket, Some("127.0.0.1"), 0), ASOCK_OK);
        let own = common::calls::local(socket).expect("it is bound");
        recorder.put_to(socket, b"alive", &own);
        recorder.expect_from(socket, b"alive", &own);
        runtime.stop();
        drop(watchdog);
    });
}
