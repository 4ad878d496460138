//! IPv4, IPv6 and sockets of both: who reaches whom, from where, and what the ends are called. A socket of the wrong family
//! never connects.
#![allow(unsafe_code)] // The functions under test take pointers.
#![allow(clippy::print_stderr)] // A part that is left out must say so where people look.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;

/// What a socket is bound to.
#[derive(Clone, Copy, PartialEq, Debug)]
enum At {
    /// A client that is not bound.
    Nowhere,
    Host(&'static str),
    /// Both families.
    Any,
    /// The same, but IPv6 only.
    AnyIpv6,
}

const SERVERS: [At; 6] = [
    At::Host("127.0.0.1"),
    At::Host("0.0.0.0"),
    At::Host("::1"),
    At::Host("::ffff:127.0.0.1"),
    At::Any,
    At::AnyIpv6,
];
const CLIENTS: [At; 5] = [
    At::Nowhere,
    At::Host("127.0.0.1"),
    At::Host("::1"),
    At::Any,
    At::AnyIpv6,
];
const TARGETS: [&str; 3] = ["127.0.0.1", "::1", "::ffff:127.0.0.1"];

fn open_at(runtime: &Runtime, at: At) -> asock_socket {
    let socket = runtime.open();
    let status = match at {
        At::Nowhere => ASOCK_OK,
        At::Host(host) => bind(socket, host, 0),
        At::Any => bind_any(socket, 0),
        At::AnyIpv6 => {
            assert_eq!(set(socket, ASOCK_OPTION_V6_ONLY, 1), ASOCK_OK);
            bind_any(socket, 0)
        }
    };
    assert_eq!(status, ASOCK_OK, "{at:?}");
    socket
}

fn is_ipv4(target: &str) -> bool {
    target != "::1"
}

/// Whether a server hears what is sent to an address.
fn listens(server: At, target: &str) -> bool {
    match server {
        At::Host("::1") | At::AnyIpv6 => !is_ipv4(target),
        At::Any => true,
        _ => is_ipv4(target),
    }
}

/// Whether a client has a way there. One that is bound writes an address its own way; one that is not has the family that
/// is written.
fn reaches(client: At, target: &str) -> bool {
    match client {
        At::Nowhere | At::Any => true,
        // IPv6's own loopback, from where no IPv4 address is reached, and a socket that may not.
        At::Host("::1") | At::AnyIpv6 => target == "::1",
        _ => target == "127.0.0.1",
    }
}

#[test]
fn every_client_reaches_what_listens_and_nothing_else() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6: nothing was shown");
        return;
    }
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    for server in SERVERS {
        let listener = open_at(&runtime, server);
        assert_eq!(listen(listener, 0), ASOCK_OK);
        let port = port(listener);
        for client in CLIENTS {
            for target in TARGETS {
                let what = format!("{client:?} to {target} of {server:?}");
                let socket = open_at(&runtime, client);
                let op = recorder.connect_to(socket, target, port);
                let completion = recorder.completion_of(op);
                let expected = listens(server, target) && reaches(client, target);
                assert_eq!(
                    completion.status == ASOCK_OK,
                    expected,
                    "{what}: {completion:?}"
                );
                if expected {
                    let accepted = recorder.accepted(listener);
                    // The same two ends, seen from both sides, whichever way each writes an address.
                    let plain = |address: Result<asock_address, asock_status>| {
                        text(&address.expect("it answers"))
                            .replace("[::ffff:127.0.0.1]", "127.0.0.1")
                    };
                    assert_eq!(plain(local(socket)), plain(remote(accepted)), "{what}");
                    assert_eq!(plain(remote(socket)), plain(local(accepted)), "{what}");
                    recorder.put(socket, b"there");
                    assert_eq!(recorder.take_bytes(accepted, 5), b"there", "{what}");
                    recorder.close_now(accepted);
                } else {
                    let refused = [
                        ASOCK_CONNECTION_REFUSED,
                        ASOCK_NETWORK_UNREACHABLE,
                        ASOCK_NOT_SUPPORTED,
                        ASOCK_INVALID_ARGUMENT,
                    ];
                    assert!(
                        refused.contains(&completion.status),
                        "{what}: {completion:?}"
                    );
                }
                recorder.close_now(socket);
            }
        }
        recorder.close_now(listener);
    }
    assert_eq!(runtime.stats().sockets_open, 0);
}

/// The address of a peer reads as its socket has it.
#[test]
fn a_server_of_both_families_sees_ipv4_in_its_own_way() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6: nothing was shown");
        return;
    }
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let listener = open_at(&runtime, At::Any);
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
