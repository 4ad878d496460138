//! Promise 6: a buffer belongs to the library from the begin until the completion is delivered, and is not touched after
//! that: also after cancel, close and stop. Hosts and addresses are copied by the call.
//!
//! At the moment of the completion the memory is overwritten with a sign. If the library wrote to it later, the sign would
//! be damaged; if it sent from it later, the peer would receive the sign. In both cases the peer (or the library's own next
//! operation) moves on first, so that there is something to be written and somebody who reads.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::pair;
use common::memory::pattern;
use common::*;
use std::ffi::CString;
use std::io::Write;
use std::ptr::null_mut;
use std::sync::Arc;

/// More than the system's buffers of both ends hold together.
const LARGE: usize = 16 * 1024 * 1024;

/// No byte of a pattern.
const SIGN: u8 = 255;

/// A recorder that overwrites this memory in the callback, which is when it comes back.
fn overwriting(runtime: &Runtime, memory: &Memory) -> Arc<Recorder> {
    let memory = memory.clone();
    runtime.recorder_with(move |_| memory.fill(SIGN))
}

#[track_caller]
fn assert_untouched(memory: &Memory) {
    assert!(
        memory.bytes().iter().all(|byte| *byte == SIGN),
        "it was written to"
    );
}

/// Ways in which an operation ends that neither succeeds nor fails by itself.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Ending {
    Cancel,
    Deadline,
    Close,
    CloseAndTell,
    CloseWithReset,
    Drain,
    Stop,
}

const ENDINGS: [Ending; 7] = [
    Ending::Cancel,
    Ending::Deadline,
    Ending::Close,
    Ending::CloseAndTell,
    Ending::CloseWithReset,
    Ending::Drain,
    Ending::Stop,
];

impl Ending {
    fn keeps_the_socket(self) -> bool {
        self == Ending::Cancel || self == Ending::Deadline
    }

    fn status(self) -> asock_status {
        match self {
            Ending::Cancel => ASOCK_CANCELED,
            Ending::Deadline => ASOCK_TIMED_OUT,
            Ending::Close | Ending::CloseAndTell | Ending::CloseWithReset => ASOCK_CLOSED,
            Ending::Drain | Ending::Stop => ASOCK_STOPPED,
        }
    }

    fn bring_about(self, runtime: &Runtime, socket: asock_socket, op: asock_op) {
        let status = match self {
            Ending::Cancel => asock_cancel(op),
            Ending::Deadline => asock_set_deadline(op, 1),
            Ending::Close => asock_close(socket),
            // SAFETY: nothing but a flag is given.
            Ending::CloseAndTell => unsafe {
                asock_begin_close(socket, 0, None, null_mut(), null_mut())
            },
            // SAFETY: as above.
            Ending::CloseWithReset => unsafe {
                let flags = ASOCK_CLOSE_RESET;
                asock_begin_close(socket, flags, None, null_mut(), null_mut())
            },
            Ending::Drain => asock_runtime_drain(runtime.handle()),
            Ending::Stop => asock_runtime_stop(runtime.handle()),
        };
        assert_eq!(status, ASOCK_OK);
    }
}

/// A receive that is ended before its buffer was full; then the peer sends more.
#[test]
fn a_receive_that_has_ended_leaves_its_buffer_alone() {
    for ending in ENDINGS {
        for flags in [0, ASOCK_RECEIVE_ALL] {
            on_both(|runtime| {
                let (socket, mut peer) = pair(&runtime);
                let room = Memory::new(1000);
                let recorder = overwriting(&runtime, &room);
                let op = recorder.receive(socket, &room, flags);
                let all = flags == ASOCK_RECEIVE_ALL;
                if all {
                    peer.write_all(&pattern(100)).expect("we are connected");
                    until("the first bytes", || room.peek()[..100] == pattern(100));
                }
                ending.bring_about(&runtime, socket, op);
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_RECEIVE, ending.status());
                assert_eq!(completion.bytes, if all { 100 } else { 0 });
                assert_eq!(completion.buffer, room.pointer());

                let _ = peer.write_all(&pattern(1000)); // It may have closed.
                if ending.keeps_the_socket() {
                    // These bytes have arrived, and not there.
                    let next = Memory::new(1000);
                    let all = ASOCK_RECEIVE_ALL;
                    recorder.completion_of(recorder.receive(socket, &next, all));
                    assert_eq!(next.bytes(), pattern(1000));
                }
                drop(runtime);
                assert_untouched(&room);
            });
        }
    }
}

/// A send that is ended while a part of it has left: the peer gets that part, and nothing of what the memory holds later.
#[test]
fn a_send_that_has_ended_reads_its_buffer_no_more() {
    for ending in ENDINGS {
        on_both(|runtime| {
            let (socket, peer) = pair(&runtime);
            let sent = pattern(LARGE);
            let data = Memory::of(&sent);
            let recorder = overwriting(&runtime, &data);
            let op = recorder.send(socket, &data, 0);
            until("the first bytes", || {
                option(socket, ASOCK_OPTION_SEND_QUEUED) < LARGE as i64
            });
            assert!(is_pending(op));
            ending.bring_about(&runtime, socket, op);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ending.status());
            assert!(completion.bytes > 0 && completion.bytes < LARGE);

            let reader = std::thread::spawn(move || rest_of(peer));
            drop(runtime);
            let received = reader.join().expect("the peer reads");
            if ending == Ending::CloseWithReset {
                assert!(received.len() <= completion.bytes);
            } else {
                assert_eq!(received.len(), completion.bytes);
            }
            assert!(
                received == sent[..received.len()],
                "{ending:?}: other bytes"
            );
        });
    }
}

/// The same of pieces: those that were filled, the one that was begun, and those behind it.
#[test]
fn pieces_that_have_come_back_are_left_alone() {
    for ending in ENDINGS {
        on_both(|runtime| {
            let (socket, mut peer) = pair(&runtime);
            let room = pieces::rooms(&[30, 0, 40, 500, 500]);
            let all = room.clone();
            let recorder =
                runtime.recorder_with(move |_| all.iter().for_each(|one| one.fill(SIGN)));
            let op = recorder.receive_pieces(socket, &room, ASOCK_RECEIVE_ALL);
            peer.write_all(&pattern(100)).expect("we are connected");
            until("the first bytes", || {
                pieces::peeked(&room)[..100] == pattern(100)
            });
            ending.bring_about(&runtime, socket, op);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ending.status());
            assert_eq!(
                (completion.bytes, completion.buffer),
                (100, room[0].pointer())
            );

            let _ = peer.write_all(&pattern(1000)); // It may have closed.
            if ending.keeps_the_socket() {
                let next = pieces::rooms(&[1, 999]);
                let op = recorder.receive_pieces(socket, &next, ASOCK_RECEIVE_ALL);
                recorder.completion_of(op);
                assert_eq!(pieces::joined(&next), pattern(1000));
            }
            drop(runtime);
            room.iter().for_each(assert_untouched);
        });
    }
}

/// The peer gets what had left, and nothing of what the pieces hold later.
#[test]
fn pieces_of_a_send_that_has_ended_are_read_no_more() {
    for ending in ENDINGS {
        on_both(|runtime| {
            let (socket, peer) = pair(&runtime);
            let sent = pattern(LARGE);
            let data = pieces::cut(&sent, &[70_001, 0, 1_000_000]);
            let all = data.clone();
            let recorder =
                runtime.recorder_with(move |_| all.iter().for_each(|one| one.fill(SIGN)));
            let op = recorder.send_pieces(socket, &data, 0);
            until("the first bytes", || {
                option(socket, ASOCK_OPTION_SEND_QUEUED) < LARGE as i64
            });
            ending.bring_about(&runtime, socket, op);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ending.status());
            assert!(completion.bytes > 0 && completion.bytes < LARGE);

            let reader = std::thread::spawn(move || rest_of(peer));
            drop(runtime);
            let received = reader.join().expect("the peer reads");
            let short = ending == Ending::CloseWithReset && received.len() < completion.bytes;
            assert!(short || received.len() == completion.bytes);
            assert!(
                received == sent[..received.len()],
                "{ending:?}: other bytes"
            );
        });
    }
}

/// Receives that are canceled while the peer sends: the canceling meets them before, within and after. Each
/// byte is in exactly one buffer, and none in a buffer that has come back.
#[test]
fn canceled_receives_neither_lose_bytes_nor_write_late() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let (grant, granted) = std::sync::mpsc::channel::<usize>();
        let sender = std::thread::spawn(move || {
            // Little by little, so that a receive is met within, too.
            peer.set_nodelay(true).expect("it is a connection");
            let sent = pattern(251 * 40);
            let mut parts = sent.chunks(97).cycle();
            for count in granted {
                for part in parts.by_ref().take(count) {
                    peer.write_all(part).expect("it is read");
                }
            }
        });
        let mut random = Random::new(6);
        let (mut at, mut canceled, mut came_back) = (0, 0, Vec::new());
        let mut granted_in_all = 0;
        for round in 0_u32.. {
            assert!(round < 50_000, "no cancel ever comes in time, or each does");
            let length = 1 + random.below(3000) as usize;
            // No more than the line holds, since at the end nobody reads what was not asked for.
            let count = match granted_in_all * 97 < at + 32 * 1024 {
                true => random.below(length as u64 / 97 * 3 / 2 + 2) as usize,
                false => 0,
            };
            granted_in_all += count;
            grant.send(count).expect("the peer is there");
            let room = Memory::new(length);
            let received: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
            let (memory, into) = (room.clone(), Arc::clone(&received));
            let recorder = runtime.recorder_with(move |result| {
                let mut bytes = memory.bytes();
                bytes.truncate(result.bytes);
                *into.lock().expect("nobody panics with it") = bytes;
                memory.fill(SIGN);
            });
            let op = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
            for _ in 0..random.below(200) {
                std::hint::spin_loop();
            }
            asock_cancel(op); // It may have ended.
            let completion = recorder.completion_of(op);
            canceled += usize::from(completion.status == ASOCK_CANCELED);
            for byte in received.lock().expect("nobody panics with it").iter() {
                assert_eq!(*byte, (at % 251) as u8, "after {at} bytes");
                at += 1;
            }
            came_back.push(room);
            if came_back.len() >= 500 && canceled > 10 && came_back.len() - canceled > 10 {
                break;
            }
        }
        drop(grant);
        sender.join().expect("it has sent all");
        assert_eq!(asock_close(socket), ASOCK_OK);
        came_back.iter().for_each(assert_untouched);
    });
}

/// A wait that answers ASOCK_OK, and `asock_end`, give the buffer back as a callback does.
#[test]
fn a_wait_gives_the_buffer_back() {
    let runtime = Runtime::on_worker();
    for ends in [false, true] {
        let (socket, peer) = pair(&runtime);
        let sent = pattern(LARGE);
        let data = Memory::of(&sent);
        let (pointer, length) = (data.pointer(), data.len());
        let send = begun(|op| {
            // SAFETY: the memory outlives the operation, which is waited for.
            unsafe { asock_begin_send(socket, pointer, length, 0, None, null_mut(), op) }
        });
        let reader = std::thread::spawn(move || rest_of(peer));
        if ends {
            let result = end(send);
            assert_eq!((result.status, result.bytes), (ASOCK_OK, LARGE));
        } else {
            assert_eq!(asock_wait(send, -1), ASOCK_OK);
        }
        data.fill(SIGN);
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert!(reader.join().expect("the peer reads") == sent);
    }
}

/// With ASOCK_SEND_COPY the caller may reuse the memory at once, long before anything is sent.
#[test]
fn a_copied_send_leaves_the_buffer_to_the_caller() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let recorder = runtime.recorder();
        // Stuck, since the peer does not read yet; so the copied ones wait.
        let stuck = recorder.send(socket, &Memory::of(&pattern(LARGE)), 0);
        let small = Memory::new(5000);
        for byte in [1, 2, 3] {
            small.fill(byte);
            recorder.send(socket, &small, ASOCK_SEND_COPY);
            small.fill(SIGN);
        }
        assert!(is_pending(stuck));
        let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
        let received = rest_of(&mut peer);
        recorder
            .completion_of(close)
            .expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        let copied: Vec<u8> = [1, 2, 3]
            .into_iter()
            .flat_map(|byte| [byte; 5000])
            .collect();
        assert!(received[LARGE..] == copied[..], "the copy was no copy");
        // It is handed back all the same, so that the record tells which send it was.
        assert_eq!(recorder.completions()[1].buffer, small.pointer());
    });
}

/// Closes the socket with these flags, or stops the runtime; either frees what was sent without anybody being told.
fn finish(runtime: &Runtime, socket: asock_socket, close: Option<u32>) {
    let Some(flags) = close else {
        return runtime.stop();
    };
    let recorder = runtime.recorder();
    let close = recorder.close(socket, flags);
    let completion = recorder.completion_of(close);
    completion.expect(ASOCK_KIND_CLOSE, ASOCK_OK);
}

/// Nobody tells of these sends; their memory is free when `asock_begin_close` completes or the runtime has stopped.
#[test]
fn fire_and_forget_buffers_are_free_after_the_close() {
    for close in [Some(ASOCK_CLOSE_DRAIN), Some(0), None] {
        let sends_all = close == Some(ASOCK_CLOSE_DRAIN);
        for forgets in [false, true] {
            let runtime = Runtime::on_worker();
            let (socket, mut peer) = pair(&runtime);
            let sent = pattern(LARGE);
            let data = Memory::of(&sent);
            let mut op = 0;
            let at = if forgets { &raw mut op } else { null_mut() };
            let (pointer, length) = (data.pointer(), data.len());
            // SAFETY: the memory outlives the runtime.
            let status =
                unsafe { asock_begin_send(socket, pointer, length, 0, None, null_mut(), at) };
            assert_eq!(status, ASOCK_OK);
            if forgets {
                assert_eq!(asock_forget(op), ASOCK_OK);
            }
            until("the first bytes", || {
                option(socket, ASOCK_OPTION_SEND_QUEUED) < LARGE as i64
            });
            let received = std::thread::scope(|scope| {
                // One that drains needs its reader now; else nobody reads before the memory is overwritten.
                let early = sends_all.then(|| scope.spawn(|| rest_of(&mut peer)));
                finish(&runtime, socket, close);
                data.fill(SIGN);
                early.map(|reader| reader.join().expect("the peer reads"))
            });
            let received = received.unwrap_or_else(|| rest_of(&mut peer));
            assert_eq!(received.len() == LARGE, sends_all);
            assert!(received == sent[..received.len()], "it was read too late");
        }
    }
}

/// Host and address are overwritten as soon as the call has returned, while the worker has not yet looked at the operation.
#[test]
fn hosts_and_addresses_are_copied() {
    on_both(|runtime| {
        let listener = Listener::new();
        let recorder = runtime.recorder();
        let sockets = [(); 2].map(|()| runtime.open());
        let held = Held::new(&runtime);
        let host = Memory::of(
            CString::new("127.0.0.1")
                .expect("no zero")
                .as_bytes_with_nul(),
        );
        let mut address = loopback(listener.port());
        let port = listener.port();
        // SAFETY: the host ends with a zero, and the recorder outlives the operations.
        unsafe {
            let (text, user_data) = (host.pointer().cast(), recorder.user_data());
            let callback: asock_callback = Some(record);
            let status =
                asock_begin_connect(sockets[0], text, port, callback, user_data, null_mut());
            assert_eq!(status, ASOCK_OK);
            host.fill(b'9');
            let place = &raw const address;
            let status =
                asock_begin_connect_address(sockets[1], place, callback, user_data, null_mut());
            assert_eq!(status, ASOCK_OK);
            address.storage.fill(u64::MAX);
        }
        held.release();
        for completion in recorder.wait_for(2) {
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        }
        let mut own: Vec<_> = sockets.iter().map(|socket| remote_port(*socket)).collect();
        own.push(address_port(&address));
        assert_eq!(own[..2], [port, port]);
        assert_ne!(own[2], port, "the address was overwritten");
    });
}

fn address_port(address: &asock_address) -> u16 {
    // SAFETY: it is one, if not a good one.
    unsafe { asock_address_port(address) }
}

fn remote_port(socket: asock_socket) -> u16 {
    let mut address = loopback(1);
    // SAFETY: the address may be written.
    let status = unsafe { asock_remote_address(socket, &raw mut address) };
    assert_eq!(status, ASOCK_OK);
    address_port(&address)
}
