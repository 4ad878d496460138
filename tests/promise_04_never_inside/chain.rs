//! Chains of completions: they neither nest nor run inside a begin.

use crate::common::datagram::{bound, Sender};
use crate::common::files::{file_of, number_of};
use crate::common::server::{listener, port};
use crate::common::*;
use asock::*;
use std::cell::Cell;
use std::ffi::c_void;
use std::net::{Ipv4Addr, TcpStream};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

const CHAIN: usize = 30_000;

/// What is begun in turn. Some take longer, so there are few of them.
const KINDS: usize = 10;
const BETWEEN_RARE_ONES: usize = 30 * KINDS;

thread_local! {
    /// Callbacks that run on this thread, one inside the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// This thread is inside a call of the library.
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// A chain of operations, each begun inside the callback of the one before. It is their `user_data`.
struct Chain {
    runtime: asock_runtime,
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

/// Whether a turn is that of an accept, or of a timer, which waits for the next tick.
fn is_accept(turn: usize) -> bool {
    turn % BETWEEN_RARE_ONES == KINDS - 1
}

fn is_timer(turn: usize) -> bool {
    turn % BETWEEN_RARE_ONES == 2 * KINDS - 1
}

/// The bytes that the operation of a turn sends or receives.
fn bytes_of(turn: usize) -> usize {
    usize::from(turn % KINDS < 8)
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
        if is_accept(turn) {
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
                6 => asock_begin_send(stream, byte, 1, 0, call, me, none),
                // What the peer sends back.
                5 | 7 => asock_begin_receive(stream, byte, 1, 0, call, me, none),
                _ if is_accept(turn) => asock_begin_accept(self.listener, call, me, none),
                _ if is_timer(turn) => asock_begin_timer(self.runtime, 0, call, me, none),
                _ => asock_begin_send(stream, byte, 0, 0, call, me, none),
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
    let turn = chain.completed.load(Ordering::SeqCst);
    let well = result.status == ASOCK_OK && result.bytes == bytes_of(turn);
    let inside = CALLING.get();
    chain.inside.fetch_add(inside.into(), Ordering::SeqCst);
    chain.failed.fetch_add((!well).into(), Ordering::SeqCst);
    if result.kind == ASOCK_KIND_ACCEPT {
        chain.accepted.fetch_add(1, Ordering::SeqCst);
        asock_close(result.value);
    }
    chain.completed.store(turn + 1, Ordering::SeqCst);
    if turn + 1 < CHAIN {
        chain.begin(turn + 1);
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
            runtime: runtime.handle(),
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
        let accepted = chain.accepted.load(Ordering::SeqCst);
        assert_eq!(accepted, CHAIN / BETWEEN_RARE_ONES);
    });
}
