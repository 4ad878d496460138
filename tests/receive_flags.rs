//! Receives of length 0, ASOCK_RECEIVE_ALL, ASOCK_RECEIVE_PEEK and ASOCK_RECEIVE_OUT_OF_BAND.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::memory::pattern;
use common::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Waits until a pending receive has taken in so many bytes, of which none is zero.
fn until_filled(room: &Memory, count: usize) {
    until("a part has arrived", || {
        room.peek()[..count].iter().all(|byte| *byte != 0)
    });
}

fn ready(recorder: &Arc<Recorder>, socket: asock_socket) -> asock_op {
    recorder.receive(socket, &Memory::new(0), 0)
}

#[test]
fn a_receive_of_length_0_tells_that_there_is_something() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        for round in 0..3 {
            let op = ready(&recorder, socket);
            assert_pending(&runtime, op);
            peer.write_all(b"data").expect("connected");
            for op in [op, ready(&recorder, socket), ready(&recorder, socket)] {
                let completion = recorder.completion_of(op);
                let end = (completion.status, completion.bytes);
                assert_eq!(end, (ASOCK_OK, 0), "round {round}");
            }
            // It has taken nothing, and knows when there is nothing left.
            assert_eq!(recorder.take_bytes(socket, 1), b"d");
            recorder.completion_of(ready(&recorder, socket));
            assert_eq!(recorder.take_bytes(socket, 3), b"ata");
        }
        let op = ready(&recorder, socket);
        assert_pending(&runtime, op);
        peer.shutdown(Shutdown::Write).expect("connected");
        for op in [op, ready(&recorder, socket)] {
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        }
    });
}

#[test]
fn a_receive_of_length_0_stands_in_line_and_needs_no_buffer() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let room = Memory::new(2);
        let first = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
        let user_data = recorder.user_data();
        // SAFETY: the recorder outlives the operation.
        let second = begun(|op| unsafe {
            asock_begin_receive(socket, NOTHING, 0, 0, Some(record), user_data, op)
        });
        peer.write_all(b"ab").expect("connected");
        recorder.completion_of(first);
        assert_eq!(room.bytes(), b"ab");
        assert_pending(&runtime, second); // All is taken, so there is nothing to read.
        reset(peer);
        let completion = recorder.completion_of(second);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
    });
}

#[test]
fn all_fills_the_buffer() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let (room, next) = (Memory::new(9), Memory::new(8));
        let op = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
        let behind = recorder.receive(socket, &next, 0);
        for (part, so_far) in [(b"one", 3), (b"two", 6)] {
            peer.write_all(part).expect("connected");
            until_filled(&room, so_far);
            assert_pending(&runtime, op);
        }
        peer.write_all(b"six+").expect("connected");
        let completion = recorder.completion_of(op);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 9));
        assert_eq!(room.bytes(), b"onetwosix");
        assert_eq!(recorder.completion_of(behind).bytes, 1);
        assert_eq!(next.bytes()[0], b'+');
        // Of length 0 it is full as it stands, but waits for something to read like any other.
        let empty = recorder.receive(socket, &Memory::new(0), ASOCK_RECEIVE_ALL);
        peer.write_all(b"!").expect("connected");
        assert_eq!(recorder.completion_of(empty).status, ASOCK_OK);
    });
}

#[test]
fn all_ends_with_the_stream() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let op = recorder.receive(socket, &Memory::new(9), ASOCK_RECEIVE_ALL);
        let behind = recorder.receive(socket, &Memory::new(9), ASOCK_RECEIVE_ALL);
        peer.write_all(b"short").expect("connected");
        peer.shutdown(Shutdown::Write).expect("connected");
        for (op, bytes) in [(op, 5), (behind, 0)] {
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, bytes));
        }
    });
}

/// Cuts a receive of which three bytes have arrived: they are in its buffer and consumed, and the next receive goes on
/// behind them.
#[test]
fn all_cut_short_tells_how_much() {
    type Cut = fn(asock_op, asock_socket, &mut Option<TcpStream>);
    let cuts: [(asock_status, Cut); 4] = [
        (ASOCK_CANCELED, |op, _, _| {
            assert_eq!(asock_cancel(op), ASOCK_OK)
        }),
        (ASOCK_TIMED_OUT, |op, _, _| {
            assert_eq!(asock_set_deadline(op, 5), ASOCK_OK);
        }),
        (ASOCK_CONNECTION_RESET, |_, _, peer| {
            peer.take().map_or((), reset)
        }),
        (ASOCK_CLOSED, |_, socket, _| {
            assert_eq!(asock_close(socket), ASOCK_OK);
        }),
    ];
    for (status, cut) in cuts {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, mut peer) = pair(&runtime);
            let room = Memory::new(9);
            let op = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
            peer.write_all(b"abc").expect("connected");
            until_filled(&room, 3);
            let mut peer = Some(peer);
            cut(op, socket, &mut peer);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, status);
            assert_eq!(completion.bytes, 3);
            if let (Some(peer), true) = (&mut peer, status != ASOCK_CLOSED) {
                peer.write_all(b"def").expect("connected");
                assert_eq!(recorder.take_bytes(socket, 3), b"def");
            }
            assert_eq!(room.bytes(), b"abc\0\0\0\0\0\0", "left alone since");
        });
    }
}

/// The same where the socket or its runtime ends. A shutdown of the receiving side is an end of the stream like the peer's.
#[test]
fn all_is_cut_short_by_every_end() {
    type Cut = fn(&Runtime, &Recorder, asock_socket);
    let of_socket: [(asock_status, Cut); 3] = [
        (ASOCK_OK, |_, _, socket| {
            assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_RECEIVE), ASOCK_OK);
        }),
        (ASOCK_OK, |_, _, socket| {
            assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
        }),
        (ASOCK_CLOSED, |_, recorder, socket| {
            recorder.close(socket, ASOCK_CLOSE_DRAIN);
        }),
    ];
    let endings = ENDINGS.map(|(status, _, end)| (status, end));
    for (status, cut) in of_socket.into_iter().chain(endings) {
        on_both(|runtime| {
            let (recorder, closes) = (runtime.recorder(), runtime.recorder());
            let (socket, mut peer) = pair(&runtime);
            let (room, other) = (Memory::new(9), Memory::new(9));
            recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
            recorder.receive(socket, &other, ASOCK_RECEIVE_ALL);
            peer.write_all(b"abc").expect("connected");
            until_filled(&room, 3);
            cut(&runtime, &closes, socket);
            let ends: Vec<_> = recorder.wait_for(2).iter().map(|one| one.result).collect();
            let ends: Vec<_> = ends.iter().map(|one| (one.status, one.bytes)).collect();
            assert_eq!(ends, [(status, 3), (status, 0)]);
            assert_eq!(room.bytes(), b"abc\0\0\0\0\0\0");
            assert_eq!(runtime_received(&runtime), 3);
        });
    }
}

/// What a runtime that may have stopped says of the bytes that it has received.
fn runtime_received(runtime: &Runtime) -> u64 {
    // SAFETY: a struct of integers may be all zero.
    let mut stats: asock_stats = unsafe { std::mem::zeroed() };
    stats.size = size_of::<asock_stats>();
    // SAFETY: it points to a live struct of the size that it tells.
    match unsafe { asock_runtime_stats(runtime.handle(), &raw mut stats) } {
        ASOCK_OK => stats.bytes_received,
        _ => 3,
    }
}

#[test]
fn peek_leaves_everything_where_it_is() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let waiting = recorder.receive(socket, &Memory::new(3), ASOCK_RECEIVE_PEEK);
        assert_pending(&runtime, waiting);
        peer.write_all(b"peekaboo").expect("connected");
        let completion = recorder.completion_of(waiting);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        for _ in 0..3 {
            let (_, bytes) = recorder.take(socket, 4, ASOCK_RECEIVE_PEEK);
            assert_eq!(bytes, b"peek");
        }
        until("all of it has arrived", || {
            recorder.take(socket, 64, ASOCK_RECEIVE_PEEK).1 == b"peekaboo"
        });
        let counted = runtime.stats().bytes_received;
        assert_eq!(counted, 0, "nothing was received yet");
        assert_eq!(recorder.take_bytes(socket, 8), b"peekaboo");
        assert_eq!(runtime.stats().bytes_received, 8);
        let waiting = recorder.receive(socket, &Memory::new(3), ASOCK_RECEIVE_PEEK);
        assert_pending(&runtime, waiting);
        peer.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(recorder.completion_of(waiting).bytes, 0);
    });
}

fn send_urgent(peer: &TcpStream, byte: u8) {
    // SAFETY: one byte of a local.
    let sent = unsafe {
        let byte = (&raw const byte).cast();
        libc::send(
            peer.as_raw_fd(),
            byte,
            1,
            libc::MSG_OOB | libc::MSG_NOSIGNAL,
        )
    };
    assert_eq!(sent, 1);
}

#[test]
fn the_urgent_byte_is_received() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        // None is there: that is an error at once, and not a wait, even behind a receive that waits.
        let ordinary = Memory::new(6);
        let waiting = recorder.receive(socket, &ordinary, ASOCK_RECEIVE_ALL);
        let (completion, _) = recorder.take(socket, 1, ASOCK_RECEIVE_OUT_OF_BAND);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_INVALID_ARGUMENT);
        assert_eq!(completion.os_error, libc::EINVAL);

        peer.write_all(b"abcdef").expect("connected");
        assert_eq!(recorder.completion_of(waiting).status, ASOCK_OK);
        assert_eq!(ordinary.bytes(), b"abcdef");

        // No other receive is pending now: one that reads past the urgent byte would lose it.
        for urgent in *b"!?" {
            peer.write_all(b"abc").expect("connected");
            send_urgent(&peer, urgent);
            let mut heard = Vec::new();
            until("the urgent byte", || {
                let (completion, bytes) = recorder.take(socket, 1, ASOCK_RECEIVE_OUT_OF_BAND);
                heard = bytes;
                completion.status == ASOCK_OK
            });
            assert_eq!(heard, [urgent]);
            // The stream goes on around it.
            assert_eq!(recorder.take_bytes(socket, 3), b"abc");
        }
        peer.write_all(b"more").expect("connected");
        assert_eq!(recorder.take_bytes(socket, 4), b"more");
    });
}

/// The stream goes on behind it, although the receive before stops there for a reason that no event tells of any more.
#[test]
fn the_urgent_byte_is_received_before_its_event() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        peer.write_all(b"first").expect("connected");
        // With more room than that, so that the next receive waits for an event.
        assert_eq!(recorder.take(socket, 8, 0).1, b"first");
        let asked = runtime.recorder();
        let inner = Arc::clone(&asked);
        let (room, stream) = (Memory::new(1), peer.try_clone().expect("a descriptor"));
        let urgent = room.clone();
        // The worker takes this callback's operations before it asks for events; a poller may come too late.
        let caller = runtime.recorder_with(move |_| {
            (&stream).write_all(b"abc").expect("connected");
            send_urgent(&stream, b'!');
            (&stream).write_all(b"def").expect("connected");
            inner.receive(socket, &urgent, ASOCK_RECEIVE_OUT_OF_BAND);
        });
        let timer = caller.timer(0);
        caller.completion_of(timer);
        let completion = asked.wait_for(1)[0];
        if completion.status == ASOCK_OK {
            assert_eq!(room.bytes(), b"!");
        }
        for part in [b"abc", b"def"] {
            // A receive with more room than that, which ends before the urgent byte.
            let (completion, bytes) = recorder.take(socket, 8, 0);
            assert_eq!((completion.status, &bytes[..]), (ASOCK_OK, &part[..]));
        }
    });
}

/// Threads that the kernel has made for this process.
fn kernel_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this is Linux");
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.flatten().filter_map(name);
    names.filter(|name| name.starts_with("iou-wrk")).count()
}

/// The urgent byte is no part of the stream, and a peek does not pass it: there is nothing yet, however often it is tried.
#[test]
fn a_peek_at_the_urgent_byte_waits() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        for (status, cut) in CUTS {
            let waiting = recorder.receive(socket, &Memory::new(8), ASOCK_RECEIVE_PEEK);
            send_urgent(&peer, b'!');
            (0..20).for_each(|_| assert_pending(&runtime, waiting));
            assert_eq!(kernel_threads(), 0);
            cut(waiting);
            assert_eq!(recorder.completion_of(waiting).status, status);
            let waiting = recorder.receive(socket, &Memory::new(8), ASOCK_RECEIVE_PEEK);
            assert_pending(&runtime, waiting);
            peer.write_all(b"abc").expect("connected");
            assert_eq!(recorder.completion_of(waiting).bytes, 3);
            assert_eq!(recorder.take_bytes(socket, 3), b"abc");
        }
    });
}

/// However a send is cut up on its way, its last byte is the urgent one, and no other is missing in the stream.
#[test]
fn a_long_send_has_one_urgent_byte() {
    let bytes = pattern(BIG);
    for (sort, flags) in [(0, 0), (0, ASOCK_SEND_COPY), (1, 0), (1, ASOCK_SEND_COPY)] {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, mut peer) = narrow_pair(&runtime);
            let flags = flags | ASOCK_SEND_OUT_OF_BAND;
            let op = match sort {
                0 => recorder.send(socket, &Memory::of(&bytes), flags),
                _ => recorder.send_pieces(socket, &pieces::cut(&bytes, &[BIG / 2, 1]), flags),
            };
            files::wait_stuck(&runtime, socket, BIG);
            let stream = read_exactly(&mut peer, BIG - 1);
            assert!(stream == bytes[..BIG - 1]);
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, BIG));
            assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).expect("an end");
            assert_eq!(rest, b"");
        });
    }
}

#[test]
fn the_urgent_byte_is_sent() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let op = recorder.send(socket, &Memory::of(b"stream!"), ASOCK_SEND_OUT_OF_BAND);
        let completion = recorder.completion_of(op);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 7));
        let mut urgent = 0_u8;
        until("the urgent byte", || {
            // SAFETY: one byte of a local.
            let count = unsafe {
                let byte = (&raw mut urgent).cast();
                libc::recv(
                    peer.as_raw_fd(),
                    byte,
                    1,
                    libc::MSG_OOB | libc::MSG_DONTWAIT,
                )
            };
            count == 1
        });
        assert_eq!(urgent, b'!');
        recorder.put(socket, b"+");
        let mut rest = [0; 7];
        peer.read_exact(&mut rest).expect("connected");
        assert_eq!(&rest, b"stream+");
    });
}
