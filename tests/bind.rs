//! Local addresses: what `asock_bind` takes, what it refuses at once, and what a bound socket does when it connects.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

/// A machine without IPv6 has no address to bind to there.
fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn a_socket_gets_the_address_that_was_asked_for() {
    on_both(|runtime| {
        for datagram in [false, true] {
            let open = || match datagram {
                true => open_datagram(&runtime),
                false => runtime.open(),
            };
            let socket = open();
            assert_eq!(local_text(socket), "");
            assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
            assert_ne!(port(socket), 0);
            assert_eq!(local_text(socket), format!("127.0.0.1:{}", port(socket)));
            assert_eq!(text(&remote(socket).expect("it answers")), "");

            let place = Place::new();
            let socket = open();
            assert_eq!(bind(socket, &place.host(), 7), ASOCK_OK);
            assert_eq!(local_text(socket), place.host());
            assert!(place.path().exists());

            let name = format!("unix:@asock-{}-{datagram}", std::process::id());
            let socket = open();
            assert_eq!(bind(socket, &name, 0), ASOCK_OK);
            assert_eq!(local_text(socket), name);
            assert_eq!(asock_close(socket), ASOCK_OK);

            if has_ipv6() {
                let socket = open();
                assert_eq!(bind(socket, "::1", 0), ASOCK_OK);
                assert_eq!(local_text(socket), format!("[::1]:{}", port(socket)));
            }
        }
    });
}

#[test]
fn any_address_is_of_both_families() {
    let runtime = Runtime::on_worker();
    let socket = runtime.open();
    assert_eq!(bind_any(socket, 0), ASOCK_OK);
    let (text, port) = (local_text(socket), port(socket));
    if !has_ipv6() {
        assert_eq!(text, format!("0.0.0.0:{port}"));
        return;
    }
    assert_eq!(text, format!("[::]:{port}"));
    assert_eq!(get(socket, ASOCK_OPTION_V6_ONLY), Ok(0));
    // The port is taken in both families.
    for host in ["127.0.0.1", "::1"] {
        let other = open_datagram(&runtime);
        assert_eq!(bind(other, host, port), ASOCK_OK, "another protocol");
    }
    let first = open_datagram(&runtime);
    assert_eq!(bind_any(first, 0), ASOCK_OK);
    let taken = common::server::port(first);
    for host in ["127.0.0.1", "::1"] {
        let other = open_datagram(&runtime);
        assert_eq!(bind(other, host, taken), ASOCK_ADDRESS_IN_USE, "{host}");
    }

    let only = runtime.open();
    assert_eq!(set(only, ASOCK_OPTION_V6_ONLY, 1), ASOCK_OK);
    assert_eq!(bind_any(only, 0), ASOCK_OK);
    assert_eq!(get(only, ASOCK_OPTION_V6_ONLY), Ok(1));
}

#[test]
fn what_cannot_be_is_said_at_once() {
    on_both(|runtime| {
        let taken = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let taken = taken.local_addr().map(|own| (own.port(), taken));
        let (in_use, _listener) = taken.expect("it is bound");
        let socket = runtime.open();
        assert_eq!(bind(socket, "127.0.0.1", in_use), ASOCK_ADDRESS_IN_USE);
        // 203.0.113.0/24 is for documents only; no machine has it.
        assert_eq!(bind(socket, "203.0.113.1", 0), ASOCK_ADDRESS_NOT_AVAILABLE);
        let nowhere = "unix:/nonexistent/socket";
        assert_eq!(bind(socket, nowhere, 0), ASOCK_ADDRESS_NOT_AVAILABLE);
        let long = format!("unix:/{}", "p".repeat(120));
        assert_eq!(bind(socket, &long, 0), ASOCK_INVALID_ARGUMENT);
        assert_eq!(bind(socket, "localhost", 0), ASOCK_INVALID_ARGUMENT);
        // None of that has changed the socket.
        assert_eq!(local_text(socket), "");
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_INVALID_STATE, "twice");
        assert_eq!(bind_any(socket, 0), ASOCK_INVALID_STATE, "twice");

        let peer = Peer::silent();
        let connected = runtime.connected(peer.port());
        assert_eq!(bind(connected, "127.0.0.1", 0), ASOCK_INVALID_STATE);
        let hole = BlackHole::new();
        let connecting = runtime.open();
        let recorder = runtime.recorder();
        let op = recorder.connect(connecting, hole.port());
        assert_eq!(bind(connecting, "127.0.0.1", 0), ASOCK_INVALID_STATE);
        assert_eq!(asock_cancel(op), ASOCK_OK);
        recorder.completion_of(op);
        // After a failed connect it is as new.
        assert_eq!(bind(connecting, "127.0.0.1", 0), ASOCK_OK);
        assert_eq!(asock_close(connecting), ASOCK_OK);
        assert_eq!(bind(connecting, "127.0.0.1", 0), ASOCK_BAD_HANDLE);
    });
}

#[test]
fn options_set_before_hold_for_the_bind() {
    let runtime = Runtime::on_worker();
    let first = open_datagram(&runtime);
    assert_eq!(set(first, ASOCK_OPTION_REUSE_PORT, 1), ASOCK_OK);
    assert_eq!(bind(first, "127.0.0.1", 0), ASOCK_OK);
    let shared = port(first);
    assert_eq!(get(first, ASOCK_OPTION_REUSE_PORT), Ok(1));
    let second = open_datagram(&runtime);
    assert_eq!(bind(second, "127.0.0.1", shared), ASOCK_ADDRESS_IN_USE);
    assert_eq!(set(second, ASOCK_OPTION_REUSE_PORT, 1), ASOCK_OK);
    assert_eq!(bind(second, "127.0.0.1", shared), ASOCK_OK);

    // On for streams unless turned off, as servers need it.
    let stream = runtime.open();
    assert_eq!(bind(stream, "127.0.0.1", 0), ASOCK_OK);
    assert_eq!(get(stream, ASOCK_OPTION_REUSE_ADDRESS), Ok(1));
    let stream = runtime.open();
    assert_eq!(set(stream, ASOCK_OPTION_REUSE_ADDRESS, 0), ASOCK_OK);
    assert_eq!(set(stream, ASOCK_OPTION_SEND_BUFFER, 20_000), ASOCK_OK);
    assert_eq!(bind(stream, "127.0.0.1", 0), ASOCK_OK);
    assert_eq!(get(stream, ASOCK_OPTION_REUSE_ADDRESS), Ok(0));
    assert_eq!(get(stream, ASOCK_OPTION_SEND_BUFFER), Ok(40_000));
    // Options set after it hold too.
    assert_eq!(set(stream, ASOCK_OPTION_KEEPALIVE, 1), ASOCK_OK);
    assert_eq!(get(stream, ASOCK_OPTION_KEEPALIVE), Ok(1));
}

#[test]
fn a_bound_socket_connects_from_there() {
    on_both(|runtime| {
        let listener = Listener::new();
        let recorder = runtime.recorder();
        let socket = runtime.open();
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
        let own = port(socket);
        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        let stream = listener.accept();
        assert_eq!(stream.peer_addr().expect("it is connected").port(), own);
        assert_eq!(port(socket), own);
        recorder.put(socket, b"hello");

        // From a socket of both families to an address of the older one, and by name.
        for host in ["127.0.0.1", "localhost"] {
            let socket = runtime.open();
            assert_eq!(bind_any(socket, 0), ASOCK_OK);
            let own = port(socket);
            let op = recorder.connect_to(socket, host, listener.port());
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            let stream = listener.accept();
            assert_eq!(stream.peer_addr().expect("it is connected").port(), own);
        }
    });
}

#[test]
fn after_a_failed_connect_the_socket_is_still_bound() {
    on_both(|runtime| {
        let (refused, hole, listener) = (Refused::new(), BlackHole::new(), Listener::new());
        // A port that was free a moment ago.
        let probe = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let own = probe.local_addr().expect("it is bound").port();
        drop(probe);
        let recorder = runtime.recorder();
        let socket = runtime.open();
        assert_eq!(set(socket, ASOCK_OPTION_SEND_BUFFER, 20_000), ASOCK_OK);
        assert_eq!(bind(socket, "127.0.0.1", own), ASOCK_OK);
        let completion = recorder.connect_now(socket, refused.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_CONNECTION_REFUSED);
        assert_eq!(local_text(socket), format!("127.0.0.1:{own}"));

        let op = recorder.connect(socket, hole.port());
        assert_pending(&runtime, op);
        assert_eq!(asock_cancel(op), ASOCK_OK);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_CANCELED);
        assert_eq!(local_text(socket), format!("127.0.0.1:{own}"));
        assert_eq!(bind(socket, "127.0.0.1", own), ASOCK_INVALID_STATE);

        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        let stream = listener.accept();
        assert_eq!(stream.peer_addr().expect("it is connected").port(), own);
        assert_eq!(get(socket, ASOCK_OPTION_SEND_BUFFER), Ok(40_000));
        recorder.put(socket, b"hello");
    });
}

#[test]
fn the_wrong_family_never_connects() {
    on_both(|runtime| {
        let listener = Listener::new();
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let place = Place::new();
        assert_eq!(bind(socket, &place.host(), 0), ASOCK_OK);
        let completion = recorder.connect_now(socket, listener.port());
        assert_eq!(completion.kind, ASOCK_KIND_CONNECT);
        assert!(
            [ASOCK_NOT_SUPPORTED, ASOCK_INVALID_ARGUMENT].contains(&completion.status),
            "{completion:?}"
        );
        assert!(listener.try_accept().is_none());
    });
}

#[test]
fn a_file_goes_with_the_socket_that_made_it() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let close = |socket| {
            let op = recorder.close(socket, 0);
            recorder.completion_of(op);
        };
        // Heard of by the worker, and not.
        for used in [true, false] {
            let place = Place::new();
            let socket = runtime.open();
            assert_eq!(bind(socket, &place.host(), 0), ASOCK_OK);
            if used {
                let op = recorder.connect_to(socket, "unix:/nonexistent", 0);
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_CONNECT, ASOCK_ADDRESS_NOT_AVAILABLE);
            }
            let other = runtime.open();
            assert_eq!(bind(other, &place.host(), 0), ASOCK_ADDRESS_IN_USE);
            close(other);
            assert!(place.path().exists(), "it was not made by this one");
            close(socket);
            assert!(!place.path().exists(), "used: {used}");
        }
        // What others have made stays, also a stale one.
        let place = Place::new();
        drop(UnixListener::bind(place.path()).expect("it can be made"));
        let socket = runtime.open();
        assert_eq!(bind(socket, &place.host(), 0), ASOCK_ADDRESS_IN_USE);
        close(socket);
        assert!(place.path().exists());
        // Something else has taken the place meanwhile.
        let (place, aside) = (Place::new(), Place::new());
        let socket = runtime.open();
        assert_eq!(bind(socket, &place.host(), 0), ASOCK_OK);
        std::fs::rename(place.path(), aside.path()).expect("it is there");
        let _other = UnixListener::bind(place.path()).expect("the place is free");
        close(socket);
        assert!(place.path().exists());
        assert!(aside.path().exists());
        // A stop closes, too.
        let places = [Place::new(), Place::new()];
        let sockets = [runtime.open(), runtime.open()];
        for (place, socket) in places.iter().zip(sockets) {
            assert_eq!(bind(socket, &place.host(), 0), ASOCK_OK);
        }
        let op = recorder.connect_to(sockets[0], "unix:/nonexistent", 0);
        recorder.completion_of(op);
        runtime.stop();
        assert!(places.iter().all(|place| !place.path().exists()));
    });
}

/// Many threads bind one socket: one of them succeeds, and nothing is left over.
#[test]
fn one_of_many_binds_succeeds() {
    let runtime = Runtime::on_worker();
    for _ in 0..50 {
        let socket = runtime.open();
        let places = [Place::new(), Place::new(), Place::new()];
        let succeeded: usize = std::thread::scope(|scope| {
            let threads = places.each_ref().map(|place| {
                let bound = move || match bind(socket, &place.host(), 0) {
                    ASOCK_OK => 1,
                    status => {
                        assert_eq!(status, ASOCK_INVALID_STATE);
                        0
                    }
                };
                scope.spawn(bound)
            });
            let ends = threads.map(|thread| thread.join().expect("it ends"));
            ends.iter().sum()
        });
        assert_eq!(succeeded, 1);
        let left = places.iter().filter(|place| place.path().exists()).count();
        assert_eq!(left, 1);
        assert_eq!(asock_close(socket), ASOCK_OK);
    }
}

#[test]
fn a_datagram_socket_that_is_bound_is_a_real_one() {
    let runtime = Runtime::on_worker();
    let socket = open_datagram(&runtime);
    assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
    let taken = port(socket);
    assert!(UdpSocket::bind(("127.0.0.1", taken)).is_err());
    let recorder = runtime.recorder();
    recorder.completion_of(recorder.close(socket, 0));
    assert!(UdpSocket::bind(("127.0.0.1", taken)).is_ok());
}
