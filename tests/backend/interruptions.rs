//! Calls that come back before their time: signals that interrupt a worker's waiting, and errors of a ring's call that
//! pass. Nothing may be lost by them, or come twice.

use super::common::*;
use super::filter::supervise;
use super::{assert_works, has_rings, in_children, try_start};
use asock::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// A signal that the library leaves alone on its threads, with a handler after which no call is begun anew.
fn handle_signal() -> libc::c_int {
    let signal = libc::SIGRTMIN() + 1;
    // SAFETY: a struct of integers may be all zero; the handler only counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        assert_eq!(
            libc::sigaction(signal, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    signal
}

/// The system's numbers of this process's workers.
fn workers() -> Vec<libc::c_long> {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let is_worker = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "asock-worker\n")
    };
    let paths = threads.filter_map(|entry| Some(entry.ok()?.path()));
    let workers = paths.filter(|path| is_worker(path));
    let number = |path: std::path::PathBuf| path.file_name()?.to_str()?.parse().ok();
    workers.filter_map(number).collect()
}

#[test]
fn a_storm_of_signals_disturbs_nothing() {
    in_children(
        "interruptions::a_storm_of_signals_disturbs_nothing",
        2,
        |case| {
            let Ok(runtime) = try_start([ASOCK_BACKEND_EPOLL, ASOCK_BACKEND_IO_URING][case], 2)
            else {
                return;
            };
            let signal = handle_signal();
            // A thread gives itself its name.
            until("two workers", || workers().len() == 2);
            let workers = workers();
            let calm = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let storm = scope.spawn(|| {
                    let process = std::process::id();
                    while !calm.load(Ordering::SeqCst) {
                        for &worker in &workers {
                            // SAFETY: no pointers; the threads live until the runtime stops.
                            unsafe { libc::syscall(libc::SYS_tgkill, process, worker, signal) };
                        }
                        std::thread::sleep(Duration::from_micros(50));
                    }
                });
                while SIGNALS.load(Ordering::SeqCst) < 2000 {
                    assert_works(&runtime);
                    crowd(&runtime);
                }
                calm.store(true, Ordering::SeqCst);
                storm.join().expect("no panic");
            });
        },
    );
}

/// Every second call of the workers comes to nothing at first.
#[test]
fn passing_errors_of_the_ring_are_survived() {
    in_children(
        "interruptions::passing_errors_of_the_ring_are_survived",
        1,
        |_| {
            if !has_rings() {
                return;
            }
            let strikes = Arc::new(AtomicBool::new(false));
            let failed = Arc::new(AtomicU64::new(0));
            let (of_thread, counted) = (Arc::clone(&strikes), Arc::clone(&failed));
            let mut calls = 0;
            supervise(libc::SYS_io_uring_enter, move || {
                if !of_thread.load(Ordering::SeqCst) {
                    return 0; // The probe would take it for a refusal.
                }
                calls += 1;
                if calls % 2 == 0 {
                    return 0;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                [libc::EINTR, libc::EAGAIN, libc::EBUSY][calls / 2 % 3]
            });
            let runtime = try_start(ASOCK_BACKEND_AUTO, 2).expect("starts");
            assert_eq!(runtime.stats().backend, ASOCK_BACKEND_IO_URING);
            strikes.store(true, Ordering::SeqCst);
            while failed.load(Ordering::SeqCst) < 100 {
                assert_works(&runtime);
                crowd(&runtime);
            }
        },
    );
}

/// More requests in one turn of a worker than a ring has entries, and the ends of all of them.
fn crowd(runtime: &Runtime) {
    const SOCKETS: usize = 300;
    let peer = Peer::echo();
    let recorder = runtime.recorder();
    let sockets: Vec<_> = (0..SOCKETS).map(|_| runtime.open()).collect();
    for &socket in &sockets {
        recorder.connect(socket, peer.port());
    }
    for done in recorder.wait_for(SOCKETS) {
        done.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    }
    // Begun while a worker is held up, they are started together.
    let held = Held::new(runtime);
    let begun = runtime.recorder();
    for &socket in &sockets {
        begun.receive(socket, &Memory::new(1), 0);
        begun.send(socket, &Memory::of(b"?"), 0);
    }
    held.release();
    for done in begun.wait_for(2 * SOCKETS) {
        assert_eq!((done.status, done.bytes), (ASOCK_OK, 1));
    }
    let canceled: Vec<_> = sockets
        .iter()
        .map(|&socket| recorder.receive(socket, &Memory::new(1), 0))
        .collect();
    for &op in &canceled {
        assert_eq!(asock_cancel(op), ASOCK_OK);
    }
    for op in canceled {
        let done = recorder.completion_of(op);
        done.expect(ASOCK_KIND_RECEIVE, ASOCK_CANCELED);
    }
    let so_far = recorder.count();
    for &socket in &sockets {
        recorder.close(socket, 0);
    }
    recorder.wait_for(so_far + SOCKETS);
    assert_eq!(begun.count(), 2 * SOCKETS);
}
