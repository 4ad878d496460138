//! The time-out options of sends and receives, and asock_set_deadline: they run from the begin, time in the queue
//! included; they never strike early; and what had been done by then is told. Connects: see `connect_pending`; timers:
//! see `timers`.
//!
//! That something did *not* time out is shown by an operation of a later limit that did: both limits are on one clock.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::Instant;

fn receive(recorder: &Recorder, socket: asock_socket) -> asock_op {
    recorder.receive(socket, &Memory::new(8), 0)
}

#[test]
fn of_receives() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let limit = |ms| set(socket, ASOCK_OPTION_RECEIVE_TIMEOUT_MS, ms);
        let before = receive(&recorder, socket);
        assert_eq!(limit(40), ASOCK_OK);
        let start = Instant::now();
        let limited = [(); 3].map(|()| receive(&recorder, socket));
        assert_eq!(limit(0), ASOCK_OK);
        let after = receive(&recorder, socket);
        // Those in the queue too, and out of turn.
        for op in limited {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_TIMED_OUT);
            assert_eq!((completion.bytes, completion.os_error), (0, 0));
        }
        assert_passed(start, 40);
        // The option binds only what is begun while it is set.
        for op in [before, after] {
            assert_pending(&runtime, op);
        }
        // Nothing of the stream is lost by it.
        for (op, byte) in [(before, b'1'), (after, b'2')] {
            peer.write_all(&[byte]).expect("connected");
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 1));
        }
    });
}

#[test]
fn of_sends() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        // In time, it is no matter.
        assert_eq!(set(socket, ASOCK_OPTION_SEND_TIMEOUT_MS, 60_000), ASOCK_OK);
        recorder.put(socket, b"quick");
        assert_eq!(set(socket, ASOCK_OPTION_SEND_TIMEOUT_MS, 150), ASOCK_OK);
        let start = Instant::now();
        let big = recorder.send(socket, &Memory::filled(BIG, b'B'), 0);
        let completion = recorder.completion_of(big);
        completion.expect(ASOCK_KIND_SEND, ASOCK_TIMED_OUT);
        assert_passed(start, 150);
        assert_eq!(completion.os_error, 0);
        let sent = completion.bytes;
        assert!(sent > 0 && sent < BIG);
        let mut heard = vec![0; 5 + sent];
        peer.read_exact(&mut heard).expect("so many come");
        assert_eq!(&heard[..6], b"quickB");

        // A send that waits in the queue is on its clock too.
        assert_eq!(set(socket, ASOCK_OPTION_SEND_TIMEOUT_MS, 0), ASOCK_OK);
        let big = recorder.send(socket, &Memory::filled(BIG, b'B'), 0);
        assert_eq!(set(socket, ASOCK_OPTION_SEND_TIMEOUT_MS, 20), ASOCK_OK);
        let small = recorder.send(socket, &Memory::of(b"small"), 0);
        let completion = recorder.completion_of(small);
        completion.expect(ASOCK_KIND_SEND, ASOCK_TIMED_OUT);
        assert_eq!(completion.bytes, 0);
        assert_pending(&runtime, big);
        heard.resize(BIG, 0);
        peer.read_exact(&mut heard).expect("all of it comes");
        assert_eq!(recorder.completion_of(big).status, ASOCK_OK);
    });
}

#[test]
fn a_deadline_replaces_the_option() {
    on_both_in_time(|runtime, by| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(runtime);
        let (limit, late) = (by as i64 * 200, by as i64 * 500);
        let option = ASOCK_OPTION_RECEIVE_TIMEOUT_MS;
        assert_eq!(set(socket, option, limit), ASOCK_OK);
        let start = Instant::now();
        let [later, never, sooner] = [(); 3].map(|()| receive(&recorder, socket));
        let deadlines = [(later, late), (never, -1), (sooner, 5)];
        let set = deadlines.map(|(op, ms)| asock_set_deadline(op, ms));
        let plain = receive(&recorder, socket);
        // Had it taken longer, the option might have struck before it was replaced.
        if start.elapsed().as_millis() >= limit as u128 {
            return false;
        }
        assert_eq!(set, [ASOCK_OK; 3]);
        for (op, ms) in [(sooner, 5), (plain, limit), (later, late)] {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_TIMED_OUT);
            assert_passed(start, ms as u128);
        }
        let order: Vec<_> = recorder.completions().iter().map(|one| one.op).collect();
        assert_eq!(order, [sooner, plain, later]);
        assert_pending(runtime, never);
        peer.write_all(b"x").expect("connected");
        assert_eq!(recorder.completion_of(never).status, ASOCK_OK);
        true
    });
}

#[test]
fn a_deadline_replaces_a_deadline() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, _peer) = pair(&runtime);
        let [moved, removed, huge, now] = [(); 4].map(|()| receive(&recorder, socket));
        // Each of these is replaced before it can strike: an hour is long.
        for op in [moved, removed, huge, now] {
            assert_eq!(asock_set_deadline(op, 3_600_000), ASOCK_OK);
        }
        let start = Instant::now();
        assert_eq!(asock_set_deadline(moved, 50), ASOCK_OK);
        assert_eq!(asock_set_deadline(removed, i64::MIN), ASOCK_OK);
        assert_eq!(asock_set_deadline(huge, i64::MAX), ASOCK_OK);
        assert_eq!(asock_set_deadline(now, 0), ASOCK_OK);
        for op in [now, moved] {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_TIMED_OUT);
        }
        assert_passed(start, 50);
        for op in [removed, huge] {
            assert_pending(&runtime, op);
            assert_eq!(asock_cancel(op), ASOCK_OK);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CANCELED);
        }
    });
}

#[test]
fn limits_strike_in_their_order() {
    const COUNT: usize = 100;
    on_both_in_time(|runtime, by| {
        let recorder = runtime.recorder();
        let (socket, _peer) = pair(runtime);
        // It is with the system, which may take a moment to give it back; those behind it end at once.
        let head = receive(&recorder, socket);
        let mut random = Random::new(0x71e5);
        let limited: HashMap<_, _> = (0..COUNT)
            .map(|_| {
                let op = receive(&recorder, socket);
                let ms = by * (20 + 5 * random.below(40));
                let set = || asock_set_deadline(op, ms as i64);
                let (status, due) = Due::after(ms, set);
                assert_eq!(status, ASOCK_OK);
                (op, due)
            })
            .collect();
        let known = until_known(runtime);
        let all = recorder.wait_for(COUNT);
        assert!(all.iter().all(|one| one.status == ASOCK_TIMED_OUT));
        assert_pending(runtime, head);
        are_in_order(known, all.iter().map(|one| limited[&one.op]))
    });
}

#[test]
fn what_has_ended_has_no_limit() {
    on_both_in_time(|runtime, by| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(runtime);
        let limit = by as i64 * 10;
        let option = ASOCK_OPTION_RECEIVE_TIMEOUT_MS;
        assert_eq!(set(socket, option, limit), ASOCK_OK);
        peer.write_all(b"x").expect("connected");
        let start = Instant::now();
        let op = receive(&recorder, socket);
        let status = recorder.completion_of(op).status;
        if start.elapsed().as_millis() >= limit as u128 {
            return false;
        }
        assert_eq!(status, ASOCK_OK);
        // A timer that is due later has struck, and nothing else.
        let timer = recorder.timer(by * 30);
        recorder.completion_of(timer);
        assert_eq!(recorder.count(), 2);
        until("its handle is retired", || {
            asock_set_deadline(op, 0) == ASOCK_BAD_HANDLE
        });
        true
    });
}
