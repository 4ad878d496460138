//! Timers, and the counters of a runtime, which timers make easy to foretell.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn they_complete_in_the_order_in_which_they_are_due() {
    on_both_in_time(|runtime, by| {
        let recorder = runtime.recorder();
        let start = Instant::now();
        // Far enough apart that the time between two begins does not matter.
        let delays = [120, 0, 180, 60, 240].map(|delay_ms| by * delay_ms);
        let ops = delays.map(|delay_ms| recorder.timer(delay_ms));
        if start.elapsed() >= Duration::from_millis(by * 60) {
            return false;
        }
        for (count, place) in [1, 3, 0, 2, 4].into_iter().enumerate() {
            let completion = recorder.wait_for(count + 1)[count];
            completion.expect(ASOCK_KIND_TIMER, ASOCK_OK);
            assert_eq!(completion.op, ops[place]);
            assert_passed(start, delays[place].into());
            assert_eq!((completion.socket, completion.bytes), (0, 0));
        }
        true
    });
}

#[test]
fn a_timer_can_be_canceled_or_limited() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let hour = 3_600_000;
        let (canceled, endless) = (recorder.timer(hour), recorder.timer(u64::MAX));
        for op in [canceled, endless] {
            assert_pending(&runtime, op);
            assert_eq!(asock_cancel(op), ASOCK_OK);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_TIMER, ASOCK_CANCELED);
        }
        // A deadline that comes first is a time-out, one that comes later changes nothing.
        let limited = recorder.timer(hour);
        assert_eq!(asock_set_deadline(limited, 5), ASOCK_OK);
        let completion = recorder.completion_of(limited);
        completion.expect(ASOCK_KIND_TIMER, ASOCK_TIMED_OUT);
        until("they are set before it is due", || {
            let due = recorder.timer(20);
            let set = [hour as i64, -1].map(|ms| asock_set_deadline(due, ms));
            let completion = recorder.completion_of(due);
            completion.expect(ASOCK_KIND_TIMER, ASOCK_OK);
            set == [ASOCK_OK; 2]
        });
    });
}

#[test]
fn ten_thousand() {
    const COUNT: usize = 10_000;
    on_both_in_time(|runtime, by| {
        let recorder = runtime.recorder();
        let mut random = Random::new(0x10_000);
        let begun: Vec<_> = (0..COUNT)
            .map(|_| {
                let delay_ms = random.below(by * 500);
                Due::after(delay_ms, || recorder.timer(delay_ms))
            })
            .collect();
        // A part of them goes early.
        for (op, _) in begun.iter().step_by(3) {
            let answer = asock_cancel(*op);
            assert!(answer == ASOCK_OK || answer == ASOCK_BAD_HANDLE);
        }
        let known = until_known(runtime);
        let all = recorder.wait_for(COUNT);
        let ops: HashSet<_> = all.iter().map(|one| one.op).collect();
        assert_eq!(ops.len(), COUNT, "each once");
        let may_go_early: HashSet<_> = begun.iter().step_by(3).map(|(op, _)| *op).collect();
        let (early, rest): (Vec<Completion>, Vec<Completion>) = all
            .into_iter()
            .partition(|one| one.status == ASOCK_CANCELED);
        assert!(early.iter().all(|one| may_go_early.contains(&one.op)));
        assert!(rest.iter().all(|one| one.status == ASOCK_OK));
        let dues: HashMap<_, _> = begun.into_iter().collect();
        let shown = are_in_order(known, rest.iter().map(|one| dues[&one.op]));
        if shown {
            runtime.stop();
        }
        assert_eq!(recorder.count(), COUNT);
        shown
    });
}

#[test]
fn the_counters() {
    on_both(|runtime| {
        let peer = Peer::echo();
        let recorder = runtime.recorder_with(|result| {
            if result.kind == ASOCK_KIND_TIMER {
                thread::sleep(Duration::from_millis(6));
            }
        });
        let stats = runtime.stats();
        assert_eq!((stats.operations_begun, stats.sockets_open), (0, 0));
        assert_eq!(stats.longest_callback_ns, 0);
        assert_eq!((stats.workers, stats.size), (1, size_of::<asock_stats>()));
        let backends = ASOCK_BACKEND_EPOLL..=ASOCK_BACKEND_IOCP;
        assert!(
            backends.contains(&stats.backend),
            "never ASOCK_BACKEND_AUTO"
        );

        let socket = runtime.connected(peer.port());
        recorder.put(socket, b"12345");
        assert_eq!(recorder.take_bytes(socket, 5), b"12345");
        let pending = recorder.receive(socket, &Memory::new(1), 0);
        let unconnected = runtime.open();
        let stats = runtime.stats();
        assert_eq!(stats.operations_begun, 4, "a connect, a send, two receives");
        assert_eq!(
            (stats.operations_completed, stats.operations_pending),
            (3, 1)
        );
        assert_eq!((stats.bytes_sent, stats.bytes_received), (5, 5));
        assert_eq!(stats.sockets_open, 2);
        assert!(stats.wake_ups <= stats.operations_begun);

        assert_eq!(asock_cancel(pending), ASOCK_OK);
        recorder.completion_of(pending);
        assert_eq!(asock_close(unconnected), ASOCK_OK);
        recorder.completion_of(recorder.close(socket, 0));
        recorder.completion_of(recorder.timer(0));
        let done = || runtime.stats().longest_callback_ns >= 5_000_000;
        until("the longest callback", done);
        let stats = runtime.stats();
        assert_eq!((stats.operations_begun, stats.operations_completed), (6, 6));
        assert_eq!((stats.operations_pending, stats.sockets_open), (0, 0));
    });
}

#[test]
fn a_worker_that_sleeps_is_woken_and_counted() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    for round in 1..=20 {
        let before = runtime.stats().wake_ups;
        // After some rest the worker sleeps, and then nothing else would wake it.
        until("a wake-up", || {
            let count = recorder.count();
            thread::sleep(Duration::from_millis(1));
            recorder.timer(0);
            recorder.wait_for(count + 1);
            runtime.stats().wake_ups > before
        });
        assert!(runtime.stats().wake_ups >= round);
    }
}

/// The structs that grow: what an older program does not know is not written, what a newer one adds must be zero.
#[test]
fn stats_of_other_versions() {
    const WORDS: usize = size_of::<asock_stats>() / 8;
    let runtime = Runtime::on_worker();
    let ask = |words: &mut [u64]| {
        // SAFETY: as many words as the struct's own size tells.
        unsafe { asock_runtime_stats(runtime.handle(), words.as_mut_ptr().cast()) }
    };
    let mut newer = [0; WORDS + 4];
    newer[0] = 8 * (WORDS as u64 + 4);
    assert_eq!(ask(&mut newer), ASOCK_OK);
    assert_eq!(newer[0], 8 * (WORDS as u64 + 4), "left as it is");
    assert_ne!(newer[WORDS - 1], 0, "backend and workers");
    assert_eq!(newer[WORDS..], [0; 4]);
    newer[WORDS + 3] = 1;
    assert_eq!(ask(&mut newer), ASOCK_INVALID_ARGUMENT);
    for size in [0, 8, size_of::<asock_stats>() as u64 - 1, u64::MAX] {
        let mut wrong = [0; WORDS];
        wrong[0] = size;
        assert_eq!(ask(&mut wrong), ASOCK_INVALID_ARGUMENT, "{size}");
        assert_eq!(wrong[1..], [0; WORDS - 1]);
    }
}
