//! Promise 8: stop is complete. When `asock_runtime_stop` returns, every completion has been delivered, no thread,
//! descriptor or memory of the runtime is left, and no callback runs or will run.
//!
//! What is left is counted, in this process, so the tests run one after the other.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::allocations::{live_bytes, Counting};
use common::c::{run, Workshop};
use common::server::{self, Place};
use common::*;
use std::ffi::c_void;
use std::net::TcpStream;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[global_allocator]
static COUNTING: Counting = Counting;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps the other tests waiting, and ends the program if this one hangs.
fn alone() -> (MutexGuard<'static, ()>, Watchdog) {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, Watchdog::new("the end of a test"))
}

/// The library's threads in this process. A thread gives itself its name after its start, and the system takes it off the
/// list a moment after it has been joined, so the tests wait for the number that they expect.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("asock")).count()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

fn timer(runtime: asock_runtime, delay_ms: u64) -> (asock_status, asock_op) {
    let mut op = 0;
    // SAFETY: nothing but the place for the handle is given.
    let status = unsafe { asock_begin_timer(runtime, delay_ms, None, null_mut(), &raw mut op) };
    (status, op)
}

const NEVER_MS: u64 = 1_000_000;

#[test]
fn every_completion_has_been_delivered() {
    let _alone = alone();
    let nowhere = BlackHole::new();
    let peer = Peer::silent();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let mut begun = 0;
        for _ in 0..20 {
            let socket = runtime.connected(peer.port());
            recorder.send(socket, &Memory::new(8_000_000), 0);
            recorder.send(socket, &Memory::new(10), 0);
            recorder.receive(socket, &Memory::new(10), 0);
            recorder.receive(socket, &Memory::new(10), ASOCK_RECEIVE_ALL);
            begun += 4;
        }
        let socket = runtime.open();
        recorder.connect(socket, nowhere.port());
        recorder.send(socket, &Memory::new(10), 0);
        recorder.close(socket, ASOCK_CLOSE_DRAIN);
        recorder.timer(NEVER_MS);
        begun += 4;
        let pending = || runtime.stats().operations_pending;
        until("the buffers are full", || pending() == begun);
        runtime.stop();
        // Not one comes later: they are all there, and a callback now would be seen by the next look.
        let completions = recorder.completions();
        assert_eq!(completions.len() as u64, begun);
        for completion in &completions {
            assert_eq!(completion.status, ASOCK_STOPPED, "{completion:?}");
        }
        until("the threads are gone", || workers() == 0);
        // All handles are stale.
        assert_eq!(asock_close(socket), ASOCK_BAD_HANDLE);
        assert_eq!(asock_cancel(completions[0].op), ASOCK_BAD_HANDLE);
        assert_eq!(asock_wait(completions[0].op, -1), ASOCK_OK);
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_BAD_HANDLE);
        assert_eq!(asock_runtime_stop(runtime.handle()), ASOCK_BAD_HANDLE);
        assert_eq!(timer(runtime.handle(), 0), (ASOCK_BAD_HANDLE, 0));
    });
}

#[test]
fn what_is_begun_while_it_stops_is_refused_or_completes() {
    let _alone = alone();
    let peer = Peer::silent();
    for round in 0..60 {
        let body = |runtime: Runtime| {
            let socket = runtime.connected(peer.port());
            let recorder = runtime.recorder();
            let begun = AtomicUsize::new(0);
            let barrier = Barrier::new(3);
            let stopped = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        barrier.wait();
                        loop {
                            let last = stopped.load(Ordering::SeqCst);
                            let (status, _) = recorder.try_receive(socket, &Memory::new(1), 0);
                            match status {
                                ASOCK_OK => begun.fetch_add(1, Ordering::SeqCst),
                                ASOCK_STOPPED | ASOCK_BAD_HANDLE => break,
                                other => unreachable!("{other}"),
                            };
                            assert!(!last, "begun after the stop");
                        }
                    });
                }
                barrier.wait();
                runtime.stop();
                // The two threads may not have seen it yet, but what they had begun has ended.
                stopped.store(true, Ordering::SeqCst);
                let delivered = recorder.count();
                assert_eq!(recorder.count(), delivered);
            });
            assert_eq!(recorder.count(), begun.load(Ordering::SeqCst));
        };
        match round % 2 {
            0 => body(Runtime::on_worker()),
            _ => body(Runtime::on_poll()),
        }
    }
}

#[test]
fn a_drain_and_a_stop_reach_all_that_was_begun_before() {
    let _alone = alone();
    // More than the worker takes over at a time, as long as it has no time at all.
    const MANY: usize = 5_000;
    let ends: [fn(&Runtime); 2] = [
        |runtime| assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK),
        |runtime| runtime.stop(),
    ];
    for end in ends {
        let runtime = Runtime::on_worker();
        let recorder = runtime.recorder();
        let held = Held::new(&runtime);
        for _ in 0..MANY {
            recorder.timer(NEVER_MS);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| end(&runtime));
            until("it has begun", || {
                timer(runtime.handle(), 0).0 == ASOCK_STOPPED
            });
            held.release();
        });
        let completions = recorder.wait_for(MANY);
        assert!(completions.iter().all(|one| one.status == ASOCK_STOPPED));
    }
}

/// Shutdowns, which a drain does not refuse, could be more than a worker takes over for ever.
#[test]
fn what_comes_after_a_drain_does_not_hold_it_up() {
    let _alone = alone();
    let peer = Peer::silent();
    let runtime = Runtime::on_worker();
    let socket = runtime.connected(peer.port());
    let recorder = runtime.recorder();
    let op = recorder.timer(NEVER_MS);
    let held = Held::new(&runtime);
    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    // More than the worker takes over at a time, and then something else that would end the timer.
    for _ in 0..5_000 {
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
    }
    assert_eq!(asock_cancel(op), ASOCK_OK);
    held.release();
    recorder
        .completion_of(op)
        .expect(ASOCK_KIND_TIMER, ASOCK_STOPPED);
}

/// The worker leaves when nothing more comes, so what can come without end is refused.
#[test]
fn shutdowns_do_not_keep_a_worker_from_leaving() {
    let _alone = alone();
    let peer = Peer::silent();
    let runtime = Runtime::on_worker();
    let socket = runtime.connected(peer.port());
    let held = Held::new(&runtime);
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.stop());
        until("it has begun", || {
            timer(runtime.handle(), 0).0 == ASOCK_STOPPED
        });
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_STOPPED);
        held.release();
    });
    let after = asock_shutdown(socket, ASOCK_SHUTDOWN_SEND);
    assert_eq!(after, ASOCK_BAD_HANDLE);
}

/// One life of a runtime in the test below.
#[derive(Default)]
struct Era {
    over: AtomicBool,
    strays: AtomicUsize,
}

extern "C" fn note_stray(_: *const asock_result, era: *mut c_void) {
    // SAFETY: it is one of the eras below, which outlive all runtimes.
    let era = unsafe { &*era.cast::<Era>() };
    let stray = era.over.load(Ordering::SeqCst);
    era.strays.fetch_add(usize::from(stray), Ordering::SeqCst);
}

/// A thread that was slow to begin something must not begin it in the runtime that comes next and sits in the same place.
#[test]
fn nothing_that_was_begun_for_it_runs_in_the_next_one() {
    let _alone = alone();
    const THREADS: usize = 6;
    let eras: Vec<Era> = (0..30).map(|_| Era::default()).collect();
    let current = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| loop {
                let Some((runtime, era)) = *current.lock().expect("no panic") else {
                    std::thread::yield_now();
                    continue;
                };
                let Some(era) = eras.get::<usize>(era) else {
                    return;
                };
                let era = std::ptr::from_ref(era).cast_mut().cast();
                let callback: asock_callback = Some(note_stray);
                for _ in 0..100 {
                    // SAFETY: the eras outlive all runtimes.
                    let status =
                        unsafe { asock_begin_timer(runtime, 0, callback, era, null_mut()) };
                    if status != ASOCK_OK {
                        assert!([ASOCK_STOPPED, ASOCK_BAD_HANDLE].contains(&status));
                        break;
                    }
                }
                // Else these would keep the next runtime waiting where there are few processors.
                std::thread::yield_now();
            });
        }
        for number in 0..=eras.len() {
            let runtime = Runtime::on_worker();
            *current.lock().expect("no panic") = Some((runtime.handle(), number));
            std::thread::yield_now();
            runtime.stop();
            if let Some(era) = eras.get(number) {
                era.over.store(true, Ordering::SeqCst);
            }
        }
    });
    let strays: usize = eras
        .iter()
        .map(|era| era.strays.load(Ordering::SeqCst))
        .sum();
    assert_eq!(strays, 0, "callbacks of a runtime ran after its stop");
}

#[test]
fn it_waits_for_a_callback_that_runs() {
    let _alone = alone();
    let runtime = Runtime::on_worker();
    let gate = Gate::new();
    let (inside, returned) = (gate.clone(), Arc::new(AtomicBool::new(false)));
    let of_callback = Arc::clone(&returned);
    let recorder = runtime.recorder_with(move |_| {
        inside.enter();
        // Long enough for a stop that does not wait to be seen.
        std::thread::sleep(Duration::from_millis(20));
        of_callback.store(true, Ordering::SeqCst);
    });
    recorder.timer(0);
    gate.wait_entered();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            runtime.stop();
            returned.load(Ordering::SeqCst)
        });
        until("the stop has begun", || {
            timer(runtime.handle(), 0).0 == ASOCK_STOPPED
        });
        gate.open();
        assert!(
            stopping.join().expect("no panic"),
            "a callback ran on after the stop"
        );
    });
    assert_eq!(recorder.count(), 1);
}

/// A short life of a runtime with a bit of everything in it, some of it still pending when it stops.
fn live_and_die(delivery: u32, listener: &Listener, refused: &Refused) {
    let runtime = Runtime::start(&config(delivery));
    let recorder = runtime.recorder();
    let socket = runtime.open();
    recorder.connect(socket, refused.port());
    assert_eq!(
        asock_set_option(socket, ASOCK_OPTION_KEEPALIVE, 1),
        ASOCK_OK
    );
    let socket = runtime.connected(listener.port());
    let peer = listener.accept();
    recorder.send(socket, &Memory::new(100), ASOCK_SEND_COPY);
    recorder.wait_for(2);
    recorder.receive(socket, &Memory::new(100), 0);
    recorder.timer(NEVER_MS);
    let server = listen_and_accept(&runtime, &recorder);
    if runtime.delivers_on_poll() {
        let mut number = 0;
        // SAFETY: it may be written.
        let status = unsafe { asock_poll_fd(runtime.handle(), &raw mut number) };
        assert_eq!(status, ASOCK_OK);
    } else {
        let (_, op) = timer(runtime.handle(), NEVER_MS);
        assert_eq!(asock_forget(op), ASOCK_OK);
    }
    runtime.stop();
    drop((peer, server));
}

/// Listeners with accepts, done and pending, with connections that nobody has accepted, and the file of a unix socket. Gives
/// what must outlive them.
fn listen_and_accept(runtime: &Runtime, recorder: &Recorder) -> (Place, Vec<TcpStream>) {
    let server = server::listener(runtime);
    let place = Place::new();
    let other = runtime.open();
    assert_eq!(server::bind(other, &place.host(), 0), ASOCK_OK);
    assert_eq!(server::listen(other, 0), ASOCK_OK);
    recorder.accept(other);
    let mut clients = vec![server::client(server)];
    recorder.accepted(server);
    clients.push(server::client(server));
    let accepted = recorder.accepted(server);
    recorder.receive(accepted, &Memory::new(4), 0);
    clients.push(server::client(server));
    (place, clients)
}

#[test]
fn a_hundred_lives_leave_no_thread_no_descriptor_and_no_memory() {
    let _alone = alone();
    const LIVES: isize = 100;
    let (listener, refused) = (Listener::new(), Refused::new());
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        // What is made once per process, and the seat's record of the generations used.
        for _ in 0..3 {
            live_and_die(delivery, &listener, &refused);
        }
        let (open, bytes) = (descriptors(), live_bytes());
        for _ in 0..LIVES {
            live_and_die(delivery, &listener, &refused);
        }
        until("the threads are gone", || workers() == 0);
        assert_eq!(descriptors(), open);
        // The least that a life could leave is more than this; the test program itself may keep a line of text.
        let left = live_bytes() - bytes;
        assert!(left < 16 * LIVES, "{left} bytes are left of {LIVES} lives");
    }
}

#[test]
fn what_nobody_has_polled_is_delivered_by_the_stopping_thread() {
    let _alone = alone();
    let runtime = Runtime::on_poll();
    let recorder = runtime.recorder();
    let ended = [0; 3].map(|_| recorder.timer(0));
    let (_, without_callback) = timer(runtime.handle(), 0);
    assert_eq!(asock_wait(without_callback, -1), ASOCK_OK);
    let pending = recorder.timer(NEVER_MS);
    assert_eq!(recorder.count(), 0);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            runtime.stop();
            std::thread::current().id()
        });
        let thread = stopping.join().expect("no panic");
        let completions = recorder.completions();
        let ops: Vec<_> = completions.iter().map(|one| one.op).collect();
        assert_eq!(ops, [ended[0], ended[1], ended[2], pending]);
        assert!(completions.iter().all(|one| one.thread == thread));
        let statuses: Vec<_> = completions.iter().map(|one| one.status).collect();
        assert_eq!(statuses, [ASOCK_OK, ASOCK_OK, ASOCK_OK, ASOCK_STOPPED]);
    });
}

#[test]
fn a_waiting_poller_is_woken() {
    let _alone = alone();
    let poll = |runtime| {
        let mut results = [const { std::mem::MaybeUninit::<asock_result>::uninit() }; 4];
        let mut count = 0;
        // SAFETY: there is room for four records.
        unsafe { asock_poll(runtime, -1, results.as_mut_ptr().cast(), 4, &raw mut count) }
    };
    let dispatch = |runtime| {
        let mut count = 0;
        // SAFETY: `count` may be written.
        unsafe { asock_dispatch(runtime, -1, 0, 0, &raw mut count) }
    };
    let waits: [fn(asock_runtime) -> asock_status; 2] = [poll, dispatch];
    for wait in waits {
        let runtime = Runtime::on_poll();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| loop {
                // The look below may be the one that is inside just now.
                match wait(runtime.handle()) {
                    ASOCK_INVALID_STATE => std::thread::yield_now(),
                    status => return status,
                }
            });
            until("somebody waits", || {
                let mut count = 0;
                // SAFETY: `count` may be written.
                let status = unsafe { asock_dispatch(runtime.handle(), 0, 0, 0, &raw mut count) };
                status == ASOCK_INVALID_STATE
            });
            runtime.stop();
            let status = waiting.join().expect("no panic");
            assert!(
                [ASOCK_STOPPED, ASOCK_BAD_HANDLE].contains(&status),
                "{status}"
            );
        });
    }
}

#[test]
fn inside_a_callback_it_is_refused_and_does_nothing() {
    let _alone = alone();
    let other = Runtime::on_worker();
    let other_handle = other.handle();
    on_both(|runtime| {
        let handle = runtime.handle();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let of_callback = Arc::clone(&answers);
        let recorder = runtime.recorder_with(move |_| {
            let stops = [handle, other_handle].map(|runtime| asock_runtime_stop(runtime));
            of_callback.lock().expect("no panic").extend(stops);
        });
        recorder.timer(0);
        recorder.wait_for(1);
        let answers = answers.lock().expect("no panic");
        assert_eq!(answers[..], [ASOCK_WOULD_DEADLOCK; 2]);
        // Both still work.
        recorder.timer(0);
        let next = other.recorder();
        next.timer(0);
        next.wait_for(1)[0].expect(ASOCK_KIND_TIMER, ASOCK_OK);
    });
}

#[test]
fn of_two_threads_that_stop_it_both_return_after_it_has_stopped() {
    let _alone = alone();
    for round in 0..100 {
        let delivery = match round % 2 {
            0 => ASOCK_DELIVER_ON_WORKER,
            _ => ASOCK_DELIVER_ON_POLL,
        };
        let runtime = Runtime::start(&config(delivery));
        let recorder = runtime.recorder_with(|_| std::thread::yield_now());
        for _ in 0..20 {
            recorder.timer(0);
            recorder.timer(NEVER_MS);
        }
        let barrier = Barrier::new(2);
        let mut answers = std::thread::scope(|scope| {
            let stop = || {
                barrier.wait();
                let answer = asock_runtime_stop(runtime.handle());
                (answer, recorder.count())
            };
            [scope.spawn(stop), scope.spawn(stop)].map(|one| one.join().expect("no panic"))
        });
        answers.sort_unstable();
        assert_eq!(answers, [(ASOCK_BAD_HANDLE, 40), (ASOCK_OK, 40)]);
    }
}

#[test]
fn results_outlive_it_until_they_are_collected() {
    let _alone = alone();
    let runtime = Runtime::on_worker();
    let (_, ended) = timer(runtime.handle(), 0);
    assert_eq!(asock_wait(ended, -1), ASOCK_OK);
    let pending: Vec<_> = (0..1000)
        .map(|_| timer(runtime.handle(), NEVER_MS).1)
        .collect();
    let forgotten = timer(runtime.handle(), NEVER_MS).1;
    std::thread::scope(|scope| {
        // Somebody is already waiting for one.
        let waiting = scope.spawn(|| end(pending[0]));
        runtime.stop();
        assert_eq!(waiting.join().expect("no panic").status, ASOCK_STOPPED);
    });
    // A runtime that comes after it, in its very place, does not mix them up with its own.
    let next = Runtime::on_worker();
    let of_next = timer(next.handle(), 0).1;
    assert_eq!(asock_forget(forgotten), ASOCK_OK);
    assert_eq!(asock_forget(forgotten), ASOCK_BAD_HANDLE);
    assert_eq!(end(ended).status, ASOCK_OK);
    for op in &pending[1..500] {
        let result = end(*op);
        assert_eq!((result.op, result.status), (*op, ASOCK_STOPPED));
    }
    assert_eq!(end(of_next).status, ASOCK_OK);
    next.stop();
    for op in &pending[500..] {
        assert_eq!(end(*op).status, ASOCK_STOPPED);
        // SAFETY: no result is given for a stale handle.
        assert_eq!(unsafe { asock_end(*op, null_mut()) }, ASOCK_BAD_HANDLE);
    }
}

extern "C" fn count_call(_: *const asock_result, user_data: *mut c_void) {
    // SAFETY: it is the counter of the test below, which outlives its runtime.
    unsafe { &*user_data.cast::<AtomicUsize>() }.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn the_default_runtime_can_be_stopped_and_comes_back() {
    let _alone = alone();
    until("those of other tests are gone", || workers() == 0);
    let open = descriptors();
    assert_eq!(asock_runtime_stop(0), ASOCK_OK, "it does not run");
    assert_eq!(
        (workers(), descriptors()),
        (0, open),
        "and is not started for that"
    );
    let calls = AtomicUsize::new(0);
    for round in 1..=50 {
        let user_data = (&raw const calls).cast_mut().cast();
        // SAFETY: the counter outlives the runtime, which is stopped below.
        let status =
            unsafe { asock_begin_timer(0, NEVER_MS, Some(count_call), user_data, null_mut()) };
        assert_eq!(status, ASOCK_OK);
        until("its thread is there", || workers() == 1);
        assert_eq!(asock_runtime_stop(0), ASOCK_OK);
        assert_eq!(calls.load(Ordering::SeqCst), round);
        until("its thread is gone", || workers() == 0);
    }
}

/// The handle 0 is never a bad one: whoever uses it during a stop hears of that.
#[test]
fn the_default_runtime_is_stopped_while_others_use_it() {
    let _alone = alone();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let mut socket = 0;
                    // SAFETY: `socket` may be written.
                    let opened = unsafe { asock_open(0, ASOCK_STREAM, &raw mut socket) };
                    for status in [opened, timer(0, 0).0] {
                        assert!([ASOCK_OK, ASOCK_STOPPED].contains(&status), "{status}");
                    }
                }
            });
        }
        for _ in 0..300 {
            until("it runs", || timer(0, 0).0 == ASOCK_OK);
            assert_eq!(asock_runtime_stop(0), ASOCK_OK);
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(asock_runtime_stop(0), ASOCK_OK);
}

#[test]
fn a_program_may_load_and_unload_the_library_again_and_again() {
    let _alone = alone();
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let program = workshop.program("reload.c");
    let library = workshop.path("libasock.so.0");
    let ran = run(Command::new(program).arg(library), LIMIT);
    ran.assert_success("loading and unloading");
    assert_eq!(ran.stdout, "50 times\n");
}
