//! Promise 7: close is final and quick. After a close the handle is refused everywhere, what is pending completes with
//! ASOCK_CLOSED, what is queued is dropped (unless the close drains), and the peer sees the end of the stream, or a reset
//! where one was asked for. The completion of `asock_begin_close` is the socket's last.
//!
//! The peers are plain sockets of the standard library, so what the other side sees is what any other program would.
#![allow(unsafe_code)] // The functions under test take pointers; fork and limits are the system's.

mod common;

use asock::*;
use common::calls::pair;
use common::memory::pattern;
use common::*;
use std::ffi::c_void;
use std::io::{ErrorKind, Write};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};

/// More than the system's buffers of both ends hold together.
const LARGE: usize = 16 * 1024 * 1024;

/// Every call on a socket is refused.
#[track_caller]
fn assert_refused(socket: asock_socket) {
    let (mut op, mut value, mut byte) = (0, 0, 0_u8);
    let place: *mut c_void = (&raw mut byte).cast();
    // SAFETY: all of them are refused, so nothing outlives the calls.
    unsafe {
        let mut address: asock_address = std::mem::zeroed();
        let host = c"127.0.0.1".as_ptr();
        let answers = [
            asock_close(socket),
            asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH),
            asock_set_option(socket, ASOCK_OPTION_NODELAY, 1),
            asock_get_option(socket, ASOCK_OPTION_NODELAY, &raw mut value),
            asock_local_address(socket, &raw mut address),
            asock_remote_address(socket, &raw mut address),
            asock_begin_close(socket, 0, None, null_mut(), &raw mut op),
            asock_begin_connect(socket, host, 1, None, null_mut(), &raw mut op),
            asock_begin_send(socket, place, 1, 0, None, null_mut(), &raw mut op),
            asock_begin_receive(socket, place, 1, 0, None, null_mut(), &raw mut op),
        ];
        assert_eq!(answers, [ASOCK_BAD_HANDLE; 10]);
    }
    assert_eq!((op, value), (0, 0), "nothing was written");
}

#[test]
fn a_plain_close_ends_what_is_pending_and_drops_what_is_queued() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let recorder = runtime.recorder();
        let sends: Vec<_> = (0..3)
            .map(|_| recorder.send(socket, &Memory::filled(LARGE, 7), 0))
            .collect();
        let receives: Vec<_> = (0..3)
            .map(|_| recorder.receive(socket, &Memory::new(100), 0))
            .collect();
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_refused(socket);

        let completions = recorder.wait_for(6);
        for op in receives {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
            assert_eq!(completion.bytes, 0);
        }
        for op in &sends {
            recorder
                .completion_of(*op)
                .expect(ASOCK_KIND_SEND, ASOCK_CLOSED);
        }
        assert_eq!(recorder.completion_of(sends[1]).bytes, 0);
        // The peer gets what the completions count, not a byte more, and then a plain end.
        let sent: usize = completions.iter().map(|one| one.bytes).sum();
        assert!(sent < LARGE);
        let (bytes, ended) = rest_and_end_of(&mut peer);
        assert_eq!((bytes.len(), ended), (sent, None));
        until("it is gone", || runtime.stats().sockets_open == 0);
    });
}

#[test]
fn a_draining_close_sends_all_that_is_queued_first() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let recorder = runtime.recorder();
        let data = pattern(LARGE);
        let receive = recorder.receive(socket, &Memory::new(100), 0);
        let sends = [0, 1].map(|_| recorder.send(socket, &Memory::of(&data), 0));
        let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
        assert_refused(socket);
        // The receive ends at once, while the sends wait for the peer, who has not read anything yet.
        let of_receive = recorder.completion_of(receive);
        of_receive.expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
        assert_eq!(recorder.count(), 1);
        assert_eq!(runtime.stats().sockets_open, 1);

        let (bytes, ended) = rest_and_end_of(&mut peer);
        assert_eq!(ended, None);
        assert!(bytes == [&data[..], &data[..]].concat());
        let completions = recorder.wait_for(4);
        for (completion, op) in completions[1..3].iter().zip(sends) {
            completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
            assert_eq!((completion.op, completion.bytes), (op, LARGE));
        }
        completions[3].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        assert_eq!(completions[3].op, close);
    });
}

#[test]
fn a_draining_close_with_nothing_queued_closes_at_once() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let recorder = runtime.recorder();
        let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
        recorder
            .completion_of(close)
            .expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        assert_eq!(rest_and_end_of(&mut peer), (Vec::new(), None));
    });
}

#[test]
fn a_close_with_reset_or_linger_zero_resets_the_connection() {
    type Close = fn(&Recorder, asock_socket);
    let with_flag: Close = |recorder, socket| {
        let close = recorder.close(socket, ASOCK_CLOSE_RESET);
        recorder
            .completion_of(close)
            .expect(ASOCK_KIND_CLOSE, ASOCK_OK);
    };
    let linger: Close = |_, socket| {
        assert_eq!(asock_set_option(socket, ASOCK_OPTION_LINGER_S, 0), ASOCK_OK);
        assert_eq!(asock_close(socket), ASOCK_OK);
    };
    let linger_begun: Close = |recorder, socket| {
        assert_eq!(asock_set_option(socket, ASOCK_OPTION_LINGER_S, 0), ASOCK_OK);
        recorder.close(socket, 0);
    };
    for close in [with_flag, linger, linger_begun] {
        on_both(|runtime| {
            let (socket, mut peer) = pair(&runtime);
            let recorder = runtime.recorder();
            let receive = recorder.receive(socket, &Memory::new(100), 0);
            close(&recorder, socket);
            assert_refused(socket);
            recorder
                .completion_of(receive)
                .expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
            let (_, ended) = rest_and_end_of(&mut peer);
            assert_eq!(ended, Some(ErrorKind::ConnectionReset));
        });
    }
}

#[test]
fn lingering_for_seconds_does_not_hold_up_the_worker() {
    let runtime = Runtime::on_worker();
    let (socket, _peer) = pair(&runtime);
    let recorder = runtime.recorder();
    assert_eq!(
        asock_set_option(socket, ASOCK_OPTION_LINGER_S, 3600),
        ASOCK_OK
    );
    // The system's buffer is full, and the peer never reads: a close that lingers would take an hour.
    recorder.send(socket, &Memory::new(LARGE), 0);
    recorder.close(socket, 0);
    recorder.wait_for(2)[1].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
}

#[test]
fn unread_input_ends_the_connection_too() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let recorder = runtime.recorder();
        peer.write_all(b"some that is taken, and more that is not")
            .expect("the buffer is empty");
        let receive = recorder.receive(socket, &Memory::new(4), 0);
        let completion = recorder.completion_of(receive);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(asock_close(socket), ASOCK_OK);
        // As with every TCP program: bytes that nobody took are answered with a reset.
        let (bytes, ended) = rest_and_end_of(&mut peer);
        assert_eq!((bytes.len(), ended), (0, Some(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_close_during_a_connect_ends_it_and_all_that_waits_for_it() {
    let nowhere = BlackHole::new();
    for flags in [None, Some(0), Some(ASOCK_CLOSE_RESET)] {
        on_both(|runtime| {
            let socket = runtime.open();
            let recorder = runtime.recorder();
            let ops = [
                recorder.connect(socket, nowhere.port()),
                recorder.connect(socket, nowhere.port()),
                recorder.send(socket, &Memory::new(100), 0),
                recorder.receive(socket, &Memory::new(100), 0),
            ];
            let close = match flags {
                None => {
                    assert_eq!(asock_close(socket), ASOCK_OK);
                    None
                }
                Some(flags) => Some(recorder.close(socket, flags)),
            };
            assert_refused(socket);
            for op in ops {
                let completion = recorder.completion_of(op);
                assert_eq!((completion.status, completion.bytes), (ASOCK_CLOSED, 0));
            }
            if let Some(close) = close {
                recorder.completion_of(close).expect(9, ASOCK_OK);
                let last = recorder.completions().pop();
                assert_eq!(last.map(|last| last.op), Some(close));
            }
        });
    }
}

#[test]
fn a_draining_close_waits_for_the_connect_and_sends_behind_it() {
    on_both(|runtime| {
        let listener = Listener::new();
        let socket = runtime.open();
        let recorder = runtime.recorder();
        recorder.connect(socket, listener.port());
        recorder.send(socket, &Memory::of(b"all of this"), 0);
        recorder.close(socket, ASOCK_CLOSE_DRAIN);
        assert_refused(socket);
        let (bytes, ended) = rest_and_end_of(&mut listener.accept());
        assert_eq!((&bytes[..], ended), (&b"all of this"[..], None));
        let kinds: Vec<u32> = recorder.wait_for(3).iter().map(|one| one.kind).collect();
        let expected = [ASOCK_KIND_CONNECT, ASOCK_KIND_SEND, ASOCK_KIND_CLOSE];
        assert_eq!(kinds, expected);
    });
}

#[test]
fn a_callback_may_close_its_own_socket() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        let answers = Arc::new(Mutex::new(Vec::new()));
        let of_callback = Arc::clone(&answers);
        let recorder = runtime.recorder_with(move |result| {
            let mut op = 0;
            // SAFETY: a receive of no bytes takes nothing, and is refused; the recorder is not asked for this close.
            let calls = unsafe {
                let closed = match result.bytes {
                    1 => asock_begin_close(result.socket, 0, None, null_mut(), null_mut()),
                    _ => asock_close(result.socket),
                };
                let begun =
                    asock_begin_receive(socket, null_mut(), 0, 0, None, null_mut(), &raw mut op);
                (closed, begun)
            };
            of_callback.lock().expect("no panic").push(calls);
        });
        let ops = [0; 3].map(|_| recorder.receive(socket, &Memory::new(1), 0));
        peer.write_all(b"!").expect("the buffer is empty");
        let completions = recorder.wait_for(3);
        assert_eq!(
            completions.iter().map(|one| one.op).collect::<Vec<_>>(),
            ops
        );
        completions[0].expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        completions[1].expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
        completions[2].expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
        let refused = (ASOCK_BAD_HANDLE, ASOCK_BAD_HANDLE);
        let expected = [(ASOCK_OK, ASOCK_BAD_HANDLE), refused, refused];
        assert_eq!(*answers.lock().expect("no panic"), expected);
        assert_eq!(rest_and_end_of(&mut peer), (Vec::new(), None));
    });
}

#[test]
fn of_many_threads_one_closes_and_those_that_wait_are_released() {
    const THREADS: usize = 4;
    let runtime = Runtime::on_worker();
    for round in 0..100 {
        let (socket, _peer) = pair(&runtime);
        let room = Memory::new(100);
        // SAFETY: the memory lives until the operation has been ended below.
        let op = begun(|op| unsafe {
            asock_begin_receive(socket, room.pointer(), 100, 0, None, null_mut(), op)
        });
        let barrier = Barrier::new(THREADS + 2);
        let closed = std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(end(op).status, ASOCK_CLOSED);
            });
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(asock_wait(op, -1), ASOCK_OK);
            });
            let close = |begin: bool| {
                barrier.wait();
                if begin {
                    // SAFETY: nobody is told.
                    unsafe { asock_begin_close(socket, 0, None, null_mut(), null_mut()) }
                } else {
                    asock_close(socket)
                }
            };
            let closers = [0; THREADS].map(|_| scope.spawn(move || close(round % 2 == 0)));
            closers.map(|closer| closer.join().expect("no panic"))
        });
        let count = |status| closed.iter().filter(|one| **one == status).count();
        assert_eq!((count(ASOCK_OK), count(ASOCK_BAD_HANDLE)), (1, THREADS - 1));
        assert_refused(socket);
    }
}

#[test]
fn the_completion_of_a_close_is_the_last() {
    on_both(|runtime| {
        let listener = Listener::new();
        let inside = Arc::new(AtomicU32::new(0));
        let of_callback = Arc::clone(&inside);
        let recorder = runtime.recorder_with(move |result| {
            // Whoever comes second would see the first, and the close would see a callback that has not returned.
            let others = of_callback.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0);
            if result.kind != ASOCK_KIND_CLOSE {
                std::thread::yield_now();
            }
            of_callback.fetch_sub(1, Ordering::SeqCst);
        });
        for flags in [0, ASOCK_CLOSE_DRAIN, ASOCK_CLOSE_RESET] {
            let before = recorder.count();
            let socket = runtime.open();
            recorder.connect(socket, listener.port());
            for _ in 0..20 {
                recorder.send(socket, &Memory::new(1000), 0);
                recorder.receive(socket, &Memory::new(1000), 0);
            }
            let close = recorder.close(socket, flags);
            let completions = recorder.wait_for(before + 42);
            assert_eq!(completions[before + 41].op, close);
            completions[before + 41].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        }
    });
}

#[test]
fn a_close_that_is_collected_comes_after_the_callbacks_too() {
    let runtime = Runtime::on_worker();
    let (socket, _peer) = pair(&runtime);
    let gate = Gate::new();
    let inside = gate.clone();
    let recorder = runtime.recorder_with(move |_| inside.enter());
    recorder.receive(socket, &Memory::new(100), 0);
    // SAFETY: nothing but the place for the handle is given.
    let close = begun(|op| unsafe { asock_begin_close(socket, 0, None, null_mut(), op) });
    gate.wait_entered();
    // The receive's callback runs, so the close cannot be over: whoever hears of it may free what the callback uses.
    assert_eq!(asock_wait(close, 50), ASOCK_TIMED_OUT);
    gate.open();
    let result = end(close);
    assert_eq!((result.kind, result.status), (ASOCK_KIND_CLOSE, ASOCK_OK));
    assert_eq!(recorder.count(), 1);
}

#[test]
fn a_draining_close_ends_early_with_the_status_of_what_met_it() {
    type Meet = fn(&Runtime, asock_op);
    let cancel: Meet = |_, close| assert_eq!(asock_cancel(close), ASOCK_OK);
    let deadline: Meet = |_, close| assert_eq!(asock_set_deadline(close, 1), ASOCK_OK);
    let drain: Meet = |runtime, _| assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    let stop: Meet = |runtime, _| runtime.stop();
    let cases = [
        (cancel, ASOCK_CANCELED, ASOCK_CLOSED),
        (deadline, ASOCK_TIMED_OUT, ASOCK_CLOSED),
        (drain, ASOCK_STOPPED, ASOCK_STOPPED),
        (stop, ASOCK_STOPPED, ASOCK_STOPPED),
    ];
    for (meet, of_close, of_sends) in cases {
        on_both(|runtime| {
            let (socket, mut peer) = pair(&runtime);
            let recorder = runtime.recorder();
            let sends = [0; 2].map(|_| recorder.send(socket, &Memory::new(LARGE), 0));
            let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
            // It drains as long as nobody minds: the first send has filled what there is of buffers, and waits.
            until("the buffers are full", || {
                runtime.stats().operations_pending == 3
            });
            meet(&runtime, close);
            let completions = recorder.wait_for(3);
            for (completion, op) in completions.iter().zip(sends) {
                assert_eq!((completion.op, completion.status), (op, of_sends));
            }
            completions[2].expect(ASOCK_KIND_CLOSE, of_close);
            let (bytes, ended) = rest_and_end_of(&mut peer);
            assert_eq!((bytes.len(), ended), (completions[0].bytes, None));
            assert!(bytes.len() < LARGE);
        });
    }
}

/// The peer may end a draining close as well: the sends say how, and the socket is closed as was asked for.
#[test]
fn a_draining_close_is_over_when_the_peer_resets() {
    on_both(|runtime| {
        let (socket, peer) = pair(&runtime);
        let recorder = runtime.recorder();
        let sends = [0; 2].map(|_| recorder.send(socket, &Memory::new(LARGE), 0));
        let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
        until("the buffers are full", || {
            runtime.stats().operations_pending == 3
        });
        reset(peer);
        let completions = recorder.wait_for(3);
        for (completion, op) in completions.iter().zip(sends) {
            assert_eq!(completion.op, op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
        }
        assert_eq!(completions[2].op, close);
        completions[2].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        assert_eq!(runtime.stats().sockets_open, 0);
    });
}

#[test]
fn a_drained_runtime_refuses_begin_close_but_never_close() {
    on_both(|runtime| {
        let (socket, mut peer) = pair(&runtime);
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
        let mut op = 0;
        // SAFETY: nothing but the place for the handle is given.
        let begun = unsafe { asock_begin_close(socket, 0, None, null_mut(), &raw mut op) };
        assert_eq!((begun, op), (ASOCK_STOPPED, 0));
        let mut value = 0;
        // SAFETY: `value` may be written.
        let read = unsafe { asock_get_option(socket, ASOCK_OPTION_NODELAY, &raw mut value) };
        assert_eq!((read, value), (ASOCK_OK, 1), "the socket has stayed open");
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_refused(socket);
        assert_eq!(rest_and_end_of(&mut peer), (Vec::new(), None));
    });
}

/// Who hears of a close can open another socket in that one's place, also where no more are allowed and more of them are
/// being closed.
#[test]
fn a_close_that_is_told_has_made_room() {
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let runtime = Runtime::start(&asock_runtime_config {
            max_sockets: 4,
            ..config(delivery)
        });
        let (handle, room) = (runtime.handle(), Arc::new(Mutex::new(Vec::new())));
        let opened = Arc::clone(&room);
        let recorder = runtime.recorder_with(move |_| {
            let mut socket = 0;
            // SAFETY: `socket` may be written.
            let mut open = || unsafe { asock_open(handle, ASOCK_STREAM, &raw mut socket) };
            let count = (0..4).take_while(|_| open() == ASOCK_OK).count();
            opened.lock().expect("no panic").push(count);
        });
        let sockets = [(); 4].map(|()| runtime.open());
        let held = (delivery == ASOCK_DELIVER_ON_WORKER).then(|| Held::new(&runtime));
        recorder.close(sockets[0], 0);
        assert_eq!(asock_close(sockets[1]), ASOCK_OK);
        recorder.close(sockets[2], ASOCK_CLOSE_RESET);
        recorder.close(sockets[3], ASOCK_CLOSE_DRAIN);
        if let Some(held) = held {
            held.release();
        } else {
            until("all have ended", || runtime.stats().operations_pending == 0);
        }
        recorder.wait_for(3);
        let room = std::mem::take(&mut *room.lock().expect("no panic"));
        assert_eq!(room.iter().sum::<usize>(), 4, "{room:?}");
        if delivery == ASOCK_DELIVER_ON_WORKER {
            assert_eq!(room, [1, 2, 1]);
        }
    }
}
