//! The stream: every byte arrives, in order, once, whatever the sizes and however many operations are pending; and how
//! it ends, in the peer's good time or by a reset. Flags, queues, shutdowns and limits of time have files of their own.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::memory::pattern;
use common::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

/// Begins to send bytes that are there for ever.
fn send_static(recorder: &Recorder, socket: asock_socket, data: &'static [u8]) -> asock_op {
    let (pointer, length) = (data.as_ptr().cast(), data.len());
    let user_data = recorder.user_data();
    // SAFETY: the bytes stay for ever, and the recorder outlives the operation.
    begun(|op| unsafe { asock_begin_send(socket, pointer, length, 0, Some(record), user_data, op) })
}

#[test]
fn sixty_four_megabytes_by_one_send() {
    const BLOCK: usize = 251 * 1024;
    const BLOCKS: usize = 262; // A little more than 64 MB.
    let block = pattern(BLOCK);
    let data: &'static [u8] = Vec::leak(block.repeat(BLOCKS));
    assert!(data.len() >= 64 << 20);
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let op = send_static(&recorder, socket, data);
        // The reader starts when the line is full for certain, and it is slow for a while.
        until("some of it is sent", || {
            get(socket, ASOCK_OPTION_SEND_QUEUED) < Ok(data.len() as i64)
        });
        assert_pending(&runtime, op);
        assert!(get(socket, ASOCK_OPTION_SEND_QUEUED) > Ok(0));
        let expected = block.clone();
        let reader = std::thread::spawn(move || {
            let mut room = vec![0; BLOCK];
            for at in 0..BLOCKS {
                peer.read_exact(&mut room).expect("the rest comes");
                assert!(room == expected, "block {at} differs");
                if at < 10 {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            let rest = peer.read(&mut room).expect("an end");
            assert_eq!(rest, 0, "nothing comes twice");
        });
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(completion.bytes, data.len());
        assert_eq!(completion.buffer.cast_const(), data.as_ptr().cast());
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        assert_eq!(runtime.stats().bytes_sent, data.len() as u64);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        reader.join().expect("every byte in order");
        runtime.stop();
        assert_eq!(recorder.count(), 1);
    });
}

/// Writes in pieces of random sizes, each a write of its own.
fn write_in_pieces(peer: &mut TcpStream, mut bytes: &[u8], random: &mut Random) {
    while !bytes.is_empty() {
        let count = 1 + random.below(bytes.len() as u64) as usize;
        let (piece, rest) = bytes.split_at(count);
        peer.write_all(piece).expect("connected");
        bytes = rest;
    }
}

#[test]
fn twenty_receives_complete_in_order() {
    const PENDING: usize = 20;
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        peer.set_nodelay(true).expect("it is a socket");
        let mut random = Random::new(0x20_0100);
        for burst in 0..100 {
            let recorder = runtime.recorder();
            // Receives of one byte each, or longer ones that are filled whatever the pieces are.
            let (length, flags) = [(1, 0), (7, ASOCK_RECEIVE_ALL)][burst % 2];
            let rooms: Vec<_> = (0..PENDING).map(|_| Memory::new(length)).collect();
            let ops: Vec<_> = rooms
                .iter()
                .map(|room| recorder.receive(socket, room, flags))
                .collect();
            let bytes: Vec<u8> = (0..PENDING * length).map(|_| random.next() as u8).collect();
            write_in_pieces(&mut peer, &bytes, &mut random);
            let all = recorder.wait_for(PENDING);
            assert!(
                all.iter().map(|one| one.op).eq(ops),
                "burst {burst}: {all:?}"
            );
            for (at, one) in all.iter().enumerate() {
                assert_eq!((one.status, one.bytes), (ASOCK_OK, length));
                assert_eq!(one.buffer, rooms[at].pointer());
            }
            let received: Vec<u8> = rooms.iter().flat_map(Memory::bytes).collect();
            assert_eq!(received, bytes, "burst {burst}");
        }
    });
}

#[test]
fn two_hundred_sends_complete_in_order() {
    const COUNT: usize = 200;
    const LENGTH: usize = 64 * 1024;
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let ops: Vec<_> = (0..COUNT)
            .map(|at| recorder.send(socket, &Memory::filled(LENGTH, at as u8), 0))
            .collect();
        let reader = std::thread::spawn(move || {
            let mut room = vec![0; LENGTH];
            for at in 0..COUNT {
                peer.read_exact(&mut room).expect("connected");
                assert!(room.iter().all(|byte| *byte == at as u8), "send {at}");
            }
        });
        let all = recorder.wait_for(COUNT);
        assert!(all.iter().map(|one| one.op).eq(ops));
        assert!(all
            .iter()
            .all(|one| (one.status, one.bytes) == (ASOCK_OK, LENGTH)));
        reader.join().expect("in order");
    });
}

#[test]
fn sends_of_four_threads_are_not_torn() {
    const THREADS: usize = 4;
    const SENDS: usize = 500;
    const LENGTH: usize = 1000;
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let senders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let recorder = Arc::clone(&recorder);
                std::thread::spawn(move || {
                    for number in 0..SENDS {
                        let mut message = [thread as u8; LENGTH];
                        message[..2].copy_from_slice(&(number as u16).to_be_bytes());
                        recorder.send(socket, &Memory::of(&message), 0);
                    }
                })
            })
            .collect();
        let mut next = [0; THREADS];
        let mut message = [0; LENGTH];
        for _ in 0..THREADS * SENDS {
            peer.read_exact(&mut message).expect("connected");
            let thread = message[LENGTH - 1];
            assert!(message[2..].iter().all(|byte| *byte == thread), "torn");
            let number = u16::from_be_bytes([message[0], message[1]]);
            assert_eq!(number, next[usize::from(thread)], "of thread {thread}");
            next[usize::from(thread)] += 1;
        }
        for sender in senders {
            sender.join().expect("no panic");
        }
        let all = recorder.wait_for(THREADS * SENDS);
        assert!(all
            .iter()
            .all(|one| (one.status, one.bytes) == (ASOCK_OK, LENGTH)));
    });
}

#[test]
fn a_receive_takes_what_is_there_and_no_more() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        peer.write_all(b"hello").expect("connected");
        let (completion, bytes) = recorder.take(socket, 4096, 0);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(bytes, b"hello");
        // Two receives into the halves of one buffer.
        let room = Memory::new(8);
        recorder.keep(&room);
        let user_data = recorder.user_data();
        let start = room.pointer().cast::<u8>();
        let ops = [start, start.wrapping_add(4)].map(|half| {
            let half = half.cast();
            // SAFETY: each half has four bytes; memory and recorder outlive the operations.
            begun(|op| unsafe {
                asock_begin_receive(socket, half, 4, 0, Some(record), user_data, op)
            })
        });
        peer.write_all(b"abcdefgh").expect("connected");
        for op in ops {
            assert_eq!(recorder.completion_of(op).bytes, 4);
        }
        assert_eq!(room.bytes(), b"abcdefgh");
    });
}

/// After a receive that has emptied the socket the next one may find bytes, the end, or nothing yet.
#[test]
fn what_comes_between_two_receives_is_there_for_the_second() {
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    let (none, room) = (Memory::new(0), Memory::new(8));
    let there = || assert_eq!(end(plain_receive(socket, &none, 0)).status, ASOCK_OK);
    let received = || {
        let result = end(plain_receive(socket, &room, 0));
        assert_eq!(result.status, ASOCK_OK);
        room.bytes()[..result.bytes].to_vec()
    };
    for piece in [b"ab", b"cd", b"ef"] {
        peer.write_all(piece).expect("connected");
        there();
        assert_eq!(received(), piece);
    }
    let op = plain_receive(socket, &room, 0);
    assert_pending(&runtime, op);
    peer.write_all(b"gh").expect("connected");
    assert_eq!(end(op).bytes, 2);
    drop(peer);
    there();
    assert_eq!(received(), b"");
    assert_eq!(received(), b"");
}

#[test]
fn the_end_of_the_stream_is_repeated() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let ops: Vec<_> = (0..3)
            .map(|_| recorder.receive(socket, &Memory::new(8), 0))
            .collect();
        peer.write_all(b"bye").expect("connected");
        let completion = recorder.completion_of(ops[0]);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 3));
        assert_pending(&runtime, ops[1]);
        peer.shutdown(Shutdown::Write).expect("connected");
        for op in &ops[1..] {
            let completion = recorder.completion_of(*op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        }
        for flags in [0, 0, ASOCK_RECEIVE_ALL, ASOCK_RECEIVE_PEEK, 0] {
            let (completion, _) = recorder.take(socket, 8, flags);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        }
        // Our own direction is as open as before.
        recorder.put(socket, b"still talking");
        let mut heard = [0; 13];
        peer.read_exact(&mut heard).expect("connected");
        assert_eq!(&heard, b"still talking");
    });
}

/// What every operation says from the reset on; the socket still knows whom it was connected to.
fn check_broken(recorder: &Arc<Recorder>, socket: asock_socket) {
    for _ in 0..3 {
        let op = recorder.send(socket, &Memory::of(b"x"), 0);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
        for (length, flags) in [
            (8, 0),
            (0, 0),
            (8, ASOCK_RECEIVE_ALL),
            (1, ASOCK_RECEIVE_PEEK),
        ] {
            let (completion, _) = recorder.take(socket, length, flags);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
            assert_eq!(completion.bytes, 0);
        }
    }
    let there = remote(socket).expect("it is remembered");
    assert_ne!(there.length, 0);
    let op = recorder.connect_address(socket, &there);
    let completion = recorder.completion_of(op);
    completion.expect(ASOCK_KIND_CONNECT, ASOCK_ALREADY_CONNECTED);
    assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
}

#[test]
fn a_reset_is_told_to_all_and_for_ever() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let before = remote(socket);
        let ops: Vec<_> = (0..3)
            .map(|_| recorder.receive(socket, &Memory::new(8), 0))
            .collect();
        reset(peer);
        for op in ops {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
            assert_eq!(
                (completion.bytes, completion.os_error),
                (0, libc::ECONNRESET)
            );
        }
        check_broken(&recorder, socket);
        assert_eq!(remote(socket), before);
        let answer = asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH);
        assert_eq!(answer, ASOCK_OK, "what was connected can be shut down");
        assert_eq!(asock_close(socket), ASOCK_OK);
    });
}

#[test]
fn a_reset_ends_the_sends_that_are_queued() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let big = Memory::filled(16 << 20, 7);
        let first = recorder.send(socket, &big, 0);
        let behind: Vec<_> = (0..5)
            .map(|_| recorder.send(socket, &Memory::of(b"behind"), 0))
            .collect();
        let receive = recorder.receive(socket, &Memory::new(8), 0);
        until("some of it is sent", || {
            get(socket, ASOCK_OPTION_SEND_QUEUED) < Ok(big.len() as i64)
        });
        reset(peer);
        let completion = recorder.completion_of(first);
        completion.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
        assert!(completion.bytes > 0 && completion.bytes < big.len());
        for op in behind {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
            assert_eq!(completion.bytes, 0);
        }
        let completion = recorder.completion_of(receive);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
        check_broken(&recorder, socket);
    });
}

#[test]
fn data_and_then_a_reset() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        peer.write_all(b"last").expect("connected");
        // What has been received counts, whatever comes after it.
        assert_eq!(recorder.take_bytes(socket, 2), b"la");
        reset(peer);
        let mut rest = Vec::new();
        let end = loop {
            let (completion, bytes) = recorder.take(socket, 1, 0);
            if completion.status != ASOCK_OK {
                break completion;
            }
            assert_eq!(bytes.len(), 1, "a reset is no end of the stream");
            rest.extend(bytes);
        };
        end.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
        assert!(b"st".starts_with(&rest), "what a reset leaves is in order");
        check_broken(&recorder, socket);
    });
}

#[test]
fn a_peer_that_closes_without_having_read() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        recorder.put(socket, b"nobody reads this");
        until("it has arrived", || {
            peer.peek(&mut [0]).is_ok_and(|count| count > 0)
        });
        drop(peer); // The system makes this a reset.
        let (completion, _) = recorder.take(socket, 8, 0);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
        check_broken(&recorder, socket);
    });
}

#[test]
fn sends_after_the_peer_has_closed() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        drop(peer);
        let (completion, _) = recorder.take(socket, 8, 0);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        // The system takes the first one, and hears from the other side that nobody is there any more.
        let mut failed = None;
        until("a send fails", || {
            let op = recorder.send(socket, &Memory::of(b"anybody?"), 0);
            let completion = recorder.completion_of(op);
            failed = (completion.status != ASOCK_OK).then_some(completion);
            failed.is_some()
        });
        let completion = failed.expect("it was just there");
        // Never ASOCK_SHUT_DOWN: that would be our own doing.
        completion.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
        check_broken(&recorder, socket);
    });
}

#[test]
fn sends_that_nobody_hears_of_arrive_all_the_same() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let mut expected = Vec::new();
        for number in 0..1000_u32 {
            let message = number.to_be_bytes();
            expected.extend(message);
            let data = message.as_ptr().cast();
            // SAFETY: the message is copied by the call.
            let status = unsafe {
                asock_begin_send(socket, data, 4, ASOCK_SEND_COPY, None, NOTHING, null_mut())
            };
            assert_eq!(status, ASOCK_OK);
        }
        let mut heard = vec![0; expected.len()];
        peer.read_exact(&mut heard).expect("connected");
        assert_eq!(heard, expected);
    });
}

/// The system gives the number of a closed descriptor to the next socket at once. What arrives there is not for those
/// who still waited on the old one.
#[test]
fn a_closed_socket_gets_nothing_that_belongs_to_its_successor() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let listener = Listener::new();
        for round in 0..50_u8 {
            let old = runtime.connected(listener.port());
            let _old_peer = listener.accept();
            let old_room = Memory::new(8);
            let pending = recorder.receive(old, &old_room, 0);
            let new = runtime.open();
            assert_eq!(asock_close(old), ASOCK_OK);
            let connect = recorder.connect(new, listener.port());
            let receive = recorder.receive(new, &Memory::new(8), 0);
            let mut new_peer = listener.accept();
            new_peer.write_all(&[round]).expect("connected");
            recorder
                .completion_of(connect)
                .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            let completion = recorder.completion_of(receive);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 1));
            let completion = recorder.completion_of(pending);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
            assert_eq!(old_room.bytes(), [0; 8]);
            assert_eq!(asock_close(new), ASOCK_OK);
        }
    });
}
