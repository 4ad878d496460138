//! A runtime with several workers keeps every promise that one with a single worker keeps.
//!
//! Sockets are spread over the workers by load, and each stays where it is: that is what makes callbacks of one socket
//! come one at a time and in order, without a lock of the application's. What belongs to the runtime as a whole (its
//! limit of sockets, its counters, its completions to be polled, its stop) is one over all workers.
#![allow(unsafe_code)] // The functions under test take pointers.

mod accepted;
#[path = "../common/mod.rs"]
mod common;
mod load;
mod polled;

use asock::*;
use common::*;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const WORKERS: u32 = 4;

fn start(delivery: u32) -> Runtime {
    Runtime::start(&asock_runtime_config {
        workers: WORKERS,
        ..config(delivery)
    })
}

/// A worker that is stuck keeps its runtime's stop, and so the test, from ending: then the whole process ends instead.
struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    fn start(what: &'static str) -> Watchdog {
        let over = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&over);
        std::thread::spawn(move || {
            let start = Instant::now();
            while start.elapsed() < 2 * LIMIT {
                if of_thread.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            // Not by a macro, which the harness would keep to itself.
            let _ = writeln!(std::io::stderr(), "stuck: {what}");
            std::process::abort();
        });
        Watchdog(over)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
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

/// What the waiting calls say on a worker, of operations that are its own, another worker's, and another runtime's.
#[test]
fn a_worker_never_waits_for_any_worker() {
    let _watchdog = Watchdog::start("a worker never waits for any worker");
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
            all.push([asock_wait(op, -1), asock_wait(op, 100_000), ended]);
            all.push([asock_wait(op, 0); 3]);
        }
        for handle in handles {
            all.push([asock_runtime_stop(handle); 3]);
        }
        *of_callback.lock().expect("no panic") = all;
    });
    // Had any of them waited, this would be in vain.
    recorder.send(sockets[0].0, &Memory::new(1), 0);
    recorder.wait_for(1);
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
    let _watchdog =
        Watchdog::start("a stop ends what is pending everywhere and joins every worker");
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
    let _watchdog = Watchdog::start("a stop ends what no worker has seen yet");
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
    assert!(stats.longest_callback_ns > 0);
    // Sooner or later one of them sleeps.
    until("a wake-up", || {
        recorder.timer(0);
        runtime.stats().wake_ups > 0
    });
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
