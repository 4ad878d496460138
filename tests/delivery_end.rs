//! The handle of an operation: to wait for it, to end it, to forget it, and until when each of these is possible.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// What the calls on a retired handle answer.
fn assert_retired(op: asock_op) {
    assert_eq!(try_end(op).err(), Some(ASOCK_BAD_HANDLE));
    assert_eq!(asock_forget(op), ASOCK_BAD_HANDLE);
    assert_eq!(asock_cancel(op), ASOCK_BAD_HANDLE);
    assert_eq!(asock_set_deadline(op, 1), ASOCK_BAD_HANDLE);
    assert_eq!(asock_wait(op, 0), ASOCK_OK);
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
}

#[test]
fn end_waits_and_hands_over_the_result() {
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    let room = Memory::new(8);
    let op = plain_receive(socket, &room, 0);
    assert_pending(&runtime, op);
    let waiter = thread::spawn(move || {
        let result = end(op);
        (
            result.status,
            result.bytes,
            result.op,
            result.socket,
            result.kind,
        )
    });
    peer.write_all(b"data").expect("connected");
    let result = waiter.join().expect("no panic");
    assert_eq!(result, (ASOCK_OK, 4, op, socket, ASOCK_KIND_RECEIVE));
    assert_eq!(room.bytes(), b"data\0\0\0\0");
    assert_retired(op);
}

#[test]
fn user_data_comes_back_bit_by_bit() {
    let runtime = Runtime::on_worker();
    for number in [0, 1, usize::MAX, 0x5555_aaaa] {
        // SAFETY: it is never looked at.
        let op =
            begun(|op| unsafe { asock_begin_timer(runtime.handle(), 0, None, number as _, op) });
        assert_eq!(end(op).user_data as usize, number);
    }
}

#[test]
fn a_failure_is_a_result_too() {
    let refused = Refused::new();
    let runtime = Runtime::on_worker();
    let there = address("127.0.0.1", refused.port());
    let socket = runtime.open();
    // SAFETY: the address is read during the call.
    let op = begun(|op| unsafe { asock_begin_connect_address(socket, &there, None, NOTHING, op) });
    let result = end(op);
    assert_eq!(result.status, ASOCK_CONNECTION_REFUSED);
    assert_eq!(result.os_error, libc::ECONNREFUSED);
    assert_retired(op);
}

#[test]
fn two_threads_in_end_of_one_operation() {
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    for round in 0..100 {
        let room = Memory::new(1);
        let op = plain_receive(socket, &room, 0);
        let both = [(); 2].map(|()| thread::spawn(move || try_end(op).map(|result| result.bytes)));
        if round % 2 == 0 {
            assert_pending(&runtime, op);
        }
        peer.write_all(b"x").expect("connected");
        let mut answers = both.map(|one| one.join().expect("no panic"));
        answers.sort_unstable();
        assert_eq!(answers, [Ok(1), Err(ASOCK_BAD_HANDLE)]);
        assert_retired(op);
    }
}

#[test]
fn end_is_for_what_nothing_else_tells_of() {
    let worker = Runtime::on_worker();
    let poll = Runtime::on_poll();
    for (runtime, has_callback) in [(&worker, true), (&poll, true), (&poll, false)] {
        let (socket, mut peer) = pair(runtime);
        let recorder = runtime.recorder();
        let room = Memory::new(1);
        let op = if has_callback {
            recorder.receive(socket, &room, 0)
        } else {
            plain_receive(socket, &room, 0)
        };
        // At once, and not after a wait.
        assert_eq!(try_end(op).err(), Some(ASOCK_INVALID_STATE));
        assert_eq!(asock_forget(op), ASOCK_INVALID_STATE);
        assert_pending(runtime, op);
        peer.write_all(b"x").expect("connected");
        assert_eq!(asock_wait(op, -1), ASOCK_OK);
        if runtime.delivers_on_poll() {
            assert_eq!(
                try_end(op).err(),
                Some(ASOCK_INVALID_STATE),
                "not handed out"
            );
            let mut found = false;
            until("its record", || {
                let (_, results) = calls::poll(runtime, 0, 1);
                found |= results.iter().any(|result| result.op == op);
                found
            });
        } else {
            recorder.wait_for(1);
            until("the callback has returned", || {
                asock_cancel(op) == ASOCK_BAD_HANDLE
            });
        }
        assert_retired(op);
    }
}

#[test]
fn wait_with_a_limit() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let room = Memory::new(1);
        let op = plain_receive(socket, &room, 0);
        let start = Instant::now();
        assert_eq!(asock_wait(op, 0), ASOCK_TIMED_OUT);
        assert_eq!(asock_wait(op, 30), ASOCK_TIMED_OUT);
        assert_passed(start, 30);
        assert_eq!(asock_wait(op, -2), ASOCK_INVALID_ARGUMENT);
        assert_eq!(asock_wait(op, i32::MIN), ASOCK_INVALID_ARGUMENT);
        let waiters = [-1, i32::MAX].map(|limit| thread::spawn(move || asock_wait(op, limit)));
        peer.write_all(b"x").expect("connected");
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), ASOCK_OK);
        }
        // The handle stays what it was, and its buffer is the caller's.
        assert_eq!(room.bytes(), b"x");
        assert_eq!(asock_wait(op, 0), ASOCK_OK);
        if runtime.delivers_on_poll() {
            assert_eq!(asock_cancel(op), ASOCK_OK, "ended, but not handed out");
            assert_eq!(calls::poll(&runtime, -1, 1).1[0].status, ASOCK_OK);
        } else {
            assert_eq!(asock_cancel(op), ASOCK_OK, "ended, but not collected");
            assert_eq!(asock_set_deadline(op, 0), ASOCK_OK);
            assert_eq!(end(op).status, ASOCK_OK, "a cancel that came too late");
        }
        assert_retired(op);
    });
}

/// A wait ends when the result is fixed, though the callback may still be running.
#[test]
fn wait_does_not_wait_for_the_callback() {
    let runtime = Runtime::on_worker();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().expect("nobody panicked");
    let of_callback = Arc::clone(&gate);
    let recorder = runtime.recorder_with(move |_| drop(of_callback.lock()));
    let op = recorder.timer(0);
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
    assert_eq!(recorder.count(), 0);
    assert_eq!(asock_cancel(op), ASOCK_OK, "its handle is not retired yet");
    drop(closed);
    recorder.wait_for(1)[0].expect(ASOCK_KIND_TIMER, ASOCK_OK);
    until("it is retired", || asock_cancel(op) == ASOCK_BAD_HANDLE);
}

/// The results of many are fixed at once, and yet each handle is retired with the return of its own callback: those of earlier
/// ones are by then, for every thread, and no other is.
#[test]
fn each_handle_is_retired_when_its_own_callback_has_returned() {
    const COUNT: usize = 600;
    let runtime = Runtime::on_worker();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().expect("nobody panicked");
    let of_callback = Arc::clone(&gate);
    let holder = runtime.recorder_with(move |_| drop(of_callback.lock()));
    holder.timer(0);
    let ops = Arc::new(Mutex::new(Vec::new()));
    let (begun, called) = (Arc::clone(&ops), Mutex::new(Vec::new()));
    let recorder = runtime.recorder_with(move |result| {
        let ops = begun.lock().expect("nobody panicked").clone();
        let mut called = called.lock().expect("nobody panicked");
        let earlier = called.clone();
        let look = move || {
            for op in ops {
                let expected = match earlier.contains(&op) {
                    true => ASOCK_BAD_HANDLE,
                    false => ASOCK_INVALID_STATE, // It has a callback.
                };
                assert_eq!(asock_forget(op), expected, "after {} others", earlier.len());
            }
        };
        match called.len() % 50 {
            0 => thread::spawn(look).join().expect("no panic"),
            _ => look(),
        }
        called.push(result.op);
    });
    for _ in 0..COUNT {
        let op = recorder.timer(0);
        ops.lock().expect("nobody panicked").push(op);
    }
    drop(closed);
    for completion in recorder.wait_for(COUNT) {
        completion.expect(ASOCK_KIND_TIMER, ASOCK_OK);
    }
}

#[test]
fn no_waiting_on_a_worker() {
    // The operation that is waited for belongs to another runtime, and that makes no difference.
    let (runtime, other) = (Runtime::on_worker(), Runtime::on_worker());
    let (socket, mut peer) = pair(&other);
    let room = Memory::new(1);
    let op = plain_receive(socket, &room, 0);
    let done = plain_timer(&other, 0);
    assert_eq!(asock_wait(done, -1), ASOCK_OK);
    let answers = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&answers);
    let recorder = runtime.recorder_with(move |_| {
        let waits = [
            asock_wait(op, -1),
            asock_wait(op, 50),
            asock_wait(op, 0),
            asock_wait(done, -1),
        ];
        let ends = [try_end(op), try_end(done)].map(|end| end.map(|result| result.status));
        *seen.lock().expect("nobody panicked") = Some((waits, ends));
    });
    recorder.timer(0);
    recorder.wait_for(1);
    let (waits, ends) = answers
        .lock()
        .expect("nobody panicked")
        .take()
        .expect("called");
    let deadlock = ASOCK_WOULD_DEADLOCK;
    // To ask is no wait, and what has ended needs none.
    assert_eq!(waits, [deadlock, deadlock, ASOCK_TIMED_OUT, ASOCK_OK]);
    assert_eq!(ends, [Err(deadlock), Ok(ASOCK_OK)]);
    // What could not be ended there is as it was.
    peer.write_all(b"x").expect("connected");
    assert_eq!(end(op).bytes, 1);
}

#[test]
fn forget_before_and_after_the_end() {
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    // Before: to end it is over, to reach it is not.
    let room = Memory::new(1);
    let op = plain_receive(socket, &room, 0);
    assert_eq!(asock_forget(op), ASOCK_OK);
    assert_eq!(asock_forget(op), ASOCK_BAD_HANDLE);
    assert_eq!(try_end(op).err(), Some(ASOCK_BAD_HANDLE));
    assert_eq!(asock_wait(op, 0), ASOCK_TIMED_OUT);
    assert_eq!(asock_set_deadline(op, 3_600_000), ASOCK_OK);
    peer.write_all(b"x").expect("connected");
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
    assert_eq!(room.bytes(), b"x");
    assert_retired(op);

    let op = plain_receive(socket, &room, 0);
    assert_eq!(asock_forget(op), ASOCK_OK);
    assert_eq!(asock_cancel(op), ASOCK_OK);
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
    assert_retired(op);

    // After.
    let op = plain_timer(&runtime, 0);
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
    assert_eq!(asock_forget(op), ASOCK_OK);
    assert_retired(op);
}

#[test]
fn forget_lets_a_thread_in_end_go() {
    let room = Memory::new(1); // Until the runtime is gone: nobody waits for the last cancel.
    let runtime = Runtime::on_worker();
    let (socket, _peer) = pair(&runtime);
    for _ in 0..20 {
        let op = plain_receive(socket, &room, 0);
        let waiter = thread::spawn(move || try_end(op).err());
        thread::yield_now();
        assert_eq!(asock_forget(op), ASOCK_OK);
        // It is let go now, or when the operation ends.
        assert_eq!(asock_cancel(op), ASOCK_OK);
        assert_eq!(waiter.join().expect("no panic"), Some(ASOCK_BAD_HANDLE));
    }
}

#[test]
fn forget_lets_a_thread_in_end_go_at_once() {
    let runtime = Runtime::on_worker();
    for _ in 0..50 {
        let op = plain_timer(&runtime, 3_600_000);
        let (about_to, ready) = std::sync::mpsc::channel();
        let waiter = thread::spawn(move || {
            about_to.send(()).expect("somebody listens");
            try_end(op).err()
        });
        ready.recv().expect("it says so");
        thread::yield_now(); // In most rounds it waits by now; else it finds the handle forgotten.
        assert_eq!(asock_forget(op), ASOCK_OK);
        until("it has been let go", || waiter.is_finished());
        assert_eq!(waiter.join().expect("no panic"), Some(ASOCK_BAD_HANDLE));
        assert_pending(&runtime, op);
    }
}

#[test]
fn a_record_to_collect_outlives_its_socket_and_its_runtime() {
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    let rooms = [(); 4].map(|()| Memory::new(2));
    peer.write_all(b"ab").expect("connected");
    let received = plain_receive(socket, &rooms[0], ASOCK_RECEIVE_ALL);
    assert_eq!(asock_wait(received, -1), ASOCK_OK);
    let closed = plain_receive(socket, &rooms[1], 0);
    let forgotten = plain_receive(socket, &rooms[2], 0);
    // The close does not wait for them to be collected.
    let recorder = runtime.recorder();
    recorder.close(socket, 0);
    recorder.wait_for(1)[0].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
    let timer = plain_timer(&runtime, 3_600_000);
    runtime.stop();
    let ends = [
        (received, ASOCK_OK),
        (closed, ASOCK_CLOSED),
        (timer, ASOCK_STOPPED),
    ];
    for (op, status) in ends {
        assert_eq!(asock_wait(op, -1), ASOCK_OK);
        let result = end(op);
        assert_eq!((result.op, result.status), (op, status));
        assert_retired(op);
    }
    assert_eq!(rooms[0].bytes(), b"ab");
    assert_eq!(asock_forget(forgotten), ASOCK_OK);
    assert_retired(forgotten);
}

/// Not one operation of many is lost, whichever way it is collected, and the handles do not run out.
#[test]
fn many_operations_each_collected_in_its_own_way() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let mut called = 0;
    for round in 0..5000 {
        match round % 4 {
            0 => {
                let op = plain_timer(&runtime, 0);
                assert_eq!(asock_cancel(op), ASOCK_OK);
                let status = end(op).status;
                assert!(status == ASOCK_CANCELED || status == ASOCK_OK);
            }
            1 => {
                let op = plain_timer(&runtime, 0);
                assert_eq!(asock_forget(op), ASOCK_OK);
            }
            2 => {
                // SAFETY: nobody is told, so nothing has to outlive it.
                let status = unsafe {
                    let nowhere = std::ptr::null_mut();
                    asock_begin_timer(runtime.handle(), 0, None, NOTHING, nowhere)
                };
                assert_eq!(status, ASOCK_OK);
            }
            _ => {
                recorder.timer(0);
                called += 1;
            }
        }
    }
    recorder.wait_for(called);
    until("all have ended", || runtime.stats().operations_pending == 0);
    let stats = runtime.stats();
    assert_eq!(
        (stats.operations_begun, stats.operations_completed),
        (5000, 5000)
    );
    assert_eq!(recorder.count(), called);
}
