//! Many operations under way: each completes once, none needs a thread, and none needs the thread that began it.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::pair;
use common::*;
use std::collections::HashSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// The tests here count the threads of the library.
static ALONE: Mutex<()> = Mutex::new(());

/// Ten thousand messages to somebody who sends them back, with at most 64 of them under way.
#[test]
fn ten_thousand_pairs() {
    const PAIRS: usize = 10_000;
    const UNDER_WAY: usize = 64;
    const LENGTH: usize = 16;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = Peer::echo();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.connected(peer.port());
        let message = |number: usize| {
            let mut bytes = [number as u8; LENGTH];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            bytes
        };
        let (mut ops, mut rooms) = (HashSet::new(), Vec::new());
        for number in 0..PAIRS {
            let room = Memory::new(LENGTH);
            ops.insert(recorder.receive(socket, &room, ASOCK_RECEIVE_ALL));
            ops.insert(recorder.send(socket, &Memory::of(&message(number)), 0));
            rooms.push(room);
            until("there are few enough", || {
                let done = recorder.count();
                if done + 2 * UNDER_WAY <= 2 * (number + 1) {
                    runtime.dispatch_if_polled();
                    return false;
                }
                true
            });
        }
        let all = recorder.wait_for(2 * PAIRS);
        runtime.stop();
        assert_eq!(recorder.count(), 2 * PAIRS);
        let told: HashSet<_> = all.iter().map(|one| one.op).collect();
        assert_eq!(told, ops);
        for completion in &all {
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, LENGTH));
        }
        for (number, room) in rooms.iter().enumerate() {
            assert_eq!(room.bytes(), message(number), "{number}");
        }
    });
}

/// The library's threads, which have its name.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this is Linux");
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.flatten().filter_map(name);
    names.filter(|name| name.starts_with("asock")).count()
}

#[test]
fn five_hundred_receives_need_no_thread() {
    const COUNT: usize = 500;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        // The system takes a thread off its list a moment after it has been joined.
        until("there is one", || threads() == 1);
        let ops: Vec<_> = (0..COUNT)
            .map(|_| recorder.receive(socket, &Memory::new(1), 0))
            .collect();
        calls::assert_pending(&runtime, ops[COUNT - 1]);
        assert_eq!(threads(), 1);
        peer.write_all(&[7; COUNT]).expect("connected");
        let all = recorder.wait_for(COUNT);
        assert!(all.iter().map(|one| one.op).eq(ops));
        assert!(all
            .iter()
            .all(|one| (one.status, one.bytes) == (ASOCK_OK, 1)));
        assert_eq!(threads(), 1);
    });
}

#[test]
fn the_thread_that_began_them_may_end() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let listener = server::listener(&runtime);
        let ops = std::thread::scope(|scope| {
            let beginner = scope.spawn(|| {
                let receives = [0; 3].map(|_| recorder.receive(socket, &Memory::new(1), 0));
                (receives, recorder.accept(listener))
            });
            beginner.join().expect("no panic")
        });
        let (receives, accept) = ops;
        peer.write_all(b"123").expect("connected");
        for op in receives {
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        }
        let _client = server::client(listener);
        server::new_socket(&recorder.completion_of(accept));
    });
}
