//! Promise 5: callbacks of one socket never run at the same time, and run in the order in which its operations ended. On
//! each side of a connection, successes end in the order in which their operations were begun; what is canceled or times
//! out ends at once, out of turn.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::memory::pattern;
use common::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const SOCKETS: usize = 4;
const THREADS: usize = 4;
const SENDS: usize = 300;

/// More than the system's buffers of both ends hold together.
const LARGE: usize = 16 * 1024 * 1024;

/// The handles of completions, in the order of their callbacks.
fn ops(completions: &[Completion]) -> Vec<asock_op> {
    completions.iter().map(|one| one.op).collect()
}

/// Several threads begin sends and receives on the same sockets, and, where completions are polled, try to dispatch at the
/// same time. Nothing may overlap, and what one thread has begun in order ends in order.
#[test]
fn callbacks_of_a_socket_never_overlap() {
    let peer = Peer::echo();
    on_both(|runtime| {
        let inside: Arc<Mutex<HashMap<asock_socket, Arc<AtomicBool>>>> = Arc::default();
        let overlaps = Arc::new(AtomicUsize::new(0));
        let (marks, count) = (Arc::clone(&inside), Arc::clone(&overlaps));
        let recorder = runtime.recorder_with(move |result| {
            let mark = {
                let mut marks = marks.lock().expect("nobody panics with it");
                Arc::clone(marks.entry(result.socket).or_default())
            };
            count.fetch_add(mark.swap(true, Ordering::SeqCst).into(), Ordering::SeqCst);
            std::thread::yield_now(); // Gives another one its chance.
            mark.store(false, Ordering::SeqCst);
        });
        let sockets = [(); SOCKETS].map(|()| runtime.connected(peer.port()));
        let begin = || {
            let mut begun = vec![Vec::new(); SOCKETS];
            for turn in 0..SENDS {
                let at = turn % SOCKETS;
                begun[at].push(recorder.send(sockets[at], &Memory::new(10), 0));
                // What is received is nobody's in particular.
                recorder.receive(sockets[at], &Memory::new(10), ASOCK_RECEIVE_ALL);
            }
            begun
        };
        let all = THREADS * SENDS * 2;
        let begun: Vec<Vec<Vec<asock_op>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(begin)).collect();
            // On poll, each of these dispatches; those that come second are turned away.
            for _ in 0..3 {
                scope.spawn(|| recorder.wait_for(all));
            }
            threads
                .into_iter()
                .map(|thread| thread.join().expect("it has begun all"))
                .collect()
        });
        let completions = recorder.wait_for(all);
        assert_eq!(completions.len(), all);
        assert_eq!(overlaps.load(Ordering::SeqCst), 0);
        let place: HashMap<_, _> = ops(&completions).into_iter().zip(0..).collect();
        for of_thread in begun.iter().flatten() {
            let places: Vec<usize> = of_thread.iter().map(|op| place[op]).collect();
            assert!(places.is_sorted(), "out of order: {places:?}");
        }
        for completion in &completions {
            assert_eq!(completion.status, ASOCK_OK);
        }
    });
}

/// The second thread that would dispatch is turned away, so that no two callbacks run.
#[test]
fn one_thread_dispatches_at_a_time() {
    let runtime = Runtime::on_poll();
    let held = Held::new(&runtime);
    let recorder = runtime.recorder();
    let timer = recorder.timer(0);
    assert_eq!(asock_wait(timer, -1), ASOCK_OK);
    assert_eq!(runtime.dispatch(), ASOCK_INVALID_STATE);
    assert_eq!(recorder.count(), 0);
    held.release();
    recorder.completion_of(timer);
}

#[test]
fn receives_complete_in_the_order_begun() {
    on_both(|runtime| {
        let (socket, mut peer) = calls::pair(&runtime);
        let recorder = runtime.recorder();
        let rooms: Vec<Memory> = (0..20).map(|at| Memory::new(100 + at)).collect();
        let begun: Vec<_> = rooms
            .iter()
            .map(|room| recorder.receive(socket, room, ASOCK_RECEIVE_ALL))
            .collect();
        let sent = pattern(rooms.iter().map(Memory::len).sum());
        // In pieces that do not fit the rooms.
        for piece in sent.chunks(77) {
            peer.write_all(piece).expect("we are connected");
        }
        let completions = recorder.wait_for(begun.len());
        assert_eq!(ops(&completions), begun);
        let received: Vec<u8> = rooms.iter().flat_map(Memory::bytes).collect();
        assert_eq!(received, sent);
    });
}

/// Sends that wait for a peer that does not read yet. Some are canceled: they end in the order of the canceling, before
/// the others, and never reach the peer. The others end in the order begun.
#[test]
fn what_is_canceled_ends_out_of_turn_and_the_rest_in_order() {
    on_both(|runtime| {
        let (socket, mut peer) = calls::pair(&runtime);
        let recorder = runtime.recorder();
        let first = recorder.send(socket, &Memory::filled(LARGE, b'-'), 0);
        let begun: Vec<_> = (b'a'..=b'j')
            .map(|letter| recorder.send(socket, &Memory::filled(100, letter), 0))
            .collect();
        let mut order = Vec::new();
        for at in [7, 2, 9, 4] {
            assert_eq!(asock_cancel(begun[at]), ASOCK_OK);
            order.push(begun[at]);
            // One after the other, so that there is an order.
            recorder
                .completion_of(begun[at])
                .expect(ASOCK_KIND_SEND, ASOCK_CANCELED);
        }
        assert_eq!(ops(&recorder.completions()), order);

        let mut received = vec![0; LARGE + 600];
        peer.read_exact(&mut received).expect("the rest is sent");
        let letters: Vec<u8> = received[LARGE..]
            .chunks(100)
            .map(|chunk| chunk[0])
            .collect();
        assert_eq!(letters, b"abdfgi");
        order.push(first);
        order.extend([0, 1, 3, 5, 6, 8].map(|at| begun[at]));
        assert_eq!(ops(&recorder.wait_for(order.len())), order);
    });
}

/// A callback that takes its time: what ends meanwhile, on either side and in whatever way, waits for its turn, and the
/// turns come in the order of the endings. Where completions are polled the worker goes on meanwhile, and a wait tells when
/// an operation has ended, so that the order is known.
#[test]
fn callbacks_that_had_to_wait_run_in_the_order_of_the_endings() {
    let runtime = Runtime::on_poll();
    let (socket, _peer) = calls::pair(&runtime);
    let recorder = runtime.recorder();
    let begun: Vec<_> = (0..6)
        .map(|_| recorder.receive(socket, &Memory::new(1), 0))
        .collect();
    let held = Held::new(&runtime);
    let mut order = Vec::new();
    let mut ended = |op| {
        assert_eq!(asock_wait(op, -1), ASOCK_OK);
        order.push(op);
    };
    let cancel = |op| {
        assert_eq!(asock_cancel(op), ASOCK_OK);
        op
    };
    let limit = |op| {
        assert_eq!(asock_set_deadline(op, 0), ASOCK_OK);
        op
    };
    ended(cancel(begun[4]));
    ended(recorder.send(socket, &Memory::new(10), 0));
    ended(limit(begun[1]));
    ended(recorder.send(socket, &Memory::new(20), 0));
    ended(cancel(begun[5]));
    ended(cancel(begun[3]));
    ended(recorder.send(socket, &Memory::new(30), 0));
    // What is left ends with the socket, in the order begun, and the close itself comes last.
    let close = recorder.close(socket, 0);
    ended(begun[0]);
    ended(begun[2]);
    assert_eq!(
        recorder.count(),
        0,
        "one callback at a time, and one is running"
    );
    held.release();
    ended(close);
    let completions = recorder.wait_for(order.len());
    assert_eq!(ops(&completions), order);
    assert_eq!(
        completions.last().map(|last| last.kind),
        Some(ASOCK_KIND_CLOSE)
    );
}

/// A stop ends everything in the order begun, whoever delivers it.
#[test]
fn a_stop_delivers_in_order() {
    let peer = Peer::silent();
    on_both(|runtime| {
        let socket = runtime.connected(peer.port());
        let recorder = runtime.recorder();
        let begun: Vec<_> = (0..50)
            .map(|_| recorder.receive(socket, &Memory::new(1), 0))
            .collect();
        runtime.stop();
        let completions = recorder.completions();
        assert_eq!(ops(&completions), begun);
        for completion in &completions {
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_STOPPED);
        }
    });
}
