//! Promises 2, 7, 8 and 9, of accepts: random schedules on real sockets. Threads begin, cancel, limit and forget accepts, and
//! open and close listeners, while clients connect, say a word, and end or reset; at last the runtime is drained, stopped, or
//! all is closed. Each accept gives exactly one completion; each socket that one brings is a new one, connected, and named
//! once; each client that was accepted gets its echo or its end, and no connection stays open. A failure names its seed.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::net::TcpStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Each connection keeps a port of the system's busy for a minute, so there are not too many of them.
const SCHEDULES: u64 = 25;
const STEPS: u64 = 80;
const WORKERS: [u32; 2] = [1, 3];

/// What both threads of the application share.
struct Play {
    runtime: Runtime,
    /// The callbacks of accepts: what they bring is closed at once, kept, or read from.
    recorder: Arc<Recorder>,
    /// Accepts with a callback, and the sockets that they were begun on.
    begun: Mutex<HashMap<asock_op, asock_socket>>,
    /// Those without one, to be ended or forgotten.
    plain: Mutex<Vec<asock_op>>,
    ended: Mutex<Vec<asock_result>>,
    listeners: Mutex<Vec<asock_socket>>,
}

impl Play {
    fn listener(&self, random: &mut Random) -> Option<asock_socket> {
        let listeners = self.listeners.lock().expect("nobody panics with it");
        (!listeners.is_empty()).then(|| *random.pick(&listeners))
    }

    fn open(&self) {
        let socket = listener(&self.runtime);
        self.listeners
            .lock()
            .expect("nobody panics with it")
            .push(socket);
    }

    fn accept(&self, listener: asock_socket) {
        let mut op = 0;
        // Held, so that whoever looks for the operation of a completion finds it.
        let mut begun = self.begun.lock().expect("nobody panics with it");
        // SAFETY: the recorder outlives the operation.
        let status = unsafe {
            let user_data = self.recorder.user_data();
            asock_begin_accept(listener, Some(record), user_data, &raw mut op)
        };
        match status {
            ASOCK_OK => assert_eq!(begun.insert(op, listener), None),
            status => assert_eq!((status, op), (ASOCK_BAD_HANDLE, 0)),
        }
    }

    fn plain_accept(&self, listener: asock_socket) {
        let mut op = 0;
        // SAFETY: nothing is referred to but the place for the handle.
        let status = unsafe { asock_begin_accept(listener, None, null_mut(), &raw mut op) };
        if status == ASOCK_OK {
            self.plain.lock().expect("nobody panics with it").push(op);
        }
    }

    fn any_op(&self, random: &mut Random) -> Option<asock_op> {
        let begun = self.begun.lock().expect("nobody panics with it");
        let ops: Vec<asock_op> = begun.keys().copied().collect();
        (!ops.is_empty()).then(|| *random.pick(&ops))
    }

    fn step(&self, random: &mut Random) {
        let on_worker = !self.runtime.delivers_on_poll();
        let Some(listener) = self.listener(random) else {
            return self.open();
        };
        match random.below(20) {
            0..=9 => self.accept(listener),
            10..=11 if on_worker => self.plain_accept(listener),
            12..=13 => {
                let answer = self.any_op(random).map(|op| asock_cancel(op));
                assert!([None, Some(ASOCK_OK), Some(ASOCK_BAD_HANDLE)].contains(&answer));
            }
            14 => {
                let limit = random.below(3) as i64;
                self.any_op(random).map(|op| asock_set_deadline(op, limit));
            }
            15 => {
                let op = self.plain.lock().expect("nobody panics with it").pop();
                op.map(|op| asock_forget(op));
            }
            16 => self.open(),
            17 => {
                let mut listeners = self.listeners.lock().expect("nobody panics with it");
                // The other thread may have closed it.
                if let Some(at) = listeners.iter().position(|own| *own == listener) {
                    listeners.swap_remove(at);
                    assert_eq!(asock_close(listener), ASOCK_OK);
                }
            }
            _ => std::thread::yield_now(),
        }
    }

    /// A client connects to some listener, which may be closed by now.
    fn connect(&self, random: &mut Random) -> Option<TcpStream> {
        let listener = self.listener(random)?;
        let address = local(listener).ok()?;
        // SAFETY: the address is a live value.
        let port = unsafe { asock_address_port(&raw const address) };
        let mut client = TcpStream::connect(("127.0.0.1", port)).ok()?;
        client.set_read_timeout(Some(LIMIT)).expect("a socket");
        match random.below(4) {
            0 => {
                reset(client);
                return None;
            }
            1 => _ = client.write_all(b"a word"), // It may be closed already.
            _ => {}
        }
        Some(client)
    }
}

/// The names of both ends, as a client and as the socket that accepted it sees them.
type Names = (String, String);

fn names(client: &TcpStream) -> Option<Names> {
    let own = client.local_addr().ok()?.to_string();
    Some((own, client.peer_addr().ok()?.to_string()))
}

fn play(seed: u64, delivery: u32, workers: u32) {
    let mut config = config(delivery);
    config.workers = workers;
    let runtime = Runtime::start(&config);
    let mut random = Random::new(seed);
    let accepted = Arc::new(Mutex::new(Vec::<(asock_socket, Names)>::new()));
    let of_callback = Arc::clone(&accepted);
    let closes_at_once = random.one_in(3);
    let recorder = runtime.recorder_with(move |result| {
        if (result.kind, result.status) == (ASOCK_KIND_ACCEPT, ASOCK_OK) {
            let names = remote(result.value)
                .and_then(|peer| Ok((text(&peer), text(&local(result.value)?))));
            let names = names.expect("a new socket has both");
            let mut accepted = of_callback.lock().expect("nobody panics with it");
            accepted.push((result.value, names));
            if closes_at_once {
                assert_eq!(asock_close(result.value), ASOCK_OK);
            }
        }
    });
    let play = Play {
        runtime,
        recorder,
        begun: Mutex::default(),
        plain: Mutex::default(),
        ended: Mutex::default(),
        listeners: Mutex::default(),
    };
    play.open();
    let over = AtomicBool::new(false);
    let mut clients = Vec::new();
    std::thread::scope(|scope| {
        let play = &play;
        let over = &over;
        let other = scope.spawn(move || {
            let mut random = Random::new(seed ^ 0x5555);
            (0..STEPS).for_each(|_| play.step(&mut random));
        });
        let _ends = Ends(over);
        if play.runtime.delivers_on_poll() {
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let _ = play.runtime.dispatch();
                }
            });
        }
        for step in 0..STEPS {
            play.step(&mut random);
            if step % 4 == 0 {
                let client = play.connect(&mut random);
                clients.extend(client.and_then(|client| Some((names(&client)?, client))));
            }
        }
        other.join().expect("it ends");
        end_all(play, &mut random);
    });
    check(
        seed,
        &play,
        &accepted.lock().expect("nobody panics with it"),
        clients,
    );
}

/// Ends the thread that dispatches, also when a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One of three ends, after which nothing is pending. Records that are to be collected are.
fn end_all(play: &Play, random: &mut Random) {
    match random.below(3) {
        0 => play.runtime.stop(),
        1 => {
            assert_eq!(asock_runtime_drain(play.runtime.handle()), ASOCK_OK);
            let begun = play.begun.lock().expect("nobody panics with it").len();
            play.recorder.wait_for(begun);
        }
        _ => {
            let listeners = play
                .listeners
                .lock()
                .expect("nobody panics with it")
                .clone();
            for listener in listeners {
                assert_eq!(asock_close(listener), ASOCK_OK);
            }
            let begun = play.begun.lock().expect("nobody panics with it").len();
            play.recorder.wait_for(begun);
        }
    }
    let plain = std::mem::take(&mut *play.plain.lock().expect("nobody panics with it"));
    let ended = plain.into_iter().map(end);
    play.ended
        .lock()
        .expect("nobody panics with it")
        .extend(ended);
}

fn check(
    seed: u64,
    play: &Play,
    accepted: &[(asock_socket, Names)],
    mut clients: Vec<(Names, TcpStream)>,
) {
    // It may have been stopped already.
    let stopped = asock_runtime_stop(play.runtime.handle());
    assert!([ASOCK_OK, ASOCK_BAD_HANDLE].contains(&stopped));
    let begun = play.begun.lock().expect("nobody panics with it");
    let completions = play.recorder.completions();
    let ops: BTreeSet<asock_op> = completions.iter().map(|one| one.op).collect();
    assert_eq!(ops.len(), completions.len(), "seed {seed}: twice");
    assert_eq!(ops, begun.keys().copied().collect(), "seed {seed}");
    let known = [
        ASOCK_OK,
        ASOCK_CANCELED,
        ASOCK_TIMED_OUT,
        ASOCK_CLOSED,
        ASOCK_STOPPED,
    ];
    let mut sockets = BTreeSet::new();
    let ended = play.ended.lock().expect("nobody panics with it");
    let results = completions
        .iter()
        .map(|one| one.result)
        .chain(ended.iter().copied());
    for result in results {
        assert_eq!(result.kind, ASOCK_KIND_ACCEPT, "seed {seed}");
        assert!(known.contains(&result.status), "seed {seed}: {result:?}");
        assert_eq!(result.value != 0, result.status == ASOCK_OK, "seed {seed}");
        assert!(
            result.value == 0 || sockets.insert(result.value),
            "seed {seed}: twice"
        );
        assert_eq!(asock_close(result.value), ASOCK_BAD_HANDLE, "seed {seed}");
    }
    for completion in &completions {
        assert_eq!(completion.socket, begun[&completion.op], "seed {seed}");
    }
    // What was accepted is closed.
    let accepted: BTreeSet<&Names> = accepted.iter().map(|one| &one.1).collect();
    for (names, client) in &mut clients {
        if accepted.contains(names) {
            assert_gone(client);
        }
    }
}

fn play_all(delivery: u32) {
    for seed in 0..SCHEDULES {
        play(seed, delivery, WORKERS[(seed % 2) as usize]);
    }
}

#[test]
fn every_accept_completes_once_on_the_worker() {
    play_all(ASOCK_DELIVER_ON_WORKER);
}

#[test]
fn every_accept_completes_once_on_poll() {
    play_all(ASOCK_DELIVER_ON_POLL);
}
