//! A random load over several workers, from several threads of the application.

use super::common::*;
use super::{start, Watchdog};
use asock::*;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

/// What one application thread has begun: for each operation its socket and kind, in the order begun.
type Begun = Vec<(asock_op, asock_socket, u32)>;

/// One thread's part of the load: sockets of its own, and all that may happen to them.
fn load(runtime: &Runtime, recorder: &Recorder, port: u16, seed: u64) -> Begun {
    let mut random = Random::new(seed);
    let mut begun = Begun::new();
    for _ in 0..100 {
        let socket = runtime.open();
        let connect = recorder.connect(socket, port);
        begun.push((connect, socket, ASOCK_KIND_CONNECT));
        for _ in 0..random.below(40) {
            let length = 1 + random.below(3000) as usize;
            match random.below(8) {
                0..=2 => {
                    let op = recorder.send(socket, &Memory::new(length), 0);
                    begun.push((op, socket, ASOCK_KIND_SEND));
                }
                3..=5 => {
                    let op = recorder.receive(socket, &Memory::new(length), 0);
                    begun.push((op, socket, ASOCK_KIND_RECEIVE));
                }
                6 => {
                    let op = recorder.timer(random.below(5));
                    begun.push((op, 0, ASOCK_KIND_TIMER));
                }
                _ => {
                    let (op, _, _) = begun[random.below(begun.len() as u64) as usize];
                    let status = match random.one_in(2) {
                        true => asock_cancel(op),
                        false => asock_set_deadline(op, random.below(3) as i64),
                    };
                    // It may be over.
                    assert!(matches!(status, ASOCK_OK | ASOCK_BAD_HANDLE));
                }
            }
        }
        match random.below(4) {
            0 => {} // The stop closes it.
            1 => assert_eq!(asock_close(socket), ASOCK_OK),
            2 => {
                let op = recorder.close(socket, ASOCK_CLOSE_RESET);
                begun.push((op, socket, ASOCK_KIND_CLOSE));
            }
            _ => {
                let op = recorder.close(socket, ASOCK_CLOSE_DRAIN);
                begun.push((op, socket, ASOCK_KIND_CLOSE));
            }
        }
    }
    begun
}

/// Every operation has completed once, and the successes of each socket and direction in the order begun.
fn assert_all_told(begun: &Begun, completions: &[Completion]) {
    assert_eq!(completions.len(), begun.len());
    let place: HashMap<asock_op, usize> = completions
        .iter()
        .enumerate()
        .map(|(place, one)| (one.op, place))
        .collect();
    assert_eq!(place.len(), begun.len(), "each once");
    let mut last: HashMap<(asock_socket, u32), usize> = HashMap::new();
    for (op, socket, kind) in begun {
        let at = place[op];
        let completion = &completions[at];
        assert_eq!((completion.socket, completion.kind), (*socket, *kind));
        let in_order = completion.status == ASOCK_OK && *socket != 0;
        if let (true, Some(before)) = (in_order, last.insert((*socket, *kind), at)) {
            assert!(before < at, "successes come in the order begun");
        }
    }
}

#[test]
fn a_random_load_from_many_threads_is_told_exactly_once_and_one_at_a_time() {
    let _watchdog =
        Watchdog::start("a random load from many threads is told exactly once and one at a time");
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let runtime = start(delivery);
        let peer = Peer::echo();
        let inside = Mutex::new(HashSet::new());
        let overlaps = Arc::new(AtomicU32::new(0));
        let of_callbacks = Arc::clone(&overlaps);
        let recorder = runtime.recorder_with(move |result| {
            if result.socket == 0 {
                return;
            }
            let alone = inside.lock().is_ok_and(|mut set| set.insert(result.socket));
            std::thread::yield_now(); // Room for a second one to come in.
            of_callbacks.fetch_add(u32::from(!alone), Ordering::SeqCst);
            if let Ok(mut set) = inside.lock() {
                set.remove(&result.socket);
            }
        });
        let begun = std::thread::scope(|scope| {
            let (runtime, recorder) = (&runtime, &recorder);
            let port = peer.port();
            let threads = [1, 2, 3, 4]
                .map(|seed| scope.spawn(move || load(runtime, recorder, port, 0xA50C + seed)));
            let all = threads.map(|thread| thread.join().expect("no panic"));
            all.concat()
        });
        runtime.stop();
        let completions = recorder.completions();
        assert_all_told(&begun, &completions);
        assert_eq!(overlaps.load(Ordering::SeqCst), 0);
        let mut homes: HashMap<asock_socket, ThreadId> = HashMap::new();
        let of_sockets = completions.iter().filter(|one| one.socket != 0);
        if delivery == ASOCK_DELIVER_ON_WORKER {
            for one in of_sockets {
                let home = *homes.entry(one.socket).or_insert(one.thread);
                assert_eq!(one.thread, home, "a socket stays on its worker");
            }
        }
    }
}
