//! Promise 7 again, where other things get in the way: a forked child that holds copies of all descriptors, so that a
//! mere `close` would not end a connection; and 10,000 open connections, of which closing one must not look at the others.
//!
//! A fork copies what other tests of the same program have open, so these tests run one after the other, in a program of
//! their own.
#![allow(unsafe_code)] // Forks, limits and clocks are the system's.

mod common;

use asock::*;
use common::calls::pair;
use common::child::Child;
use common::*;
use std::io::{ErrorKind, Write};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps the other tests waiting, and ends the program if this one hangs.
fn alone() -> (MutexGuard<'static, ()>, Watchdog) {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, Watchdog::new("the end of a test"))
}

#[test]
fn the_peer_sees_the_end_although_a_child_holds_a_copy() {
    let _alone = alone();
    type Close = fn(&Recorder, asock_socket);
    let plain: Close = |_, socket| assert_eq!(asock_close(socket), ASOCK_OK);
    let drain: Close = |recorder, socket| {
        recorder.send(socket, &Memory::new(1_000_000), 0);
        recorder.close(socket, ASOCK_CLOSE_DRAIN);
    };
    let reset: Close = |recorder, socket| {
        recorder.close(socket, ASOCK_CLOSE_RESET);
    };
    let linger: Close = |_, socket| {
        assert_eq!(asock_set_option(socket, ASOCK_OPTION_LINGER_S, 0), ASOCK_OK);
        assert_eq!(asock_close(socket), ASOCK_OK);
    };
    let unread: Close = |recorder, socket| {
        let receive = recorder.receive(socket, &Memory::new(1), 0);
        let completion = recorder.completion_of(receive);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(asock_close(socket), ASOCK_OK);
    };
    let was_reset = Some(ErrorKind::ConnectionReset);
    let cases = [
        (plain, None),
        (drain, None),
        (reset, was_reset),
        (linger, was_reset),
        (unread, was_reset),
    ];
    for (number, (close, expected)) in cases.into_iter().enumerate() {
        on_both(|runtime| {
            let (socket, mut peer) = pair(&runtime);
            let recorder = runtime.recorder();
            if number == 4 {
                peer.write_all(b"nobody takes more than one byte")
                    .expect("the buffer is empty");
            }
            let child = Child::fork(|| ());
            close(&recorder, socket);
            assert_eq!(rest_and_end_of(&mut peer).1, expected, "case {number}");
            drop(child);
            // And no ghost of it is left that keeps the worker busy or reports something.
            until("the socket is gone", || runtime.stats().sockets_open == 0);
        });
    }
}

#[test]
fn a_stop_ends_the_connections_although_a_child_holds_copies() {
    let _alone = alone();
    on_both(|runtime| {
        let (_, mut peer) = pair(&runtime);
        let child = Child::fork(|| ());
        runtime.stop();
        assert_eq!(rest_and_end_of(&mut peer).1, None);
        drop(child);
    });
}

/// Lets the process open as many descriptors as the system permits.
fn raise_limit(needed: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is read and written by the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    let allowed = limit.rlim_max;
    assert!(
        allowed >= needed,
        "this test needs {needed} descriptors, the system allows {allowed} (ulimit -Hn)"
    );
}

/// A server in a process of its own, since the connections have two ends: it accepts, and holds what it has accepted.
fn holder() -> (Child, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    let number = std::os::fd::AsRawFd::as_raw_fd(&listener);
    // SAFETY: system calls on a descriptor that the child has a copy of.
    let child = Child::fork(|| unsafe {
        libc::listen(number, 4096);
        while libc::accept(number, null_mut(), null_mut()) >= 0 {}
    });
    (child, port)
}

/// The time that the library's only worker has spent on a processor, in nanoseconds.
fn worker_time() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let mut workers = tasks.filter_map(|task| {
        let task = task.ok()?;
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        (name.trim() == "asock-worker").then(|| task.file_name())
    });
    let worker = workers.next().expect("a runtime runs");
    assert_eq!(workers.next(), None, "only one");
    let number: i32 = worker
        .to_str()
        .and_then(|name| name.parse().ok())
        .expect("a number");
    // The clock of a thread is named by its number (see the system's `pthread_getcpuclockid`).
    let clock = (!number << 3) | 6;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` may be written.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Opens so many connections, with a receive pending on each, and gives the worker's time for closing one of them.
fn time_of_a_close(count: usize) -> u64 {
    const CLOSED: usize = 60;
    let (_holder, port) = holder();
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let mut sockets = Vec::new();
    for batch in (0..count).step_by(100) {
        let batch_end = (batch + 100).min(count);
        for _ in batch..batch_end {
            let socket = runtime.open();
            // Reset at its end: an orderly end keeps its port from other tests for a minute.
            assert_eq!(asock_set_option(socket, ASOCK_OPTION_LINGER_S, 0), ASOCK_OK);
            recorder.connect(socket, port);
            sockets.push(socket);
        }
        recorder.wait_for(batch_end);
    }
    let connects = recorder.completions();
    assert!(connects.iter().all(|one| one.status == ASOCK_OK));
    for socket in &sockets {
        recorder.receive(*socket, &Memory::new(1), 0);
    }
    let stats = runtime.stats();
    assert_eq!(stats.sockets_open, count as u64);
    assert_eq!(stats.operations_pending, count as u64);

    // From all over, one after the other, so that nothing is gathered into one turn of the worker.
    let mut times = Vec::new();
    for number in 0..CLOSED {
        let socket = sockets[number * count / CLOSED];
        let before = worker_time();
        let close = recorder.close(socket, 0);
        let completions = recorder.wait_for(count + 2 * (number + 1));
        times.push(worker_time() - before);
        let [.., receive, closed] = &completions[..] else {
            unreachable!("there are two more");
        };
        receive.expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
        assert_eq!((receive.socket, closed.op), (socket, close));
        closed.expect(ASOCK_KIND_CLOSE, ASOCK_OK);
    }
    let stats = runtime.stats();
    assert_eq!(stats.sockets_open, (count - CLOSED) as u64);
    assert_eq!(stats.operations_pending, (count - CLOSED) as u64);
    times.sort_unstable();
    times[CLOSED / 2]
}

#[test]
fn closing_one_of_ten_thousand_connections_is_like_closing_one_of_a_hundred() {
    let _alone = alone();
    raise_limit(10_100);
    // A look at each of 10,000 would cost a hundred times as much as one at each of 100; processors and caches vary, and a
    // machine that is busy may be slow once.
    let mut times = (0..3).map(|_| (time_of_a_close(100), time_of_a_close(10_000)));
    let (mut of_few, mut of_many) = (0, 0);
    let is_like_it = times.any(|times| {
        (of_few, of_many) = times;
        of_many < 4 * of_few + 20_000
    });
    assert!(
        is_like_it,
        "a close among 10,000 takes {of_many} ns of the worker, among 100 {of_few} ns"
    );
}
