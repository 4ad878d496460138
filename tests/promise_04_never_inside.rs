//! Promise 4: no callback runs inside the begin that caused it; one that runs before the begin has returned runs on another
//! thread, and finds `op` already written. From inside a callback every function may be called; those that would have to
//! wait for their own thread say so.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::*;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CHAIN: usize = 20_000;

thread_local! {
    /// Callbacks that run on this thread, one inside the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// This thread is inside a call of the library.
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// A chain of operations, each begun inside the callback of the one before. It is their `user_data`.
struct Chain {
    runtime: asock_runtime,
    socket: asock_socket,
    byte: Memory,
    completed: AtomicUsize,
    deepest: AtomicUsize,
    inside: AtomicUsize,
    failed: AtomicUsize,
}

impl Chain {
    fn new(runtime: &Runtime, socket: asock_socket) -> Chain {
        Chain {
            runtime: runtime.handle(),
            socket,
            byte: Memory::new(1),
            completed: AtomicUsize::new(0),
            deepest: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        }
    }

    /// Begins the next one: operations that can be done at once, which is the temptation.
    fn begin(&self, turn: usize) {
        let user_data = std::ptr::from_ref(self).cast_mut().cast();
        let byte = self.byte.pointer();
        let outer = CALLING.replace(true);
        // SAFETY: the chain outlives its runtime.
        let status = unsafe {
            match turn % 4 {
                // A timer waits for the next tick, so there are few of them.
                0 if turn % 200 == 0 => {
                    asock_begin_timer(self.runtime, 0, Some(next), user_data, null_mut())
                }
                1 => asock_begin_send(self.socket, byte, 1, 0, Some(next), user_data, null_mut()),
                // What the peer sends back.
                2 => {
                    asock_begin_receive(self.socket, byte, 1, 0, Some(next), user_data, null_mut())
                }
                _ => asock_begin_send(self.socket, byte, 0, 0, Some(next), user_data, null_mut()),
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
    let (inside, failed) = (CALLING.get(), result.status != ASOCK_OK);
    chain.inside.fetch_add(inside.into(), Ordering::SeqCst);
    chain.failed.fetch_add(failed.into(), Ordering::SeqCst);
    let turn = chain.completed.fetch_add(1, Ordering::SeqCst) + 1;
    if turn < CHAIN {
        chain.begin(turn);
    }
    DEPTH.set(depth - 1);
}

#[test]
fn a_chain_of_completions_never_nests() {
    let peer = Peer::echo();
    on_both(|runtime| {
        let chain = Chain::new(&runtime, runtime.connected(peer.port()));
        chain.begin(0);
        let watchdog = Watchdog::new("the end of the chain");
        while chain.completed.load(Ordering::SeqCst) < CHAIN {
            if runtime.delivers_on_poll() {
                assert_eq!(runtime.dispatch(), ASOCK_OK);
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        drop(watchdog);
        // Before the chain goes: the runtime refers to it.
        runtime.stop();
        assert_eq!(chain.completed.load(Ordering::SeqCst), CHAIN);
        assert_eq!(chain.failed.load(Ordering::SeqCst), 0);
        assert_eq!(chain.inside.load(Ordering::SeqCst), 0, "inside a begin");
        assert_eq!(chain.deepest.load(Ordering::SeqCst), 1);
    });
}

/// The calling thread never runs a callback, however ready the operation is.
#[test]
fn callbacks_run_on_the_worker_or_in_dispatch() {
    on_both(|runtime| {
        let socket = runtime.open();
        let recorder = runtime.recorder();
        let byte = Memory::new(1);
        for _ in 0..1000 {
            recorder.send(socket, &byte, 0); // It was never connected: done at once.
        }
        if runtime.delivers_on_poll() {
            let last = recorder.timer(0);
            assert_eq!(asock_wait(last, -1), ASOCK_OK);
            assert_eq!(recorder.count(), 0, "nobody has dispatched");
        }
        let here = std::thread::current().id();
        for completion in recorder.wait_for(1000) {
            assert_eq!(completion.thread == here, runtime.delivers_on_poll());
        }
    });
}

/// An operation whose callback looks at the place where the caller's `op` goes.
#[derive(Default)]
struct Place {
    op: AtomicPtr<asock_op>,
    right: AtomicUsize,
    wrong: AtomicUsize,
}

unsafe extern "C" fn look(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the place outlives its runtime, and the record is valid during the call. The library has written the handle
    // before this call, and nobody writes to it later; that is what is tested.
    let (place, seen, op) = unsafe {
        let place = &*user_data.cast::<Place>();
        let at = place.op.load(Ordering::Relaxed);
        (place, at.read_volatile(), (*result).op)
    };
    let count = if seen == op && asock_cancel(seen) == ASOCK_OK {
        &place.right
    } else {
        &place.wrong
    };
    count.fetch_add(1, Ordering::SeqCst);
}

/// Where there is one processor only, a worker that is woken runs before the thread that woke it goes on: all that this
/// thread does after it has handed the operation over comes too late.
#[test]
fn op_is_written_before_the_callback_runs() {
    const ROUNDS: usize = 2000;
    processor::stay_on_one();
    let runtime = Runtime::on_worker();
    let ops: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(u64::MAX)).collect();
    let places: Vec<Place> = ops
        .iter()
        .map(|op| Place {
            op: AtomicPtr::new(op.as_ptr()),
            ..Place::default()
        })
        .collect();
    let socket = runtime.open();
    for place in &places {
        let user_data = std::ptr::from_ref(place).cast_mut().cast();
        let op = place.op.load(Ordering::Relaxed);
        // SAFETY: the place and what it points to outlive the runtime's use of them, which is waited for. The socket was
        // never connected, so this is done at once.
        let status =
            unsafe { asock_begin_send(socket, null_mut(), 0, 0, Some(look), user_data, op) };
        assert_eq!(status, ASOCK_OK);
        until("the callback", || {
            place.right.load(Ordering::SeqCst) + place.wrong.load(Ordering::SeqCst) > 0
        });
    }
    runtime.stop();
    let sum = |of: fn(&Place) -> &AtomicUsize| -> usize {
        let counts = places.iter().map(|place| of(place).load(Ordering::SeqCst));
        counts.sum()
    };
    assert_eq!(sum(|place| &place.wrong), 0);
    assert_eq!(sum(|place| &place.right), ROUNDS);
}

/// What is called inside the callback of a timer, and what it must answer there.
struct Subjects {
    runtime: asock_runtime,
    on_poll: bool,
    connected: asock_socket,
    other: asock_socket,
    /// An operation that does not end by itself.
    pending: asock_op,
    /// An operation for `asock_end` that has ended.
    ended: Option<asock_op>,
    /// Another one that does not end by itself.
    endless: Option<asock_op>,
    port: u16,
    byte: Memory,
}

type Answers = Vec<(&'static str, asock_status, asock_status)>;

/// Calls the functions that tell, set and wait: name, answer, what it is to be.
fn call_small_ones(on: &Subjects) -> Answers {
    // SAFETY: structs of integers and pointers may be all zero.
    let (mut stats, mut address, mut result): (asock_stats, asock_address, asock_result) =
        unsafe { std::mem::zeroed() };
    stats.size = size_of::<asock_stats>();
    let (mut value, mut fd, mut count, mut another) = (0, 0, 0, 0);
    let mut text = [0; ASOCK_ADDRESS_TEXT_MAX];
    let socket = on.connected;
    let option = ASOCK_OPTION_NODELAY;
    let pull = if on.on_poll {
        ASOCK_WOULD_DEADLOCK
    } else {
        ASOCK_INVALID_STATE
    };
    let on_poll_only = if on.on_poll {
        ASOCK_OK
    } else {
        ASOCK_INVALID_STATE
    };
    assert!(asock_version() > 0 && !asock_version_string().is_null());
    assert!(!asock_status_name(0).is_null() && !asock_status_text(0).is_null());
    // SAFETY: all that is pointed to are locals of the right type and size.
    unsafe {
        let mut answers = vec![
            (
                "stats",
                asock_runtime_stats(on.runtime, &raw mut stats),
                ASOCK_OK,
            ),
            (
                "set_log",
                asock_set_log(ASOCK_LOG_OFF, None, null_mut()),
                ASOCK_OK,
            ),
            ("set_option", asock_set_option(socket, option, 1), ASOCK_OK),
            (
                "get_option",
                asock_get_option(socket, option, &raw mut value),
                ASOCK_OK,
            ),
            (
                "local_address",
                asock_local_address(socket, &raw mut address),
                ASOCK_OK,
            ),
            (
                "remote_address",
                asock_remote_address(socket, &raw mut address),
                ASOCK_OK,
            ),
            (
                "address_format",
                asock_address_format(&raw const address, text.as_mut_ptr(), text.len()),
                ASOCK_OK,
            ),
            (
                "address_parse",
                asock_address_parse(c"::1".as_ptr(), 1, &raw mut address),
                ASOCK_OK,
            ),
            (
                "poll",
                asock_poll(on.runtime, 0, &raw mut result, 1, &raw mut count),
                pull,
            ),
            (
                "dispatch",
                asock_dispatch(on.runtime, 0, 0, 0, &raw mut count),
                pull,
            ),
            (
                "poll_fd",
                asock_poll_fd(on.runtime, &raw mut fd),
                on_poll_only,
            ),
            ("wake", asock_wake(on.runtime), on_poll_only),
            ("stop", asock_runtime_stop(on.runtime), ASOCK_WOULD_DEADLOCK),
            (
                "start",
                asock_runtime_start(std::ptr::null(), &raw mut another),
                ASOCK_OK,
            ),
            (
                "stop of another",
                asock_runtime_stop(another),
                ASOCK_WOULD_DEADLOCK,
            ),
            ("drain of another", asock_runtime_drain(another), ASOCK_OK),
            ("wait, 0", asock_wait(on.pending, 0), ASOCK_TIMED_OUT),
            (
                "deadline",
                asock_set_deadline(on.pending, 3_600_000),
                ASOCK_OK,
            ),
            (
                "end with a callback",
                asock_end(on.pending, &raw mut result),
                ASOCK_INVALID_STATE,
            ),
            (
                "forget with a callback",
                asock_forget(on.pending),
                ASOCK_INVALID_STATE,
            ),
        ];
        LEFT_OVER
            .lock()
            .expect("nobody panics with it")
            .push(another);
        // On poll this thread is no worker, and may wait for one.
        let waited = if on.on_poll {
            ASOCK_TIMED_OUT
        } else {
            ASOCK_WOULD_DEADLOCK
        };
        answers.push(("wait, 1", asock_wait(on.pending, 1), waited));
        if let (Some(ended), Some(endless)) = (on.ended, on.endless) {
            answers.push((
                "end, pending",
                asock_end(endless, &raw mut result),
                ASOCK_WOULD_DEADLOCK,
            ));
            answers.push(("forget", asock_forget(endless), ASOCK_OK));
            answers.push(("wait, ended", asock_wait(ended, -1), ASOCK_OK));
            answers.push(("end, ended", asock_end(ended, &raw mut result), ASOCK_OK));
        }
        answers.push(("cancel", asock_cancel(on.pending), ASOCK_OK));
        answers
    }
}

/// Runtimes that were started inside a callback and cannot be stopped there.
static LEFT_OVER: Mutex<Vec<asock_runtime>> = Mutex::new(Vec::new());

/// Calls the functions that begin and close, and drains at last.
fn call_the_others(on: &Subjects, recorder: &Recorder) -> Answers {
    let (mut fresh, user_data) = (0, recorder.user_data());
    let address = loopback(on.port);
    let host = c"127.0.0.1".as_ptr();
    let byte = on.byte.pointer();
    let callback: asock_callback = Some(record);
    // SAFETY: recorder and memory outlive the operations; the rest are locals.
    unsafe {
        let open = asock_open(on.runtime, ASOCK_STREAM, &raw mut fresh);
        let mut op = 0;
        let op = &raw mut op;
        vec![
            ("open", open, ASOCK_OK),
            (
                "connect",
                asock_begin_connect(fresh, host, on.port, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "send",
                asock_begin_send(fresh, byte, 1, 0, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "shutdown",
                asock_shutdown(fresh, ASOCK_SHUTDOWN_SEND),
                ASOCK_OK,
            ),
            (
                "close, begin",
                asock_begin_close(fresh, ASOCK_CLOSE_DRAIN, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "connect, address",
                asock_begin_connect_address(on.other, &raw const address, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "receive",
                asock_begin_receive(on.connected, byte, 1, 0, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "timer",
                asock_begin_timer(on.runtime, 0, callback, user_data, op),
                ASOCK_OK,
            ),
            ("close", asock_close(on.connected), ASOCK_OK),
            ("close, again", asock_close(on.connected), ASOCK_BAD_HANDLE),
            ("drain", asock_runtime_drain(on.runtime), ASOCK_OK),
            (
                "timer, draining",
                asock_begin_timer(on.runtime, 0, callback, user_data, op),
                ASOCK_STOPPED,
            ),
        ]
    }
}

#[test]
fn every_function_may_be_called_inside_a_callback() {
    let listener = Listener::new();
    on_both(|runtime| {
        let on_poll = runtime.delivers_on_poll();
        let recorder = runtime.recorder();
        let connected = runtime.connected(listener.port());
        // SAFETY: nothing but the place for the handle is given.
        let begin = |delay_ms, op| unsafe {
            asock_begin_timer(runtime.handle(), delay_ms, None, null_mut(), op)
        };
        let unseen = |delay_ms| begun(|op| begin(delay_ms, op));
        let ended = (!on_poll).then(|| unseen(0));
        if let Some(ended) = ended {
            assert_eq!(asock_wait(ended, -1), ASOCK_OK);
        }
        let on = Subjects {
            runtime: runtime.handle(),
            on_poll,
            connected,
            other: runtime.open(),
            pending: recorder.receive(connected, &Memory::new(1), 0),
            ended,
            endless: (!on_poll).then(|| unseen(3_600_000)),
            port: listener.port(),
            byte: Memory::new(1),
        };
        recorder.keep(&on.byte);
        let answers = Arc::new(Mutex::new(Answers::new()));
        let (into, inner) = (Arc::clone(&answers), Arc::clone(&recorder));
        let caller = runtime.recorder_with(move |_| {
            let mut answers = call_small_ones(&on);
            answers.extend(call_the_others(&on, &inner));
            *into.lock().expect("nobody panics with it") = answers;
        });
        caller.timer(0);
        caller.wait_for(1);
        for (name, answer, expected) in answers.lock().expect("nobody panics with it").iter() {
            assert_eq!(answer, expected, "{name}");
        }
        // And what was begun there has come to its end: connect, send, close, connect, receive, timer, and `pending`.
        assert_eq!(recorder.wait_for(7).len(), 7);
        for another in LEFT_OVER.lock().expect("nobody panics with it").drain(..) {
            assert_eq!(asock_runtime_stop(another), ASOCK_OK);
        }
    });
}

/// A callback may close its own socket, and end everything that is pending on it.
#[test]
fn a_callback_may_close_its_own_socket() {
    let peer = Peer::echo();
    for flags in [
        None,
        Some(0),
        Some(ASOCK_CLOSE_DRAIN),
        Some(ASOCK_CLOSE_RESET),
    ] {
        on_both(|runtime| {
            let socket = runtime.connected(peer.port());
            let others = runtime.recorder();
            let inner = Arc::clone(&others);
            let closer = runtime.recorder_with(move |result| match flags {
                None => assert_eq!(asock_close(result.socket), ASOCK_OK),
                Some(flags) => {
                    inner.close(result.socket, flags);
                }
            });
            let receives: Vec<_> = (0..5)
                .map(|_| others.receive(socket, &Memory::new(1), 0))
                .collect();
            // Of no length, so that the peer has nothing to send back; its callback closes.
            closer.send(socket, &Memory::new(0), 0);
            let closes = usize::from(flags.is_some());
            let completions = others.wait_for(receives.len() + closes);
            assert_eq!(completions.len(), receives.len() + closes);
            for (completion, op) in completions.iter().zip(&receives) {
                assert_eq!(completion.op, *op);
                completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
            }
            if closes == 1 {
                completions[receives.len()].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
            }
        });
    }
}
