//! `spin_us`: a worker that looks for work is not woken, since it finds what is handed over; and
//! when it has looked long enough in vain it sleeps.

#![allow(unsafe_code)] // Asks the system for its cores.
#![allow(clippy::print_stderr)] // A test that has nothing to see says so.

mod common;

use asock::*;
use common::*;

fn spinning(spin_us: u32) -> Runtime {
    Runtime::start(&asock_runtime_config {
        spin_us,
        ..config(ASOCK_DELIVER_ON_WORKER)
    })
}

fn one_core() -> bool {
    // SAFETY: no pointers.
    let one = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) } == 1;
    if one {
        eprintln!("one core: a worker never looks there, and this test has nothing to see");
    }
    one
}

/// What a process is bound to says nothing about where those are whom it talks to.
#[test]
fn a_process_on_one_core_of_several_looks_too() {
    if one_core() {
        return;
    }
    std::thread::spawn(|| {
        processor::stay_on_one(); // And the workers that it starts.
        let runtime = spinning(60_000_000);
        let recorder = runtime.recorder();
        for round in 1..=20 {
            recorder.timer(0);
            recorder.wait_for(round);
        }
        assert_eq!(runtime.stats().wake_ups, 0);
    })
    .join()
    .expect("no panic");
}

/// The worker looks for a minute after its last work, which no part of the test takes.
#[test]
fn a_worker_that_looks_is_not_woken() {
    if one_core() {
        return;
    }
    let peer = Peer::echo();
    let runtime = spinning(60_000_000);
    let socket = runtime.connected(peer.port());
    let recorder = runtime.recorder();
    for round in 1..=200 {
        recorder.send(socket, &Memory::new(8), 0);
        recorder.receive(socket, &Memory::new(8), 0);
        recorder.wait_for(round * 2);
    }
    assert_eq!(runtime.stats().wake_ups, 0);
}

#[test]
fn a_worker_that_has_looked_long_enough_sleeps() {
    let runtime = spinning(1);
    let recorder = runtime.recorder();
    until("a wake-up", || {
        recorder.timer(0);
        runtime.stats().wake_ups > 0
    });
}
