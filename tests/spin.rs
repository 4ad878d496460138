//! `spin_us`: a worker that looks for work is not woken, since it finds what is handed over; and
//! when it has looked long enough in vain it sleeps.

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

/// The worker looks for a minute after its last work, which no part of the test takes.
#[test]
fn a_worker_that_looks_is_not_woken() {
    if std::thread::available_parallelism().map_or(1, usize::from) == 1 {
        eprintln!("one core: a worker never looks there, and this test has nothing to see");
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
