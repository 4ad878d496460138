//! Delivery on poll: what `asock_poll` and `asock_dispatch` hand out, in which order and how much of it, how they wait
//! and are woken, and the descriptor that tells when to call them.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// Waits, without pulling anything, until all that was begun has ended.
fn until_ended(runtime: &Runtime) {
    until("all has ended", || runtime.stats().operations_pending == 0);
}

/// Begins so many timers without callbacks that are due at once, and waits until they have ended.
fn ended_timers(runtime: &Runtime, count: usize) -> Vec<asock_op> {
    let ops: Vec<_> = (0..count).map(|_| plain_timer(runtime, 0)).collect();
    for op in &ops {
        assert_eq!(asock_wait(*op, -1), ASOCK_OK);
    }
    ops
}

fn ops_of(results: &[asock_result]) -> Vec<asock_op> {
    results.iter().map(|result| result.op).collect()
}

#[test]
fn poll_hands_out_up_to_its_capacity() {
    let runtime = Runtime::on_poll();
    let ops = ended_timers(&runtime, 10);
    until_ended(&runtime);
    let mut handed_out = Vec::new();
    for (capacity, expected) in [(1, 1), (4, 4), (100, 5), (1, 0)] {
        let (status, results) = poll(&runtime, 0, capacity);
        assert_eq!((status, results.len()), (ASOCK_OK, expected));
        handed_out.extend(ops_of(&results));
    }
    assert_eq!(
        handed_out, ops,
        "each once, in the order in which they ended"
    );
    for op in ops {
        // The handles are retired: only to wait for them is still allowed.
        assert_eq!(asock_cancel(op), ASOCK_BAD_HANDLE);
        assert_eq!(asock_set_deadline(op, 1), ASOCK_BAD_HANDLE);
        assert_eq!(asock_wait(op, 0), ASOCK_OK);
    }
}

#[test]
fn what_has_ended_can_be_pulled_at_once() {
    let runtime = Runtime::on_poll();
    for _ in 0..1_000 {
        let op = plain_timer(&runtime, 0);
        // Without a sleep, so that the answer comes while the worker is still at it.
        while asock_wait(op, 0) != ASOCK_OK {}
        let (status, results) = poll(&runtime, 0, 1);
        assert_eq!((status, ops_of(&results)), (ASOCK_OK, vec![op]));
    }
}

#[test]
fn poll_hands_out_records_whether_or_not_they_have_a_callback() {
    let runtime = Runtime::on_poll();
    let recorder = runtime.recorder();
    let plain = plain_timer(&runtime, 0);
    let with_callback = recorder.timer(0);
    // SAFETY: nothing has to outlive it.
    let status = unsafe { asock_begin_timer(runtime.handle(), 0, None, 7 as _, null_mut()) };
    assert_eq!(status, ASOCK_OK);
    until_ended(&runtime);
    let (_, results) = poll(&runtime, -1, 8);
    assert_eq!(results.len(), 3);
    assert_eq!(ops_of(&results[..2]), [plain, with_callback]);
    assert_ne!(
        results[2].op, 0,
        "also where the caller did not ask for the handle"
    );
    assert_eq!(results[2].user_data as usize, 7);
    for result in &results {
        assert_eq!((result.kind, result.status), (ASOCK_KIND_TIMER, ASOCK_OK));
        assert_eq!((result.socket, result.value, result.flags), (0, 0, 0));
    }
    assert_eq!(recorder.count(), 0, "poll calls no callback");
}

#[test]
fn dispatch_stops_at_its_number_of_callbacks() {
    let runtime = Runtime::on_poll();
    let recorder = runtime.recorder();
    let mut ops = Vec::new();
    for _ in 0..5 {
        ops.push(recorder.timer(0));
        plain_timer(&runtime, 0); // Dropped, and not counted.
    }
    until_ended(&runtime);
    for (max_callbacks, expected) in [(1, 1), (2, 2), (0, 2), (0, 0)] {
        let (status, count) = dispatch(&runtime, 0, max_callbacks, 0);
        assert_eq!((status, count), (ASOCK_OK, expected));
    }
    let called: Vec<_> = recorder.completions().iter().map(|one| one.op).collect();
    assert_eq!(called, ops);
    let here = thread::current().id();
    assert!(recorder.completions().iter().all(|one| one.thread == here));
    let (status, results) = poll(&runtime, 0, 8);
    assert_eq!((status, results.len()), (ASOCK_OK, 0), "nothing is left");
}

#[test]
fn dispatch_stops_at_its_budget() {
    let runtime = Runtime::on_poll();
    let recorder = runtime.recorder_with(|_| thread::sleep(Duration::from_millis(3)));
    for _ in 0..10 {
        recorder.timer(0);
    }
    until_ended(&runtime);
    // The first one is always called, and takes longer than that.
    let (status, count) = dispatch(&runtime, 0, 0, 1);
    assert_eq!((status, count), (ASOCK_OK, 1));
    let (status, count) = dispatch(&runtime, 0, 0, 4_000);
    assert_eq!(status, ASOCK_OK);
    assert!((1..=2).contains(&count), "{count} in 4 ms");
    let left = 9 - count;
    assert_eq!(dispatch(&runtime, 0, 0, 0), (ASOCK_OK, left), "no limit");
}

/// What a callback begins is for the next call, so that an endless chain does not hold up a frame of a game.
#[test]
fn dispatch_leaves_what_comes_meanwhile_to_the_next_call() {
    let runtime = Runtime::on_poll();
    let handle = runtime.handle();
    let chain = runtime.recorder_with(move |result| {
        let mut op = 0;
        // SAFETY: the recorder outlives the operation.
        let status =
            unsafe { asock_begin_timer(handle, 0, Some(record), result.user_data, &raw mut op) };
        // The last one is called by the stop, and is refused.
        assert!(status == ASOCK_STOPPED || asock_wait(op, -1) == ASOCK_OK);
    });
    chain.timer(0);
    for round in 1..20 {
        let (status, count) = dispatch(&runtime, -1, 0, 0);
        assert_eq!((status, count), (ASOCK_OK, 1), "round {round}");
    }
}

#[test]
fn at_the_limit_of_time() {
    let runtime = Runtime::on_poll();
    let start = Instant::now();
    assert_eq!(dispatch(&runtime, 20, 0, 0), (ASOCK_OK, 0));
    assert_passed(start, 20);
    let (status, results) = poll(&runtime, 20, 1);
    assert_eq!((status, results.len()), (ASOCK_OK, 0));
    assert_passed(start, 40);
    // A completion ends the waiting, however long the limit is.
    let op = plain_timer(&runtime, 10);
    assert_eq!(ops_of(&poll(&runtime, -1, 1).1), [op]);
    let recorder = runtime.recorder();
    recorder.timer(10);
    assert_eq!(dispatch(&runtime, i32::MAX, 0, 0), (ASOCK_OK, 1));
}

#[test]
fn a_wake_ends_the_waiting_or_the_next() {
    let runtime = Runtime::on_poll();
    let handle = runtime.handle();
    // Before: several count as one.
    for _ in 0..3 {
        assert_eq!(asock_wake(handle), ASOCK_OK);
    }
    assert_eq!(dispatch(&runtime, -1, 0, 0), (ASOCK_OK, 0));
    let start = Instant::now();
    assert_eq!(dispatch(&runtime, 10, 0, 0), (ASOCK_OK, 0));
    assert_passed(start, 10); // The others are used up.

    // During, and through both calls. If the wake comes too early, it ends the waiting all the same.
    for round in 0..50 {
        let waker = thread::spawn(move || asock_wake(handle));
        if round % 2 == 0 {
            let (status, results) = poll(&runtime, -1, 1);
            assert_eq!((status, results.len()), (ASOCK_OK, 0));
        } else {
            assert_eq!(dispatch(&runtime, -1, 0, 0), (ASOCK_OK, 0));
        }
        assert_eq!(waker.join().expect("no panic"), ASOCK_OK);
    }
}

#[test]
fn one_poller_at_a_time() {
    let runtime = Runtime::on_poll();
    let handle = runtime.handle();
    let inside = Arc::new(AtomicBool::new(true));
    let (flag, barrier) = (Arc::clone(&inside), Arc::new(Barrier::new(2)));
    let of_thread = Arc::clone(&barrier);
    let waiter = thread::spawn(move || {
        of_thread.wait();
        loop {
            let mut count = 0;
            // SAFETY: `count` may be written.
            let status = unsafe { asock_dispatch(handle, -1, 0, 0, &raw mut count) };
            // The look below may be the one that is inside just now.
            if status != ASOCK_INVALID_STATE {
                flag.store(false, Ordering::SeqCst);
                return status;
            }
        }
    });
    barrier.wait();
    // Soon the other one is inside, and then neither call is let in.
    until("the other thread waits", || {
        poll(&runtime, 0, 1).0 == ASOCK_INVALID_STATE
    });
    assert_eq!(dispatch(&runtime, 0, 0, 0).0, ASOCK_INVALID_STATE);
    assert_eq!(
        dispatch(&runtime, -1, 0, 0).0,
        ASOCK_INVALID_STATE,
        "at once"
    );
    assert!(inside.load(Ordering::SeqCst));
    assert_eq!(asock_wake(handle), ASOCK_OK);
    assert_eq!(waiter.join().expect("no panic"), ASOCK_OK);
    assert_eq!(poll(&runtime, 0, 1).0, ASOCK_OK, "the place is free again");
}

#[test]
fn no_polling_inside_a_dispatched_callback() {
    let (runtime, other) = (Runtime::on_poll(), Runtime::on_poll());
    let handles = [runtime.handle(), other.handle()];
    let checked = Arc::new(AtomicUsize::new(0));
    let count_checks = Arc::clone(&checked);
    let recorder = runtime.recorder_with(move |_| {
        for handle in handles {
            let mut count = 0;
            // SAFETY: a record of integers and pointers may be all zero.
            let mut result: asock_result = unsafe { std::mem::zeroed() };
            // SAFETY: everything may be written, and there is room for one record.
            let answers = unsafe {
                [
                    asock_dispatch(handle, 0, 0, 0, &raw mut count),
                    asock_poll(handle, 0, &raw mut result, 1, &raw mut count),
                    asock_runtime_stop(handle),
                ]
            };
            assert_eq!(answers, [ASOCK_WOULD_DEADLOCK; 3]);
            assert_eq!(asock_wake(handle), ASOCK_OK, "that is allowed");
            count_checks.fetch_add(1, Ordering::SeqCst);
        }
    });
    recorder.timer(0);
    recorder.wait_for(1);
    assert_eq!(checked.load(Ordering::SeqCst), 2);
}

#[test]
fn a_runtime_that_delivers_on_its_worker_is_not_polled() {
    let runtime = Runtime::on_worker();
    assert_eq!(poll(&runtime, 0, 1).0, ASOCK_INVALID_STATE);
    assert_eq!(dispatch(&runtime, 0, 0, 0).0, ASOCK_INVALID_STATE);
    assert_eq!(asock_wake(runtime.handle()), ASOCK_INVALID_STATE);
    let mut fd = -7;
    // SAFETY: `fd` may be written.
    let status = unsafe { asock_poll_fd(runtime.handle(), &raw mut fd) };
    assert_eq!((status, fd), (ASOCK_INVALID_STATE, -7));
}

fn poll_fd(runtime: &Runtime) -> i64 {
    let mut fd = -1;
    // SAFETY: `fd` may be written.
    let status = unsafe { asock_poll_fd(runtime.handle(), &raw mut fd) };
    assert_eq!(status, ASOCK_OK);
    fd
}

#[test]
fn the_descriptor_is_readable_while_there_is_something_to_do() {
    const SOON_MS: i32 = 20_000;
    let runtime = Runtime::on_poll();
    // Asked for late: what waits already shows.
    ended_timers(&runtime, 1);
    until_ended(&runtime);
    let fd = poll_fd(&runtime);
    assert!(is_readable(fd, SOON_MS));
    assert_eq!(poll_fd(&runtime), fd, "it stays the same");
    assert!(is_readable(fd, 0), "level-triggered");
    poll(&runtime, 0, 1);
    assert!(!is_readable(fd, 0));

    // Completions, until the last one is taken.
    ended_timers(&runtime, 3);
    until_ended(&runtime);
    for _ in 0..3 {
        assert!(is_readable(fd, SOON_MS));
        assert_eq!(poll(&runtime, 0, 1).1.len(), 1);
    }
    assert!(!is_readable(fd, 0));

    // A wake, until a call has returned because of it.
    assert_eq!(asock_wake(runtime.handle()), ASOCK_OK);
    assert!(is_readable(fd, 0));
    assert_eq!(dispatch(&runtime, 0, 0, 0), (ASOCK_OK, 0));
    assert!(!is_readable(fd, 0));

    // It wakes a loop that waits.
    let recorder = runtime.recorder();
    for _ in 0..20 {
        recorder.timer(1);
        assert!(is_readable(fd, SOON_MS));
        assert_eq!(dispatch(&runtime, 0, 0, 0), (ASOCK_OK, 1));
        assert!(!is_readable(fd, 0));
    }

    // After a drain it stays readable: each call says that it is over.
    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    assert!(is_readable(fd, SOON_MS));
    assert_eq!(dispatch(&runtime, 0, 0, 0).0, ASOCK_STOPPED);
    assert!(is_readable(fd, 0));
}

#[test]
fn drain_and_poll_until_all_is_handed_out() {
    const SOCKETS: usize = 20;
    let runtime = Runtime::on_poll();
    let peer = Peer::silent();
    let recorder = runtime.recorder();
    let mut ops = Vec::new();
    for _ in 0..SOCKETS {
        let socket = runtime.connected(peer.port());
        ops.push(recorder.receive(socket, &Memory::new(8), 0));
        ops.push(plain_timer(&runtime, 3_600_000));
    }
    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    // Nothing new, whatever it is; but the calls of before still answer.
    let mut op = 0;
    // SAFETY: `op` may be written.
    let status = unsafe { asock_begin_timer(runtime.handle(), 0, None, null_mut(), &raw mut op) };
    assert_eq!((status, op), (ASOCK_STOPPED, 0));
    let mut handed_out = Vec::new();
    loop {
        let (status, results) = poll(&runtime, -1, 3);
        if status == ASOCK_STOPPED {
            break;
        }
        assert_eq!(status, ASOCK_OK);
        assert!(results.iter().all(|result| result.status == ASOCK_STOPPED));
        handed_out.extend(ops_of(&results));
    }
    handed_out.sort_unstable();
    ops.sort_unstable();
    assert_eq!(handed_out, ops, "each exactly once");
    assert_eq!(poll(&runtime, -1, 3).0, ASOCK_STOPPED, "and it stays so");
    assert_eq!(dispatch(&runtime, -1, 0, 0).0, ASOCK_STOPPED);
    runtime.stop();
    assert_eq!(poll(&runtime, 0, 3).0, ASOCK_BAD_HANDLE);
    assert_eq!(recorder.count(), 0, "none was left for the stop");
}

#[test]
fn a_drain_ends_the_waiting_of_a_poller() {
    let runtime = Runtime::on_poll();
    let handle = runtime.handle();
    let drainer = thread::spawn(move || asock_runtime_drain(handle));
    assert_eq!(poll(&runtime, -1, 1).0, ASOCK_STOPPED);
    assert_eq!(drainer.join().expect("no panic"), ASOCK_OK);
}

/// The thread that stops a runtime calls what is left itself; nothing of that comes to a poller any more.
#[test]
fn while_it_is_stopped_nothing_more_is_handed_out() {
    let runtime = Runtime::on_poll();
    let gate = Gate::new();
    let inside = gate.clone();
    let recorder = runtime.recorder_with(move |_| inside.enter());
    recorder.timer(0);
    thread::scope(|scope| {
        scope.spawn(|| runtime.stop());
        gate.wait_entered();
        assert_eq!(poll(&runtime, -1, 1).0, ASOCK_STOPPED);
        assert_eq!(dispatch(&runtime, -1, 0, 0).0, ASOCK_STOPPED);
        gate.open();
    });
    assert_eq!(recorder.count(), 1);
}
