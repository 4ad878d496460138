//! Promise 1: no begin, close or shutdown waits for the network or for a callback. They cost an enqueue, and a wake-up
//! only if the worker sleeps.
//!
//! No clock is used. The network is a peer that never answers and a callback is held until the calls have returned, so a
//! call that waited for either would never return; a watchdog then ends the test. That the calls take microseconds is
//! what the benchmark `begin_cost` shows.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::*;

/// More than the system's buffers of both ends hold together.
const LARGE: usize = 16 * 1024 * 1024;

const HOUR_MS: u64 = 3_600_000;

/// Operations that were begun, and which of them nothing but the network can end.
struct Begun {
    waiting: Vec<asock_op>,
    others: Vec<asock_op>,
}

/// Makes every call that promise 1 speaks of. The four sockets are connected to somebody who neither reads nor writes; at
/// `port` nobody answers at all, and the fresh ones connect to that.
fn make_every_call(
    recorder: &Recorder,
    sockets: [asock_socket; 4],
    fresh: [asock_socket; 2],
    port: u16,
) -> Begun {
    let [sending, draining, closing, resetting] = sockets;
    let mut begun_here = Begun {
        waiting: vec![recorder.connect(fresh[0], port), recorder.timer(HOUR_MS)],
        others: Vec::new(),
    };
    let address = loopback(port);
    begun_here.waiting.push(begun(|op| {
        let user_data = recorder.user_data();
        // SAFETY: the address is copied, and the recorder outlives the operation.
        unsafe {
            asock_begin_connect_address(fresh[1], &raw const address, Some(record), user_data, op)
        }
    }));
    let large = Memory::new(LARGE);
    for socket in sockets.into_iter().chain(fresh) {
        let sends = [
            recorder.send(socket, &large, 0),
            recorder.send(socket, &Memory::new(100), ASOCK_SEND_COPY),
        ];
        if socket == closing || socket == resetting {
            begun_here.others.extend(sends);
        } else {
            begun_here.waiting.extend(sends);
        }
        // A close ends what is to be received, also one that drains.
        let receive = recorder.receive(socket, &Memory::new(100), 0);
        if socket == sending || socket == fresh[0] {
            begun_here.waiting.push(receive);
        } else {
            begun_here.others.push(receive);
        }
    }
    assert_eq!(asock_shutdown(sending, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
    assert_eq!(asock_shutdown(fresh[0], ASOCK_SHUTDOWN_SEND), ASOCK_OK);
    for socket in [draining, fresh[1]] {
        let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
        begun_here.waiting.push(close);
    }
    let close = recorder.close(resetting, ASOCK_CLOSE_RESET);
    begun_here.others.push(close);
    assert_eq!(asock_close(closing), ASOCK_OK);
    begun_here
}

#[test]
fn no_call_waits_for_the_network() {
    let peer = Peer::silent();
    let hole = BlackHole::new();
    on_both(|runtime| {
        let sockets = [(); 4].map(|()| runtime.connected(peer.port()));
        let fresh = [(); 2].map(|()| runtime.open());
        let recorder = runtime.recorder();
        let watchdog = Watchdog::new("a call waits for the network");
        let begun = make_every_call(&recorder, sockets, fresh, hole.port());
        drop(watchdog);
        // Their calls have returned, and yet they have not ended: nobody waited for that.
        for op in &begun.waiting {
            assert!(is_pending(*op));
        }
        let count = begun.waiting.len() + begun.others.len();
        // Ends them, draining closes included.
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
        assert_eq!(recorder.wait_for(count).len(), count);
    });
}

#[test]
fn no_call_waits_for_a_callback() {
    let peer = Peer::silent();
    let hole = BlackHole::new();
    on_both(|runtime| {
        let sockets = [(); 4].map(|()| runtime.connected(peer.port()));
        let recorder = runtime.recorder();
        let held = Held::new(&runtime);
        let watchdog = Watchdog::new("a call waits for a callback");
        let fresh = [(); 2].map(|()| runtime.open());
        let begun = make_every_call(&recorder, sockets, fresh, hole.port());
        let ops = [begun.waiting, begun.others].concat();
        for op in &ops {
            assert_eq!(asock_set_deadline(*op, HOUR_MS as i64), ASOCK_OK);
            assert_eq!(asock_cancel(*op), ASOCK_OK);
        }
        assert_eq!(
            recorder.count(),
            0,
            "one callback at a time, and one is running"
        );
        drop(watchdog);
        held.release();
        assert_eq!(recorder.wait_for(ops.len()).len(), ops.len());
    });
}

/// The system's close waits for the time of ASOCK_OPTION_LINGER_S while bytes are unsent. Nobody here may: not the caller,
/// not the worker, not the stop.
#[test]
fn no_close_waits_for_linger() {
    let peer = Peer::silent();
    for flags in [0, ASOCK_CLOSE_DRAIN] {
        on_both(|runtime| {
            let sockets = [(); 2].map(|()| runtime.connected(peer.port()));
            let recorder = runtime.recorder();
            let linger_s = 10 * LIMIT.as_secs() as i64;
            for socket in sockets {
                let status = asock_set_option(socket, ASOCK_OPTION_LINGER_S, linger_s);
                assert_eq!(status, ASOCK_OK);
                recorder.send(socket, &Memory::new(LARGE), 0);
                // The system has taken what it can, and has not sent all of it: nobody reads.
                until("full buffers", || {
                    option(socket, ASOCK_OPTION_SEND_QUEUED) < LARGE as i64
                });
            }
            let watchdog = Watchdog::new("a close waits for its linger time");
            let close = recorder.close(sockets[0], flags);
            assert_eq!(asock_close(sockets[1]), ASOCK_OK);
            if flags == ASOCK_CLOSE_DRAIN {
                assert!(is_pending(close), "nobody reads what it is to send");
                assert_eq!(asock_cancel(close), ASOCK_OK);
            }
            let status = recorder.completion_of(close).status;
            assert_eq!(status, if flags == 0 { ASOCK_OK } else { ASOCK_CANCELED });
            let alive = recorder.timer(0);
            recorder
                .completion_of(alive)
                .expect(ASOCK_KIND_TIMER, ASOCK_OK);
            runtime.stop();
            drop(watchdog);
        });
    }
}

/// A wake-up is a system call of the caller's and a scheduling of the worker: it is made for a worker that sleeps only.
#[test]
fn a_busy_worker_is_not_woken() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let held = Held::new(&runtime);
    let before = runtime.stats().wake_ups;
    for _ in 0..1000 {
        recorder.timer(HOUR_MS);
    }
    assert_eq!(runtime.stats().wake_ups, before);
    held.release();
    // And the counter does count: a worker with nothing to do falls asleep sooner or later.
    until("a wake-up", || {
        recorder.timer(HOUR_MS);
        runtime.stats().wake_ups > before
    });
}
