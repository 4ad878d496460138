//! A runtime with several workers keeps every promise that one with a single worker keeps.
//!
//! Sockets are spread over the workers by load, and each stays where it is: that is what makes callbacks of one socket
//! come one at a time and in order, without a lock of the application's. What belongs to the runtime as a whole (its
//! limit of sockets, its counters, its completions to be polled, its stop) is one over all workers.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::*;
use std::collections::{HashMap, HashSet};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Instant;

const WORKERS: u32 = 4;

fn start(delivery: u32) -> Runtime {
    Runtime::start(&asock_runtime_config {
        workers: WORKERS,
        ..config(delivery)
    })
}

fn on_workers() -> Runtime {
    start(ASOCK_DELIVER_ON_WORKER)
}

/// Sockets that are connected to a port, with the thread that each lives on.
fn connected(runtime: &Runtime, port: u16, count: usize) -> Vec<(asock_socket, ThreadId)> {
    let recorder = runtime.recorder();
    let sockets: Vec<asock_socket> = (0..count).map(|_| runtime.open()).collect();
    for socket in &sockets {
        recorder.connect(*socket, port);
    }
    let completions = recorder.wait_for(count);
    let with_thread = |socket: asock_socket| {
        let found = completions.iter().find(|one| one.socket == socket);
        let completion = found.expect("each completes");
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        (socket, completion.thread)
    };
    sockets.into_iter().map(with_thread).collect()
}

/// A socket on another worker than the first one's.
fn elsewhere(sockets: &[(asock_socket, ThreadId)]) -> asock_socket {
    let other = sockets.iter().find(|one| one.1 != sockets[0].1);
    other.expect("there are several workers").0
}

fn count_by_thread(sockets: &[(asock_socket, ThreadId)]) -> HashMap<ThreadId, usize> {
    let mut counts = HashMap::new();
    for (_, thread) in sockets {
        *counts.entry(*thread).or_default() += 1;
    }
    counts
}

#[test]
fn sockets_are_spread_by_load_and_stay_where_they_are() {
    let runtime = on_workers();
    let peer = Peer::echo();
    let sockets = connected(&runtime, peer.port(), 40);
    let counts = count_by_thread(&sockets);
    assert_eq!(counts.len(), WORKERS as usize);
    assert!(counts.values().all(|count| *count == 10), "{counts:?}");

    let recorder = runtime.recorder();
    for (socket, _) in &sockets {
        for _ in 0..10 {
            recorder.send(*socket, &Memory::new(100), 0);
            recorder.receive(*socket, &Memory::new(100), ASOCK_RECEIVE_ALL);
        }
    }
    let homes: HashMap<_, _> = sockets.iter().copied().collect();
    for completion in recorder.wait_for(800) {
        assert_eq!(completion.status, ASOCK_OK);
        assert_eq!(completion.thread, homes[&completion.socket]);
    }

    // A worker that has lost its sockets gets the next ones.
    let idle = sockets[0].1;
    let left = sockets.iter().filter(|one| one.1 == idle);
    let closes: Vec<_> = left.map(|one| recorder.close(one.0, 0)).collect();
    for op in closes {
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_CLOSE, ASOCK_OK);
    }
    until("they are closed", || runtime.stats().sockets_open == 30);
    let new = connected(&runtime, peer.port(), 10);
    assert!(new.iter().all(|one| one.1 == idle));
}

#[test]
fn a_callback_that_takes_long_holds_up_its_own_worker_only() {
    let runtime = on_workers();
    let peer = Peer::echo();
    let sockets = connected(&runtime, peer.port(), 8);
    let (entered, leave) = (Gate::new(), Gate::new());
    let gates = (entered.clone(), leave.clone());
    let slow = runtime.recorder_with(move |_| {
        gates.0.open();
        gates.1.pass();
    });
    slow.send(sockets[0].0, &Memory::new(1), 0);
    entered.pass();
    let recorder = runtime.recorder();
    let others: Vec<_> = sockets.iter().filter(|one| one.1 != sockets[0].1).collect();
    assert_eq!(others.len(), 6);
    for (socket, _) in &others {
        recorder.send(*socket, &Memory::new(1), 0);
        recorder.receive(*socket, &Memory::new(1), 0);
    }
    recorder.wait_for(12);
    assert_eq!(slow.count(), 0);
    leave.open();
    slow.wait_for(1);
}

/// What one application thread has begun: for each operation its socket and kind, in the order begun.
type Begun = Vec<(asock_op, asock_socket, u32)>;

/// One thread's part of the load: sockets of its own, and all that may happen to them.
fn load(runtime: &Runtime, recorder: &Recorder, port: u16, seed: u64) -> Begun {
    let mut random = Random::new(seed);
    let mut begun = Begun::new();
    for _ in 0..100 {
        let socket = runtime.open();
        let connect = recorder.connect(socket, port);
        begun.push((connect, socket, ASOCK_KIND_CONNECT));
        for _ in 0..random.below(40) {
            let length = 1 + random.below(3000) as usize;
            match random.below(8) {
                0..=2 => {
                    let op = recorder.send(socket, &Memory::new(length), 0);
                    begun.push((op, socket, ASOCK_KIND_SEND));
                }
                3..=5 => {
                    let op = recorder.receive(socket, &Memory::new(length), 0);
                    begun.push((op, socket, ASOCK_KIND_RECEIVE));
                }
                6 => {
                    let op = recorder.timer(random.below(5));
                    begun.push((op, 0, ASOCK_KIND_TIMER));
                }
                _ => {
                    let (op, _, _) = begun[random.below(begun.len() as u64) as usize];
                    let status = match random.one_in(2) {
                        true => asock_cancel(op),
                        false => asock_set_deadline(op, random.below(3) as i64),
                    };
                    // It may be over.
                    assert!(matches!(status, ASOCK_OK | ASOCK_BAD_HANDLE));
                }
            }
        }
        match random.below(4) {
            0 => {} // The stop closes it.
            1 => assert_eq!(asock_close(socket), ASOCK_OK),
            2 => {
                let op = recorder.close(socket, ASOCK_CLOSE_RESET);
                begun.push((op, socket, ASOCK_KIND_CLOSE));
            }
            _ => {
                let op = recorder.close(socket, ASOCK_CLOSE_DRAIN);
                begun.push((op, socket, ASOCK_KIND_CLOSE));
            }
        }
    }
    begun
}

/// Every operation has completed once, and the successes of each socket and direction in the order begun.
fn assert_all_told(begun: &Begun, completions: &[Completion]) {
    assert_eq!(completions.len(), begun.len());
    let place: HashMap<asock_op, usize> = completions
        .iter()
        .enumerate()
        .map(|(place, one)| (one.op, place))
        .collect();
    assert_eq!(place.len(), begun.len(), "each once");
    let mut last: HashMap<(asock_socket, u32), usize> = HashMap::new();
    for (op, socket, kind) in begun {
        let at = place[op];
        let completion = &completions[at];
        assert_eq!((completion.socket, completion.kind), (*socket, *kind));
        let in_order = completion.status == ASOCK_OK && *socket != 0;
        if let (true, Some(before)) = (in_order, last.insert((*socket, *kind), at)) {
            assert!(before < at, "successes come in the order begun");
        }
    }
}

#[test]
fn a_random_load_from_many_threads_is_told_exactly_once_and_one_at_a_time() {
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let runtime = start(delivery);
        let peer = Peer::echo();
        let inside = Mutex::new(HashSet::new());
        let overlaps = Arc::new(AtomicU32::new(0));
        let of_callbacks = Arc::clone(&overlaps);
        let recorder = runtime.recorder_with(move |result| {
            if result.socket == 0 {
                return;
            }
            let alone = inside.lock().is_ok_and(|mut set| set.insert(result.socket));
            std::thread::yield_now(); // Room for a second one to come in.
            of_callbacks.fetch_add(u32::from(!alone), Ordering::SeqCst);
            if let Ok(mut set) = inside.lock() {
                set.remove(&result.socket);
            }
        });
        let begun = std::thread::scope(|scope| {
            let (runtime, recorder) = (&runtime, &recorder);
            let port = peer.port();
            let threads = [1, 2, 3, 4]
                .map(|seed| scope.spawn(move || load(runtime, recorder, port, 0xA50C + seed)));
            let all = threads.map(|thread| thread.join().expect("no panic"));
            all.concat()
        });
        runtime.stop();
        let completions = recorder.completions();
        assert_all_told(&begun, &completions);
        assert_eq!(overlaps.load(Ordering::SeqCst), 0);
        let mut homes: HashMap<asock_socket, ThreadId> = HashMap::new();
        let of_sockets = completions.iter().filter(|one| one.socket != 0);
        if delivery == ASOCK_DELIVER_ON_WORKER {
            for one in of_sockets {
                let home = *homes.entry(one.socket).or_insert(one.thread);
                assert_eq!(one.thread, home, "a socket stays on its worker");
            }
        }
    }
}

/// What the waiting calls say on a worker, of operations that are its own, another worker's, and another runtime's.
#[test]
fn a_worker_never_waits_for_any_worker() {
    let runtime = on_workers();
    let other = on_workers();
    let peer = Peer::silent();
    let sockets = connected(&runtime, peer.port(), 8);
    let pending = |socket| {
        // SAFETY: a receive of no bytes needs no buffer.
        begun(|op| unsafe { asock_begin_receive(socket, null_mut(), 0, 0, None, null_mut(), op) })
    };
    let far = connected(&other, peer.port(), 1)[0].0;
    let own = sockets.iter().rev().find(|one| one.1 == sockets[0].1);
    let own = own.expect("two on each worker").0;
    let ops = [own, elsewhere(&sockets), far].map(pending);
    let handles = [runtime.handle(), other.handle()];

    let said = Arc::new(Mutex::new(Vec::new()));
    let of_callback = Arc::clone(&said);
    let recorder = runtime.recorder_with(move |_| {
        let mut all = Vec::new();
        for op in ops {
            // SAFETY: a record of integers and pointers may be all zero, and may be written.
            let ended = unsafe {
                let mut result: asock_result = std::mem::zeroed();
                asock_end(op, &raw mut result)
            };
            all.push([asock_wait(op, -1), asock_wait(op, 5000), ended]);
            all.push([asock_wait(op, 0); 3]);
        }
        for handle in handles {
            all.push([asock_runtime_stop(handle); 3]);
        }
        *of_callback.lock().expect("no panic") = all;
    });
    let start = Instant::now();
    recorder.send(sockets[0].0, &Memory::new(1), 0);
    recorder.wait_for(1);
    assert!(start.elapsed().as_secs() < 5);
    let refused = [ASOCK_WOULD_DEADLOCK; 3];
    let asked = [ASOCK_TIMED_OUT; 3];
    let expected = [
        refused, asked, refused, asked, refused, asked, // the operations
        refused, refused, // the stops
    ];
    assert_eq!(*said.lock().expect("no panic"), expected);

    // What has ended already needs no waiting, whosever it is.
    for op in ops {
        assert_eq!(asock_cancel(op), ASOCK_OK);
        assert_eq!(asock_wait(op, -1), ASOCK_OK);
    }
    let ended = Arc::new(Mutex::new(Vec::new()));
    let of_callback = Arc::clone(&ended);
    let recorder = runtime.recorder_with(move |_| {
        let statuses = ops.map(|op| (asock_wait(op, -1), end(op).status));
        of_callback.lock().expect("no panic").extend(statuses);
    });
    recorder.send(sockets[0].0, &Memory::new(1), 0);
    recorder.wait_for(1);
    let all = [(ASOCK_OK, ASOCK_CANCELED); 3];
    assert_eq!(*ended.lock().expect("no panic"), all);
}

#[test]
fn an_application_thread_waits_for_operations_of_any_worker() {
    let runtime = on_workers();
    let peer = Peer::echo();
    for (socket, _) in connected(&runtime, peer.port(), 8) {
        let room = Memory::new(1);
        // SAFETY: the memory lives until the operation has been ended.
        let op = begun(|op| unsafe {
            asock_begin_receive(socket, room.pointer(), 1, 0, None, null_mut(), op)
        });
        assert_eq!(asock_wait(op, 0), ASOCK_TIMED_OUT);
        runtime.recorder().send(socket, &Memory::of(b"x"), 0);
        let result = end(op);
        assert_eq!((result.status, result.bytes), (ASOCK_OK, 1));
        assert_eq!(room.bytes(), b"x");
    }
}

#[test]
fn callbacks_may_use_sockets_of_other_workers() {
    let runtime = on_workers();
    let peer = Peer::silent();
    let sockets = connected(&runtime, peer.port(), 8);
    let victim = elsewhere(&sockets);
    let recorder = runtime.recorder();
    let receive = recorder.receive(victim, &Memory::new(1), 0);
    let closer = runtime.recorder_with(move |_| {
        asock_close(victim);
    });
    closer.send(sockets[0].0, &Memory::new(1), 0);
    let completion = recorder.completion_of(receive);
    completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
    let home = sockets.iter().find(|one| one.0 == victim);
    assert_eq!(Some(completion.thread), home.map(|one| one.1));
}

fn tid() -> i32 {
    // SAFETY: it has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

#[test]
fn a_stop_ends_what_is_pending_everywhere_and_joins_every_worker() {
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let runtime = start(delivery);
        let peer = Peer::silent();
        let tids = Arc::new(Mutex::new(HashSet::new()));
        let of_callback = Arc::clone(&tids);
        let recorder = runtime.recorder_with(move |_| {
            of_callback.lock().expect("no panic").insert(tid());
        });
        let sockets = connected(&runtime, peer.port(), 16);
        for (socket, _) in &sockets {
            recorder.send(*socket, &Memory::new(1), 0);
        }
        recorder.wait_for(16);
        for (socket, _) in &sockets {
            recorder.receive(*socket, &Memory::new(1), 0);
        }
        let timer = recorder.timer(1_000_000);
        runtime.stop();
        let completions = recorder.completions();
        assert_eq!(completions.len(), 33);
        assert!(completions[16..]
            .iter()
            .all(|one| one.status == ASOCK_STOPPED));
        assert!(completions.iter().any(|one| one.op == timer));
        let mut tids = tids.lock().expect("no panic").clone();
        if delivery == ASOCK_DELIVER_ON_WORKER {
            assert_eq!(tids.len(), WORKERS as usize);
        }
        // The callbacks of one that delivers on poll ran here.
        tids.remove(&tid());
        // The system may take a moment to forget a thread that has been joined.
        let path = |tid: &i32| format!("/proc/self/task/{tid}");
        until("every worker is gone", || {
            tids.iter().all(|tid| std::fs::metadata(path(tid)).is_err())
        });
    }
}

/// A worker takes what was begun in portions, and a stop must not fall between them.
#[test]
fn a_stop_ends_what_no_worker_has_seen_yet() {
    const EACH: usize = 700;
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let runtime = start(delivery);
        let peer = Peer::silent();
        let sockets = connected(&runtime, peer.port(), 8);
        let recorder = runtime.recorder();
        let room = Memory::new(1);
        // Far more than one portion for each worker, and nobody rests between them and the stop.
        for _ in 0..EACH {
            for (socket, _) in &sockets {
                recorder.receive(*socket, &room, 0);
            }
        }
        runtime.stop();
        let completions = recorder.completions();
        assert_eq!(completions.len(), 8 * EACH);
        assert!(completions.iter().all(|one| one.status == ASOCK_STOPPED));
    }
}

#[test]
fn timers_and_look_ups_run_on_the_worker_that_began_them() {
    let runtime = on_workers();
    let peer = Peer::silent();
    let sockets = connected(&runtime, peer.port(), 8);
    let inner = runtime.recorder();
    let (of_callback, handle) = (Arc::clone(&inner), runtime.handle());
    let recorder = runtime.recorder_with(move |result| {
        of_callback.timer(result.socket % 3);
        let host = c"127.0.0.1".as_ptr();
        let user_data = of_callback.user_data();
        // SAFETY: a text with its zero, no room for addresses, and a recorder that the runtime keeps.
        let status = unsafe {
            let none = null_mut();
            asock_begin_resolve(
                handle,
                host,
                1,
                none,
                0,
                Some(record),
                user_data,
                none.cast(),
            )
        };
        assert_eq!(status, ASOCK_OK);
    });
    for (socket, _) in &sockets {
        recorder.send(*socket, &Memory::new(1), 0);
    }
    let mut homes: Vec<_> = sockets.iter().flat_map(|one| [one.1; 2]).collect();
    let mut ran: Vec<_> = inner.wait_for(16).iter().map(|one| one.thread).collect();
    let key = |thread: &ThreadId| format!("{thread:?}");
    homes.sort_by_key(key);
    ran.sort_by_key(key);
    assert_eq!(ran, homes);

    // Those of other threads run on the first worker: always the same.
    let recorder = runtime.recorder();
    for _ in 0..8 {
        recorder.timer(0);
    }
    let threads: HashSet<_> = recorder.wait_for(8).iter().map(|one| one.thread).collect();
    assert_eq!(threads.len(), 1);
    assert!(sockets.iter().any(|one| threads.contains(&one.1)));
}

#[test]
fn the_limit_of_sockets_is_one_over_all_workers() {
    let runtime = Runtime::start(&asock_runtime_config {
        workers: WORKERS,
        max_sockets: 10,
        ..config(ASOCK_DELIVER_ON_WORKER)
    });
    let open = || {
        let mut socket = 0;
        // SAFETY: `socket` may be written.
        let status = unsafe { asock_open(runtime.handle(), ASOCK_STREAM, &raw mut socket) };
        (status, socket)
    };
    let sockets: Vec<_> = (0..10).map(|_| runtime.open()).collect();
    assert_eq!(open(), (ASOCK_TOO_MANY_SOCKETS, 0));
    assert_eq!(runtime.stats().sockets_open, 10);
    for socket in &sockets[..3] {
        assert_eq!(asock_close(*socket), ASOCK_OK);
    }
    until("there is room again", || runtime.stats().sockets_open == 7);
    for _ in 0..3 {
        runtime.open();
    }
    assert_eq!(open(), (ASOCK_TOO_MANY_SOCKETS, 0));

    // Many threads that open at once do not pass it either.
    for socket in &sockets[3..] {
        assert_eq!(asock_close(*socket), ASOCK_OK);
    }
    until("there is room again", || runtime.stats().sockets_open == 3);
    let opened: usize = std::thread::scope(|scope| {
        let open = &open;
        let threads =
            [0; 4].map(|_| scope.spawn(move || (0..10).filter(|_| open().0 == ASOCK_OK).count()));
        threads
            .map(|one| one.join().expect("no panic"))
            .iter()
            .sum()
    });
    assert_eq!((opened, runtime.stats().sockets_open), (7, 10));
}

#[test]
fn the_counters_are_those_of_all_workers() {
    let runtime = on_workers();
    assert_eq!(
        (runtime.stats().workers, runtime.stats().sockets_open),
        (WORKERS, 0)
    );
    let peer = Peer::echo();
    let sockets = connected(&runtime, peer.port(), 8);
    let recorder = runtime.recorder();
    for (socket, _) in &sockets {
        recorder.send(*socket, &Memory::new(100), 0);
        recorder.receive(*socket, &Memory::new(100), ASOCK_RECEIVE_ALL);
    }
    recorder.wait_for(16);
    for (socket, _) in &sockets {
        recorder.receive(*socket, &Memory::new(100), 0);
    }
    let stats = runtime.stats();
    let operations = (stats.operations_begun, stats.operations_completed);
    assert_eq!(operations, (32, 24));
    assert_eq!((stats.operations_pending, stats.sockets_open), (8, 8));
    assert_eq!((stats.bytes_sent, stats.bytes_received), (800, 800));
    assert!(stats.wake_ups > 0 && stats.longest_callback_ns > 0);
}

#[test]
fn more_workers_than_there_can_be_are_refused() {
    let mut handle = 0;
    let config = asock_runtime_config {
        workers: u32::MAX,
        ..config(ASOCK_DELIVER_ON_WORKER)
    };
    // SAFETY: both point to live values of their type.
    let status = unsafe { asock_runtime_start(&raw const config, &raw mut handle) };
    assert_eq!((status, handle), (ASOCK_OUT_OF_MEMORY, 0));
}

/// Whether a descriptor is readable now, or becomes so within `timeout_ms`.
fn readable(descriptor: i64, timeout_ms: i32) -> bool {
    let mut entry = libc::pollfd {
        fd: descriptor as i32,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which may be written.
    let answer = unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
    answer == 1 && entry.revents & libc::POLLIN != 0
}

/// Polls with a little room.
fn poll(runtime: &Runtime, timeout_ms: i32, capacity: usize) -> (asock_status, Vec<asock_op>) {
    // SAFETY: records of integers and pointers may be all zero; as many may be written as there are.
    unsafe {
        let mut room: Vec<asock_result> = vec![std::mem::zeroed(); capacity];
        let mut count = 0;
        let results = room.as_mut_ptr();
        let status = asock_poll(
            runtime.handle(),
            timeout_ms,
            results,
            capacity,
            &raw mut count,
        );
        room.truncate(count);
        (status, room.iter().map(|one| one.op).collect())
    }
}

#[test]
fn polling_gets_everything_from_all_workers_and_the_descriptor_tells() {
    let runtime = start(ASOCK_DELIVER_ON_POLL);
    let peer = Peer::echo();
    let sockets: Vec<_> = (0..12).map(|_| runtime.open()).collect();
    let mut descriptor = -1;
    // SAFETY: it may be written.
    let status = unsafe { asock_poll_fd(runtime.handle(), &raw mut descriptor) };
    assert_eq!(status, ASOCK_OK);
    assert!(!readable(descriptor, 0));
    let recorder = runtime.recorder();
    let mut expected = HashSet::new();
    for socket in &sockets {
        expected.insert(recorder.connect(*socket, peer.port()));
        expected.insert(recorder.send(*socket, &Memory::new(10), 0));
        expected.insert(recorder.receive(*socket, &Memory::new(10), ASOCK_RECEIVE_ALL));
    }
    let limit = LIMIT.as_millis() as i32;
    let mut got = HashSet::new();
    while got.len() < expected.len() {
        assert!(readable(descriptor, limit), "the descriptor tells of each");
        let (status, ops) = poll(&runtime, 0, 5);
        assert_eq!(status, ASOCK_OK);
        assert!(!ops.is_empty() && ops.len() <= 5);
        for op in ops {
            assert!(got.insert(op), "each once");
        }
    }
    assert_eq!(got, expected);
    assert!(!readable(descriptor, 0), "and of nothing else");
    assert_eq!(recorder.count(), 0);

    // The same by callbacks, a few at a time.
    for socket in &sockets {
        recorder.send(*socket, &Memory::new(10), 0);
    }
    while recorder.count() < sockets.len() {
        assert!(readable(descriptor, limit));
        let (before, mut count) = (recorder.count(), 0);
        // SAFETY: `count` may be written.
        let status = unsafe { asock_dispatch(runtime.handle(), 0, 2, 0, &raw mut count) };
        assert_eq!((status, recorder.count()), (ASOCK_OK, before + count));
        assert!((1..=2).contains(&count));
    }
    let here = std::thread::current().id();
    assert!(recorder.completions().iter().all(|one| one.thread == here));

    // A drain ends on all workers before the poll says that all is over.
    let pending: HashSet<_> = sockets
        .iter()
        .map(|socket| recorder.receive(*socket, &Memory::new(1000), ASOCK_RECEIVE_ALL))
        .collect();
    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    let mut drained = HashSet::new();
    loop {
        let (status, ops) = poll(&runtime, limit, 5);
        if status == ASOCK_STOPPED {
            break;
        }
        assert_eq!(status, ASOCK_OK);
        assert!(ops.iter().all(|op| drained.insert(*op)));
    }
    assert_eq!(drained, pending);
    assert!(readable(descriptor, 0), "there is something to hear");
}
