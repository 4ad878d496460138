//! Promise 10: the library is a good guest. No signal, no output, no change of the process, descriptors that stay out of
//! other programs, worker threads that block the signals they should and no others, panics of the host left to the host,
//! and a process that ends whenever it wants to. (What a fork does is in `promise_10_fork`.)
//!
//! The hosts are programs in C, each a process of its own, since the test program is no ordinary host: Rust's runtime has
//! already turned SIGPIPE off in it.
#![allow(unsafe_code)] // Signal masks are the system's.

mod common;

use common::c::{run, Ran, Workshop};
use common::*;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// No program here takes this long, unless it hangs.
const HANGS: Duration = Duration::from_secs(60);

/// How long the exit of a process waits for a callback, by the contract.
const EXIT_WAIT: Duration = Duration::from_secs(1);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps the other tests waiting, and ends the program if this one hangs.
fn alone() -> (MutexGuard<'static, ()>, Watchdog) {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, Watchdog::new("the end of a test"))
}

#[test]
fn a_host_is_left_as_it_was_and_its_terminal_empty() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let ran = run(&mut Command::new(workshop.program("guest.c")), HANGS);
    ran.assert_success("a host that meets every failure");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn a_child_does_not_wait_for_what_its_parents_threads_were_doing() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let ran = run(&mut Command::new(workshop.program("fork.c")), 2 * HANGS);
    ran.assert_success("a busy host that forks");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

/// Leaves in one of the ways of `exit.c`.
fn leave(workshop: &Workshop, way: &str) -> Ran {
    run(Command::new(workshop.path("exit")).arg(way), HANGS)
}

#[test]
fn a_process_may_end_whatever_is_going_on() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.program("exit.c");
    const RETURNED: &str = "the callback has returned\n";
    // The way, the exit code, what it prints.
    let prompt = [
        ("pending", 0, ""),
        ("running", 0, RETURNED),
        ("running_on_poll", 0, RETURNED),
        ("from_callback", 7, ""),
        ("from_dispatched_callback", 7, ""),
        ("from_thread", 7, ""),
        ("storm", 0, ""),
        ("others_wait", 0, ""),
        ("late_stop", 0, ""),
        ("late_use", 0, ""),
        ("late_child", 0, ""),
        ("early_stop", 0, ""),
        ("destructor", 0, ""),
        ("in_child", 0, ""),
    ];
    for (way, code, stdout) in prompt {
        let ran = leave(&workshop, way);
        assert_left(&ran, way, code, stdout);
        assert_takes_less(&workshop, way, &ran, EXIT_WAIT);
    }
}

#[test]
fn at_its_end_a_process_waits_for_a_callback_for_a_second() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.program("exit.c");
    let blocked = [
        ("blocked", 0),
        ("blocked_on_poll", 0),
        ("from_callback_beside_a_blocked_one", 7),
        ("another_stops", 0),
        ("another_stops_and_late_stop", 0),
        ("late_stop_blocked", 0),
        ("destructor_blocked", 0),
    ];
    // They only wait, so they may do that together.
    std::thread::scope(|scope| {
        for (way, code) in blocked {
            let workshop = &workshop;
            scope.spawn(move || {
                let ran = leave(workshop, way);
                assert_left(&ran, way, code, "");
                assert!(ran.took >= EXIT_WAIT, "{way} took {:?}", ran.took);
                assert_takes_less(workshop, way, &ran, 4 * EXIT_WAIT);
            });
        }
    });
}

/// A machine that is busy may be slow a few times, but a wait for something shows every time.
#[track_caller]
fn assert_takes_less(workshop: &Workshop, way: &str, ran: &Ran, limit: Duration) {
    let is_prompt = |ran: &Ran| ran.took < limit;
    let again = || (0..5).any(|_| is_prompt(&leave(workshop, way)));
    assert!(is_prompt(ran) || again(), "{way} took {:?}", ran.took);
}

#[track_caller]
fn assert_left(ran: &Ran, way: &str, code: i32, stdout: &str) {
    let left = ran.status.and_then(|status| status.code());
    assert_eq!(left, Some(code), "{way}: {ran:#?}");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        (stdout, ""),
        "{way}"
    );
}

/// The signals that a thread blocks, one bit each, from the lines that the system writes about it.
fn blocked(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    u64::from_str_radix(line.expect("Linux").trim(), 16).expect("a mask")
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The masks of the threads that are called like the library's.
fn masks_of_workers() -> Vec<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let status = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("status")).ok()
    };
    let of_workers = tasks
        .filter_map(status)
        .filter(|status| status.starts_with("Name:\tasock"));
    of_workers.map(|status| blocked(&status)).collect()
}

#[test]
fn a_worker_blocks_the_signals_of_the_contract_and_those_of_its_creator() {
    let _alone = alone();
    let listed = [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCHLD,
        libc::SIGALRM,
        libc::SIGPIPE,
        libc::SIGIO,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    let listed = listed
        .into_iter()
        .fold(0, |mask, signal| mask | bit(signal));
    // What a garbage collector may use is not among them, unless the creator blocks it.
    let extra = libc::SIGRTMIN() + 3;
    let own = || blocked(&std::fs::read_to_string("/proc/thread-self/status").expect("Linux"));
    let check = move || {
        let before = own();
        let runtime = Runtime::on_worker();
        assert_eq!(own(), before, "the creator's own mask is as before");
        // A thread gives itself its name only after its start.
        let mut masks = Vec::new();
        until("the worker has a name", || {
            masks = masks_of_workers();
            !masks.is_empty()
        });
        assert_eq!(masks, [before | listed]);
        drop(runtime);
        until("the worker is gone", || masks_of_workers().is_empty());
    };
    check();
    let blocking = std::thread::spawn(move || {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is initialized by the first call.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), extra);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        }
        check();
        own()
    });
    let mask = blocking.join().expect("no panic");
    assert_eq!(
        mask & (bit(extra) | bit(libc::SIGTERM)),
        bit(extra) | bit(libc::SIGTERM)
    );
}

/// Tells this program that it is the host of the test below, and not the test.
const HOST: &str = "ASOCK_TEST_HOST_THAT_PANICS";

#[test]
fn panics_of_the_host_go_to_the_hook_that_was_there() {
    if std::env::var_os(HOST).is_some() {
        return panic_as_host();
    }
    // In a process of its own, so that its hook is there before the library.
    let mut host = Command::new(std::env::current_exe().expect("this program"));
    let name = "panics_of_the_host_go_to_the_hook_that_was_there";
    let ran = run(host.args(["--exact", name]).env(HOST, "1"), HANGS);
    ran.assert_success("a host that panics");
    assert!(ran.stdout.contains("1 passed"), "{ran:?}");
}

fn panic_as_host() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let seen = || SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<&str>().unwrap_or(&"");
        seen().push((*text).to_owned());
    }));
    let host = std::thread::spawn(|| {
        let runtime = Runtime::on_worker();
        let recorder = runtime.recorder_with(|_| {
            // A callback may panic as it likes, as long as it catches that itself.
            let _ = std::panic::catch_unwind(|| panic!("in a callback"));
        });
        recorder.timer(0);
        recorder.wait_for(1);
        panic!("in a thread");
    });
    assert!(host.join().is_err());
    drop(std::panic::take_hook());
    assert_eq!(seen()[..], ["in a callback", "in a thread"]);
}
