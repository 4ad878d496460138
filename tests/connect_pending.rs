//! A connect that has no answer yet: what may be begun behind it, and every way in which it ends. Its other end is a
//! listener on loopback whose queue is full: the system neither refuses nor accepts, for as long as the test wants.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// A connect, and one of everything that may wait behind it.
fn begin_all(recorder: &Arc<Recorder>, socket: asock_socket, port: u16) -> Vec<asock_op> {
    let connect = recorder.connect(socket, port);
    vec![
        connect,
        recorder.send(socket, &Memory::of(b"early"), 0),
        recorder.receive(socket, &Memory::new(8), 0),
        recorder.connect(socket, port),
        recorder.receive(socket, &Memory::new(8), ASOCK_RECEIVE_OUT_OF_BAND),
        recorder.send(socket, &Memory::new(0), 0),
    ]
}

fn check_all(recorder: &Arc<Recorder>, ops: &[asock_op], status: asock_status) {
    for op in ops {
        let completion = recorder.completion_of(*op);
        assert_eq!(
            (completion.status, completion.bytes),
            (status, 0),
            "{completion:?}"
        );
    }
    assert_eq!(recorder.count(), ops.len());
}

/// The handle is none the worse for it.
fn check_usable(runtime: &Runtime, socket: asock_socket) {
    let peer = Peer::echo();
    let recorder = runtime.recorder();
    // Nothing waits any more for a connect that is over.
    let op = recorder.send(socket, &Memory::of(b"x"), 0);
    let completion = recorder.completion_of(op);
    completion.expect(ASOCK_KIND_SEND, ASOCK_NOT_CONNECTED);
    let completion = recorder.connect_now(socket, peer.port());
    completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    let waiting = recorder.receive(socket, &Memory::new(5), ASOCK_RECEIVE_ALL);
    assert_pending(runtime, waiting);
    recorder.put(socket, b"fresh");
    assert_eq!(recorder.completion_of(waiting).bytes, 5);
    assert_eq!(asock_close(socket), ASOCK_OK);
}

#[test]
fn what_waits_behind_a_connect_shares_its_end() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let ops = begin_all(&recorder, socket, hole.port());
        for op in &ops {
            assert_pending(&runtime, *op);
        }
        assert_eq!(asock_cancel(ops[0]), ASOCK_OK);
        check_all(&recorder, &ops, ASOCK_CANCELED);
        check_usable(&runtime, socket);

        let recorder = runtime.recorder();
        let socket = runtime.open();
        let ops = begin_all(&recorder, socket, hole.port());
        assert_eq!(asock_set_deadline(ops[0], 30), ASOCK_OK);
        check_all(&recorder, &ops, ASOCK_TIMED_OUT);
        check_usable(&runtime, socket);
    });
}

#[test]
fn a_refusal_is_shared_too() {
    // Begun inside a callback, while the worker cannot have an answer yet.
    let refused = Refused::new();
    let port = refused.port();
    let runtime = Runtime::on_worker();
    let (recorder, socket) = (runtime.recorder(), runtime.open());
    let inner = Arc::clone(&recorder);
    let trigger = runtime.recorder_with(move |_| drop(begin_all(&inner, socket, port)));
    trigger.timer(0);
    trigger.wait_for(1);
    let all = recorder.wait_for(6);
    let ops: Vec<_> = all.iter().map(|completion| completion.op).collect();
    check_all(&recorder, &ops, ASOCK_CONNECTION_REFUSED);
    check_usable(&runtime, socket);
}

#[test]
fn one_that_waits_may_end_alone() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let ops = begin_all(&recorder, socket, hole.port());
        for (count, op) in ops.iter().skip(1).enumerate() {
            if count % 2 == 0 {
                assert_eq!(asock_cancel(*op), ASOCK_OK);
            } else {
                assert_eq!(asock_set_deadline(*op, 1), ASOCK_OK);
            }
            let expected = [ASOCK_CANCELED, ASOCK_TIMED_OUT][count % 2];
            let completion = recorder.completion_of(*op);
            assert_eq!((completion.status, completion.bytes), (expected, 0));
        }
        assert_pending(&runtime, ops[0]);
        assert_eq!(asock_close(socket), ASOCK_OK);
        let completion = recorder.completion_of(ops[0]);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_CLOSED);
    });
}

#[test]
fn the_time_out_option() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        assert_eq!(set(socket, ASOCK_OPTION_CONNECT_TIMEOUT_MS, 40), ASOCK_OK);
        // Twice, since the option outlives the failure.
        for _ in 0..2 {
            let start = Instant::now();
            let completion = recorder.connect_now(socket, hole.port());
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_TIMED_OUT);
            assert_eq!(completion.os_error, 0, "it was our own limit");
            assert_passed(start, 40);
        }
        // 0 takes the option away.
        assert_eq!(set(socket, ASOCK_OPTION_CONNECT_TIMEOUT_MS, 0), ASOCK_OK);
        check_usable(&runtime, socket);
    });
}

/// A deadline takes the option's place, whether it is later or none at all.
#[test]
fn a_deadline_replaces_the_time_out_option() {
    let hole = BlackHole::new();
    on_both_in_time(|runtime, by| {
        let recorder = runtime.recorder();
        let (limit, late) = (by as i64 * 300, by as i64 * 400);
        let [socket, other] = [(); 2].map(|()| runtime.open());
        for socket in [socket, other] {
            let option = ASOCK_OPTION_CONNECT_TIMEOUT_MS;
            assert_eq!(set(socket, option, limit), ASOCK_OK);
        }
        let start = Instant::now();
        let [op, endless] = [socket, other].map(|one| recorder.connect(one, hole.port()));
        let set = [(op, late), (endless, -1)].map(|(op, ms)| asock_set_deadline(op, ms));
        // Had it taken longer, the option might have struck before it was replaced.
        if start.elapsed().as_millis() >= limit as u128 {
            return false;
        }
        assert_eq!(set, [ASOCK_OK; 2]);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_TIMED_OUT);
        assert_passed(start, late as u128);
        assert_pending(runtime, endless);
        assert_eq!(asock_cancel(endless), ASOCK_OK);
        let completion = recorder.completion_of(endless);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_CANCELED);
        true
    });
}

/// A socket whose system gives up a connect after a moment already, where it has such a limit.
fn impatient() -> OwnedFd {
    let (of, kind) = (libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
    // SAFETY: the call takes no pointer.
    let number = unsafe { libc::socket(of, kind, 0) };
    assert!(number >= 0);
    let limit_ms: libc::c_int = 50;
    // SAFETY: an open descriptor, and a value of the option's type and size.
    let answer = unsafe {
        let (value, length) = ((&raw const limit_ms).cast(), size_of_val(&limit_ms));
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT);
        libc::setsockopt(number, level, name, value, length as libc::socklen_t)
    };
    assert_eq!(answer, 0);
    // SAFETY: it is ours.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// The system's own limit reads like ours, but for its number; what waited says the same.
#[test]
fn the_systems_own_time_out_has_its_number() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let mut socket = 0;
        let number = i64::from(impatient().into_raw_fd());
        // SAFETY: `socket` may be written.
        let adopted = unsafe { asock_adopt(runtime.handle(), number, &raw mut socket) };
        assert_eq!(adopted, ASOCK_OK);
        let ops = begin_all(&recorder, socket, hole.port());
        check_all(&recorder, &ops, ASOCK_TIMED_OUT);
        let completion = recorder.completion_of(ops[0]);
        assert_eq!(completion.os_error, libc::ETIMEDOUT);
        check_usable(&runtime, socket);
    });
}

#[test]
fn a_close_ends_it() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let ops = begin_all(&recorder, socket, hole.port());
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_eq!(asock_close(socket), ASOCK_BAD_HANDLE);
        check_all(&recorder, &ops, ASOCK_CLOSED);

        let recorder = runtime.recorder();
        let socket = runtime.open();
        let mut ops = begin_all(&recorder, socket, hole.port());
        ops.push(recorder.close(socket, ASOCK_CLOSE_RESET));
        let all = recorder.wait_for(ops.len());
        let (close, others) = all.split_last().expect("there are some");
        close.expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        assert!(others.iter().all(|one| one.status == ASOCK_CLOSED));
        assert_eq!(runtime.stats().sockets_open, 0);
    });
}

#[test]
fn an_end_wakes_the_thread_that_waits_in_end() {
    let hole = BlackHole::new();
    let runtime = Runtime::on_worker();
    let socket = runtime.open();
    let there = address("127.0.0.1", hole.port());
    // SAFETY: the address is read during the call.
    let op = begun(|op| unsafe { asock_begin_connect_address(socket, &there, None, NOTHING, op) });
    let waiter = std::thread::spawn(move || end(op).status);
    assert_pending(&runtime, op);
    assert_eq!(asock_close(socket), ASOCK_OK);
    assert_eq!(waiter.join().expect("no panic"), ASOCK_CLOSED);
}

#[test]
fn what_waits_goes_on_when_the_answer_comes() {
    let hole = BlackHole::new();
    let runtime = Runtime::on_worker();
    let (connects, talks) = (runtime.recorder(), runtime.recorder());
    let socket = runtime.open();
    let first = connects.connect(socket, hole.port());
    let second = connects.connect(socket, hole.port());
    let room = Memory::new(5);
    talks.send(socket, &Memory::of(b"early "), 0);
    talks.send(socket, &Memory::of(b"bird"), 0);
    talks.receive(socket, &room, ASOCK_RECEIVE_ALL);
    assert_eq!(set(socket, ASOCK_OPTION_TTL, 44), ASOCK_OK);
    assert_eq!(remote(socket), Ok(NO_ADDRESS));
    assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(10));
    assert_pending(&runtime, first);

    let mut peer = hole.admit();
    connects
        .completion_of(first)
        .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    let completion = connects.completion_of(second);
    completion.expect(ASOCK_KIND_CONNECT, ASOCK_ALREADY_CONNECTED);
    let mut sent = [0; 10];
    peer.read_exact(&mut sent).expect("connected");
    peer.write_all(b"worms").expect("connected");
    assert_eq!(&sent, b"early bird");
    let all = talks.wait_for(3);
    let ends: Vec<_> = all.iter().map(|one| (one.status, one.bytes)).collect();
    assert_eq!(ends, [(ASOCK_OK, 6), (ASOCK_OK, 4), (ASOCK_OK, 5)]);
    assert_eq!(room.bytes(), b"worms");
    assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
    assert_eq!(get(socket, ASOCK_OPTION_TTL), Ok(44));
}

/// A shutdown while the connect is pending takes effect after it; if the connect fails, it is forgotten.
#[test]
fn a_shutdown_waits_too() {
    let hole = BlackHole::new();
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let socket = runtime.open();
    let connect = recorder.connect(socket, hole.port());
    let before = recorder.send(socket, &Memory::of(b"last words"), 0);
    let receive = recorder.receive(socket, &Memory::new(8), 0);
    assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
    assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
    let after = recorder.send(socket, &Memory::of(b"too late"), 0);
    recorder
        .completion_of(after)
        .expect(ASOCK_KIND_SEND, ASOCK_SHUT_DOWN);
    assert_pending(&runtime, before);
    assert_pending(&runtime, receive);

    let mut peer = hole.admit();
    let completion = recorder.completion_of(connect);
    completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).expect("connected");
    assert_eq!(heard, b"last words");
    let completion = recorder.completion_of(before);
    completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
    let completion = recorder.completion_of(receive);
    completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
    assert_eq!(completion.bytes, 0);
}

#[test]
fn a_shutdown_goes_with_the_connect_that_failed() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let op = recorder.connect(socket, hole.port());
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
        assert_pending(&runtime, op); // So the worker has seen the shutdown before the cancel.
        assert_eq!(asock_cancel(op), ASOCK_OK);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_CANCELED);
        let answer = asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH);
        assert_eq!(answer, ASOCK_NOT_CONNECTED);
        check_usable(&runtime, socket);
    });
}
