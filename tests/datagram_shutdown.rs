//! A shutdown of a datagram socket while a connect is pending: it takes effect after the connect, and where that fails and
//! the socket has no peer, it is forgotten. A connect stands behind the sends begun before it, so that it is pending for as
//! long as one of them waits for room.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{address, assert_pending};
use common::datagram::*;
use common::*;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

const WAYS: [u32; 3] = [
    ASOCK_SHUTDOWN_RECEIVE,
    ASOCK_SHUTDOWN_SEND,
    ASOCK_SHUTDOWN_BOTH,
];

/// A socket that waits for room at one peer, is then to have another, and receives meanwhile.
struct Waiting {
    socket: asock_socket,
    recorder: Arc<Recorder>,
    full: UnixDatagram,
    blocked: asock_op,
    connect: asock_op,
    receive: asock_op,
}

impl Waiting {
    fn new(runtime: &Runtime, name: &str, peer: &asock_address) -> Waiting {
        let (full, busy) = full(&format!("{name}-{}", runtime.handle()));
        let recorder = runtime.recorder();
        let socket = open(runtime);
        let blocked = recorder.send_to(socket, &Memory::of(b"blocked"), 0, &busy);
        let connect = recorder.connect_address(socket, peer);
        let receive = recorder.receive(socket, &Memory::new(9), 0);
        assert_pending(runtime, connect);
        Waiting {
            socket,
            recorder,
            full,
            blocked,
            connect,
            receive,
        }
    }

    fn status_of(&self, op: asock_op) -> asock_status {
        self.recorder.completion_of(op).status
    }
}

fn plain_unix(name: &str) -> (UnixDatagram, asock_address) {
    let (socket, address) = full(name);
    socket.set_nonblocking(true).expect("it is a socket");
    while socket.recv(&mut [0; 9]).is_ok() {}
    (socket, address)
}

#[test]
fn it_takes_effect_after_the_connect() {
    for how in WAYS {
        on_both(|runtime| {
            let (peer, there) = plain_unix(&format!("peer-{how}-{}", runtime.handle()));
            let it = Waiting::new(&runtime, &format!("after-{how}"), &there);
            let before = it.recorder.send(it.socket, &Memory::of(b"before"), 0);
            assert_eq!(asock_shutdown(it.socket, how), ASOCK_OK);
            assert_pending(&runtime, it.receive);
            while it.full.recv(&mut [0; 9]).expect("it comes") != b"blocked".len() {}
            for op in [it.blocked, it.connect, before] {
                assert_eq!(it.status_of(op), ASOCK_OK);
            }
            let after = it.recorder.send(it.socket, &Memory::of(b"after"), 0);
            let (expected, arrive) = match how {
                ASOCK_SHUTDOWN_RECEIVE => (ASOCK_OK, 2),
                _ => (ASOCK_SHUT_DOWN, 1),
            };
            assert_eq!(it.status_of(after), expected);
            let arrived = (0..).take_while(|_| peer.recv(&mut [0; 9]).is_ok());
            assert_eq!(arrived.count(), arrive);
            match how {
                ASOCK_SHUTDOWN_SEND => assert_pending(&runtime, it.receive),
                _ => {
                    let completion = it.recorder.completion_of(it.receive);
                    assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
                }
            }
        });
    }
}

#[test]
fn it_goes_with_the_connect_that_fails() {
    for how in WAYS {
        on_both(|runtime| {
            let (peer, there) = plain_unix(&format!("spared-{how}-{}", runtime.handle()));
            let it = Waiting::new(&runtime, &format!("fails-{how}"), &there);
            assert_eq!(asock_shutdown(it.socket, how), ASOCK_OK);
            assert_pending(&runtime, it.receive);
            assert_eq!(asock_cancel(it.connect), ASOCK_OK);
            assert_eq!(it.status_of(it.connect), ASOCK_CANCELED);
            assert_eq!(asock_shutdown(it.socket, how), ASOCK_NOT_CONNECTED);
            let after = it
                .recorder
                .send_to(it.socket, &Memory::of(b"after"), 0, &there);
            assert_pending(&runtime, after);
            assert_pending(&runtime, it.receive);
            assert_eq!(asock_cancel(it.blocked), ASOCK_OK);
            assert_eq!(it.status_of(it.blocked), ASOCK_CANCELED);
            assert_eq!(it.status_of(after), ASOCK_OK);
            assert_eq!(peer.recv(&mut [0; 9]).ok(), Some(5));
        });
    }
}

/// The worker hears of it when the connect has failed already, of which the application does not know yet.
#[test]
fn it_goes_with_a_connect_that_has_just_failed() {
    for how in WAYS {
        let runtime = Runtime::on_worker();
        let recorder = runtime.recorder();
        let (peer, there) = plain("127.0.0.1");
        let (socket, _) = bound(&runtime, "127.0.0.1");
        let receive = recorder.receive(socket, &Memory::new(9), 0);
        let held = Held::new(&runtime);
        let connect = recorder.connect_address(socket, &address("::1", 9));
        assert_eq!(asock_shutdown(socket, how), ASOCK_OK);
        held.release();
        let completion = recorder.completion_of(connect);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_NOT_SUPPORTED);
        recorder.put_to(socket, b"after", &there);
        assert_eq!(peer.recv(&mut [0; 9]).expect("it has come"), 5);
        assert_pending(&runtime, receive);
    }
}

/// A socket that has a peer keeps it when another connect fails, and then there is something to shut down.
#[test]
fn it_stays_where_there_was_a_peer_before() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (_full, busy) = full(&format!("stays-{}", runtime.handle()));
        let (_first, first) = plain_unix(&format!("first-{}", runtime.handle()));
        let socket = open(&runtime);
        let op = recorder.connect_address(socket, &first);
        assert_eq!(recorder.completion_of(op).status, ASOCK_OK);
        let blocked = recorder.send_to(socket, &Memory::of(b"blocked"), 0, &busy);
        let receive = recorder.receive(socket, &Memory::new(9), 0);
        let connect = recorder.connect_address(socket, &first);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
        assert_pending(&runtime, receive);
        for op in [connect, blocked] {
            assert_eq!(asock_cancel(op), ASOCK_OK);
            assert_eq!(recorder.completion_of(op).status, ASOCK_CANCELED);
        }
        let completion = recorder.completion_of(receive);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        let op = recorder.send(socket, &Memory::of(b"after"), 0);
        assert_eq!(recorder.completion_of(op).status, ASOCK_SHUT_DOWN);
    });
}
