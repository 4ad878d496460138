//! Promise 10, after a fork: every handle of the parent gives ASOCK_FORKED in the child, which takes no lock that a thread of
//! the parent held; runtime 0 is there the child's own, and it may start others. The parent goes on as if nothing had been.
//!
//! The children are real ones of this test program; they run what is tested and end without coming back. A Rust program is
//! a worse host for that than any other: its own threads take a lock of the standard library when they begin and end, and
//! a child in which nobody will ever release it cannot start a thread. So there is one test, which forks only when no
//! thread is beginning or ending. What happens when a busy host forks is seen in C: `tests/c/fork.c`.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{pair, plain_receive, plain_timer};
use common::child::Child;
use common::handles::{all, Kind};
use common::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ptr::null_mut;

const NEVER_MS: u64 = 1_000_000;

fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    tasks.count()
}

/// Somebody who sends back what he gets, and the number of threads there are when nobody is connected to him. The one that
/// accepts has begun: it has done so before.
fn settled_echo() -> (Peer, usize) {
    let alone = threads();
    let peer = Peer::echo();
    let mut client = TcpStream::connect(("127.0.0.1", peer.port())).expect("it listens");
    client.write_all(b"!").expect("it is open");
    client.read_exact(&mut [0]).expect("it is sent back");
    drop(client);
    until_threads(alone + 1);
    (peer, alone + 1)
}

/// Waits until no thread is ending any more: there are so many.
fn until_threads(count: usize) {
    until("the other threads have ended", || threads() == count);
}

/// Every function answers handles of the parent in the same way, whatever the other arguments.
fn assert_forked(handles: &[(Kind, u64)]) {
    for (kind, handle) in handles {
        for entry in all().filter(|entry| entry.kind == *kind) {
            let name = entry.name;
            assert_eq!((entry.good)(*handle), ASOCK_FORKED, "{name}({handle:#x})");
            if let Some(bad) = entry.bad {
                assert_eq!(bad(*handle), ASOCK_FORKED, "{name}({handle:#x})");
            }
        }
    }
}

/// An ordinary life on the default runtime, which no test of the parent's may have started as the child's.
fn use_default_runtime(port: u16) {
    let mut socket = 0;
    // SAFETY: the handle may be written.
    let opened = unsafe { asock_open(0, ASOCK_STREAM, &raw mut socket) };
    assert_eq!(opened, ASOCK_OK);
    let host = c"127.0.0.1".as_ptr();
    let room = Memory::new(5);
    // SAFETY: the host ends with a zero, the data is there for ever, and nothing else is given.
    let (connect, send) = unsafe {
        let hello = c"hello".as_ptr().cast();
        (
            begun(|op| asock_begin_connect(socket, host, port, None, null_mut(), op)),
            begun(|op| asock_begin_send(socket, hello, 5, 0, None, null_mut(), op)),
        )
    };
    let receive = plain_receive(socket, &room, ASOCK_RECEIVE_ALL);
    for op in [connect, send, receive] {
        assert_eq!(end(op).status, ASOCK_OK);
    }
    assert_eq!(room.bytes(), b"hello");
    // SAFETY: nothing but the place for the handle is given.
    let pending = begun(|op| unsafe { asock_begin_timer(0, NEVER_MS, None, null_mut(), op) });
    assert_eq!(asock_runtime_stop(0), ASOCK_OK);
    assert_eq!(end(pending).status, ASOCK_STOPPED);
    assert_eq!(asock_close(socket), ASOCK_BAD_HANDLE);
}

/// And on others, with callbacks.
fn use_own_runtimes(port: u16) {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.connected(port);
        recorder.put(socket, b"again");
        assert_eq!(recorder.take_bytes(socket, 5), b"again");
        recorder.timer(NEVER_MS);
    });
}

fn a_child_may_not_use_its_parents_handles_but_has_its_own() {
    let (peer, _) = settled_echo();
    let [on_worker, on_poll] = [Runtime::on_worker(), Runtime::on_poll()];
    // SAFETY: nothing but the place for the handle is given.
    let [ended, default] = [0, NEVER_MS]
        .map(|ms| begun(|op| unsafe { asock_begin_timer(0, ms, None, null_mut(), op) }));
    assert_eq!(end(ended).status, ASOCK_OK); // So its worker has begun.
    let uncollected = plain_timer(&on_worker, 0);
    assert_eq!(asock_wait(uncollected, -1), ASOCK_OK);
    let stale = on_worker.open();
    assert_eq!(asock_close(stale), ASOCK_OK);
    let mut handles = vec![
        (Kind::Op, default),
        (Kind::Op, uncollected),
        (Kind::Socket, stale),
    ];
    let mut ends = Vec::new();
    for runtime in [&on_worker, &on_poll] {
        let recorder = runtime.recorder();
        let (socket, end) = pair(runtime);
        let receive = recorder.receive(socket, &Memory::new(5), ASOCK_RECEIVE_ALL);
        handles.push((Kind::Runtime, runtime.handle()));
        handles.push((Kind::Socket, socket));
        handles.push((Kind::Op, receive));
        ends.push((recorder, socket, end, receive));
    }
    Child::check(|| {
        assert_forked(&handles);
        use_default_runtime(peer.port());
        use_own_runtimes(peer.port());
        // Also beside its own, which look alike.
        let own = Runtime::on_worker();
        let begun = plain_timer(&own, 0);
        assert_eq!(end(begun).status, ASOCK_OK); // So its worker has begun.
        let (socket, op) = (own.open(), plain_timer(&own, NEVER_MS));
        assert_forked(&handles);
        // The same for the child's child.
        let handles_of_child = [
            (Kind::Runtime, own.handle()),
            (Kind::Socket, socket),
            (Kind::Op, op),
        ];
        Child::check(|| {
            assert_forked(&handles);
            assert_forked(&handles_of_child);
            use_default_runtime(peer.port());
            use_own_runtimes(peer.port());
        });
        assert_eq!(asock_close(socket), ASOCK_OK);
    });
    // The parent has noticed nothing.
    for (recorder, socket, mut stream, receive) in ends {
        stream.write_all(b"later").expect("it is open");
        recorder
            .completion_of(receive)
            .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        recorder.put(socket, b"reply");
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).expect("it is open");
        assert_eq!(&reply, b"reply");
    }
    assert_eq!(end(uncollected).status, ASOCK_OK);
    assert_eq!(asock_runtime_stop(0), ASOCK_OK);
    assert_eq!(end(default).status, ASOCK_STOPPED);
}

fn a_child_of_a_process_that_never_used_the_library_is_like_any_process() {
    let (peer, _) = settled_echo();
    // The first child has not used it when it forks, and uses it after that.
    Child::check(|| {
        Child::check(|| {
            use_own_runtimes(peer.port());
            use_default_runtime(peer.port());
        });
        use_default_runtime(peer.port());
    });
}

fn a_callback_may_fork() {
    let (peer, quiet) = settled_echo();
    on_both(|runtime| {
        // Its worker has begun, and what served the last child has ended.
        calls::have_a_turn(&runtime);
        until_threads(quiet + 1);
        let (handle, port) = (runtime.handle(), peer.port());
        let recorder = runtime.recorder_with(move |result| {
            let op = result.op;
            Child::check(|| {
                assert_forked(&[(Kind::Runtime, handle), (Kind::Op, op)]);
                // In the child this thread is no worker, and inside no callback of a runtime that it has.
                use_default_runtime(port);
                use_own_runtimes(port);
            });
        });
        recorder.timer(0);
        recorder.wait_for(1)[0].expect(ASOCK_KIND_TIMER, ASOCK_OK);
    });
}

#[test]
fn after_a_fork() {
    a_child_may_not_use_its_parents_handles_but_has_its_own();
    a_child_of_a_process_that_never_used_the_library_is_like_any_process();
    a_callback_may_fork();
}
