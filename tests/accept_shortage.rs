//! Accepting when the process has no descriptor left: the connection waits, the listener stays, and nobody is kept busy.
//! The limit is the whole process's, so each test here runs in a process of its own.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ALONE: &str = "ASOCK_TEST_ALONE";

/// How long a listener rests after it found no descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs a test of this file in a process of its own. True there.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("it runs");
    let output = Command::new(program)
        .args(["--exact", test])
        .env(ALONE, "1")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    false
}

/// Takes all descriptors that the process may still have.
fn take_all() -> Vec<OwnedFd> {
    let limit = libc::rlimit {
        rlim_cur: 128,
        rlim_max: 128,
    };
    // SAFETY: a live struct of the type that the call reads.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(answer, 0);
    let mut taken = Vec::new();
    loop {
        // SAFETY: makes a new descriptor, which is owned here.
        let number = unsafe { libc::dup(0) };
        if number < 0 {
            assert!(!taken.is_empty());
            return taken;
        }
        // SAFETY: as above.
        taken.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

fn expect_shortage(completion: &Completion) {
    completion.expect(ASOCK_KIND_ACCEPT, ASOCK_TOO_MANY_SOCKETS);
    assert_eq!((completion.value, completion.os_error), (0, libc::EMFILE));
}

/// The port of a socket's peer.
fn peer_port(socket: asock_socket) -> u16 {
    let address = remote(socket).expect("it answers");
    // SAFETY: the address is a live value.
    unsafe { asock_address_port(&raw const address) }
}

fn local_port(stream: &TcpStream) -> u16 {
    stream.local_addr().expect("it is connected").port()
}

#[test]
fn the_connection_waits_and_the_listener_stays() {
    if !alone("the_connection_waits_and_the_listener_stays") {
        return;
    }
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let runtime = Runtime::start(&config(delivery));
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        let clients = [client(listener), client(listener)];
        let taken = take_all();
        let op = recorder.accept(listener);
        expect_shortage(&recorder.completion_of(op));
        assert_eq!(runtime.stats().sockets_open, 1);
        // There is room again: both come, the first one first.
        drop(taken);
        for client in &clients {
            let socket = recorder.accepted(listener);
            assert_eq!(peer_port(socket), local_port(client));
            recorder.put(socket, b"hello");
        }
        assert!(clients[0].as_raw_fd() >= 0);
    }
}

/// A server begins the next accept in the callback of the last, whatever that said. It must not spin.
#[test]
fn beginning_again_at_once_is_no_spin() {
    if !alone("beginning_again_at_once_is_no_spin") {
        return;
    }
    let runtime = Runtime::on_worker();
    let socket = listener(&runtime);
    let client = client(socket);
    let tries = Arc::new(AtomicU32::new(0));
    let of_callback = Arc::clone(&tries);
    let chain = runtime.recorder_with(move |result| {
        if result.status == ASOCK_TOO_MANY_SOCKETS {
            of_callback.fetch_add(1, Ordering::SeqCst);
            let user_data = result.user_data;
            // SAFETY: the recorder, which is the user data, outlives the operation.
            let status = unsafe {
                asock_begin_accept(result.socket, Some(record), user_data, std::ptr::null_mut())
            };
            assert_eq!(status, ASOCK_OK);
        }
    });
    let taken = take_all();
    let start = Instant::now();
    chain.accept(socket);
    until("four tries", || tries.load(Ordering::SeqCst) >= 4);
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "they came too fast"
    );
    // The first two are begun at once, and then there is one for each pause.
    let counted = runtime.stats().operations_begun;
    let pauses = start.elapsed().as_millis() / PAUSE.as_millis();
    assert!(
        u128::from(counted) <= 2 + pauses,
        "{counted} in {pauses} pauses"
    );
    drop(taken);
    let completions = chain.wait_until("the connection", |all| {
        all.iter().any(|one| one.status == ASOCK_OK)
    });
    let accepted = completions.iter().find(|one| one.status == ASOCK_OK);
    let accepted = new_socket(accepted.expect("it was just there"));
    assert_eq!(peer_port(accepted), local_port(&client));
}

/// What waits for the pause to be over ends as if it waited for a connection.
#[test]
fn accepts_end_during_the_pause() {
    if !alone("accepts_end_during_the_pause") {
        return;
    }
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let in_time = (0..10).any(|_| end_during_the_pause(delivery));
        assert!(in_time, "a pause was always over too soon");
    }
}

/// False where a pause was over before its turn came, since this machine was busy: then an accept has had its next try.
fn end_during_the_pause(delivery: u32) -> bool {
    let runtime = Runtime::start(&config(delivery));
    let (listener, recorder) = (listener(&runtime), runtime.recorder());
    let _client = client(listener);
    let taken = take_all();
    let start = Instant::now();
    let ended_in_time = |op: asock_op, status: asock_status| {
        let completion = recorder.completion_of(op);
        if completion.status == ASOCK_TOO_MANY_SOCKETS {
            return false;
        }
        completion.expect(ASOCK_KIND_ACCEPT, status);
        true
    };
    expect_shortage(&recorder.completion_of(recorder.accept(listener)));
    let ops: Vec<_> = (0..4).map(|_| recorder.accept(listener)).collect();
    asock_cancel(ops[0]); // Where it has ended, it is too late.
    if !ended_in_time(ops[0], ASOCK_CANCELED) {
        return false;
    }
    asock_set_deadline(ops[1], 1);
    if !ended_in_time(ops[1], ASOCK_TIMED_OUT) {
        return false;
    }
    // Only the pause's end brings the next try.
    expect_shortage(&recorder.completion_of(ops[2]));
    assert_passed(start, PAUSE.as_millis());
    recorder.close_now(listener);
    if !ended_in_time(ops[3], ASOCK_CLOSED) {
        return false;
    }
    drop(taken);
    assert_eq!(runtime.stats().sockets_open, 0);
    true
}
