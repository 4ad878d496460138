//! Which address leads where: sockets of one family or of both, that listen, connect, send and receive, with addresses of
//! IPv4, of IPv6, and of IPv4 written as IPv6.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::datagram::{self, Sender};
use common::server::*;
use common::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Families {
    Four,
    Six,
    Both,
}

use Families::{Both, Four, Six};

/// Where a socket may be bound: the host (none: any), whether ASOCK_OPTION_V6_ONLY is set before, and whom it hears then.
const ENDS: [(Option<&str>, bool, Families); 8] = [
    (Some("127.0.0.1"), false, Four),
    (Some("0.0.0.0"), false, Four),
    (Some("::ffff:127.0.0.1"), false, Four),
    (Some("::1"), false, Six),
    (Some("::"), true, Six),
    (None, true, Six),
    (Some("::"), false, Both),
    (None, false, Both),
];

/// Where it may be sent to, and what that means.
const TARGETS: [(&str, Families); 3] = [
    ("127.0.0.1", Four),
    ("::ffff:127.0.0.1", Four),
    ("::1", Six),
];

/// What a client may be bound to before, if to anything, with or without ASOCK_OPTION_V6_ONLY, and which of the targets it can
/// reach then. An IPv4 socket takes no address that is written as IPv6.
type Client = (Option<Option<&'static str>>, bool, &'static [&'static str]);
const CLIENTS: [Client; 6] = [
    (None, false, &["127.0.0.1", "::ffff:127.0.0.1", "::1"]),
    (Some(None), false, &["127.0.0.1", "::ffff:127.0.0.1", "::1"]),
    (Some(None), true, &["::1"]),
    (Some(Some("127.0.0.1")), false, &["127.0.0.1"]),
    (Some(Some("::1")), false, &["::1"]),
    (
        Some(Some("::ffff:127.0.0.1")),
        false,
        &["127.0.0.1", "::ffff:127.0.0.1"],
    ),
];

/// What the system may say of a target that cannot be reached.
const UNREACHABLE: [asock_status; 4] = [
    ASOCK_CONNECTION_REFUSED,
    ASOCK_NETWORK_UNREACHABLE,
    ASOCK_NOT_SUPPORTED,
    ASOCK_INVALID_ARGUMENT,
];

/// Whether a socket that hears these families hears one of them.
fn fits(hears: Families, means: Families) -> bool {
    hears == Both || hears == means
}

fn bind_to(socket: asock_socket, host: Option<&str>, v6_only: bool) {
    if v6_only {
        assert_eq!(set(socket, ASOCK_OPTION_V6_ONLY, 1), ASOCK_OK);
    }
    assert_eq!(
        datagram::try_bind(socket, host, 0),
        ASOCK_OK,
        "{host:?}, {v6_only}"
    );
}

/// The address as IPv6 writes it, with its port: so the same on sockets of any family.
fn in_full(address: &asock_address) -> String {
    let text = text(address);
    match text.starts_with('[') {
        true => text,
        false => text
            .split_once(':')
            .map(|(host, port)| format!("[::ffff:{host}]:{port}"))
            .expect("it has a port"),
    }
}

/// A connect reaches a listener exactly where the families fit, and each end's address is the other one's.
#[test]
fn connects_and_accepts() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for (end, v6_only, hears) in ENDS {
            let listener = runtime.open();
            bind_to(listener, end, v6_only);
            assert_eq!(listen(listener, 0), ASOCK_OK);
            for ((target, means), (own, own_v6_only, reaches)) in TARGETS
                .iter()
                .flat_map(|to| CLIENTS.map(|from| (*to, from)))
            {
                let what = format!("{end:?}, {v6_only}: {target} from {own:?}, {own_v6_only}");
                let client = runtime.open();
                if let Some(own) = own {
                    bind_to(client, own, own_v6_only);
                }
                let accept = recorder.accept(listener);
                let connect = recorder.connect_to(client, target, port(listener));
                let connected = recorder.completion_of(connect);
                assert_eq!(connected.kind, ASOCK_KIND_CONNECT);
                if fits(hears, means) && reaches.contains(&target) {
                    assert_eq!(connected.status, ASOCK_OK, "{what}");
                    let socket = new_socket(&recorder.completion_of(accept));
                    let ends = [remote(socket), local(client), local(socket), remote(client)];
                    let [theirs, own, mine, there] =
                        ends.map(|address| in_full(&address.expect("it is connected")));
                    assert_eq!((theirs, mine), (own, there), "{what}");
                    recorder.put(client, b"hello");
                    assert_eq!(recorder.take_bytes(socket, 5), b"hello", "{what}");
                    recorder.close_now(socket);
                } else {
                    let known = UNREACHABLE.contains(&connected.status);
                    assert!(known, "{what}: {connected:?}");
                    if reaches.contains(&target) {
                        assert_eq!(connected.status, ASOCK_CONNECTION_REFUSED, "{what}");
                    }
                    assert_pending(&runtime, accept);
                    assert_eq!(asock_cancel(accept), ASOCK_OK);
                    recorder.completion_of(accept);
                }
                recorder.close_now(client);
            }
            recorder.close_now(listener);
        }
        assert_eq!(runtime.stats().sockets_open, 0);
    });
}

/// The address of a peer reads as its socket has it, and is remembered.
#[test]
fn a_server_of_both_families_sees_ipv4_in_its_own_way() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let listener = runtime.open();
        bind_to(listener, None, false);
        assert_eq!(listen(listener, 0), ASOCK_OK);
        let client = client(listener);
        let own = client.local_addr().expect("it is connected").port();
        let accepted = recorder.accepted(listener);
        let peer = text(&remote(accepted).expect("it answers"));
        assert_eq!(peer, format!("[::ffff:127.0.0.1]:{own}"));
        drop(client);
        let (completion, _) = recorder.take(accepted, 1, 0);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(
            text(&remote(accepted).expect("it answers")),
            peer,
            "remembered"
        );
    });
}

/// As with connections, so with datagrams; the sender's address can be answered as it is.
#[test]
fn datagrams() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for (end, v6_only, hears) in ENDS {
            let receiver = datagram::open(&runtime);
            bind_to(receiver, end, v6_only);
            for ((target, means), (own, own_v6_only, reaches)) in TARGETS
                .iter()
                .flat_map(|to| CLIENTS.map(|from| (*to, from)))
            {
                let what = format!("{end:?}, {v6_only}: {target} from {own:?}, {own_v6_only}");
                let client = datagram::open(&runtime);
                if let Some(own) = own {
                    bind_to(client, own, own_v6_only);
                }
                let to = address(target, port(receiver));
                let (room, from) = (Memory::new(10), Sender::default());
                let receive = recorder.receive_from(receiver, &room, 0, &from);
                let send = recorder.send_to(client, &Memory::of(b"hello"), 0, &to);
                let sent = recorder.completion_of(send);
                assert_eq!(sent.kind, ASOCK_KIND_SEND_TO);
                if fits(hears, means) && reaches.contains(&target) {
                    assert_eq!((sent.status, sent.bytes), (ASOCK_OK, 5), "{what}");
                    let received = recorder.completion_of(receive);
                    received.expect(ASOCK_KIND_RECEIVE_FROM, ASOCK_OK);
                    assert_eq!(&room.bytes()[..received.bytes], b"hello");
                    let there = from.address();
                    assert_eq!(there.reserved, 0);
                    assert_eq!(datagram::asock_address_port_of(&there), port(client));
                    recorder.put_to(receiver, b"back", &there);
                    let (answer, bytes, _) = recorder.take_from(client, 10, 0);
                    answer.expect(ASOCK_KIND_RECEIVE_FROM, ASOCK_OK);
                    assert_eq!(bytes, b"back", "{what}");
                } else {
                    assert_eq!(
                        sent.status == ASOCK_OK,
                        reaches.contains(&target),
                        "{what}: {sent:?}"
                    );
                    assert_pending(&runtime, receive);
                    assert_eq!(asock_cancel(receive), ASOCK_OK);
                    recorder.completion_of(receive);
                    assert!(from.is_untouched());
                }
                recorder.close_now(client);
            }
            recorder.close_now(receiver);
        }
        assert_eq!(runtime.stats().sockets_open, 0);
    });
}
