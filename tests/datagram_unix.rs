//! Datagrams over unix sockets: with paths, with abstract names and without any, as far as their addresses allow.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{address, get, local, remote, text};
use common::datagram::*;
use common::server::Place;
use common::*;
use std::os::unix::net::UnixDatagram;

const RECEIVE_FROM: u32 = ASOCK_KIND_RECEIVE_FROM;

/// Names of both sorts that nothing has.
fn names(what: &str) -> [(String, Option<Place>); 2] {
    let place = Place::new();
    let abstract_name = format!("unix:@asock-{}-{what}", std::process::id());
    [(place.host(), Some(place)), (abstract_name, None)]
}

fn bound_to(runtime: &Runtime, host: &str) -> asock_socket {
    let socket = open(runtime);
    assert_eq!(try_bind(socket, Some(host), 0), ASOCK_OK);
    socket
}

#[test]
fn datagrams_between_names() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for ((one, _one), (other, _other)) in names("one").into_iter().zip(names("other")) {
            let (server, client) = (bound_to(&runtime, &one), bound_to(&runtime, &other));
            let (to, from) = (address(&one, 0), address(&other, 0));
            recorder.put_to(client, b"ping", &to);
            recorder.expect_from(server, b"ping", &from);
            recorder.put_to(server, b"pong", &from);
            recorder.expect_from(client, b"pong", &to);
            // The same with connects, and the sizes as they were.
            let op = recorder.connect_to(client, &one, 0);
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_eq!(remote(client), Ok(to));
            for bytes in [&b"connected"[..], b"", &[7; 5000]] {
                recorder.put(client, bytes);
                recorder.expect_from(server, bytes, &from);
            }
            recorder.put(client, b"cut off");
            let (completion, bytes, _) = recorder.take_from(server, 3, 0);
            assert_eq!(completion.flags, ASOCK_RESULT_TRUNCATED);
            assert_eq!(bytes, b"cut");
            recorder.put(client, b"cut off");
            let (completion, bytes) = recorder.take(server, 3, 0);
            assert_eq!(completion.flags, ASOCK_RESULT_TRUNCATED);
            assert_eq!(bytes, b"cut");
            assert_eq!(asock_close(server), ASOCK_OK);
            assert_eq!(asock_close(client), ASOCK_OK);
        }
    });
}

#[test]
fn a_sender_without_a_name() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for (name, _place) in names("unnamed") {
            let server = bound_to(&runtime, &name);
            let (room, from) = (Memory::new(9), Sender::default());
            let waiting = recorder.receive_from(server, &room, 0, &from);
            // The first send makes it; it stays without a name.
            let client = open(&runtime);
            recorder.put_to(client, b"who?", &address(&name, 0));
            let completion = recorder.completion_of(waiting);
            completion.expect(RECEIVE_FROM, ASOCK_OK);
            let sender = from.address();
            // SAFETY: it is an address.
            let family = unsafe { asock_address_family(&raw const sender) };
            assert_eq!(family, ASOCK_FAMILY_UNIX);
            assert_eq!(text(&sender), "unix:");
            assert_eq!(local(client).map(|own| text(&own)), Ok("unix:".to_owned()));
            assert_eq!(&room.bytes()[..4], b"who?");
            // Nobody can answer.
            let op = recorder.send_to(server, &Memory::of(b"?"), 0, &sender);
            assert_ne!(recorder.completion_of(op).status, ASOCK_OK);
            assert_eq!(asock_close(server), ASOCK_OK);
        }
    });
}

#[test]
fn a_plain_socket_at_the_other_end() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (ours, theirs) = (Place::new(), Place::new());
        let socket = bound_to(&runtime, &ours.host());
        let peer = UnixDatagram::bind(theirs.path()).expect("binds");
        peer.set_read_timeout(Some(LIMIT)).expect("it is a socket");
        peer.send_to(b"hello", ours.path()).expect("it goes");
        recorder.expect_from(socket, b"hello", &address(&theirs.host(), 0));
        recorder.put_to(socket, b"back", &address(&theirs.host(), 0));
        let mut room = [0; 10];
        let (count, from) = peer.recv_from(&mut room).expect("it has come");
        assert_eq!(&room[..count], b"back");
        assert_eq!(from.as_pathname(), Some(ours.path()));
        // The close removes the file that the bind has made, and no other.
        assert_eq!(asock_close(socket), ASOCK_OK);
        until("the file is gone", || !ours.path().exists());
        assert!(theirs.path().exists());
    });
}

#[test]
fn where_nobody_is() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for (name, place) in names("nobody") {
            let status = match place {
                Some(_) => ASOCK_ADDRESS_NOT_AVAILABLE, // There is no such file.
                None => ASOCK_CONNECTION_REFUSED,
            };
            let socket = open(&runtime);
            let op = recorder.connect_to(socket, &name, 0);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, status);
            let op = recorder.send_to(socket, &Memory::of(b"?"), 0, &address(&name, 0));
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND_TO, status);
            // Somebody comes, and everything is well.
            let server = bound_to(&runtime, &name);
            recorder.put_to(socket, b"!", &address(&name, 0));
            assert_eq!(recorder.take(server, 9, 0).1, b"!");
            let op = recorder.connect_to(socket, &name, 0);
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            // And goes again: that is the send's own failure, and no receive's.
            let waiting = recorder.receive(socket, &Memory::new(9), 0);
            let op = recorder.close(server, 0);
            recorder.completion_of(op);
            let op = recorder.send(socket, &Memory::of(b"?"), 0);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_REFUSED);
            assert!(is_pending(waiting));
            assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
            assert_eq!(asock_close(socket), ASOCK_OK);
            recorder
                .completion_of(waiting)
                .expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
        }
    });
}

#[test]
fn a_stream_and_a_datagram_socket_do_not_fit() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let (name, _) = &names("misfit")[1];
    let server = bound_to(&runtime, name);
    let stream = runtime.open();
    let op = recorder.connect_to(stream, name, 0);
    assert_ne!(recorder.completion_of(op).status, ASOCK_OK);
    // An address of another family than the socket's.
    let op = recorder.send_to(server, &Memory::of(b"?"), 0, &address("127.0.0.1", 9));
    assert_ne!(recorder.completion_of(op).status, ASOCK_OK);
}
