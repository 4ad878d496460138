//! Listening: what it needs, what it says at once, and what a listener cannot do.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::net::{TcpListener, TcpStream};

#[test]
fn a_listener_has_a_local_address_and_takes_connections() {
    on_both(|runtime| {
        for backlog in [i32::MIN, -1, 0, 1, i32::MAX] {
            let socket = runtime.open();
            assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
            assert_eq!(listen(socket, backlog), ASOCK_OK);
            assert_eq!(local_text(socket), format!("127.0.0.1:{}", port(socket)));
            assert_eq!(text(&remote(socket).expect("it answers")), "");
            // The system takes the connection, though nothing accepts it yet.
            drop(client(socket));
            assert_eq!(listen(socket, 7), ASOCK_OK, "another backlog");
        }
    });
}

#[test]
fn a_backlog_of_zero_is_the_largest_one() {
    let runtime = Runtime::on_worker();
    let socket = listener(&runtime);
    let clients: Vec<TcpStream> = (0..200).map(|_| client(socket)).collect();
    assert_eq!(clients.len(), 200);
}

#[test]
fn what_cannot_listen_says_so_at_once() {
    on_both(|runtime| {
        let socket = runtime.open();
        assert_eq!(listen(socket, 0), ASOCK_INVALID_STATE, "it is not bound");
        let datagram = open_datagram(&runtime);
        assert_eq!(listen(datagram, 0), ASOCK_INVALID_STATE);
        assert_eq!(bind(datagram, "127.0.0.1", 0), ASOCK_OK);
        assert_eq!(listen(datagram, 0), ASOCK_NOT_SUPPORTED);
        let peer = Peer::silent();
        let connected = runtime.connected(peer.port());
        assert_eq!(listen(connected, 0), ASOCK_INVALID_STATE);
        let hole = BlackHole::new();
        let recorder = runtime.recorder();
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
        let op = recorder.connect(socket, hole.port());
        assert_eq!(listen(socket, 0), ASOCK_INVALID_STATE, "it connects");
        assert_eq!(asock_cancel(op), ASOCK_OK);
        recorder.completion_of(op);
        // The connect is over, and the socket is still bound.
        assert_eq!(listen(socket, 0), ASOCK_OK);
        let op = recorder.accept(socket);
        let _client = client(socket);
        new_socket(&recorder.completion_of(op));
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_eq!(listen(socket, 0), ASOCK_BAD_HANDLE);
    });
}

#[test]
fn two_sockets_that_are_bound_to_one_address_cannot_both_listen() {
    let runtime = Runtime::on_worker();
    let (first, second) = (runtime.open(), runtime.open());
    assert_eq!(bind(first, "127.0.0.1", 0), ASOCK_OK);
    assert_eq!(bind(second, "127.0.0.1", port(first)), ASOCK_OK);
    assert_eq!(listen(first, 0), ASOCK_OK);
    assert_eq!(listen(second, 0), ASOCK_ADDRESS_IN_USE);
    let recorder = runtime.recorder();
    let completion = recorder.completion_of(recorder.accept(second));
    completion.expect(ASOCK_KIND_ACCEPT, ASOCK_INVALID_STATE);
    // It can when the other is gone.
    recorder.close_now(first);
    assert_eq!(listen(second, 0), ASOCK_OK);
    let op = recorder.accept(second);
    let _client = client(second);
    new_socket(&recorder.completion_of(op));
}

#[test]
fn an_address_can_be_listened_on_again_at_once() {
    const HOST: &str = "127.0.0.78"; // Nobody else takes a port there that was just given back.
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let first = listener_on(&runtime, HOST);
    let own = port(first);
    let client = client_of(HOST, first);
    let accepted = recorder.accepted(first);
    // This end closes first, so it is the one that keeps the port busy for a while.
    recorder.close_now(accepted);
    drop(client);
    recorder.close_now(first);
    let again = runtime.open();
    assert_eq!(bind(again, HOST, own), ASOCK_OK);
    assert_eq!(listen(again, 0), ASOCK_OK);
}

#[test]
fn several_listeners_share_a_port_that_they_agree_on() {
    let runtime = Runtime::on_worker();
    let open = || {
        let socket = runtime.open();
        assert_eq!(set(socket, ASOCK_OPTION_REUSE_PORT, 1), ASOCK_OK);
        socket
    };
    let (first, second) = (open(), open());
    assert_eq!(bind(first, "127.0.0.1", 0), ASOCK_OK);
    assert_eq!(bind(second, "127.0.0.1", port(first)), ASOCK_OK);
    assert_eq!(listen(first, 0), ASOCK_OK);
    assert_eq!(listen(second, 0), ASOCK_OK);
}

#[test]
fn a_listener_does_nothing_but_accept() {
    on_both(|runtime| {
        let socket = listener(&runtime);
        let (recorder, room) = (runtime.recorder(), Memory::new(4));
        let other = Listener::new();
        let rows = [
            (
                recorder.send(socket, &Memory::of(b"x"), 0),
                ASOCK_KIND_SEND,
                ASOCK_NOT_CONNECTED,
            ),
            (
                recorder.receive(socket, &room, 0),
                ASOCK_KIND_RECEIVE,
                ASOCK_NOT_CONNECTED,
            ),
            (
                recorder.receive(socket, &room, ASOCK_RECEIVE_OUT_OF_BAND),
                ASOCK_KIND_RECEIVE,
                ASOCK_NOT_CONNECTED,
            ),
            (
                recorder.connect(socket, other.port()),
                ASOCK_KIND_CONNECT,
                ASOCK_INVALID_STATE,
            ),
        ];
        for (op, kind, status) in rows {
            recorder.completion_of(op).expect(kind, status);
        }
        assert_eq!(
            asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH),
            ASOCK_NOT_CONNECTED
        );
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_INVALID_STATE);
        assert!(other.try_accept().is_none());
        // It still listens.
        let op = recorder.accept(socket);
        let _client = client(socket);
        new_socket(&recorder.completion_of(op));
    });
}

#[test]
fn what_does_not_listen_cannot_accept() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let expect = |socket| {
            let op = recorder.accept(socket);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_ACCEPT, ASOCK_INVALID_STATE);
            assert_eq!(completion.value, 0);
        };
        let socket = runtime.open();
        expect(socket);
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
        expect(socket);
        let peer = Peer::silent();
        let connected = runtime.connected(peer.port());
        expect(connected);
        let datagram = open_datagram(&runtime);
        assert_eq!(bind(datagram, "127.0.0.1", 0), ASOCK_OK);
        expect(datagram);
        let hole = BlackHole::new();
        let connecting = runtime.open();
        let op = recorder.connect(connecting, hole.port());
        expect(connecting);
        assert!(is_pending(op));
        // None of them has left anything behind.
        assert_eq!(runtime.stats().sockets_open, 4);
    });
}

#[test]
fn a_closed_listener_is_gone() {
    const HOST: &str = "127.0.0.79"; // Nobody else takes a port there that was just given back.
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for accepts in [false, true] {
            let socket = listener_on(&runtime, HOST);
            let own = port(socket);
            if accepts {
                let op = recorder.accept(socket);
                assert_pending(&runtime, op);
            }
            // One that waits to be accepted is told.
            let mut waiting = (!accepts).then(|| client_of(HOST, socket));
            recorder.close_now(socket);
            assert!(TcpStream::connect((HOST, own)).is_err());
            assert!(TcpListener::bind((HOST, own)).is_ok());
            if let Some(waiting) = &mut waiting {
                assert_gone(waiting);
            }
        }
    });
}
