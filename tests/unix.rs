//! Unix stream sockets, by path and by abstract name: the server's half; the client's is in `connect`.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::os::unix::net::UnixListener;

/// Hosts of both sorts that nothing has.
fn hosts() -> (Place, Vec<String>) {
    let place = Place::new();
    let name = place.path().file_name().expect("it has a name");
    let name = format!("unix:@{}", name.to_str().expect("a text"));
    let hosts = vec![place.host(), name];
    (place, hosts)
}

#[test]
fn both_ends_are_ours() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (_place, hosts) = hosts();
        for host in &hosts {
            let listener = runtime.open();
            assert_eq!(bind(listener, host, 0), ASOCK_OK);
            assert_eq!(listen(listener, 0), ASOCK_OK);
            let ops: Vec<_> = (0..3).map(|_| recorder.accept(listener)).collect();
            let clients: Vec<_> = (0..3).map(|_| runtime.open()).collect();
            for client in &clients {
                let op = recorder.connect_to(*client, host, 0);
                recorder
                    .completion_of(op)
                    .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
                assert_eq!(text(&remote(*client).expect("it answers")), *host);
            }
            for (number, (op, client)) in ops.iter().zip(&clients).enumerate() {
                let server = new_socket(&recorder.completion_of(*op));
                assert_eq!(local_text(server), *host);
                assert_eq!(text(&remote(server).expect("it answers")), "unix:");
                let text = format!("message {number}");
                recorder.put(*client, text.as_bytes());
                assert_eq!(recorder.take_bytes(server, text.len()), text.as_bytes());
                recorder.put(server, text.as_bytes());
                assert_eq!(recorder.take_bytes(*client, text.len()), text.as_bytes());
                recorder.close_now(server);
                assert_eq!(recorder.take(*client, 1, 0).1, b"");
                recorder.close_now(*client);
            }
            recorder.close_now(listener);
            // Nobody is there any more.
            let late = runtime.open();
            let op = recorder.connect_to(late, host, 0);
            let status = match host.contains('@') {
                true => ASOCK_CONNECTION_REFUSED,
                false => ASOCK_ADDRESS_NOT_AVAILABLE,
            };
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_CONNECT, status);
            recorder.close_now(late);
        }
        assert_eq!(runtime.stats().sockets_open, 0);
    });
}

#[test]
fn a_client_with_a_name_is_seen_by_it() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let ((_one, servers), (_other, clients)) = (hosts(), hosts());
        for (server, client) in servers.iter().zip(&clients) {
            let listener = runtime.open();
            assert_eq!(bind(listener, server, 0), ASOCK_OK);
            assert_eq!(listen(listener, 0), ASOCK_OK);
            let socket = runtime.open();
            assert_eq!(bind(socket, client, 0), ASOCK_OK);
            // Nobody listens there: the name is kept.
            let op = recorder.connect_to(socket, "unix:/nonexistent", 0);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_ADDRESS_NOT_AVAILABLE);
            let op = recorder.connect_to(socket, server, 0);
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_eq!(local_text(socket), *client);
            let accepted = recorder.accepted(listener);
            assert_eq!(text(&remote(accepted).expect("it answers")), *client);
        }
    });
}

#[test]
fn a_path_that_is_too_long_is_an_argument() {
    let runtime = Runtime::on_worker();
    let socket = runtime.open();
    // One byte is left for the zero at the end.
    for (length, bound) in [(107, true), (108, false), (200, false)] {
        for start in ["", "@"] {
            let name = format!("asock-{}-{}", std::process::id(), "n".repeat(length));
            let host = format!("unix:{start}{}", &name[..length]);
            let socket = runtime.open();
            let answer = bind(socket, &host, 0);
            let expected = if bound {
                ASOCK_OK
            } else {
                ASOCK_INVALID_ARGUMENT
            };
            assert_eq!(answer, expected, "{length} {start}");
            if bound {
                assert_eq!(local_text(socket), host);
            }
            let recorder = runtime.recorder();
            recorder.close_now(socket);
        }
    }
    assert_eq!(bind(socket, "unix:", 0), ASOCK_INVALID_ARGUMENT);
    assert_eq!(bind(socket, "unix:@", 0), ASOCK_INVALID_ARGUMENT);
}

#[test]
fn a_name_is_taken_by_one() {
    on_both(|runtime| {
        let (place, hosts) = hosts();
        for host in &hosts {
            let (first, second) = (runtime.open(), runtime.open());
            assert_eq!(bind(first, host, 0), ASOCK_OK);
            assert_eq!(bind(second, host, 0), ASOCK_ADDRESS_IN_USE);
            assert_eq!(listen(second, 0), ASOCK_INVALID_STATE);
            let recorder = runtime.recorder();
            recorder.close_now(first);
            assert_eq!(bind(second, host, 0), ASOCK_OK);
            recorder.close_now(second);
        }
        // A file that a crash has left is nobody's, and stays.
        drop(UnixListener::bind(place.path()).expect("it can be made"));
        let socket = runtime.open();
        assert_eq!(bind(socket, &place.host(), 0), ASOCK_ADDRESS_IN_USE);
        assert!(place.path().exists());
    });
}
