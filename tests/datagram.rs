//! Datagram sockets: each send and each receive is one datagram, whole, with its sender, on both deliveries; what is too
//! long, empty or cut off; connects that only name the peer; and what nobody listens to.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{address, assert_pending, get, local, remote, set, text};
use common::datagram::*;
use common::memory::pattern;
use common::*;
use std::ptr::{null, null_mut};

const SEND_TO: u32 = ASOCK_KIND_SEND_TO;
const RECEIVE_FROM: u32 = ASOCK_KIND_RECEIVE_FROM;

#[test]
fn a_datagram_there_and_back() {
    for host in ["127.0.0.1", "::1"] {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (peer, peer_address) = plain(host);
            // Neither bound nor connected: the first send gives it a port.
            let socket = open(&runtime);
            assert_eq!(local(socket).expect("none yet").length, 0);
            recorder.put_to(socket, b"ping", &peer_address);
            let own = local(socket).expect("the system has chosen one");
            assert_ne!(asock_address_port_of(&own), 0);
            assert_eq!(remote(socket).expect("none").length, 0);
            let mut room = [0; 10];
            let (count, from) = peer.recv_from(&mut room).expect("it has come");
            assert_eq!(&room[..count], b"ping");
            assert_eq!(from.port(), asock_address_port_of(&own));
            peer.send_to(b"pong!", from).expect("it goes");
            recorder.expect_from(socket, b"pong!", &peer_address);
        });
    }
}

#[test]
fn receives_wait_in_line_and_tell_their_senders() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, own) = bound(&runtime, "127.0.0.1");
        let peers = [(); 3].map(|()| plain("127.0.0.1"));
        let rooms: Vec<_> = (0..6).map(|_| Memory::new(9)).collect();
        let senders: Vec<_> = (0..6).map(|_| Sender::default()).collect();
        let ops: Vec<_> = rooms
            .iter()
            .zip(&senders)
            .map(|(room, from)| recorder.receive_from(socket, room, 0, from))
            .collect();
        assert_pending(&runtime, ops[0]);
        for round in 0..2_u8 {
            for (number, (peer, _)) in peers.iter().enumerate() {
                let bytes = [round, number as u8, 7];
                peer.send_to(&bytes, ("127.0.0.1", asock_address_port_of(&own)))
                    .expect("it goes");
            }
        }
        let all = recorder.wait_for(6);
        assert!(all.iter().map(|one| one.op).eq(ops), "in the order begun");
        for (at, one) in all.iter().enumerate() {
            one.expect(RECEIVE_FROM, ASOCK_OK);
            assert_eq!((one.bytes, one.flags), (3, 0));
            assert_eq!(rooms[at].bytes()[..3], [at as u8 / 3, at as u8 % 3, 7]);
            assert_eq!(senders[at].address(), peers[at % 3].1);
        }
    });
}

#[test]
fn sends_to_several_go_out_in_order() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = open(&runtime);
        let peers = [(); 2].map(|()| plain("127.0.0.1"));
        let ops: Vec<_> = (0..40_u8)
            .map(|number| {
                let (_, to) = &peers[usize::from(number % 2)];
                recorder.send_to(socket, &Memory::of(&[number; 30]), 0, to)
            })
            .collect();
        let all = recorder.wait_for(40);
        assert!(all.iter().map(|one| one.op).eq(ops));
        for number in 0..40_u8 {
            let mut room = [0; 64];
            let count = peers[usize::from(number % 2)].0.recv(&mut room);
            assert_eq!(count.expect("it has come"), 30);
            assert_eq!(room[..30], [number; 30]);
        }
    });
}

#[test]
fn several_that_have_come_are_received_one_after_the_other() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        for _ in 0..5 {
            let waiting = recorder.receive(socket, &Memory::new(1), 0);
            assert_pending(&runtime, waiting);
            for number in 0..11 {
                peer.send(&[number; 3]).expect("it goes");
            }
            recorder.completion_of(waiting);
            for number in 1..11 {
                if number % 2 == 0 {
                    recorder.expect_from(socket, &[number; 3], &peer_address);
                } else {
                    assert_eq!(recorder.take(socket, 9, 0).1, [number; 3]);
                }
            }
        }
        // The same with nothing but receives of the other sort.
        for number in 0..5 {
            peer.send(&[number; 3]).expect("it goes");
        }
        for number in 0..5 {
            assert_eq!(recorder.take(socket, 9, 0).1, [number; 3]);
        }
    });
}

#[test]
fn two_hundred_and_fifty_six_there_and_back() {
    for host in ["127.0.0.1", "::1"] {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let ends = [(); 2].map(|()| bound(&runtime, host));
            for (socket, _) in ends {
                // The system takes that as the least that it allows.
                assert_eq!(set(socket, ASOCK_OPTION_SEND_BUFFER, 0), ASOCK_OK);
                assert_eq!(set(socket, ASOCK_OPTION_RECEIVE_BUFFER, 0), ASOCK_OK);
            }
            for number in 0..=255_u8 {
                let bytes: Vec<u8> = pattern(300).iter().map(|byte| byte ^ number).collect();
                for (one, other) in [(0, 1), (1, 0)] {
                    recorder.put_to(ends[one].0, &bytes, &ends[other].1);
                    recorder.expect_from(ends[other].0, &bytes, &ends[one].1);
                }
            }
        });
    }
}

#[test]
fn plain_sends_and_receives_on_a_connected_one() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_port = peer.local_addr().expect("bound").port();
        assert_eq!(remote(socket), Ok(address("127.0.0.1", peer_port)));
        recorder.put(socket, b"to you");
        let more = recorder.send(socket, &Memory::of(b"one"), ASOCK_SEND_MORE);
        recorder.put(socket, b"two");
        recorder
            .completion_of(more)
            .expect(ASOCK_KIND_SEND, ASOCK_OK);
        for expected in [&b"to you"[..], b"one", b"two"] {
            let mut room = [0; 20];
            let count = peer.recv(&mut room).expect("it has come");
            assert_eq!(&room[..count], expected, "each is a datagram of its own");
        }
        // Strangers are not heard.
        let (stranger, _) = plain("127.0.0.1");
        let own = local(socket).expect("bound");
        let to = ("127.0.0.1", asock_address_port_of(&own));
        stranger.send_to(b"stranger", to).expect("it goes");
        peer.send(b"to me").expect("it goes");
        let (completion, bytes) = recorder.take(socket, 20, 0);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(bytes, b"to me");
        peer.send(b"again").expect("it goes");
        recorder.expect_from(socket, b"again", &address("127.0.0.1", peer_port));
    });
}

#[test]
fn empty_datagrams_are_sent_and_received_as_such() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        // SAFETY: there is nothing to read; the recorder outlives the operation.
        let op = begun(|op| unsafe {
            asock_begin_send(socket, null(), 0, 0, Some(record), recorder.user_data(), op)
        });
        recorder.completion_of(op).expect(ASOCK_KIND_SEND, ASOCK_OK);
        recorder.put_to(socket, b"", &peer_address);
        recorder.put(socket, b"end");
        for expected in [0, 0, 3] {
            assert_eq!(peer.recv(&mut [0; 10]).expect("it has come"), expected);
        }
        for _ in 0..2 {
            peer.send(b"").expect("it goes");
        }
        peer.send(b"no end").expect("it goes");
        let (completion, bytes) = recorder.take(socket, 10, 0);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!((bytes.len(), completion.flags), (0, 0));
        recorder.expect_from(socket, b"", &peer_address);
        recorder.expect_from(socket, b"no end", &peer_address);
    });
}

#[test]
fn what_does_not_fit_is_cut_off_and_said_so() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        for _ in 0..2 {
            peer.send(&pattern(20)).expect("it goes");
            peer.send(&pattern(8)).expect("it goes");
        }
        for (length, flags) in [(8, ASOCK_RESULT_TRUNCATED), (8, 0)] {
            let (completion, bytes, from) = recorder.take_from(socket, length, 0);
            completion.expect(RECEIVE_FROM, ASOCK_OK);
            assert_eq!((&bytes[..], completion.flags), (&pattern(8)[..], flags));
            assert_eq!(from.address(), peer_address);
        }
        for (length, flags) in [(8, ASOCK_RESULT_TRUNCATED), (8, 0)] {
            let (completion, bytes) = recorder.take(socket, length, 0);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
            assert_eq!((&bytes[..], completion.flags), (&pattern(8)[..], flags));
        }
    });
}

#[test]
fn a_peek_and_a_receive_of_nothing_leave_the_datagram() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        let (nothing, from) = (Memory::new(0), Sender::default());
        let waiting = recorder.receive_from(socket, &nothing, 0, &from);
        let behind = recorder.receive(socket, &Memory::new(0), 0);
        assert_pending(&runtime, waiting);
        assert!(from.is_untouched());
        peer.send(b"peek").expect("it goes");
        for op in [waiting, behind] {
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
            assert_eq!(completion.flags, ASOCK_RESULT_TRUNCATED);
        }
        assert_eq!(from.address(), peer_address);
        for (length, flags) in [(10, 0), (10, 0), (2, ASOCK_RESULT_TRUNCATED)] {
            let (completion, bytes, from) = recorder.take_from(socket, length, ASOCK_RECEIVE_PEEK);
            completion.expect(RECEIVE_FROM, ASOCK_OK);
            assert_eq!(
                (&bytes[..], completion.flags),
                (&b"peek"[..length.min(4)], flags)
            );
            assert_eq!(from.address(), peer_address);
            let (completion, bytes) = recorder.take(socket, length, ASOCK_RECEIVE_PEEK);
            assert_eq!(
                (&bytes[..], completion.flags),
                (&b"peek"[..length.min(4)], flags)
            );
        }
        assert_eq!(runtime.stats().bytes_received, 0);
        recorder.expect_from(socket, b"peek", &peer_address);
        assert_eq!(runtime.stats().bytes_received, 4);
        let op = recorder.receive_from(socket, &Memory::new(4), 0, &from);
        assert_pending(&runtime, op);
    });
}

#[test]
fn one_that_is_too_long_is_refused_and_the_next_one_goes() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        let long = Memory::new(70_000);
        let ops = [
            recorder.send(socket, &long, 0),
            recorder.send(socket, &Memory::of(b"after"), 0),
            recorder.send_to(socket, &long, 0, &peer_address),
            recorder.send_to(socket, &Memory::of(b"after"), 0, &peer_address),
        ];
        for (at, op) in ops.into_iter().enumerate() {
            let completion = recorder.completion_of(op);
            let (status, bytes, error) = match at % 2 {
                0 => (ASOCK_MESSAGE_TOO_LONG, 0, libc::EMSGSIZE),
                _ => (ASOCK_OK, 5, 0),
            };
            assert_eq!(
                (completion.status, completion.bytes, completion.os_error),
                (status, bytes, error)
            );
        }
        for _ in 0..2 {
            assert_eq!(peer.recv(&mut [0; 10]).expect("it has come"), 5);
        }
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        assert_eq!(runtime.stats().bytes_sent, 10);
    });
}

#[test]
fn before_there_is_anything_to_work_on() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = open(&runtime);
        let from = Sender::default();
        let ops = [
            recorder.receive_from(socket, &Memory::new(4), 0, &from),
            recorder.receive(socket, &Memory::new(4), 0),
            recorder.send(socket, &Memory::of(b"to whom?"), 0),
        ];
        let statuses = [
            ASOCK_INVALID_STATE,
            ASOCK_NOT_CONNECTED,
            ASOCK_NOT_CONNECTED,
        ];
        for (op, status) in ops.into_iter().zip(statuses) {
            assert_eq!(recorder.completion_of(op).status, status);
        }
        assert!(from.is_untouched());
        assert_eq!(
            asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH),
            ASOCK_NOT_CONNECTED
        );
        // Bound, it receives from everybody, but there is nobody to send to.
        assert_eq!(try_bind(socket, Some("127.0.0.1"), 0), ASOCK_OK);
        let own = local(socket).expect("bound");
        let send = recorder.send(socket, &Memory::of(b"to whom?"), 0);
        let completion = recorder.completion_of(send);
        completion.expect(ASOCK_KIND_SEND, ASOCK_NOT_CONNECTED);
        let (peer, _) = plain("127.0.0.1");
        peer.send_to(b"all", ("127.0.0.1", asock_address_port_of(&own)))
            .expect("it goes");
        assert_eq!(recorder.take(socket, 10, 0).1, b"all");
    });
}

#[test]
fn another_connect_changes_the_peer() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = open(&runtime);
        let peers = [(); 3].map(|()| plain("127.0.0.1"));
        let mut ops = Vec::new();
        // All of it is begun at once, and takes effect in this order.
        for round in 0..6_u8 {
            let (_, to) = &peers[usize::from(round % 3)];
            ops.push(recorder.connect_address(socket, to));
            ops.push(recorder.send(socket, &Memory::of(&[round, 1]), 0));
            ops.push(recorder.send(socket, &Memory::of(&[round, 2]), 0));
        }
        let all = recorder.wait_for(ops.len());
        assert!(all.iter().all(|one| one.status == ASOCK_OK), "{all:?}");
        assert_eq!(remote(socket), Ok(peers[2].1));
        for (number, (peer, _)) in (0..).zip(&peers) {
            for expected in [[number, 1], [number, 2], [number + 3, 1], [number + 3, 2]] {
                let mut room = [0; 2];
                assert_eq!(peer.recv(&mut room).expect("it has come"), 2);
                assert_eq!(room, expected);
            }
        }
    });
}

#[test]
fn a_connect_that_fails_leaves_the_peer_as_it_was() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        let receive = recorder.receive(socket, &Memory::new(10), 0);
        // This socket is one for IPv4. The worker is held up until both are begun.
        let held = (!runtime.delivers_on_poll()).then(|| Held::new(&runtime));
        let connect = recorder.connect_address(socket, &address("::1", 9));
        if let Some(held) = held {
            let behind = recorder.send(socket, &Memory::of(b"to the new one"), 0);
            held.release();
            let behind = recorder.completion_of(behind);
            behind.expect(ASOCK_KIND_SEND, ASOCK_NOT_SUPPORTED);
        }
        let failed = recorder.completion_of(connect);
        failed.expect(ASOCK_KIND_CONNECT, ASOCK_NOT_SUPPORTED);
        assert_eq!(remote(socket), Ok(peer_address));
        recorder.put(socket, b"to the old one");
        let mut room = [0; 20];
        let count = peer.recv(&mut room).expect("it has come");
        assert_eq!(&room[..count], b"to the old one");
        peer.send(b"heard").expect("it goes");
        assert_eq!(recorder.completion_of(receive).bytes, 5);
    });
}

#[test]
fn a_connect_by_name_takes_the_first_address_that_can_be_reached() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (peer, peer_address) = plain("127.0.0.1");
        let port = asock_address_port_of(&peer_address);
        for (host, begins) in [
            ("127.0.0.1", ""),
            ("localhost", "bound"),
            ("localhost", "sends"),
        ] {
            let socket = open(&runtime);
            // With a descriptor for IPv4, what cannot be reached with it is left out.
            match begins {
                "bound" => assert_eq!(try_bind(socket, Some("127.0.0.1"), 0), ASOCK_OK),
                "sends" => {
                    recorder.put_to(socket, b"first", &peer_address);
                    assert_eq!(peer.recv(&mut [0; 20]).expect("it has come"), 5);
                }
                _ => {}
            }
            let connect = recorder.connect_to(socket, host, port);
            let send = recorder.send(socket, &Memory::of(host.as_bytes()), 0);
            let connected = recorder.completion_of(connect);
            connected.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            recorder
                .completion_of(send)
                .expect(ASOCK_KIND_SEND, ASOCK_OK);
            let mut room = [0; 20];
            let count = peer.recv(&mut room).expect("it has come");
            assert_eq!(&room[..count], host.as_bytes());
            assert_eq!(remote(socket), Ok(peer_address));
        }
    });
}

#[test]
fn a_socket_for_both_families_sends_to_either() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = open(&runtime);
        assert_eq!(try_bind(socket, None, 0), ASOCK_OK);
        let own = asock_address_port_of(&local(socket).expect("bound"));
        for host in ["127.0.0.1", "::1"] {
            let (peer, peer_address) = plain(host);
            recorder.put_to(socket, b"hello", &peer_address);
            let (count, from) = peer.recv_from(&mut [0; 10]).expect("it has come");
            assert_eq!((count, from.port()), (5, own));
            peer.send_to(b"back", (host, own)).expect("it goes");
            let (completion, bytes, from) = recorder.take_from(socket, 10, 0);
            completion.expect(RECEIVE_FROM, ASOCK_OK);
            assert_eq!(bytes, b"back");
            let port = asock_address_port_of(&peer_address);
            let expected = match host {
                "::1" => format!("[::1]:{port}"),
                _ => format!("[::ffff:127.0.0.1]:{port}"),
            };
            assert_eq!(text(&from.address()), expected);
            // It can be answered as it is.
            recorder.put_to(socket, b"again", &from.address());
            assert_eq!(peer.recv(&mut [0; 10]).expect("it has come"), 5);
        }
    });
}

#[test]
fn a_broadcast_needs_leave() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (peer, peer_address) = plain("127.255.255.255");
        let socket = open(&runtime);
        let op = recorder.send_to(socket, &Memory::of(b"all"), 0, &peer_address);
        let completion = recorder.completion_of(op);
        completion.expect(SEND_TO, ASOCK_ACCESS_DENIED);
        assert_eq!(set(socket, ASOCK_OPTION_BROADCAST, 1), ASOCK_OK);
        recorder.put_to(socket, b"all", &peer_address);
        assert_eq!(peer.recv(&mut [0; 10]).expect("it has come"), 3);
        // Set before there is a descriptor, it is kept for it.
        let socket = open(&runtime);
        assert_eq!(set(socket, ASOCK_OPTION_BROADCAST, 1), ASOCK_OK);
        recorder.put_to(socket, b"again", &peer_address);
        assert_eq!(peer.recv(&mut [0; 10]).expect("it has come"), 5);
        assert_eq!(get(socket, ASOCK_OPTION_BROADCAST), Ok(1));
    });
}

#[test]
fn a_copy_frees_the_memory_at_once() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        let memory = Memory::of(b"copied");
        for number in 0..20 {
            memory.fill(b'a' + number);
            if number % 2 == 0 {
                recorder.send_to(socket, &memory, ASOCK_SEND_COPY, &peer_address);
            } else {
                recorder.send(socket, &memory, ASOCK_SEND_COPY);
            }
            memory.fill(0);
        }
        recorder.wait_for(20);
        for number in 0..20 {
            let mut room = [0; 10];
            assert_eq!(peer.recv(&mut room).expect("it has come"), 6);
            assert_eq!(room[..6], [b'a' + number; 6]);
        }
    });
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (datagrams, _) = bound(&runtime, "127.0.0.1");
        let stream = runtime.open();
        let (memory, from) = (Memory::new(4), Sender::default());
        let to = address("127.0.0.1", 9);
        for (socket, flags) in [
            (stream, 0),
            (datagrams, ASOCK_SEND_OUT_OF_BAND),
            (datagrams, 1 << 20),
        ] {
            let (status, op) = recorder.try_send_to(socket, &memory, flags, &to);
            assert_eq!((status, op), (ASOCK_INVALID_ARGUMENT, 0));
        }
        for (socket, flags) in [
            (stream, 0),
            (datagrams, ASOCK_RECEIVE_ALL),
            (datagrams, ASOCK_RECEIVE_OUT_OF_BAND),
        ] {
            let (status, op) = recorder.try_receive_from(socket, &memory, flags, &from);
            assert_eq!((status, op), (ASOCK_INVALID_ARGUMENT, 0));
        }
        for flags in [ASOCK_RECEIVE_ALL, ASOCK_RECEIVE_OUT_OF_BAND] {
            let (status, op) = recorder.try_receive(datagrams, &memory, flags);
            assert_eq!((status, op), (ASOCK_INVALID_ARGUMENT, 0));
        }
        let (status, op) = recorder.try_send(datagrams, &memory, ASOCK_SEND_OUT_OF_BAND);
        assert_eq!((status, op), (ASOCK_INVALID_ARGUMENT, 0));
        let (status, _) = recorder.try_send_to(datagrams, &memory, 0, &calls::NO_ADDRESS);
        assert_eq!(status, ASOCK_INVALID_ARGUMENT);
        if !runtime.delivers_on_poll() {
            // SAFETY: nothing is begun.
            let status = unsafe {
                let (room, from) = (memory.pointer(), from.pointer());
                asock_begin_receive_from(datagrams, room, 4, 0, from, None, null_mut(), null_mut())
            };
            assert_eq!(status, ASOCK_INVALID_ARGUMENT, "nobody could see it");
        }
        assert_eq!(recorder.count(), 0);
        assert!(from.is_untouched());
    });
}
