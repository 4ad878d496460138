//! Completions of several workers, pulled by the application.

use super::common::*;
use super::start;
use asock::*;
use std::collections::HashSet;

/// Whether a descriptor is readable now, or becomes so within `timeout_ms`.
fn readable(descriptor: i64, timeout_ms: i32) -> bool {
    let mut entry = libc::pollfd {
        fd: descriptor as i32,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which may be written.
    let answer = unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
    answer == 1 && entry.revents & libc::POLLIN != 0
}

/// Polls with a little room.
fn poll(runtime: &Runtime, timeout_ms: i32, capacity: usize) -> (asock_status, Vec<asock_op>) {
    // SAFETY: records of integers and pointers may be all zero; as many may be written as there are.
    unsafe {
        let mut room: Vec<asock_result> = vec![std::mem::zeroed(); capacity];
        let mut count = 0;
        let results = room.as_mut_ptr();
        let status = asock_poll(
            runtime.handle(),
            timeout_ms,
            results,
            capacity,
            &raw mut count,
        );
        room.truncate(count);
        (status, room.iter().map(|one| one.op).collect())
    }
}

#[test]
fn polling_gets_everything_from_all_workers_and_the_descriptor_tells() {
    let runtime = start(ASOCK_DELIVER_ON_POLL);
    let peer = Peer::echo();
    let sockets: Vec<_> = (0..12).map(|_| runtime.open()).collect();
    let mut descriptor = -1;
    // SAFETY: it may be written.
    let status = unsafe { asock_poll_fd(runtime.handle(), &raw mut descriptor) };
    assert_eq!(status, ASOCK_OK);
    assert!(!readable(descriptor, 0));
    let recorder = runtime.recorder();
    let mut expected = HashSet::new();
    for socket in &sockets {
        expected.insert(recorder.connect(*socket, peer.port()));
        expected.insert(recorder.send(*socket, &Memory::new(10), 0));
        expected.insert(recorder.receive(*socket, &Memory::new(10), ASOCK_RECEIVE_ALL));
    }
    let limit = LIMIT.as_millis() as i32;
    let mut got = HashSet::new();
    while got.len() < expected.len() {
        assert!(readable(descriptor, limit), "the descriptor tells of each");
        let (status, ops) = poll(&runtime, 0, 5);
        assert_eq!(status, ASOCK_OK);
        assert!(!ops.is_empty() && ops.len() <= 5);
        for op in ops {
            assert!(got.insert(op), "each once");
        }
    }
    assert_eq!(got, expected);
    assert!(!readable(descriptor, 0), "and of nothing else");
    assert_eq!(recorder.count(), 0);

    // The same by callbacks, a few at a time.
    for socket in &sockets {
        recorder.send(*socket, &Memory::new(10), 0);
    }
    while recorder.count() < sockets.len() {
        assert!(readable(descriptor, limit));
        let (before, mut count) = (recorder.count(), 0);
        // SAFETY: `count` may be written.
        let status = unsafe { asock_dispatch(runtime.handle(), 0, 2, 0, &raw mut count) };
        assert_eq!((status, recorder.count()), (ASOCK_OK, before + count));
        assert!((1..=2).contains(&count));
    }
    let here = std::thread::current().id();
    assert!(recorder.completions().iter().all(|one| one.thread == here));

    // A drain ends on all workers before the poll says that all is over.
    let pending: HashSet<_> = sockets
        .iter()
        .map(|socket| recorder.receive(*socket, &Memory::new(1000), ASOCK_RECEIVE_ALL))
        .collect();
    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    let mut drained = HashSet::new();
    loop {
        let (status, ops) = poll(&runtime, limit, 5);
        if status == ASOCK_STOPPED {
            break;
        }
        assert_eq!(status, ASOCK_OK);
        assert!(ops.iter().all(|op| drained.insert(*op)));
    }
    assert_eq!(drained, pending);
    assert!(readable(descriptor, 0), "there is something to hear");
}
