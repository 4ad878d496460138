//! Ending one direction of a connection, or both. Before a connect and while one is pending: see `connect` and
//! `connect_pending`.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::memory::pattern;
use common::*;
use std::io::{Read, Write};
use std::net::Shutdown;

#[test]
fn of_the_sending_side_comes_after_what_was_begun() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let big = recorder.send(socket, &Memory::of(&pattern(BIG)), 0);
        let small = recorder.send(socket, &Memory::of(b"last words"), 0);
        let receive = recorder.receive(socket, &Memory::new(5), ASOCK_RECEIVE_ALL);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        // Sends begun later fail at once, and do not wait for those before the shutdown.
        for length in [8, 0] {
            let op = recorder.send(socket, &Memory::new(length), 0);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_SHUT_DOWN);
            assert_eq!(completion.bytes, 0);
        }
        assert_pending(&runtime, big);
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).expect("an end");
        assert!(heard[..BIG] == pattern(BIG));
        assert_eq!(&heard[BIG..], b"last words");
        for op in [big, small] {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        }
        // The other direction is as open as before.
        assert_pending(&runtime, receive);
        peer.write_all(b"reply").expect("connected");
        assert_eq!(recorder.completion_of(receive).bytes, 5);
        peer.write_all(b"and more").expect("connected");
        assert_eq!(recorder.take_bytes(socket, 8), b"and more");
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
    });
}

#[test]
fn of_the_receiving_side_ends_receives_only() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let ops = [
            (8, 0),
            (8, ASOCK_RECEIVE_ALL),
            (0, 0),
            (8, ASOCK_RECEIVE_PEEK),
        ]
        .map(|(length, flags)| recorder.receive(socket, &Memory::new(length), flags));
        assert_pending(&runtime, ops[0]);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_RECEIVE), ASOCK_OK);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_RECEIVE), ASOCK_OK);
        for op in ops {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
            assert_eq!(completion.bytes, 0);
        }
        let (completion, _) = recorder.take(socket, 8, 0);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        for _ in 0..2 {
            recorder.put(socket, b"still talking");
            let mut heard = [0; 13];
            peer.read_exact(&mut heard).expect("connected");
            assert_eq!(&heard, b"still talking");
        }
    });
}

#[test]
fn what_comes_after_a_shutdown_of_the_receiving_side_can_be_read() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_RECEIVE), ASOCK_OK);
        peer.write_all(b"late").expect("connected");
        let mut heard = Vec::new();
        until("the late bytes", || {
            let (completion, bytes) = recorder.take(socket, 8, 0);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
            heard.extend(bytes);
            heard == b"late"
        });
        // And after that it is at its end again: no receive waits any more.
        let (completion, _) = recorder.take(socket, 8, 0);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
    });
}

#[test]
fn of_both_sides() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let receive = recorder.receive(socket, &Memory::new(8), 0);
        let send = recorder.send(socket, &Memory::of(b"bye"), 0);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
        assert_eq!(recorder.completion_of(send).status, ASOCK_OK);
        let completion = recorder.completion_of(receive);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).expect("an end, and no reset");
        assert_eq!(heard, b"bye");
        for how in [
            ASOCK_SHUTDOWN_BOTH,
            ASOCK_SHUTDOWN_SEND,
            ASOCK_SHUTDOWN_RECEIVE,
        ] {
            assert_eq!(asock_shutdown(socket, how), ASOCK_OK, "again: {how}");
        }
        // Even after the peer has closed too, and the connection is over for the system.
        let there = remote(socket);
        peer.shutdown(Shutdown::Write).expect("connected");
        drop(peer);
        let (completion, _) = recorder.take(socket, 8, 0);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
        let op = recorder.send(socket, &Memory::of(b"x"), 0);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_SHUT_DOWN);
        assert_eq!(remote(socket), there, "it is remembered");
    });
}

#[test]
fn one_after_the_other_is_both() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let receive = recorder.receive(socket, &Memory::new(8), 0);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        assert_eq!(peer.read(&mut [0; 8]).ok(), Some(0));
        assert_pending(&runtime, receive);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
        assert_eq!(recorder.completion_of(receive).bytes, 0);
    });
}

#[test]
fn never_connected_and_refused() {
    let refused = Refused::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let shut_down = || asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH);
        assert_eq!(shut_down(), ASOCK_NOT_CONNECTED);
        recorder.connect_now(socket, refused.port());
        assert_eq!(shut_down(), ASOCK_NOT_CONNECTED);
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_eq!(shut_down(), ASOCK_BAD_HANDLE);
    });
}

/// What was queued is dropped by the close, but the peer reads what had left, and an end instead of a reset.
#[test]
fn a_huge_send_a_shutdown_and_a_close_end_in_order() {
    for sort in 0..3 {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, mut peer) = narrow_pair(&runtime);
            let bytes = files::noise(16 << 20, 1);
            let file = files::file_of(&bytes);
            match sort {
                0 => recorder.send(socket, &Memory::of(&bytes), 0),
                1 => recorder.send_pieces(socket, &pieces::cut(&bytes, &[99_999]), 0),
                _ => recorder.send_file(socket, &file, 0, bytes.len()),
            };
            files::wait_stuck(&runtime, socket, bytes.len());
            assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
            assert_eq!(asock_close(socket), ASOCK_OK);
            let completion = recorder.wait_for(1)[0];
            completion.expect(ASOCK_KIND_SEND, ASOCK_CLOSED);
            let mut got = Vec::new();
            peer.read_to_end(&mut got).expect("an end, and no reset");
            assert!(!got.is_empty() && got.len() == completion.bytes);
            assert!(got == bytes[..got.len()]);
        });
    }
}
