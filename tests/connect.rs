//! Connecting, as far as one connect is concerned: whom it reaches, how it fails, and what becomes of the handle.
//!
//! What .NET gets wrong here is why this file exists: there a refused connect sometimes fails in the call and sometimes
//! in the completion. Here it is always the completion, and the handle may try again. Others: `connect_pending`, about
//! what happens while a connect has no answer yet.
#![allow(unsafe_code)] // The functions under test take pointers.
#![allow(clippy::print_stderr)] // A part that is left out must say so where people look.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::ptr::null_mut;
use std::sync::Arc;

#[test]
fn a_refusal_is_always_a_completion() {
    let refused = Refused::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let same = runtime.open();
        for round in 0..200 {
            // Half of them on one handle: a refused connect leaves it as good as new.
            let socket = if round % 2 == 0 { same } else { runtime.open() };
            let op = recorder.connect(socket, refused.port());
            let completion = recorder.wait_for(round + 1)[round];
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_CONNECTION_REFUSED);
            assert_eq!(completion.os_error, libc::ECONNREFUSED);
            assert_eq!((completion.op, completion.socket), (op, socket));
            if socket != same {
                assert_eq!(asock_close(socket), ASOCK_OK);
            }
        }
        runtime.stop();
        assert_eq!(recorder.count(), 200, "exactly one completion each");
    });
}

#[test]
fn after_a_refusal_the_handle_connects_with_its_options() {
    let refused = Refused::new();
    let options = [
        (ASOCK_OPTION_NODELAY, 0),
        (ASOCK_OPTION_KEEPALIVE, 1),
        (ASOCK_OPTION_KEEPALIVE_IDLE_S, 77),
        (ASOCK_OPTION_TTL, 33),
        (ASOCK_OPTION_LINGER_S, 5),
        (ASOCK_OPTION_RECEIVE_TIMEOUT_MS, 12_345),
    ];
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        for (option, value) in options {
            assert_eq!(set(socket, option, value), ASOCK_OK);
        }
        let completion = recorder.connect_now(socket, refused.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_CONNECTION_REFUSED);
        assert_eq!(remote(socket), Ok(NO_ADDRESS));
        assert_eq!(local(socket), Ok(NO_ADDRESS));
        for (option, value) in options {
            assert_eq!(get(socket, option), Ok(value), "kept: {option}");
        }

        let listener = Listener::new();
        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        let mut peer = listener.accept();
        for (option, value) in options {
            assert_eq!(get(socket, option), Ok(value), "in force: {option}");
        }
        recorder.put(socket, b"there");
        let mut room = [0; 5];
        peer.read_exact(&mut room).expect("connected");
        assert_eq!(&room, b"there");
    });
}

/// The failure is known in its own callback: what is begun there belongs to the next connect, though what waited for the
/// failed one is still to be told.
#[test]
fn a_callback_may_connect_again() {
    const BEHIND: usize = 300;
    let (refused, echo) = (Refused::new(), Peer::echo());
    let port = echo.port();
    on_both(|runtime| {
        let socket = runtime.open();
        let (later, room) = (runtime.recorder(), Memory::new(5));
        let (inner, of_callback) = (Arc::clone(&later), room.clone());
        let recorder = runtime.recorder_with(move |result| {
            if result.kind == ASOCK_KIND_CONNECT {
                inner.connect(socket, port);
                inner.send(socket, &Memory::of(b"fresh"), 0);
                inner.receive(socket, &of_callback, ASOCK_RECEIVE_ALL);
            }
        });
        let held = Held::new(&runtime);
        recorder.connect(socket, refused.port());
        let byte = Memory::of(b"-");
        for _ in 0..BEHIND {
            recorder.send(socket, &byte, 0);
        }
        held.release();
        let all = recorder.wait_for(1 + BEHIND);
        all[0].expect(ASOCK_KIND_CONNECT, ASOCK_CONNECTION_REFUSED);
        let failed = all
            .iter()
            .filter(|one| one.status == ASOCK_CONNECTION_REFUSED);
        let late = all.iter().filter(|one| one.status == ASOCK_NOT_CONNECTED);
        assert_eq!(failed.count() + late.count(), all.len());
        let kinds = [ASOCK_KIND_CONNECT, ASOCK_KIND_SEND, ASOCK_KIND_RECEIVE];
        for (completion, kind) in later.wait_for(3).iter().zip(kinds) {
            completion.expect(kind, ASOCK_OK);
        }
        assert_eq!(room.bytes(), b"fresh");
    });
}

#[test]
fn a_second_connect_leaves_the_first_connection_alone() {
    let (first, second) = (Peer::echo(), Peer::echo());
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.connected(first.port());
        let before = remote(socket);
        for port in [first.port(), second.port()] {
            let completion = recorder.connect_now(socket, port);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_ALREADY_CONNECTED);
        }
        assert_eq!(remote(socket), before);
        recorder.put(socket, b"still here");
        assert_eq!(recorder.take_bytes(socket, 10), b"still here");
    });
    assert_eq!(second.accepted(), 0);
}

#[test]
fn nothing_works_before_a_connect() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let room = Memory::new(8);
        let ops = [
            (recorder.send(socket, &room, 0), ASOCK_KIND_SEND),
            (recorder.receive(socket, &room, 0), ASOCK_KIND_RECEIVE),
            (recorder.send(socket, &Memory::new(0), 0), ASOCK_KIND_SEND),
            (
                recorder.receive(socket, &room, ASOCK_RECEIVE_ALL),
                ASOCK_KIND_RECEIVE,
            ),
        ];
        for (op, kind) in ops {
            let completion = recorder.completion_of(op);
            completion.expect(kind, ASOCK_NOT_CONNECTED);
            assert_eq!(completion.bytes, 0);
        }
        for how in [
            ASOCK_SHUTDOWN_RECEIVE,
            ASOCK_SHUTDOWN_SEND,
            ASOCK_SHUTDOWN_BOTH,
        ] {
            assert_eq!(asock_shutdown(socket, how), ASOCK_NOT_CONNECTED);
        }
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));

        // None of that has spoilt it.
        let (listener, greeting) = (Listener::new(), b"now");
        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        listener.accept().write_all(greeting).expect("connected");
        assert_eq!(recorder.take_bytes(socket, greeting.len()), greeting);
    });
}

#[test]
fn both_families_by_text_and_by_address() {
    let ipv6 = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(listener) => Some(listener),
        Err(error) => {
            eprintln!("this machine has no IPv6 loopback ({error}): only IPv4 was connected to");
            None
        }
    };
    let ipv4 = TcpListener::bind(("127.0.0.1", 0)).expect("loopback is there");
    let both = [Some(("127.0.0.1", ipv4)), ipv6.map(|of| ("::1", of))];
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for (host, listener) in both.iter().flatten() {
            let port = listener.local_addr().expect("it is bound").port();
            let there = address(host, port);
            for by_text in [true, false] {
                let socket = runtime.open();
                let op = if by_text {
                    recorder.connect_to(socket, host, port)
                } else {
                    recorder.connect_address(socket, &there)
                };
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
                let (mut peer, from) = listener.accept().expect("it connected");
                assert_eq!(remote(socket), Ok(there));
                let here = local(socket).expect("connected");
                assert_eq!(text(&here), from.to_string());
                peer.write_all(b"x").expect("connected");
                assert_eq!(recorder.take_bytes(socket, 1), b"x");
                assert_eq!(asock_close(socket), ASOCK_OK);
            }
        }
    });
}

#[test]
fn unix_sockets_by_path() {
    let path = std::env::temp_dir().join(format!("asock-connect-{}", std::process::id()));
    let host = format!("unix:{}", path.display());
    let _ = std::fs::remove_file(&path); // Of a run that was killed, with the same number.
    let listener = UnixListener::bind(&path).expect("the directory can be written");
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let op = recorder.connect_to(socket, &host, 0);
        recorder
            .completion_of(op)
            .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        assert_eq!(text(&remote(socket).expect("connected")), host);
        let (mut peer, _) = listener.accept().expect("it connected");
        recorder.put(socket, b"ping");
        let mut room = [0; 4];
        peer.read_exact(&mut room).expect("connected");
        peer.write_all(b"pong").expect("connected");
        assert_eq!(
            (&room, recorder.take_bytes(socket, 4)),
            (b"ping", b"pong".to_vec())
        );
    });
    std::fs::remove_file(&path).expect("it is there");
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let op = recorder.connect_to(runtime.open(), &host, 0);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_ADDRESS_NOT_AVAILABLE);
        assert_eq!(completion.os_error, libc::ENOENT);
    });
}

#[test]
fn where_no_connection_can_lead() {
    // The system answers these itself: nothing leaves the machine.
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for host in ["255.255.255.255", "224.0.0.1"] {
            let socket = runtime.open();
            let op = recorder.connect_to(socket, host, 9);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_NETWORK_UNREACHABLE);
            assert_eq!(completion.os_error, libc::ENETUNREACH);
            // Not even this spoils the handle.
            let listener = Listener::new();
            let completion = recorder.connect_now(socket, listener.port());
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        }
    });
}

#[test]
fn any_address_means_this_machine() {
    let peer = Peer::echo();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let op = recorder.connect_to(socket, "0.0.0.0", peer.port());
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        recorder.put(socket, b"home");
        assert_eq!(recorder.take_bytes(socket, 4), b"home");
    });
}

#[test]
fn port_0_is_refused_in_the_call() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let socket = runtime.open();
    let mut nowhere = address("127.0.0.1", 1);
    nowhere.storage[0] &= u64::from_ne_bytes([255, 255, 0, 0, 255, 255, 255, 255]);
    assert_eq!(text(&nowhere), "127.0.0.1:0");
    let user_data = recorder.user_data();
    // SAFETY: the host ends with a zero, the address is one.
    let answers = unsafe {
        let host = c"127.0.0.1".as_ptr();
        [
            asock_begin_connect(socket, host, 0, Some(record), user_data, null_mut()),
            asock_begin_connect_address(socket, &nowhere, Some(record), user_data, null_mut()),
        ]
    };
    assert_eq!(answers, [ASOCK_INVALID_ARGUMENT; 2]);
    assert_eq!(runtime.stats().operations_begun, 0);
    runtime.stop();
    assert_eq!(recorder.count(), 0);
}

/// Where nobody listens on a port from which the system also takes the ports of outgoing connections, it comes to that
/// very port in the end, and TCP then connects the socket with itself. Other tests of this machine may take ports
/// meanwhile, so any answer but a connection with itself is fine.
fn try_to_connect_with_itself(host: &str) {
    /// Linux takes the next of its even ports each time, or, by chance, one a little further: it passes the whole of them
    /// several times, and would hit the one in question in nine of ten runs.
    const TRIES: usize = 30_000;
    const AT_ONCE: usize = 500;
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let port = unused_port();
    let sockets: Vec<_> = (0..AT_ONCE).map(|_| runtime.open()).collect();
    let mut refused = 0;
    for round in 0..TRIES / AT_ONCE {
        for socket in &sockets {
            recorder.connect_to(*socket, host, port);
        }
        let all = recorder.wait_for((round + 1) * AT_ONCE);
        for completion in &all[round * AT_ONCE..] {
            if completion.status == ASOCK_OK {
                let (here, there) = (local(completion.socket), remote(completion.socket));
                let here = here.expect("connected");
                assert_ne!(asock_address_port_of(&here), port, "{here:?} {there:?}");
            }
            refused += usize::from(completion.status == ASOCK_CONNECTION_REFUSED);
        }
    }
    assert!(refused > TRIES / 2, "{refused} refusals");
}

/// A port of the range that the system takes the ports of outgoing connections from, and of its even half, which it
/// takes first. Nobody listens there, and nobody has bound it: the system gives odd ones to those who bind any.
fn unused_port() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("Linux");
    let mut ends = range.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (ends.next(), ends.next());
    let (Some(Ok(first)), Some(Ok(last))) = (first, last) else {
        panic!("a range: {range}");
    };
    let middle = first / 2 + last / 2;
    let is_refused = |port: &u16| {
        let answer = TcpStream::connect(("127.0.0.1", *port));
        answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    let mut ports = (middle..last).filter(|port| port % 2 == first % 2);
    ports.find(is_refused).expect("not all are in use")
}

fn asock_address_port_of(address: &asock_address) -> u16 {
    // SAFETY: an address.
    unsafe { asock_address_port(address) }
}

#[test]
fn nothing_connects_with_itself() {
    try_to_connect_with_itself("127.0.0.1");
}

#[test]
fn nothing_connects_with_itself_by_any_address() {
    try_to_connect_with_itself("0.0.0.0");
}

#[test]
fn three_hundred_at_once() {
    const COUNT: usize = 300;
    let peer = Peer::echo();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let sockets: Vec<_> = (0..COUNT).map(|_| runtime.open()).collect();
        for socket in &sockets {
            recorder.connect(*socket, peer.port());
        }
        for completion in recorder.wait_for(COUNT) {
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        }
        // Each has a connection of its own: each hears its own number again.
        let numbers: Vec<_> = (0..COUNT as u32).map(u32::to_be_bytes).collect();
        let rooms: Vec<_> = (0..COUNT).map(|_| Memory::new(4)).collect();
        let talks = runtime.recorder();
        for at in 0..COUNT {
            talks.receive(sockets[at], &rooms[at], ASOCK_RECEIVE_ALL);
            talks.send(sockets[at], &Memory::of(&numbers[at]), 0);
        }
        for completion in talks.wait_for(2 * COUNT) {
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 4));
        }
        for at in 0..COUNT {
            assert_eq!(rooms[at].bytes(), numbers[at]);
        }
        assert_eq!(recorder.count(), COUNT);
    });
}
