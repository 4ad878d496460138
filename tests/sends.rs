//! The queue of sends: what is cut and what goes on behind it, how much is queued and how that is limited, copies,
//! sends of length 0, and ASOCK_SEND_MORE.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::memory::pattern;
use common::*;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::Arc;

/// Begins a send that cannot end before the peer reads, and waits until a part of it is on its way.
fn send_big(recorder: &Arc<Recorder>, socket: asock_socket) -> asock_op {
    let before = get(socket, ASOCK_OPTION_SEND_QUEUED).expect("a socket");
    let op = recorder.send(socket, &Memory::of(&pattern(BIG)), 0);
    if before == 0 {
        until("a part is sent", || {
            get(socket, ASOCK_OPTION_SEND_QUEUED) < Ok(BIG as i64)
        });
        let mut last = None;
        // The line is full when no more leaves for a turn of the worker.
        until("the line is full", || {
            let now = get(socket, ASOCK_OPTION_SEND_QUEUED);
            last.replace(now) == Some(now)
        });
    }
    op
}

#[test]
fn a_cut_send_takes_those_behind_it_with_it() {
    for (status, cut) in CUTS {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, mut peer) = narrow_pair(&runtime);
            let big = send_big(&recorder, socket);
            let behind: Vec<_> = (0..3)
                .map(|_| recorder.send(socket, &Memory::of(b"behind"), 0))
                .collect();
            cut(big);
            let completion = recorder.completion_of(big);
            completion.expect(ASOCK_KIND_SEND, status);
            let sent = completion.bytes;
            assert!(sent > 0 && sent < BIG);
            for op in behind {
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_SEND, status);
                assert_eq!(completion.bytes, 0);
            }
            assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
            // What is begun now follows the bytes that the completion told of, and nothing else does.
            let after = recorder.send(socket, &Memory::of(b"after"), 0);
            assert!(
                read_exactly(&mut peer, sent) == pattern(sent),
                "what was told of"
            );
            assert_eq!(read_exactly(&mut peer, 5), b"after");
            assert_eq!(recorder.completion_of(after).bytes, 5);
            assert_eq!(runtime.stats().bytes_sent, sent as u64 + 5);
        });
    }
}

/// The end of a cut send is known in its own callback, and what is begun there goes on, though those behind the cut one are
/// still to be told.
#[test]
fn what_is_begun_in_the_callback_of_a_cut_send_goes_on() {
    const BEHIND: usize = 300;
    for (status, cut) in CUTS {
        on_both(|runtime| {
            let (socket, mut peer) = narrow_pair(&runtime);
            let later = runtime.recorder();
            let inner = Arc::clone(&later);
            let recorder = runtime.recorder_with(move |result| {
                if result.bytes > 0 {
                    inner.send(socket, &Memory::of(b"after"), 0);
                }
            });
            let big = send_big(&recorder, socket);
            let byte = Memory::of(b"-");
            for _ in 0..BEHIND {
                recorder.send(socket, &byte, 0);
            }
            cut(big);
            let all = recorder.wait_for(1 + BEHIND);
            assert_eq!((all[0].op, all[0].status), (big, status));
            let told = |one: &Completion| (one.status, one.bytes) == (status, 0);
            assert!(all[1..].iter().all(told));
            assert!(read_exactly(&mut peer, all[0].bytes) == pattern(all[0].bytes));
            assert_eq!(read_exactly(&mut peer, 5), b"after");
            assert_eq!(later.wait_for(1)[0].status, ASOCK_OK);
            assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        });
    }
}

/// Of a copy, too, `bytes` tells what has left; the rest of it is gone, and counts no more.
#[test]
fn a_copy_that_is_cut_is_counted_like_any_other() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let data = Memory::of(&pattern(BIG));
        let op = recorder.send(socket, &data, ASOCK_SEND_COPY);
        let behind = recorder.send(socket, &Memory::of(b"behind"), ASOCK_SEND_COPY);
        until("a part is sent", || {
            get(socket, ASOCK_OPTION_SEND_QUEUED) < Ok(BIG as i64)
        });
        assert_eq!(asock_cancel(op), ASOCK_OK);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_CANCELED);
        assert!(completion.bytes > 0 && completion.bytes < BIG);
        assert_eq!(completion.buffer, data.pointer());
        assert_eq!(recorder.completion_of(behind).status, ASOCK_CANCELED);
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        assert_eq!(runtime.stats().bytes_sent, completion.bytes as u64);
        let after = recorder.send(socket, &Memory::of(b"after"), 0);
        assert!(read_exactly(&mut peer, completion.bytes) == pattern(completion.bytes));
        assert_eq!(read_exactly(&mut peer, 5), b"after");
        assert_eq!(recorder.completion_of(after).status, ASOCK_OK);
    });
}

#[test]
fn a_send_that_has_not_begun_to_leave_goes_alone() {
    for (status, cut) in CUTS {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, mut peer) = narrow_pair(&runtime);
            let big = send_big(&recorder, socket);
            let [first, second, third] = [b"first", b"other", b"third"]
                .map(|message| recorder.send(socket, &Memory::of(message), 0));
            cut(second);
            let completion = recorder.completion_of(second);
            completion.expect(ASOCK_KIND_SEND, status);
            assert_eq!(completion.bytes, 0);
            assert_eq!(recorder.count(), 1, "out of turn");
            assert!(read_exactly(&mut peer, BIG) == pattern(BIG));
            assert_eq!(read_exactly(&mut peer, 10), b"firstthird");
            for op in [big, first, third] {
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
            }
        });
    }
}

#[test]
fn a_send_of_length_0_completes_in_its_turn() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let big = send_big(&recorder, socket);
        let user_data = recorder.user_data();
        // SAFETY: the recorder outlives the operation.
        let empty = begun(|op| unsafe {
            asock_begin_send(socket, NOTHING, 0, 0, Some(record), user_data, op)
        });
        let last = recorder.send(socket, &Memory::of(b"!"), 0);
        assert_pending(&runtime, empty);
        read_exactly(&mut peer, BIG);
        assert_eq!(read_exactly(&mut peer, 1), b"!");
        let all = recorder.wait_for(3);
        let order: Vec<_> = all.iter().map(|one| (one.op, one.bytes)).collect();
        assert_eq!(order, [(big, BIG), (empty, 0), (last, 1)]);
        assert!(all.iter().all(|one| one.status == ASOCK_OK));
    });
}

#[test]
fn the_limit_of_the_queue() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let limit = |bytes| set(socket, ASOCK_OPTION_SEND_QUEUE_LIMIT, bytes);
        assert_eq!(limit(100), ASOCK_OK);
        // Nothing leaves while the connect is pending.
        let connect = recorder.connect(socket, hole.port());
        let try_send = |count| recorder.try_send(socket, &Memory::new(count), 0);
        let (status, _) = try_send(60);
        assert_eq!(status, ASOCK_OK);
        assert_eq!(try_send(41), (ASOCK_QUEUE_FULL, 0), "and `op` is untouched");
        let (status, op) = try_send(40);
        assert_eq!(status, ASOCK_OK, "exactly the limit");
        assert_eq!(try_send(1), (ASOCK_QUEUE_FULL, 0));
        assert_eq!(try_send(0).0, ASOCK_OK, "nothing more is queued by it");
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(100));
        assert_eq!(asock_cancel(op), ASOCK_OK);
        recorder.completion_of(op);
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(60));
        assert_eq!(try_send(40).0, ASOCK_OK, "there is room again");
        assert_eq!(limit(0), ASOCK_OK);
        assert_eq!(try_send(1000).0, ASOCK_OK, "no limit");
        assert_eq!(asock_cancel(connect), ASOCK_OK);
        recorder.wait_for(6);
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        assert_eq!(
            runtime.stats().operations_begun,
            6,
            "a refusal begins nothing"
        );
        runtime.stop();
        assert_eq!(recorder.count(), 6);
    });
}

#[test]
fn an_empty_queue_takes_more_than_its_limit() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        assert_eq!(set(socket, ASOCK_OPTION_SEND_QUEUE_LIMIT, 1), ASOCK_OK);
        let big = send_big(&recorder, socket);
        let (status, _) = recorder.try_send(socket, &Memory::new(1), 0);
        assert_eq!(status, ASOCK_QUEUE_FULL);
        read_exactly(&mut peer, BIG);
        recorder.completion_of(big);
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        recorder.put(socket, b"again");
        assert_eq!(read_exactly(&mut peer, 5), b"again");
    });
}

#[test]
fn a_copied_send_needs_its_buffer_no_more() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        // Behind one that does not leave, so that only a copy can still hold the bytes.
        send_big(&recorder, socket);
        let mut message = *b"as it was";
        let user_data = recorder.user_data();
        let data = message.as_mut_ptr();
        let (pointer, length) = (data.cast_const().cast(), message.len());
        // SAFETY: the bytes are copied by the call; the recorder outlives the operation.
        let op = begun(|op| unsafe {
            let flags = ASOCK_SEND_COPY;
            asock_begin_send(socket, pointer, length, flags, Some(record), user_data, op)
        });
        message.fill(b'-');
        read_exactly(&mut peer, BIG);
        assert_eq!(read_exactly(&mut peer, length), b"as it was");
        let completion = recorder.completion_of(op);
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, length));
        assert_eq!(
            completion.buffer,
            data.cast(),
            "what was given, not the copy"
        );
        assert_eq!(message, [b'-'; 9]);
    });
}

/// Segments with data that have arrived (`tcpi_data_segs_in`), which libc's struct is too old to know.
fn segments(peer: &TcpStream) -> u32 {
    const AT: usize = 152;
    let mut info = [0_u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: an open descriptor, and room of that length.
    let answer = unsafe {
        let room = info.as_mut_ptr().cast();
        let of = libc::IPPROTO_TCP;
        libc::getsockopt(peer.as_raw_fd(), of, libc::TCP_INFO, room, &raw mut length)
    };
    assert_eq!(answer, 0);
    assert!(length as usize >= AT + 4, "this system tells too little");
    let field = info[AT..AT + 4].try_into().expect("four bytes");
    u32::from_ne_bytes(field)
}

#[test]
fn more_gathers_sends_into_packets() {
    const SENDS: usize = 50;
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let arrived = [0, ASOCK_SEND_MORE].map(|flags| {
            let (socket, mut peer) = pair(&runtime);
            for number in 1..=SENDS {
                let flags = if number < SENDS { flags } else { 0 };
                recorder.send(socket, &Memory::of(b"ten bytes."), flags);
            }
            assert_eq!(
                read_exactly(&mut peer, 10 * SENDS),
                b"ten bytes.".repeat(SENDS)
            );
            segments(&peer)
        });
        let [apart, together] = arrived;
        assert!(
            together < apart,
            "{together} segments, without the flag {apart}"
        );
        // Nothing is held back for ever, even where no more comes.
        let (socket, mut peer) = pair(&runtime);
        recorder.send(socket, &Memory::of(b"end"), ASOCK_SEND_MORE);
        assert_eq!(read_exactly(&mut peer, 3), b"end");
    });
}

#[test]
fn a_send_with_an_op_but_no_callback() {
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    let message: &'static [u8] = b"collected";
    let data = message.as_ptr().cast();
    // SAFETY: the bytes are there for ever.
    let op = begun(|op| unsafe {
        asock_begin_send(socket, data, message.len(), 0, None, null_mut(), op)
    });
    let result = end(op);
    assert_eq!((result.op, result.socket), (op, socket));
    assert_eq!((result.kind, result.status), (ASOCK_KIND_SEND, ASOCK_OK));
    assert_eq!(
        (result.bytes, result.buffer.cast_const()),
        (message.len(), data)
    );
    assert_eq!(read_exactly(&mut peer, message.len()), message);
}
