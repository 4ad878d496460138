//! `spin_us`: a worker that looks for work is not woken, since it finds what is handed over; and
//! when it has looked long enough in vain it sleeps.

#![allow(unsafe_code)] // Asks the system for its cores.
#![allow(clippy::print_stderr)] // A test that has nothing to see says so.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::FromRawFd;
use std::sync::Arc;

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

/// A connection on which something was received last, so that the worker tries there first when it
/// looks, with a receive that waits.
fn tried(
    runtime: &Runtime,
    recorder: &Arc<Recorder>,
) -> (asock_socket, TcpStream, Memory, asock_op) {
    let (socket, mut peer) = pair(runtime);
    for _ in 0..3 {
        let op = recorder.receive(socket, &Memory::new(8), 0);
        peer.write_all(b"1").expect("connected");
        assert_eq!(recorder.completion_of(op).bytes, 1);
    }
    let room = Memory::new(8);
    let op = recorder.receive(socket, &room, 0);
    (socket, peer, room, op)
}

/// While one receive is tried again and again, everything else goes on.
#[test]
fn a_worker_that_looks_sees_every_socket_and_every_time() {
    if one_core() {
        return;
    }
    let runtime = spinning(60_000_000);
    let recorder = runtime.recorder();
    let (_tried, _quiet, _room, waiting) = tried(&runtime, &recorder);
    let mut others: Vec<_> = (0..3).map(|_| pair(&runtime)).collect();
    for round in 0..60 {
        let (socket, peer) = &mut others[round % 3];
        let room = Memory::new(8);
        let op = recorder.receive(*socket, &room, 0);
        have_a_turn(&runtime); // It waits for what is to come, and is not begun with it.
        peer.write_all(&[round as u8]).expect("connected");
        let completion = recorder.completion_of(op);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 1));
        assert_eq!(room.bytes()[0], round as u8);
    }
    let timer = recorder.timer(5);
    assert_eq!(recorder.completion_of(timer).status, ASOCK_OK);
    assert_pending(&runtime, waiting);
    assert_eq!(asock_set_deadline(waiting, 5), ASOCK_OK);
    assert_eq!(recorder.completion_of(waiting).status, ASOCK_TIMED_OUT);
    assert_eq!(runtime.stats().wake_ups, 0);
}

/// Also of the receive that is being tried: it takes bytes and says so, or takes none.
#[test]
fn a_cancel_while_the_worker_looks_loses_no_byte() {
    if one_core() {
        return;
    }
    let runtime = spinning(60_000_000);
    let recorder = runtime.recorder();
    let (socket, mut peer, mut room, mut op) = tried(&runtime, &recorder);
    let (mut written, mut read) = (Vec::<u8>::new(), Vec::<u8>::new());
    let mut random = Random::new(29);
    for round in 0..400_u32 {
        if random.one_in(2) {
            peer.write_all(&[round as u8]).expect("connected");
            written.push(round as u8);
        }
        if random.one_in(2) {
            asock_cancel(op); // It may be over.
        } else if read.len() == written.len() {
            continue;
        }
        let completion = recorder.completion_of(op);
        match completion.status {
            ASOCK_OK => assert_ne!(completion.bytes, 0),
            status => assert_eq!((status, completion.bytes), (ASOCK_CANCELED, 0)),
        }
        read.extend(&room.bytes()[..completion.bytes]);
        room = Memory::new(8);
        op = recorder.receive(socket, &room, 0);
    }
    peer.write_all(b"end").expect("connected");
    written.extend(b"end");
    while read.len() < written.len() {
        let count = recorder.completion_of(op).bytes;
        read.extend(&room.bytes()[..count]);
        room = Memory::new(8);
        op = recorder.receive(socket, &room, 0);
    }
    assert_eq!(read, written);
    assert_eq!(asock_close(socket), ASOCK_OK);
    assert_eq!(recorder.completion_of(op).status, ASOCK_CLOSED);
}

/// Whatever ends a receive, from either side, ends one that is being tried, and its buffer comes back.
#[test]
fn a_receive_that_is_tried_ends_like_any_other() {
    type End = fn(&Runtime, asock_socket, &mut Option<TcpStream>);
    let ends: [(asock_status, End); 6] = [
        (ASOCK_OK, |_, _, peer| {
            let peer = peer.as_ref().expect("it is there");
            peer.shutdown(Shutdown::Write).expect("connected");
        }),
        (ASOCK_CONNECTION_RESET, |_, _, peer| {
            reset(peer.take().expect("it is there"));
        }),
        (ASOCK_OK, |_, socket, _| {
            assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_RECEIVE), ASOCK_OK);
        }),
        (ASOCK_OK, |_, socket, _| {
            assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
        }),
        (ASOCK_CLOSED, |_, socket, _| {
            assert_eq!(asock_close(socket), ASOCK_OK);
        }),
        (ASOCK_STOPPED, |runtime, _, _| runtime.stop()),
    ];
    for (status, end) in ends {
        let runtime = spinning(60_000_000);
        let recorder = runtime.recorder();
        let (socket, peer, room, op) = tried(&runtime, &recorder);
        assert_pending(&runtime, op);
        let mut peer = Some(peer);
        end(&runtime, socket, &mut peer);
        let completion = recorder.completion_of(op);
        assert_eq!((completion.status, completion.bytes), (status, 0));
        // Nobody looks for more on behalf of that one.
        if let (Some(peer), true) = (&mut peer, status == ASOCK_CLOSED) {
            let _ = peer.write_all(b"late"); // It may be reset by now.
        }
        runtime.stop_if_running();
        assert_eq!(room.bytes(), [0; 8]);
    }
}

/// A descriptor goes back to the application as soon as nobody tries it any more, and a socket that takes its place is
/// tried in its turn.
#[test]
fn a_released_descriptor_is_not_tried() {
    let runtime = spinning(60_000_000);
    let recorder = runtime.recorder();
    for _ in 0..10 {
        let (socket, mut peer, room, op) = tried(&runtime, &recorder);
        let mut number = -1;
        // SAFETY: `number` may be written.
        let early = unsafe { asock_release(socket, &raw mut number) };
        assert_eq!(early, ASOCK_INVALID_STATE);
        assert_eq!(asock_cancel(op), ASOCK_OK);
        assert_eq!(recorder.completion_of(op).status, ASOCK_CANCELED);
        // SAFETY: as above.
        let released = unsafe { asock_release(socket, &raw mut number) };
        assert_eq!(released, ASOCK_OK);
        peer.write_all(b"yours").expect("connected");
        have_a_turn(&runtime);
        // SAFETY: it is the application's now.
        let mut stream = unsafe { TcpStream::from_raw_fd(number as i32) };
        stream.set_nonblocking(false).expect("a socket");
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).expect("it has come");
        assert_eq!(&bytes, b"yours");
        assert_eq!(room.bytes(), [0; 8]);
    }
}
