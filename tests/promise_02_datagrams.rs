//! Promises 2 and 6 for datagrams: exactly one completion for each operation that was begun, none for one that was not,
//! and from the completion on nobody touches its memory, neither the buffer nor the place for the sender.
//!
//! Random schedules on real sockets: two threads begin, cancel, set deadlines, shut down, connect and close, on sockets
//! that send to each other, to a deaf port and to a unix socket that soon is full; in the end the runtime is drained, stopped,
//! or all is closed and waited for. A failure names its seed; the threads make that a hint and not a replay.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::datagram::*;
use common::*;
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const SCHEDULES: u64 = 600;
const STEPS: u64 = 80;
const LENGTHS: [usize; 4] = [0, 1, 100, 2000];
/// What memory is filled with once it has come back.
const POISON: u8 = 0xee;
/// Longer than any datagram can be.
const TOO_LONG: usize = 70_000;

struct Account {
    kind: u32,
    memory: Memory,
    from: Sender,
    op: AtomicU64,
    completions: AtomicU32,
    status: AtomicU32,
}

impl Account {
    fn note(&self, result: &asock_result) {
        assert_eq!(
            (result.kind, result.buffer),
            (self.kind, self.memory.pointer())
        );
        assert!(result.bytes <= self.memory.len());
        let receives = self.kind == ASOCK_KIND_RECEIVE || self.kind == ASOCK_KIND_RECEIVE_FROM;
        if result.status != ASOCK_OK {
            assert_eq!((result.bytes, result.flags), (0, 0));
            assert!(self.from.is_untouched());
        } else if !receives {
            assert_eq!(result.bytes, self.memory.len());
        } else {
            let byte = self.memory.bytes().first().copied();
            let got = &self.memory.bytes()[..result.bytes];
            assert!(
                got.iter().all(|one| Some(*one) == byte),
                "datagrams are mixed up"
            );
        }
        self.memory.fill(POISON);
        self.from.memory().fill(POISON);
        self.status.store(result.status as u32, Ordering::SeqCst);
        self.completions.fetch_add(1, Ordering::SeqCst);
    }

    /// After the stop: what it has come to.
    fn check(&self, begun: bool, seed: u64) -> asock_status {
        let completions = self.completions.load(Ordering::SeqCst);
        assert_eq!(completions, u32::from(begun), "seed {seed}");
        if begun {
            let memory = [self.memory.bytes(), self.from.memory().bytes()].concat();
            let touched = memory.iter().any(|byte| *byte != POISON);
            assert!(!touched, "seed {seed}: touched after the completion");
        }
        self.status.load(Ordering::SeqCst) as asock_status
    }
}

unsafe extern "C" fn note(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the record is valid during the call, and the account is kept until the runtime has stopped.
    unsafe { (*user_data.cast::<Account>()).note(&*result) };
}

struct Play {
    runtime: Runtime,
    accounts: Mutex<Vec<(Arc<Account>, bool)>>,
    sockets: Mutex<Vec<asock_socket>>,
    /// Whom there is to send to.
    addresses: Vec<asock_address>,
}

impl Play {
    fn any_socket(&self, random: &mut Random) -> asock_socket {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        *random.pick(&sockets)
    }

    fn begin(&self, random: &mut Random) {
        let socket = self.any_socket(random);
        let to = *random.pick(&self.addresses);
        let kinds = [
            ASOCK_KIND_SEND,
            ASOCK_KIND_SEND_TO,
            ASOCK_KIND_SEND_TO,
            ASOCK_KIND_RECEIVE,
            ASOCK_KIND_RECEIVE_FROM,
            ASOCK_KIND_RECEIVE_FROM,
        ];
        let kind = *random.pick(&kinds);
        let sends = kind == ASOCK_KIND_SEND || kind == ASOCK_KIND_SEND_TO;
        let length = match sends && random.one_in(30) {
            true => TOO_LONG,
            false => *random.pick(&LENGTHS),
        };
        let flags = match (sends, random.one_in(4)) {
            (true, true) => ASOCK_SEND_COPY,
            (false, true) => ASOCK_RECEIVE_PEEK,
            _ => 0,
        };
        let account = Arc::new(Account {
            kind,
            memory: Memory::filled(length, random.next() as u8 | 1),
            from: Sender::default(),
            op: AtomicU64::new(0),
            completions: AtomicU32::new(0),
            status: AtomicU32::new(0),
        });
        let room = account.memory.pointer();
        let (from, data) = (account.from.pointer(), room.cast_const());
        let me = Arc::as_ptr(&account).cast_mut().cast();
        let (call, mut op) = (Some(note as _), 0);
        let place = &raw mut op;
        // SAFETY: the account, which has the memory, is kept until the runtime has stopped.
        let status = unsafe {
            match kind {
                ASOCK_KIND_SEND => asock_begin_send(socket, data, length, flags, call, me, place),
                ASOCK_KIND_RECEIVE => {
                    asock_begin_receive(socket, room, length, flags, call, me, place)
                }
                ASOCK_KIND_SEND_TO => {
                    asock_begin_send_to(socket, data, length, flags, &raw const to, call, me, place)
                }
                _ => asock_begin_receive_from(socket, room, length, flags, from, call, me, place),
            }
        };
        account.op.store(op, Ordering::SeqCst);
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.push((account, status == ASOCK_OK));
    }

    fn any_op(&self, random: &mut Random) -> asock_op {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        match accounts.is_empty() {
            true => 0,
            false => random.pick(&accounts).0.op.load(Ordering::SeqCst),
        }
    }

    /// What one thread of the application does.
    fn act(&self, random: &mut Random) {
        for _ in 0..STEPS {
            match random.below(20) {
                0..=1 => {
                    asock_cancel(self.any_op(random));
                }
                2 => {
                    let timeout_ms = random.below(3) as i64 - 1;
                    asock_set_deadline(self.any_op(random), timeout_ms);
                }
                3 => {
                    let (socket, to) = (self.any_socket(random), *random.pick(&self.addresses));
                    // SAFETY: nobody is told of it, and the address is copied.
                    unsafe {
                        let (none, nobody) = (std::ptr::null_mut(), std::ptr::null_mut());
                        asock_begin_connect_address(socket, &raw const to, None, none, nobody);
                    }
                }
                4 if random.one_in(4) => {
                    let how = 1 + random.below(3) as u32;
                    asock_shutdown(self.any_socket(random), how);
                }
                5 if random.one_in(4) => {
                    asock_close(self.any_socket(random));
                }
                6 if self.runtime.delivers_on_poll() => {
                    let _ = common::calls::dispatch(&self.runtime, 0, 5, 0);
                }
                _ => self.begin(random),
            }
        }
    }
}

fn play(seed: u64, delivery: u32) -> BTreeSet<asock_status> {
    let mut random = Random::new(seed);
    let runtime = Runtime::start(&config(delivery));
    let deaf = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let deaf_port = deaf.local_addr().expect("bound").port();
    deaf.connect(("127.0.0.9", deaf_port)).expect("connects");
    let full = format!("unix:@asock-{}-{seed}-{delivery}", std::process::id());
    let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (socket, own) = bound(&runtime, "127.0.0.1");
        sockets.push(socket);
        addresses.push(own);
    }
    let slow = open(&runtime);
    assert_eq!(try_bind(slow, Some(&full), 0), ASOCK_OK);
    sockets.push(slow);
    sockets.push(open(&runtime));
    addresses.push(calls::address("127.0.0.1", deaf_port));
    addresses.push(calls::address(&full, 0));
    let play = Play {
        runtime,
        accounts: Mutex::default(),
        sockets: Mutex::new(sockets),
        addresses,
    };
    let mut other = Random::new(seed ^ 0x5eed);
    std::thread::scope(|scope| {
        scope.spawn(|| play.act(&mut other));
        play.act(&mut random);
    });
    match random.below(3) {
        0 => assert_eq!(asock_runtime_drain(play.runtime.handle()), ASOCK_OK),
        1 => {
            for socket in play.sockets.lock().expect("nobody panics with it").iter() {
                asock_close(*socket); // It may be closed already.
            }
            until("everything completes", || {
                if play.runtime.delivers_on_poll() {
                    play.runtime.dispatch();
                }
                play.runtime.stats().operations_pending == 0
            });
        }
        _ => {}
    }
    play.runtime.stop();
    let accounts = play.accounts.into_inner().expect("nobody panics with it");
    let mut statuses = BTreeSet::new();
    for (account, begun) in &accounts {
        let status = account.check(*begun, seed);
        if *begun {
            statuses.insert(status);
        }
    }
    statuses
}

fn play_all(delivery: u32) {
    let mut statuses = BTreeSet::new();
    for seed in 0..SCHEDULES {
        statuses.extend(play(seed, delivery));
    }
    // The schedules meet what they are there for.
    for expected in [
        ASOCK_OK,
        ASOCK_CANCELED,
        ASOCK_TIMED_OUT,
        ASOCK_CLOSED,
        ASOCK_STOPPED,
        ASOCK_NOT_CONNECTED,
        ASOCK_INVALID_STATE,
        ASOCK_SHUT_DOWN,
        ASOCK_CONNECTION_REFUSED,
        ASOCK_MESSAGE_TOO_LONG,
    ] {
        assert!(statuses.contains(&expected), "{expected} in {statuses:?}");
    }
}

#[test]
fn every_operation_completes_once_on_the_worker() {
    play_all(ASOCK_DELIVER_ON_WORKER);
}

#[test]
fn every_operation_completes_once_on_poll() {
    play_all(ASOCK_DELIVER_ON_POLL);
}
