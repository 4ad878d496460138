//! Sends and receives of several pieces of memory: the bytes in their order, any number of pieces, what a part tells, and
//! the flags.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::files::{noise, wait_stuck};
use common::memory::pattern;
use common::pieces::*;
use common::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::time::Instant;

/// More pieces than the system takes in one call.
const MANY: usize = 2400;

/// 123,456 bytes in sends of 512 and receives of 256, and then the end; both ways, single buffers and pieces with some of
/// length 0, on both families.
#[test]
fn a_stream_in_small_pieces() {
    let listeners = [
        ("127.0.0.1", TcpListener::bind((Ipv4Addr::LOCALHOST, 0))),
        ("::1", TcpListener::bind((Ipv6Addr::LOCALHOST, 0))),
    ];
    for (host, listener) in listeners {
        let listener = listener.expect("loopback is there");
        let port = listener.local_addr().expect("it listens").port();
        for vectored in [true, false] {
            on_both(|runtime| {
                let recorder = runtime.recorder();
                let socket = runtime.open();
                let connect = recorder.connect_to(socket, host, port);
                let (mut peer, _) = listener.accept().expect("one comes");
                recorder.completion_of(connect);
                let bytes = noise(123_456, 1);
                for part in bytes.chunks(512) {
                    let pieces = cut(part, &[0, 100, 0, 0, 33, 0, 200]);
                    match vectored {
                        true => recorder.send_pieces(socket, &pieces, 0),
                        false => recorder.send(socket, &Memory::of(part), 0),
                    };
                }
                assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
                let mut echoed = peer.try_clone().expect("it is a socket");
                let echo = std::thread::spawn(move || {
                    let mut got = Vec::new();
                    peer.read_to_end(&mut got).expect("all of it, and the end");
                    got
                });
                let got = echo.join().expect("no panic");
                assert!(got == bytes, "other bytes arrived");
                let back = std::thread::spawn(move || {
                    echoed.write_all(&got).expect("it is open");
                });
                let mut received = Vec::new();
                loop {
                    let (completion, part) = match vectored {
                        true => recorder.take_pieces(socket, &[100, 0, 56, 0, 100], 0),
                        false => recorder.take(socket, 256, 0),
                    };
                    completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
                    if part.is_empty() {
                        break;
                    }
                    received.extend(part);
                }
                assert!(received == bytes, "other bytes came back");
                back.join().expect("no panic");
            });
        }
    }
}

/// Five buffers of some 12 MB, sent from their insides, as one.
#[test]
fn large_buffers_in_one_send() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let lengths = [12_345_678, 12_345_679, 1, 12_300_000, 12_345_000];
        let bytes = noise(lengths.iter().sum(), 2);
        let pieces = cut(&bytes, &lengths);
        let op = recorder.send_pieces(socket, &pieces, 0);
        assert!(read_exactly(&mut peer, bytes.len()) == bytes);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(completion.bytes, bytes.len());
        assert_eq!(completion.buffer, pieces[0].pointer());
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        assert_eq!(runtime.stats().bytes_sent, bytes.len() as u64);
    });
}

/// Plain ones and vectored ones of both directions take turns, with many under way at once.
#[test]
fn they_mix_with_plain_ones() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let peer = Peer::echo();
        let socket = runtime.connected(peer.port());
        let bytes = noise(200_000, 3);
        let mut places = Vec::new();
        for (number, part) in bytes.chunks(1000).enumerate() {
            let room = rooms(if number % 3 == 0 {
                &[1000]
            } else {
                &[1, 0, 498, 501]
            });
            match number % 3 {
                0 => recorder.receive(socket, &room[0], ASOCK_RECEIVE_ALL),
                _ => recorder.receive_pieces(socket, &room, ASOCK_RECEIVE_ALL),
            };
            places.extend(room);
            match number % 4 {
                0 => recorder.send(socket, &Memory::of(part), 0),
                1 => recorder.send_pieces(socket, &cut(part, &[999, 1]), ASOCK_SEND_MORE),
                2 => recorder.send_pieces(socket, &cut(part, &[7]), ASOCK_SEND_COPY),
                _ => recorder.send_pieces(socket, &[Memory::of(part)], 0),
            };
        }
        for completion in recorder.wait_for(400) {
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 1000));
        }
        assert!(joined(&places) == bytes);
    });
}

/// More pieces than one system call takes, each of one byte or of none.
#[test]
fn any_number_of_pieces() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let peer = Peer::echo();
        let socket = runtime.connected(peer.port());
        for (count, lengths) in [
            (MANY, &[1][..]),
            (MANY, &[0, 1, 0]),
            (1024, &[1]),
            (1025, &[1]),
            (20_000, &[3]),
        ] {
            let bytes = noise(count, count as u64);
            let pieces = cut(&bytes, lengths);
            let sent = recorder.send_pieces(socket, &pieces, 0);
            let lengths: Vec<_> = pieces.iter().map(Memory::len).collect();
            let (completion, got) = recorder.take_pieces(socket, &lengths, ASOCK_RECEIVE_ALL);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
            assert!(got == bytes, "{count}");
            let completion = recorder.completion_of(sent);
            completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
            assert_eq!(completion.bytes, count);
        }
    });
}

/// Without ASOCK_RECEIVE_ALL it takes what is there, in order, and leaves the other pieces alone.
#[test]
fn a_receive_takes_what_is_there() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        for bytes in [&b"a"[..], b"abcd", b"abcdefgh", b"abcdefghij"] {
            let pieces = rooms(&[0, 3, 0, 4, 3, 0]);
            let op = recorder.receive_pieces(socket, &pieces, 0);
            assert_pending(&runtime, op);
            peer.write_all(bytes).expect("it is open");
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
            assert_eq!(completion.bytes, bytes.len());
            assert!(completion.buffer.is_null(), "that of the first piece");
            let got = joined(&pieces);
            assert_eq!(&got[..bytes.len()], bytes);
            assert!(got[bytes.len()..].iter().all(|byte| *byte == 0));
        }
    });
}

#[test]
fn receive_all_fills_every_piece_or_meets_the_end() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let first = rooms(&[5, 0, 1, 10]);
        let second = rooms(&[3, 30]);
        let ops = [
            recorder.receive_pieces(socket, &first, ASOCK_RECEIVE_ALL),
            recorder.receive_pieces(socket, &second, ASOCK_RECEIVE_ALL),
        ];
        let bytes = pattern(22);
        for part in bytes[..15].chunks(4) {
            peer.write_all(part).expect("it is open");
            assert_pending(&runtime, ops[0]);
        }
        peer.write_all(&bytes[15..]).expect("it is open");
        let completion = recorder.completion_of(ops[0]);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 16));
        assert_eq!(joined(&first), bytes[..16]);
        assert_pending(&runtime, ops[1]);
        peer.shutdown(Shutdown::Write).expect("it is open");
        let completion = recorder.completion_of(ops[1]);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 6));
        assert_eq!(joined(&second)[..6], bytes[16..]);
        let (end, _) = recorder.take_pieces(socket, &[1, 1], 0);
        assert_eq!((end.status, end.bytes), (ASOCK_OK, 0));
    });
}

#[test]
fn peek_and_urgent_data_and_nothing() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        // All of length 0: as a receive of length 0.
        let nothing = recorder.receive_pieces(socket, &rooms(&[0, 0, 0]), 0);
        assert_pending(&runtime, nothing);
        peer.write_all(b"abcdef").expect("it is open");
        let completion = recorder.completion_of(nothing);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(completion.bytes, 0);
        recorder.take(socket, 6, ASOCK_RECEIVE_PEEK); // Until all of it is there.
        for _ in 0..2 {
            let (_, got) = recorder.take_pieces(socket, &[2, 0, 3], ASOCK_RECEIVE_PEEK);
            assert_eq!(got, b"abcde");
        }
        let (_, got) = recorder.take_pieces(socket, &[2, 4], ASOCK_RECEIVE_ALL);
        assert_eq!(got, b"abcdef");
        // The urgent byte goes into the first place that there is.
        // SAFETY: one byte, which is there.
        let sent = unsafe {
            let (byte, flags) = (c"!".as_ptr().cast(), libc::MSG_OOB | libc::MSG_NOSIGNAL);
            libc::send(peer.as_raw_fd(), byte, 1, flags)
        };
        assert_eq!(sent, 1);
        let mut urgent = Vec::new();
        until("the urgent byte", || {
            let (_, got) = recorder.take_pieces(socket, &[0, 2, 3], ASOCK_RECEIVE_OUT_OF_BAND);
            urgent = got;
            !urgent.is_empty()
        });
        assert_eq!(urgent, b"!");
        // And one that is sent.
        recorder.send_pieces(socket, &cut(b"ab?", &[1]), ASOCK_SEND_OUT_OF_BAND);
        assert_eq!(read_exactly(&mut peer, 2), b"ab");
    });
}

#[test]
fn a_send_of_nothing_keeps_its_turn() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        recorder.send(socket, &Memory::of(&pattern(BIG)), 0);
        let nothing = recorder.send_pieces(socket, &rooms(&[0, 0]), 0);
        let copied = recorder.send_pieces(socket, &rooms(&[0, 0]), ASOCK_SEND_COPY);
        assert_pending(&runtime, nothing);
        read_exactly(&mut peer, BIG);
        for op in [nothing, copied] {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
            assert_eq!((completion.bytes, completion.buffer), (0, null_mut()));
        }
    });
}

/// The array may be reused at once in any case (the recorder does it), with ASOCK_SEND_COPY the memory too.
#[test]
fn a_copy_leaves_the_memory_free() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let bytes = noise(BIG, 5);
        let pieces = cut(&bytes, &[70_000, 1, 0, 333]);
        let op = recorder.send_pieces(socket, &pieces, ASOCK_SEND_COPY);
        pieces.iter().for_each(|piece| piece.fill(b'!'));
        assert!(read_exactly(&mut peer, BIG) == bytes);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(completion.bytes, BIG);
        assert_eq!(completion.buffer, pieces[0].pointer());
    });
}

/// A send that is cut tells how much went, wherever in a piece that was, and cuts those behind it.
#[test]
fn a_cut_send_tells_its_bytes() {
    for (status, end) in CUTS {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, peer) = narrow_pair(&runtime);
            let bytes = noise(16 << 20, 6);
            let pieces = cut(&bytes, &[10_007, 0, 33_333, 1]);
            let op = recorder.send_pieces(socket, &pieces, 0);
            let behind = recorder.send_pieces(socket, &cut(b"behind", &[2]), 0);
            wait_stuck(&runtime, socket, bytes.len() + 6);
            end(op);
            let first = recorder.completion_of(op);
            first.expect(ASOCK_KIND_SEND, status);
            let behind = recorder.completion_of(behind);
            behind.expect(ASOCK_KIND_SEND, status);
            assert_eq!(behind.bytes, 0);
            assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
            recorder.send_pieces(socket, &cut(b"afterwards", &[3]), 0);
            recorder.close(socket, ASOCK_CLOSE_DRAIN);
            let got = rest_of(peer);
            assert!(first.bytes > 0 && first.bytes < bytes.len());
            assert!(got[..first.bytes] == bytes[..first.bytes]);
            assert_eq!(&got[first.bytes..], b"afterwards");
        });
    }
}

/// A receive that is cut has what it tells of in its pieces, and consumed.
#[test]
fn a_cut_receive_keeps_its_bytes() {
    for (status, end) in CUTS {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, mut peer) = pair(&runtime);
            let pieces = rooms(&[4, 0, 4, 4]);
            let op = recorder.receive_pieces(socket, &pieces, ASOCK_RECEIVE_ALL);
            peer.write_all(b"abcdefghi").expect("it is open");
            until("it is there", || peeked(&pieces)[8] == b'i');
            end(op);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, status);
            assert_eq!(completion.bytes, 9);
            assert_eq!(joined(&pieces), b"abcdefghi\0\0\0");
            peer.write_all(b"jk").expect("it is open");
            let (_, got) = recorder.take_pieces(socket, &[1, 1], ASOCK_RECEIVE_ALL);
            assert_eq!(got, b"jk");
        });
    }
}

/// Each of the ways in which a socket or its runtime ends.
#[test]
fn close_drain_and_stop_end_them_once() {
    for (expected, closes, end) in ENDINGS {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, mut peer) = narrow_pair(&runtime);
            let bytes = noise(16 << 20, 7);
            let sent = recorder.send_pieces(socket, &cut(&bytes, &[5_000_000, 99]), 0);
            let room = rooms(&[2, 100]);
            let received = recorder.receive_pieces(socket, &room, ASOCK_RECEIVE_ALL);
            peer.write_all(b"abc").expect("it is open");
            until("it is there", || peeked(&room)[2] == b'c');
            wait_stuck(&runtime, socket, bytes.len());
            end(&runtime, &recorder, socket);
            let sent = recorder.completion_of(sent);
            sent.expect(ASOCK_KIND_SEND, expected);
            assert!(sent.bytes > 0 && sent.bytes < bytes.len());
            let received = recorder.completion_of(received);
            received.expect(ASOCK_KIND_RECEIVE, expected);
            assert_eq!(received.bytes, 3);
            runtime.stop_if_running();
            assert_eq!(recorder.count(), 2 + closes);
        });
    }
}

#[test]
fn a_reset_by_the_peer_is_told() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = narrow_pair(&runtime);
        let length = 16 << 20;
        let sent = recorder.send_pieces(socket, &cut(&noise(length, 8), &[1_000_000]), 0);
        let received = recorder.receive_pieces(socket, &rooms(&[1, 1]), 0);
        wait_stuck(&runtime, socket, length);
        reset(peer);
        for (op, kind) in [(sent, ASOCK_KIND_SEND), (received, ASOCK_KIND_RECEIVE)] {
            recorder
                .completion_of(op)
                .expect(kind, ASOCK_CONNECTION_RESET);
        }
        let bytes = recorder.completion_of(sent).bytes;
        assert!(bytes > 0 && bytes < length);
    });
}

#[test]
fn they_wait_for_the_connect_and_need_one() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        recorder.send_pieces(socket, &cut(b"early", &[2]), 0);
        recorder.receive_pieces(socket, &rooms(&[2, 2]), 0);
        for completion in recorder.wait_for(2) {
            assert_eq!(completion.status, ASOCK_NOT_CONNECTED);
        }
        let listener = Listener::new();
        recorder.connect(socket, listener.port());
        recorder.send_pieces(socket, &cut(b"early", &[2]), 0);
        let mut peer = listener.accept();
        assert_eq!(read_exactly(&mut peer, 5), b"early");
        recorder.wait_for(4)[3].expect(ASOCK_KIND_SEND, ASOCK_OK);
    });
}

#[test]
fn limits_of_time_and_of_the_queue_hold() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        assert_eq!(set(socket, ASOCK_OPTION_RECEIVE_TIMEOUT_MS, 20), ASOCK_OK);
        let start = Instant::now();
        let (completion, _) = recorder.take_pieces(socket, &[3, 3], 0);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_TIMED_OUT);
        assert_passed(start, 20);
        let bytes = noise(BIG, 9);
        let pieces = cut(&bytes, &[1 << 20]);
        let limit = BIG as i64 + 3;
        assert_eq!(set(socket, ASOCK_OPTION_SEND_QUEUE_LIMIT, limit), ASOCK_OK);
        recorder.send_pieces(socket, &pieces, 0);
        // So often that a message that was not used again would be missed.
        for _ in 0..10 {
            let (status, _) = recorder.try_send_pieces(socket, &pieces, 0);
            assert_eq!(status, ASOCK_QUEUE_FULL);
        }
        assert!(read_exactly(&mut peer, BIG) == bytes);
        recorder.wait_for(2)[1].expect(ASOCK_KIND_SEND, ASOCK_OK);
    });
}

/// Collected by `asock_end`, polled, told to nobody.
#[test]
fn they_are_delivered_in_every_way() {
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    let out = cut(b"0123456789", &[3]);
    let sent = end(plain_vectored(asock_begin_send_vectored, socket, &out));
    assert_eq!((sent.kind, sent.status), (ASOCK_KIND_SEND, ASOCK_OK));
    assert_eq!((sent.bytes, sent.buffer), (10, out[0].pointer()));
    assert_eq!(read_exactly(&mut peer, 10), b"0123456789");
    let room = rooms(&[2, 5]);
    let op = plain_vectored(asock_begin_receive_vectored, socket, &room);
    peer.write_all(b"abc").expect("it is open");
    let received = end(op);
    assert_eq!((received.kind, received.bytes), (ASOCK_KIND_RECEIVE, 3));
    assert_eq!(joined(&room), b"abc\0\0\0\0");
    let status = try_untold_vectored(asock_begin_send_vectored, socket, &out);
    assert_eq!(status, ASOCK_OK);
    assert_eq!(read_exactly(&mut peer, 10), b"0123456789");
    // Nobody could see the result of such a receive.
    let status = try_untold_vectored(asock_begin_receive_vectored, socket, &room);
    assert_eq!(status, ASOCK_INVALID_ARGUMENT);
    runtime.stop();

    let runtime = Runtime::on_poll();
    let (socket, mut peer) = pair(&runtime);
    peer.write_all(b"abc").expect("it is open");
    let status = try_untold_vectored(asock_begin_receive_vectored, socket, &room);
    assert_eq!(status, ASOCK_OK);
    let (status, results) = poll(&runtime, -1, 1);
    assert_eq!((status, results.len()), (ASOCK_OK, 1));
    assert_eq!(results[0].kind, ASOCK_KIND_RECEIVE);
    assert_eq!(results[0].buffer, room[0].pointer());
    runtime.stop();
    drop((out, room));
}

/// Buffers of the system of length 0, or as small as it allows.
#[test]
fn without_buffers_of_the_system() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let peer = Peer::echo();
        let socket = runtime.open();
        for option in [ASOCK_OPTION_SEND_BUFFER, ASOCK_OPTION_RECEIVE_BUFFER] {
            assert_eq!(set(socket, option, 0), ASOCK_OK);
        }
        recorder.connect_now(socket, peer.port());
        let bytes = noise(10_000, 10);
        recorder.send_pieces(socket, &cut(&bytes, &[1000, 24]), 0);
        let (completion, got) = recorder.take_pieces(socket, &[9000, 1000], ASOCK_RECEIVE_ALL);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert!(got == bytes);
    });
}

/// One datagram is gathered from the pieces, and one is spread over them.
#[test]
fn datagrams() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = common::datagram::pair(&runtime);
        let mut room = [0; 100];
        for bytes in [&b"gathered"[..], b"x", b""] {
            let pieces = match bytes.is_empty() {
                true => rooms(&[0, 0]),
                false => cut(bytes, &[3, 0, 1]),
            };
            for flags in [0, ASOCK_SEND_COPY] {
                let op = recorder.send_pieces(socket, &pieces, flags);
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
                assert_eq!(completion.bytes, bytes.len());
                let count = peer.recv(&mut room).expect("one comes");
                assert_eq!(&room[..count], bytes);
            }
        }
        peer.send(b"spread").expect("it is connected");
        let (completion, got) = recorder.take_pieces(socket, &[1, 0, 4, 9], 0);
        assert_eq!((completion.status, completion.flags), (ASOCK_OK, 0));
        assert_eq!(got, b"spread");
        peer.send(b"truncated").expect("it is connected");
        let (completion, got) = recorder.take_pieces(socket, &[2, 3], 0);
        assert_eq!(completion.flags, ASOCK_RESULT_TRUNCATED);
        assert_eq!((completion.status, &got[..]), (ASOCK_OK, &b"trunc"[..]));
        // All or nothing.
        let op = recorder.send_pieces(socket, &cut(&noise(MANY, 11), &[1]), 0);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_MESSAGE_TOO_LONG);
        assert_eq!(completion.bytes, 0);
        let op = recorder.send_pieces(socket, &cut(&noise(1024, 12), &[1, 0]), 0);
        recorder.completion_of(op).expect(ASOCK_KIND_SEND, ASOCK_OK);
        let mut room = [0; 2000];
        assert_eq!(peer.recv(&mut room).expect("one comes"), 1024);
        let file = common::files::file_of(b"bytes");
        for length in [5, 0] {
            let op = recorder.send_file(socket, &file, 0, length);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_NOT_SUPPORTED);
        }
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
    });
}

/// An array with a NULL in it, or none at all, begins nothing.
#[test]
fn bad_arrays_begin_nothing() {
    let runtime = Runtime::on_worker();
    let (socket, _peer) = pair(&runtime);
    let recorder = runtime.recorder();
    let bad = [asock_buffer {
        data: null_mut(),
        length: 1,
    }];
    for (array, count) in [
        (bad.as_ptr(), 1),
        (bad.as_ptr(), 0),
        (null(), 1),
        (null(), 0),
    ] {
        let user_data = recorder.user_data();
        for begin in [
            asock_begin_send_vectored as Begin,
            asock_begin_receive_vectored,
        ] {
            let none = null_mut();
            // SAFETY: such arrays are answered.
            let status = unsafe { begin(socket, array, count, 0, Some(record), user_data, none) };
            assert_eq!(status, ASOCK_INVALID_ARGUMENT);
        }
    }
    assert_eq!(runtime.stats().operations_begun, 1, "the connect");
}
