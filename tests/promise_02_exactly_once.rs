//! Promise 2: a begin that returns ASOCK_OK gives exactly one completion, whatever happens; one that returns anything else
//! gives none.
//!
//! Random schedules on real sockets: two threads of the application begin, cancel, set deadlines, shut down and close,
//! while the peer sends, reads, ends and resets, and at last the runtime is drained, stopped, or all is waited for. Every
//! operation has its own counter. After the stop no completion can come any more (promise 8), so the counters are final
//! and nobody needs to sleep to be sure. A failure names its seed; the threads make that a hint and not a replay.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::files::{empty_file, number_of};
use common::*;
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const SCHEDULES: u64 = 400;
const STEPS: u64 = 60;
const LENGTHS: [usize; 4] = [0, 1, 100, 20_000];

/// More than the system's buffers of both ends hold together.
const LARGE: usize = 16 * 1024 * 1024;

// One flag serves for both in a schedule.
const _: () = assert!(ASOCK_SEND_COPY == 1 && ASOCK_RECEIVE_ALL == 1);

/// How the application is to hear of an operation.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Callback,
    /// `asock_end` on a runtime that delivers on its worker, `asock_poll` on one that delivers on poll.
    Record,
}

/// One operation and what came of it. It is the operation's `user_data`.
struct Account {
    kind: u32,
    way: Way,
    memory: Memory,
    /// What is sent is the beginning of a file.
    is_file: bool,
    /// Written after the begin has returned; 0 until then, or if it failed.
    op: AtomicU64,
    completions: AtomicU32,
    last: Mutex<Option<Completion>>,
}

impl Account {
    fn note(&self, result: &asock_result) {
        let completion = Completion {
            result: *result,
            thread: std::thread::current().id(),
        };
        *self.last.lock().expect("nobody panics with it") = Some(completion);
        self.completions.fetch_add(1, Ordering::SeqCst);
    }

    fn is_done(&self) -> bool {
        self.completions.load(Ordering::SeqCst) > 0
    }

    /// The record belongs to this operation and does not contradict itself.
    fn check(&self, seed: u64) -> asock_status {
        let last = self.last.lock().expect("nobody panics with it");
        let result = last.expect("it has completed").result;
        let what = format!("seed {seed}: {result:?}");
        assert_eq!(result.op, self.op.load(Ordering::SeqCst), "{what}");
        assert_eq!(result.kind, self.kind, "{what}");
        assert!(result.bytes <= self.memory.len(), "{what}");
        if self.kind == ASOCK_KIND_SEND || self.kind == ASOCK_KIND_RECEIVE {
            let buffer = match self.is_file {
                true => null_mut(),
                false => self.memory.pointer(),
            };
            assert_eq!(result.buffer, buffer, "{what}");
        }
        if self.kind == ASOCK_KIND_SEND && result.status == ASOCK_OK {
            assert_eq!(result.bytes, self.memory.len(), "{what}");
        }
        result.status
    }
}

unsafe extern "C" fn note(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the record is valid during the call, and the account is kept until the runtime has stopped.
    unsafe { (*user_data.cast::<Account>()).note(&*result) };
}

/// A schedule in progress: what both threads of the application share.
struct Play {
    /// Dropped, and so stopped, before what its operations refer to.
    runtime: Runtime,
    seed: u64,
    /// Whether records are pulled with `asock_poll`, which also takes those with a callback, or with `asock_dispatch`,
    /// which drops those without one.
    polls: bool,
    accounts: Mutex<Vec<Arc<Account>>>,
    refused: Mutex<Vec<Arc<Account>>>,
    sockets: Mutex<Vec<asock_socket>>,
    large: Memory,
    /// The descriptor of a file as large as that.
    file: i64,
}

impl Play {
    fn on_poll(&self) -> bool {
        self.runtime.delivers_on_poll()
    }

    /// Begins one operation of any kind, in any way, and keeps its account.
    fn begin(&self, random: &mut Random, ports: &[u16]) {
        let socket = self.any_socket(random);
        let kinds = [
            ASOCK_KIND_CONNECT,
            ASOCK_KIND_SEND,
            ASOCK_KIND_SEND,
            ASOCK_KIND_RECEIVE,
            ASOCK_KIND_RECEIVE,
            ASOCK_KIND_TIMER,
        ];
        let kind = *random.pick(&kinds);
        let port = *random.pick(ports);
        self.begin_kind(kind, socket, port, random);
    }

    fn begin_kind(&self, kind: u32, socket: asock_socket, port: u16, random: &mut Random) {
        let ending = !self.on_poll() || self.polls;
        let way = if ending && random.one_in(4) {
            Way::Record
        } else {
            Way::Callback
        };
        let memory = match random.one_in(5) {
            true => self.large.clone(),
            false => Memory::new(*random.pick(&LENGTHS)),
        };
        let is_file = kind == ASOCK_KIND_SEND && random.one_in(4);
        let account = Arc::new(Account {
            kind,
            way,
            memory,
            is_file,
            op: AtomicU64::new(0),
            completions: AtomicU32::new(0),
            last: Mutex::new(None),
        });
        let callback: asock_callback = if way == Way::Callback {
            Some(note)
        } else {
            None
        };
        let user_data = Arc::as_ptr(&account).cast_mut().cast();
        let (data, length) = (account.memory.pointer(), account.memory.len());
        let mut op = 0;
        let at = &raw mut op;
        // ASOCK_SEND_COPY or ASOCK_RECEIVE_ALL. Copies of a lot would only be slow.
        let flag = u32::from(random.one_in(2) && (kind != ASOCK_KIND_SEND || length < LARGE));
        // Sends and receives also in pieces: two halves, and between them nothing.
        let half = length / 2;
        let piece = |from: usize, length| asock_buffer {
            data: data.cast::<u8>().wrapping_add(from).cast(),
            length,
        };
        let pieces = [piece(0, half), piece(half, 0), piece(half, length - half)];
        let (first, vectored) = (pieces.as_ptr(), random.one_in(3));
        // SAFETY: the account, and the memory with it, is kept until the runtime has stopped.
        let status = unsafe {
            match kind {
                ASOCK_KIND_CONNECT => {
                    let host = c"127.0.0.1".as_ptr();
                    asock_begin_connect(socket, host, port, callback, user_data, at)
                }
                ASOCK_KIND_SEND if is_file => {
                    let (file, length) = (self.file, length as u64);
                    asock_begin_send_file(socket, file, 0, length, callback, user_data, at)
                }
                ASOCK_KIND_SEND if vectored => {
                    asock_begin_send_vectored(socket, first, 3, flag, callback, user_data, at)
                }
                ASOCK_KIND_RECEIVE if vectored => {
                    asock_begin_receive_vectored(socket, first, 3, flag, callback, user_data, at)
                }
                ASOCK_KIND_SEND => {
                    asock_begin_send(socket, data, length, flag, callback, user_data, at)
                }
                ASOCK_KIND_RECEIVE => {
                    asock_begin_receive(socket, data, length, flag, callback, user_data, at)
                }
                ASOCK_KIND_TIMER => {
                    let runtime = self.runtime.handle();
                    asock_begin_timer(runtime, random.below(3), callback, user_data, at)
                }
                _ => {
                    let flags = random.below(3) as u32;
                    asock_begin_close(socket, flags, callback, user_data, at)
                }
            }
        };
        account.op.store(op, Ordering::SeqCst);
        let list = match status {
            ASOCK_OK => &self.accounts,
            // The other thread has closed it, or the runtime drains.
            ASOCK_BAD_HANDLE | ASOCK_STOPPED => &self.refused,
            _ => panic!("seed {}: begin answers {status}", self.seed),
        };
        list.lock().expect("nobody panics with it").push(account);
    }

    fn any_socket(&self, random: &mut Random) -> asock_socket {
        let sockets = self.sockets.lock().expect("nobody panics with it");
        *random.pick(&sockets)
    }

    fn any_operation(&self, random: &mut Random) -> asock_op {
        let accounts = self.accounts.lock().expect("nobody panics with it");
        if accounts.is_empty() {
            return 0;
        }
        random.pick(&accounts).op.load(Ordering::SeqCst)
    }

    /// Disturbs what has been begun. Every answer is right: the other thread may have been first.
    fn disturb(&self, random: &mut Random, ports: &[u16]) {
        match random.below(12) {
            0..=3 => {
                asock_cancel(self.any_operation(random));
            }
            4..=6 => {
                let timeout_ms = random.below(4) as i64 - 1;
                asock_set_deadline(self.any_operation(random), timeout_ms);
            }
            7 => {
                asock_shutdown(self.any_socket(random), 1 + random.below(3) as u32);
            }
            8 => self.replace(random, |socket, _| {
                asock_close(socket);
            }),
            9 => self.replace(random, |socket, random| {
                self.begin_kind(ASOCK_KIND_CLOSE, socket, 0, random);
            }),
            _ => self.begin(random, ports),
        }
    }

    /// Closes a socket and puts a new one in its place.
    fn replace(&self, random: &mut Random, close: impl Fn(asock_socket, &mut Random)) {
        let fresh = self.runtime.open();
        let mut sockets = self.sockets.lock().expect("nobody panics with it");
        let at = random.below(sockets.len() as u64) as usize;
        let old = std::mem::replace(&mut sockets[at], fresh);
        drop(sockets);
        close(old, random);
    }

    /// Hands out what is there, on a runtime that delivers on poll. Gives the answer.
    fn pull(&self, timeout_ms: i32) -> asock_status {
        let runtime = self.runtime.handle();
        let mut count = 0;
        if !self.polls {
            // SAFETY: `count` may be written.
            return unsafe { asock_dispatch(runtime, timeout_ms, 0, 0, &raw mut count) };
        }
        // SAFETY: records of integers and pointers may be all zero.
        let mut records: [asock_result; 7] = unsafe { std::mem::zeroed() };
        let first = records.as_mut_ptr();
        // SAFETY: there are seven of them.
        let status = unsafe { asock_poll(runtime, timeout_ms, first, 7, &raw mut count) };
        if status == ASOCK_OK {
            for result in &records[..count] {
                let account = result.user_data.cast::<Account>();
                // SAFETY: it is kept until the runtime has stopped.
                unsafe { (*account).note(result) };
            }
        }
        status
    }

    /// Collects what is for `asock_end`; it gives each result once.
    fn collect(&self) {
        for account in self.accounts.lock().expect("nobody panics with it").iter() {
            if account.way == Way::Record && !self.on_poll() && !account.is_done() {
                let op = account.op.load(Ordering::SeqCst);
                account.note(&end(op));
                // SAFETY: nothing is written, since there is nothing left to end.
                let again = unsafe { asock_end(op, &raw mut *Box::new(end_place())) };
                assert_eq!(again, ASOCK_BAD_HANDLE, "seed {}", self.seed);
            }
        }
    }

    /// Brings the schedule to its end, in one of three ways.
    fn finish(&self, random: &mut Random) {
        match random.below(3) {
            // Stops with everything pending; records that nobody pulled would be dropped, so there it drains first.
            0 if !self.polls => {}
            1 => {
                for socket in self.sockets.lock().expect("nobody panics with it").iter() {
                    assert_eq!(asock_close(*socket), ASOCK_OK);
                }
                // A draining close has all the time in the world, and a peer that does not read has too.
                for account in self.accounts.lock().expect("nobody panics with it").iter() {
                    if account.kind == ASOCK_KIND_CLOSE {
                        asock_cancel(account.op.load(Ordering::SeqCst));
                    }
                }
                if self.on_poll() {
                    until("all completions", || {
                        self.pull(1);
                        self.runtime.stats().operations_pending == 0
                    });
                }
                until("no operation is pending", || {
                    let stats = self.runtime.stats();
                    stats.operations_pending == 0
                        && stats.operations_begun == stats.operations_completed
                });
            }
            _ => assert_eq!(asock_runtime_drain(self.runtime.handle()), ASOCK_OK),
        }
        if self.polls {
            asock_runtime_drain(self.runtime.handle());
            until("the end of what is to be polled", || {
                self.pull(20) == ASOCK_STOPPED
            });
        }
        self.runtime.stop();
        self.collect();
    }

    /// Gives the statuses that were met.
    fn verify(&self) -> BTreeSet<asock_status> {
        let mut met = BTreeSet::new();
        for account in self.accounts.lock().expect("nobody panics with it").iter() {
            let count = account.completions.load(Ordering::SeqCst);
            let (seed, kind, way) = (self.seed, account.kind, account.way);
            assert_eq!(count, 1, "seed {seed}: kind {kind}, {way:?}");
            met.insert(account.check(seed));
        }
        for account in self.refused.lock().expect("nobody panics with it").iter() {
            let count = account.completions.load(Ordering::SeqCst);
            assert_eq!(count, 0, "seed {}: it was not begun", self.seed);
            assert_eq!(account.op.load(Ordering::SeqCst), 0);
        }
        met
    }
}

fn end_place() -> asock_result {
    // SAFETY: a record of integers and pointers may be all zero.
    unsafe { std::mem::zeroed() }
}

/// What the peer does with one of its connections.
fn peer_acts(connections: &mut Vec<TcpStream>, random: &mut Random) {
    if connections.is_empty() {
        return;
    }
    let at = random.below(connections.len() as u64) as usize;
    let mut room = [0; 10_000];
    // Errors mean that our side has closed.
    match random.below(6) {
        0 | 1 => drop(connections[at].write(&room[..1 + random.below(5000) as usize])),
        2 | 3 => drop(connections[at].read(&mut room)),
        4 => drop(connections.swap_remove(at)),
        _ => reset(connections.swap_remove(at)),
    }
}

fn play(
    seed: u64,
    delivery: u32,
    ports: [u16; 2],
    large: Memory,
    file: i64,
) -> BTreeSet<asock_status> {
    let mut random = Random::new(seed);
    let listener = Listener::new();
    let runtime = Runtime::start(&config(delivery));
    let polls = runtime.delivers_on_poll() && random.one_in(2);
    let sockets = (0..1 + random.below(4)).map(|_| runtime.open()).collect();
    let play = Arc::new(Play {
        runtime,
        seed,
        polls,
        accounts: Mutex::default(),
        refused: Mutex::default(),
        sockets: Mutex::new(sockets),
        large,
        file,
    });
    // Mostly the good port, some that refuse, some that never answer.
    let ports = [listener.port(), listener.port(), ports[0], ports[1]];
    let second = {
        let play = Arc::clone(&play);
        let mut random = Random::new(!seed);
        std::thread::spawn(move || {
            for _ in 0..STEPS {
                play.disturb(&mut random, &ports);
            }
        })
    };
    let mut connections = Vec::new();
    for _ in 0..STEPS {
        match random.below(8) {
            0..=3 => play.begin(&mut random, &ports),
            4..=6 => peer_acts(&mut connections, &mut random),
            _ => std::thread::yield_now(),
        }
        if let Some(stream) = listener.try_accept() {
            stream.set_nonblocking(true).expect("it is a socket");
            connections.push(stream);
        }
        if play.on_poll() && random.one_in(4) {
            play.pull(0);
        }
    }
    second.join().expect("the second thread has no complaint");
    play.finish(&mut random);
    play.verify()
}

fn play_all(delivery: u32) {
    let refused = Refused::new();
    let hole = BlackHole::new();
    let large = Memory::new(LARGE);
    let file = empty_file();
    file.set_len(LARGE as u64).expect("there is room");
    let mut met = BTreeSet::new();
    for seed in 0..SCHEDULES {
        let ports = [refused.port(), hole.port()];
        met.extend(play(seed, delivery, ports, large.clone(), number_of(&file)));
    }
    // Else the schedules have not been where it is interesting.
    let all = [
        ASOCK_OK,
        ASOCK_CANCELED,
        ASOCK_CLOSED,
        ASOCK_STOPPED,
        ASOCK_TIMED_OUT,
        ASOCK_CONNECTION_REFUSED,
        ASOCK_CONNECTION_RESET,
        ASOCK_NOT_CONNECTED,
        ASOCK_ALREADY_CONNECTED,
        ASOCK_SHUT_DOWN,
    ];
    assert_eq!(met, BTreeSet::from(all));
}

#[test]
fn every_operation_completes_once_on_the_worker() {
    play_all(ASOCK_DELIVER_ON_WORKER);
}

#[test]
fn every_operation_completes_once_on_poll() {
    play_all(ASOCK_DELIVER_ON_POLL);
}

/// Nobody asks for these results; the runtime's own counters tell that each has come to its end.
#[test]
fn fire_and_forget_completes_too() {
    let peer = Peer::sink();
    let runtime = Runtime::on_worker();
    let socket = runtime.connected(peer.port());
    let before = runtime.stats();
    let data = [7_u8; 1000];
    let pointer = data.as_ptr().cast();
    for _ in 0..1000 {
        // SAFETY: the data outlives the runtime's use of it, which the counters tell.
        unsafe {
            let flags = ASOCK_SEND_COPY;
            let status =
                asock_begin_send(socket, pointer, 1000, flags, None, null_mut(), null_mut());
            assert_eq!(status, ASOCK_OK);
            let runtime = runtime.handle();
            assert_eq!(
                asock_begin_timer(runtime, 1, None, null_mut(), null_mut()),
                ASOCK_OK
            );
        }
    }
    until("2000 completions", || {
        let now = runtime.stats();
        now.operations_completed - before.operations_completed == 2000
    });
    assert_eq!(runtime.stats().operations_pending, 0);
    until("all bytes", || peer.received() == 1_000_000);
}
