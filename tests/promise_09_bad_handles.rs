//! Promise 9: bad handles are answered. Every exported function that takes a handle is called with zero, stale, foreign
//! and random ones, alone and while another thread closes what the handle names: the answer is ASOCK_BAD_HANDLE, nothing is
//! written, nothing is begun, and nothing that exists is harmed.
//!
//! The table of calls is compared with the header, so that no function can be forgotten. The tests run one after the
//! other, since a handle with a bit turned over may well name what another test has.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{pair, plain_timer};
use common::handles::{all, declared, Kind};
use common::*;
use std::collections::BTreeSet;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps the other tests waiting, and ends the program if this one hangs.
fn alone() -> (MutexGuard<'static, ()>, Watchdog) {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, Watchdog::new("the end of a test"))
}

/// Every call of the table with this handle, with good and with bad other arguments.
#[track_caller]
fn assert_bad(handle: u64, what: &str, except: impl Fn(Kind, &str) -> bool) {
    for entry in all().filter(|entry| !except(entry.kind, entry.name)) {
        let name = entry.name;
        let answer = (entry.good)(handle);
        assert_eq!(answer, ASOCK_BAD_HANDLE, "{name}({handle:#x}), {what}");
        if let Some(bad) = entry.bad {
            // A bad handle comes before all other arguments.
            let answer = bad(handle);
            assert_eq!(answer, ASOCK_BAD_HANDLE, "{name}({handle:#x}), {what}");
        }
    }
}

#[test]
fn no_function_is_forgotten() {
    let declared: BTreeSet<_> = declared().into_iter().collect();
    let tested: BTreeSet<_> = all().map(|entry| entry.name.to_owned()).collect();
    assert!(declared.len() >= 30);
    assert_eq!(declared, tested);
}

#[test]
fn zero_names_no_socket_and_no_operation() {
    let _alone = alone();
    // As a runtime it is the default one, which every call may use.
    assert_bad(0, "zero", |kind, _| kind == Kind::Runtime);
}

/// The only socket and the only operation of a runtime are as they were. They are closed and ended with that.
#[track_caller]
fn assert_unharmed(runtime: &Runtime, socket: asock_socket, op: asock_op) {
    let stats = runtime.stats();
    assert_eq!((stats.sockets_open, stats.operations_pending), (1, 1));
    assert_eq!(
        (asock_close(socket), asock_cancel(op)),
        (ASOCK_OK, ASOCK_OK)
    );
    // A result that is never collected stays, and then its handle is a real one for the other tests.
    let expected = match runtime.delivers_on_poll() {
        true => ASOCK_INVALID_STATE,
        false => ASOCK_OK,
    };
    assert_eq!(asock_forget(op), expected);
}

#[test]
fn handles_of_another_kind_are_refused() {
    let _alone = alone();
    on_both(|runtime| {
        let socket = runtime.open();
        let op = plain_timer(&runtime, 1_000_000);
        assert_bad(runtime.handle(), "a runtime", |kind, _| {
            kind == Kind::Runtime
        });
        assert_bad(socket, "a socket", |kind, _| kind == Kind::Socket);
        assert_bad(op, "an operation", |kind, _| kind == Kind::Op);
        assert_unharmed(&runtime, socket, op);
    });
}

#[test]
fn stale_handles_are_refused() {
    let _alone = alone();
    // Only a wait for an operation that is over has an answer: it is over.
    let waits = |_: Kind, name: &str| name == "asock_wait";
    let none = |_: Kind, _: &str| false;
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        assert_eq!(asock_close(socket), ASOCK_OK);
        let retired = recorder.timer(0);
        recorder.wait_for(1);
        until("the handle is retired", || {
            asock_cancel(retired) == ASOCK_BAD_HANDLE
        });
        assert_bad(socket, "a closed socket", none);
        assert_bad(retired, "a retired operation", waits);
        assert_eq!(asock_wait(retired, 0), ASOCK_OK);
        // Others in their place do not bring them back.
        let again = [(); 3].map(|()| (runtime.open(), recorder.timer(1_000_000)));
        assert_bad(socket, "a closed socket", none);
        assert_bad(retired, "a retired operation", waits);
        runtime.stop();
        drop(peer);
        assert_bad(runtime.handle(), "a stopped runtime", none);
        for (socket, op) in again {
            assert_bad(socket, "a socket of a stopped runtime", none);
            assert_bad(op, "an operation of a stopped runtime", waits);
        }
    });
}

#[test]
fn handles_that_were_never_issued_are_refused() {
    let _alone = alone();
    let none = |_: Kind, _: &str| false;
    // What differs from a real handle may have been issued long ago, by an earlier runtime in the same place.
    let waits = |_: Kind, name: &str| name == "asock_wait";
    on_both(|runtime| {
        let mut random = Random::new(9);
        let socket = runtime.open();
        let op = plain_timer(&runtime, 1_000_000);
        let real = [runtime.handle(), socket, op];
        // A real one but for some bits; nothing of it left is the default runtime, and it may be another real one.
        let changed = |handle: u64, bits: u64| {
            let changed = handle ^ bits;
            if changed != 0 && !real.contains(&changed) {
                assert_bad(changed, "some bits", waits);
            }
        };
        for _ in 0..2_000 {
            assert_bad(random.next(), "random", none);
            let bits = random.next() & random.next() & random.next() & random.next();
            for handle in real {
                changed(handle, bits);
            }
        }
        for bit in 0..64 {
            for handle in real {
                changed(handle, 1 << bit);
            }
        }
        for handle in [u64::MAX, 1, 1 << 62, 1 << 63, i64::MAX as u64] {
            assert_bad(handle, "a limit", none);
        }
        assert_bad(op + 1, "the next of its place", none);
        assert_eq!(runtime.stats().operations_begun, 1);
        assert_unharmed(&runtime, socket, op);
    });
}

#[test]
fn the_next_handle_of_a_socket_that_is_closing_is_refused_too() {
    let _alone = alone();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        recorder.send(socket, &Memory::new(16_000_000), 0);
        let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
        // Its handle is stale, but the socket is there until the peer has read all: no guess may reach it.
        for guess in 0..4 {
            assert_bad(socket + guess, "a guess", |_, _| false);
        }
        assert_eq!(runtime.stats().sockets_open, 1);
        drop(peer);
        recorder.completion_of(close);
    });
}

/// What any call may answer in the races below.
const ANSWERS: [asock_status; 9] = [
    ASOCK_OK,
    ASOCK_BAD_HANDLE,
    ASOCK_STOPPED,
    ASOCK_NOT_SUPPORTED,
    ASOCK_INVALID_STATE,
    ASOCK_INVALID_ARGUMENT,
    ASOCK_NOT_CONNECTED,
    ASOCK_TIMED_OUT,
    ASOCK_TOO_MANY_SOCKETS,
];

/// Threads make seeded calls with the handles that `publish` has last put into `handles`, until `round` is done.
fn hammer(seed: u64, handles: &[AtomicU64; 3], rounds: impl FnOnce()) {
    const THREADS: u64 = 3;
    let done = AtomicBool::new(false);
    let started = Barrier::new(THREADS as usize + 1);
    let calls: Vec<_> = all()
        // A stop or a drain by these would end the round's own runtime; the rounds do that themselves. A wait in
        // `asock_end` would be for an operation that nobody ends.
        .filter(|entry| {
            !["asock_runtime_stop", "asock_runtime_drain", "asock_end"].contains(&entry.name)
        })
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (done, started, calls) = (&done, &started, &calls);
            scope.spawn(move || {
                let mut random = Random::new(seed + thread);
                started.wait();
                while !done.load(Ordering::Relaxed) {
                    let entry = calls[random.below(calls.len() as u64) as usize];
                    let kind = match random.one_in(10) {
                        true => random.below(3) as usize,
                        false => entry.kind as usize,
                    };
                    let handle = handles[kind].load(Ordering::Relaxed);
                    let answer = (entry.good)(handle);
                    assert!(ANSWERS.contains(&answer), "{}: {answer}", entry.name);
                }
            });
        }
        started.wait();
        // Also when a round panics, the threads must see the end of it.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(rounds));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn they_are_answered_while_another_thread_closes_and_stops() {
    let _alone = alone();
    let peer = Peer::echo();
    for (seed, delivery) in [(1, ASOCK_DELIVER_ON_WORKER), (2, ASOCK_DELIVER_ON_POLL)] {
        let handles = [const { AtomicU64::new(u64::MAX) }; 3];
        hammer(seed, &handles, || {
            for round in 0..30 {
                let runtime = Runtime::start(&config(delivery));
                handles[0].store(runtime.handle(), Ordering::Relaxed);
                for _ in 0..10 {
                    let (mut socket, mut op) = (0, 0);
                    // SAFETY: the handle may be written.
                    let status =
                        unsafe { asock_open(runtime.handle(), ASOCK_STREAM, &raw mut socket) };
                    assert_eq!(status, ASOCK_OK);
                    let host = c"127.0.0.1".as_ptr();
                    // SAFETY: the host ends with a zero.
                    let status = unsafe {
                        asock_begin_connect(
                            socket,
                            host,
                            peer.port(),
                            None,
                            null_mut(),
                            &raw mut op,
                        )
                    };
                    assert_eq!(status, ASOCK_OK);
                    handles[1].store(socket, Ordering::Relaxed);
                    handles[2].store(op, Ordering::Relaxed);
                    asock_wait(op, 5);
                    // One of the threads may have been faster.
                    let closed = asock_close(socket);
                    assert!([ASOCK_OK, ASOCK_BAD_HANDLE].contains(&closed));
                    assert_eq!(asock_close(socket), ASOCK_BAD_HANDLE);
                }
                if round % 3 == 0 {
                    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
                }
                // Nothing is lost: whatever was begun has its completion when the stop is over.
                runtime.stop();
                assert_bad(runtime.handle(), "a stopped runtime", |_, _| false);
            }
        });
    }
}

#[test]
fn one_result_goes_to_one_of_many_threads() {
    let _alone = alone();
    let runtime = Runtime::on_worker();
    for round in 0..200 {
        let op = plain_timer(&runtime, round % 2);
        let barrier = Barrier::new(3);
        let end = || {
            let mut result = std::mem::MaybeUninit::<asock_result>::uninit();
            barrier.wait();
            // SAFETY: the result may be written.
            unsafe { asock_end(op, result.as_mut_ptr()) }
        };
        let forget = || {
            barrier.wait();
            asock_forget(op)
        };
        let mut answers = std::thread::scope(|scope| {
            let last = match round % 3 {
                0 => scope.spawn(forget),
                _ => scope.spawn(end),
            };
            [scope.spawn(end), scope.spawn(end), last].map(|one| one.join().expect("no panic"))
        });
        answers.sort_unstable();
        let expected = [ASOCK_BAD_HANDLE, ASOCK_BAD_HANDLE, ASOCK_OK];
        assert_eq!(answers, expected, "round {round}");
    }
    assert_eq!(runtime.stats().operations_pending, 0);
}
