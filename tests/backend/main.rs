//! Which driver a runtime runs on: ASOCK_BACKEND_AUTO takes io_uring where this machine's does all that is needed, and
//! epoll, without a word, where anything of it is refused; a driver that was asked for by name is that one or none.
//! And what a ring's calls may answer on the way: interruptions, and errors that pass.
//!
//! What is refused is refused for good, so each case runs in a child: this very program, with the case in its environment.
#![allow(unsafe_code)] // Filters and limits are calls of the system.
#![allow(clippy::print_stderr)] // A part that is left out must say so where people look.

#[path = "../common/mod.rs"]
mod common;
mod filter;
mod interruptions;

use asock::*;
use common::*;
use filter::{refuse, refused, supervise, Rule};
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Names the case that a child is to run.
const CASE: &str = "ASOCK_TEST_CASE";

/// Runs `body` once for each case, in a child that must end well and say nothing. No backend is named in its environment.
fn in_children(test: &str, cases: usize, body: impl FnOnce(usize)) {
    if let Ok(case) = std::env::var(CASE) {
        // SAFETY: no pointers. It ends a child that hangs.
        unsafe { libc::alarm(240) };
        THREADS.get_or_init(|| possessions().1);
        return body(case.parse().expect("a number"));
    }
    if refusal(ASOCK_BACKEND_IO_URING) != ASOCK_OK {
        eprintln!("this machine has no io_uring for us: there is less to see");
    }
    for case in 0..cases {
        let mut child = Command::new(std::env::current_exe().expect("a test knows its executable"));
        child.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        child
            .env(CASE, case.to_string())
            .env_remove("ASOCK_BACKEND");
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let ended = child.expect("starts").wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            ended.status.success(),
            "case {case}: {}\n{said}",
            ended.status
        );
        assert_eq!(said, "", "case {case} says something");
        let ran = String::from_utf8_lossy(&ended.stdout);
        assert!(ran.contains("1 passed"), "case {case} has run: {ran}");
    }
}

/// Starts a runtime, or gives the status that speaks against it; then nothing is written.
fn try_start(backend: u32, workers: u32) -> Result<Runtime, asock_status> {
    let config = asock_runtime_config {
        backend,
        workers,
        ..config(ASOCK_DELIVER_ON_WORKER)
    };
    let mut handle = 77;
    // SAFETY: both point to live values of their type.
    match unsafe { asock_runtime_start(&raw const config, &raw mut handle) } {
        ASOCK_OK => {
            assert_eq!(asock_runtime_stop(handle), ASOCK_OK);
            Ok(Runtime::start(&config))
        }
        status => {
            assert_eq!(handle, 77, "written only when the call gives ASOCK_OK");
            Err(status)
        }
    }
}

fn refusal(backend: u32) -> asock_status {
    match try_start(backend, 1) {
        Ok(_) => ASOCK_OK,
        Err(status) => status,
    }
}

fn has_rings() -> bool {
    match refusal(ASOCK_BACKEND_IO_URING) {
        ASOCK_OK => true,
        ASOCK_NOT_SUPPORTED => false,
        status => panic!("unexpected: {status}"),
    }
}

/// Bytes go to a peer and back on several connections, and a cancel and a deadline find what they are for.
fn assert_works(runtime: &Runtime) {
    let peer = Peer::echo();
    let recorder = runtime.recorder();
    let sockets: Vec<_> = (0..6).map(|_| runtime.connected(peer.port())).collect();
    let text = Memory::of(b"there and back");
    for &socket in &sockets {
        recorder.send(socket, &text, 0);
    }
    for &socket in &sockets {
        let room = Memory::new(text.len());
        let op = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
        let done = recorder.completion_of(op);
        done.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(room.bytes(), text.bytes());
        let canceled = recorder.receive(socket, &room, 0);
        let late = recorder.receive(socket, &room, 0);
        assert_eq!(asock_set_deadline(late, 1), ASOCK_OK);
        assert_eq!(asock_cancel(canceled), ASOCK_OK);
        let done = recorder.completion_of(canceled);
        done.expect(ASOCK_KIND_RECEIVE, ASOCK_CANCELED);
        let done = recorder.completion_of(late);
        done.expect(ASOCK_KIND_RECEIVE, ASOCK_TIMED_OUT);
        let done = recorder.completion_of(recorder.close(socket, 0));
        done.expect(ASOCK_KIND_CLOSE, ASOCK_OK);
    }
}

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).expect("Linux has it").count()
}

/// What the process has: descriptors and threads.
fn possessions() -> (usize, usize) {
    (entries("/proc/self/fd"), entries("/proc/self/task"))
}

/// The threads that a child has at its beginning.
static THREADS: OnceLock<usize> = OnceLock::new();

/// Waits until the threads of runtimes that have stopped are gone: the system shows them for a moment.
fn settle() {
    let before = THREADS.get().copied();
    until("their threads are gone", || Some(possessions().1) == before);
}

/// Runtimes of every kind work, on `expected`, and leave nothing behind. One that is asked for rings gives `asked`.
fn assert_chosen(expected: u32, asked: asock_status) {
    drop(try_start(ASOCK_BACKEND_EPOLL, 1)); // What the process makes once is there.
    settle();
    let before = possessions();
    for workers in [1, 3] {
        for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
            let runtime = Runtime::start(&asock_runtime_config {
                workers,
                ..config(delivery)
            });
            assert_eq!(runtime.stats().backend, expected);
            assert_works(&runtime);
        }
    }
    let mut socket = 0;
    // SAFETY: `socket` may be written.
    let opened = unsafe { asock_open(0, ASOCK_STREAM, &raw mut socket) };
    assert_eq!(opened, ASOCK_OK, "the default runtime");
    assert_eq!(stats_of(0).backend, expected);
    assert_eq!(asock_runtime_stop(0), ASOCK_OK);
    assert_eq!(refusal(ASOCK_BACKEND_IO_URING), asked);
    assert_eq!(refusal(ASOCK_BACKEND_EPOLL), ASOCK_OK);
    // The threads have ended; the system needs a moment until it no longer shows them.
    until("what was there before", || possessions() == before);
}

fn stats_of(runtime: asock_runtime) -> asock_stats {
    // SAFETY: a struct of integers may be all zero.
    let mut stats: asock_stats = unsafe { std::mem::zeroed() };
    stats.size = size_of::<asock_stats>();
    // SAFETY: it may be written.
    let status = unsafe { asock_runtime_stats(runtime, &raw mut stats) };
    assert_eq!(status, ASOCK_OK);
    stats
}

#[test]
fn rings_are_taken_where_they_work() {
    in_children("rings_are_taken_where_they_work", 1, |_| {
        if has_rings() {
            assert_chosen(ASOCK_BACKEND_IO_URING, ASOCK_OK);
        }
    });
}

/// The second argument of io_uring_register: which registering.
const PROBE: u32 = 8;
const ENABLE_RINGS: u32 = 12;

/// Old kernels, containers, `io_uring_disabled`, a limit of locked memory, rings that lack something; and sandboxes that
/// forbid any of the three calls.
const REFUSALS: [Rule; 12] = [
    refused(libc::SYS_io_uring_setup, None, libc::ENOSYS),
    refused(libc::SYS_io_uring_setup, None, libc::EPERM),
    refused(libc::SYS_io_uring_setup, None, libc::EACCES),
    refused(libc::SYS_io_uring_setup, None, libc::ENOMEM),
    refused(libc::SYS_io_uring_setup, None, libc::EINVAL),
    refused(libc::SYS_io_uring_register, None, libc::EINVAL),
    refused(libc::SYS_io_uring_register, Some(PROBE), libc::EPERM),
    refused(
        libc::SYS_io_uring_register,
        Some(ENABLE_RINGS),
        libc::EINVAL,
    ),
    refused(libc::SYS_io_uring_enter, None, libc::EPERM),
    refused(libc::SYS_io_uring_enter, None, libc::ENOSYS),
    refused(libc::SYS_io_uring_enter, None, libc::EBUSY),
    refused(libc::SYS_io_uring_enter, None, libc::EINTR),
];

#[test]
fn a_refusal_leads_to_epoll_without_a_word() {
    let test = "a_refusal_leads_to_epoll_without_a_word";
    in_children(test, REFUSALS.len(), |case| {
        refuse(&[REFUSALS[case]]);
        assert_chosen(ASOCK_BACKEND_EPOLL, ASOCK_NOT_SUPPORTED);
    });
}

/// The probe finds nothing, but then a ring of one of the workers cannot be made: all of them run on epoll.
#[test]
fn all_workers_run_on_the_same() {
    const WORKERS: u32 = 4;
    const RINGS: usize = 1 + WORKERS as usize; // One for the probe.
    in_children("all_workers_run_on_the_same", RINGS + 1, |case| {
        if !has_rings() {
            return;
        }
        settle();
        let mut made = 0..;
        supervise(libc::SYS_io_uring_setup, move || {
            match made.next() == Some(case) {
                true => libc::ENOMEM,
                false => 0,
            }
        });
        let before = possessions();
        let runtime = Runtime::start(&asock_runtime_config {
            workers: WORKERS,
            ..config(ASOCK_DELIVER_ON_WORKER)
        });
        let expected = match case {
            RINGS => ASOCK_BACKEND_IO_URING,
            _ => ASOCK_BACKEND_EPOLL,
        };
        assert_eq!(runtime.stats().backend, expected);
        let descriptors = possessions().0 - before.0;
        assert_eq!(descriptors, 2 * WORKERS as usize);
        assert_works(&runtime);
        drop(runtime);
        until("what was there before", || possessions() == before);
    });
}

#[test]
fn the_environment_decides_what_was_left_open() {
    let test = "the_environment_decides_what_was_left_open";
    in_children(test, 5, |case| {
        let rings = has_rings();
        let best = match rings {
            true => ASOCK_BACKEND_IO_URING,
            false => ASOCK_BACKEND_EPOLL,
        };
        let of_rings = match rings {
            true => ASOCK_OK,
            false => ASOCK_NOT_SUPPORTED,
        };
        let names = ["", "epoll", "io_uring", "io_uring", "nonsense"];
        std::env::set_var("ASOCK_BACKEND", names[case]);
        match case {
            0 => assert_chosen(best, of_rings),
            1 => assert_chosen(ASOCK_BACKEND_EPOLL, of_rings),
            2 if rings => assert_chosen(ASOCK_BACKEND_IO_URING, ASOCK_OK),
            // What is asked for by name is that or nothing, and the application's own word counts more.
            _ => {
                refuse(&[refused(libc::SYS_io_uring_setup, None, libc::ENOSYS)]);
                assert_eq!(refusal(ASOCK_BACKEND_AUTO), ASOCK_NOT_SUPPORTED);
                assert_eq!(refusal(ASOCK_BACKEND_IO_URING), ASOCK_NOT_SUPPORTED);
                assert_eq!(refusal(ASOCK_BACKEND_EPOLL), ASOCK_OK);
            }
        }
    });
}

fn set_limit(resource: u32, limit: u64) {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: a struct that the call reads.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// Where there is no descriptor left, there is none for epoll either: that is said, and is no refusal of rings.
#[test]
fn no_descriptor_is_no_refusal() {
    in_children("no_descriptor_is_no_refusal", 2, |case| {
        let workers = [1, 3][case];
        let rings = has_rings();
        set_limit(libc::RLIMIT_NOFILE, 64);
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        // Each worker has its waker and its ring, or its epoll.
        for _ in 0..2 * workers {
            for backend in [
                ASOCK_BACKEND_AUTO,
                ASOCK_BACKEND_EPOLL,
                ASOCK_BACKEND_IO_URING,
            ] {
                match try_start(backend, workers) {
                    Err(ASOCK_TOO_MANY_SOCKETS) => {}
                    Err(ASOCK_NOT_SUPPORTED) if !rings && backend == ASOCK_BACKEND_IO_URING => {}
                    answer => panic!("{backend}: {:?}", answer.err()),
                }
            }
            drop(taken.pop());
        }
        let runtime = try_start(ASOCK_BACKEND_AUTO, workers);
        let expected = match rings {
            true => ASOCK_BACKEND_IO_URING,
            false => ASOCK_BACKEND_EPOLL,
        };
        assert_eq!(runtime.map(|runtime| runtime.stats().backend), Ok(expected));
    });
}

/// Where there is no thread left, there is none for a worker either, whatever it would run on; and nothing is left behind of
/// the workers that had been started.
#[test]
fn no_thread_is_no_refusal() {
    const WORKERS: u32 = 3;
    let backends = [
        ASOCK_BACKEND_AUTO,
        ASOCK_BACKEND_EPOLL,
        ASOCK_BACKEND_IO_URING,
    ];
    let cases = WORKERS as usize; // So many threads can be started, and each worker needs one.
    in_children("no_thread_is_no_refusal", cases * backends.len(), |case| {
        let (backend, left) = (backends[case % backends.len()], case / backends.len());
        let rings = has_rings();
        settle();
        let mut started = 0..;
        supervise(libc::SYS_clone3, move || {
            match started.next().is_none_or(|started| started >= left) {
                true => libc::EAGAIN,
                false => 0,
            }
        });
        let before = possessions();
        match try_start(backend, WORKERS).err() {
            Some(ASOCK_OS_ERROR) => {}
            Some(ASOCK_NOT_SUPPORTED) if !rings && backend == ASOCK_BACKEND_IO_URING => {}
            answer => panic!("{backend} with {left}: {answer:?}"),
        }
        until("what was there before", || possessions() == before);
    });
}

/// Older kernels count a ring as locked memory. Whatever this one does, a runtime starts.
#[test]
fn a_user_without_locked_memory_is_served() {
    in_children("a_user_without_locked_memory_is_served", 1, |_| {
        set_limit(libc::RLIMIT_MEMLOCK, 0);
        // SAFETY: no pointers. It fails for those who are nobody of importance anyway.
        unsafe {
            libc::setresgid(65534, 65534, 65534);
            libc::setresuid(65534, 65534, 65534);
            // What has changed hands is no longer shown to itself otherwise.
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        }
        match has_rings() {
            true => assert_chosen(ASOCK_BACKEND_IO_URING, ASOCK_OK),
            false => assert_chosen(ASOCK_BACKEND_EPOLL, ASOCK_NOT_SUPPORTED),
        }
    });
}
