//! Promise 2 for accepts: exactly one completion for each that was begun, none for one that was not, and no connection is
//! lost, handed over twice, or left open.
//!
//! Random schedules on real sockets: two threads accept, connect, cancel, set deadlines, and close and replace the
//! listeners, on up to three workers; in the end the runtime is drained, stopped, or every connection is waited for. After
//! the stop no completion can come any more (promise 8), so the counters are final. A failure names its seed; the threads
//! make that a hint and not a replay.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{remote, try_end};
use common::server::*;
use common::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SCHEDULES: u64 = 300;
const STEPS: u64 = 60;

/// One accept and what came of it. It is the operation's `user_data`.
struct Account {
    listener: asock_socket,
    /// Its result is for `asock_end`.
    is_collected: bool,
    closes_at_once: bool,
    op: AtomicU64,
    completions: AtomicU32,
    /// The status, the new socket, and the port of its peer.
    outcome: Mutex<(asock_status, asock_socket, u16)>,
}

impl Account {
    fn note(&self, result: &asock_result) {
        assert_eq!(
            (result.kind, result.socket),
            (ASOCK_KIND_ACCEPT, self.listener)
        );
        assert_eq!((result.bytes, result.flags), (0, 0));
        assert!(result.buffer.is_null());
        assert_eq!(result.value == 0, result.status != ASOCK_OK, "{result:?}");
        // The runtime may have stopped before its result is collected; the socket is gone then.
        let peer = match result.status {
            ASOCK_OK => remote(result.value).map_or(0, |address| {
                // SAFETY: the address is a live value.
                unsafe { asock_address_port(&raw const address) }
            }),
            _ => 0,
        };
        if result.status == ASOCK_OK && self.closes_at_once {
            asock_close(result.value); // Unless the runtime has stopped.
        }
        *locked(&self.outcome) = (result.status, result.value, peer);
        self.completions.fetch_add(1, Ordering::SeqCst);
    }

    fn is_done(&self) -> bool {
        self.completions.load(Ordering::SeqCst) > 0
    }
}

unsafe extern "C" fn note(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the record is valid during the call, and the account is kept until the runtime has stopped.
    unsafe { (*user_data.cast::<Account>()).note(&*result) };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Play {
    /// Dropped, and so stopped, before what its operations refer to.
    runtime: Runtime,
    seed: u64,
    /// Each with whether it was begun.
    accounts: Mutex<Vec<(Arc<Account>, bool)>>,
    listeners: Mutex<Vec<asock_socket>>,
    /// The clients of each listener, which are kept to the end so that no port comes twice.
    clients: Mutex<BTreeMap<asock_socket, Vec<TcpStream>>>,
}

impl Play {
    fn any_listener(&self, random: &mut Random) -> asock_socket {
        *random.pick(&locked(&self.listeners))
    }

    fn accept(&self, listener: asock_socket, random: &mut Random) {
        let account = Arc::new(Account {
            listener,
            is_collected: !self.runtime.delivers_on_poll() && random.one_in(4),
            closes_at_once: random.one_in(4),
            op: AtomicU64::new(0),
            completions: AtomicU32::new(0),
            outcome: Mutex::default(),
        });
        let callback: asock_callback = match account.is_collected {
            true => None,
            false => Some(note),
        };
        let user_data = Arc::as_ptr(&account).cast_mut().cast();
        let mut op = 0;
        // SAFETY: the account is kept until the runtime has stopped.
        let status = unsafe { asock_begin_accept(listener, callback, user_data, &raw mut op) };
        assert!([ASOCK_OK, ASOCK_BAD_HANDLE].contains(&status), "{status}");
        account.op.store(op, Ordering::SeqCst);
        locked(&self.accounts).push((account, status == ASOCK_OK));
    }

    fn any_op(&self, random: &mut Random) -> asock_op {
        let accounts = locked(&self.accounts);
        match accounts.is_empty() {
            true => 0,
            false => random.pick(&accounts).0.op.load(Ordering::SeqCst),
        }
    }

    /// A client comes, if the listener is there and not closed meanwhile.
    fn connect(&self, random: &mut Random) {
        let listener = self.any_listener(random);
        let Ok(address) = common::calls::local(listener) else {
            return;
        };
        // SAFETY: the address is a live value.
        let port = unsafe { asock_address_port(&raw const address) };
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            stream.set_read_timeout(Some(LIMIT)).expect("it is open");
            let mut clients = locked(&self.clients);
            clients.entry(listener).or_default().push(stream);
        }
    }

    /// What one thread of the application does.
    fn act(&self, random: &mut Random) {
        for _ in 0..STEPS {
            match random.below(20) {
                0..=8 => self.accept(self.any_listener(random), random),
                9..=13 => self.connect(random),
                14..=15 => {
                    asock_cancel(self.any_op(random));
                }
                16 => {
                    let timeout_ms = random.below(3) as i64 - 1;
                    asock_set_deadline(self.any_op(random), timeout_ms);
                }
                17 if random.one_in(3) => {
                    let fresh = listener(&self.runtime);
                    let mut listeners = locked(&self.listeners);
                    let at = random.below(listeners.len() as u64) as usize;
                    let old = std::mem::replace(&mut listeners[at], fresh);
                    drop(listeners);
                    assert_eq!(asock_close(old), ASOCK_OK);
                }
                _ => self.pull(),
            }
        }
    }

    fn pull(&self) {
        if self.runtime.delivers_on_poll() {
            // The other thread may be at it.
            let _ = common::calls::dispatch(&self.runtime, 0, 5, 0);
        }
    }

    /// Collects what is for `asock_end` and has ended.
    fn collect(&self) {
        for (account, begun) in locked(&self.accounts).iter() {
            let op = account.op.load(Ordering::SeqCst);
            if *begun && account.is_collected && !account.is_done() && !is_pending(op) {
                account.note(&end(op));
                assert!(matches!(try_end(op), Err(ASOCK_BAD_HANDLE)));
            }
        }
    }

    /// The peers that were handed over by a listener.
    fn handed_over(&self, listener: asock_socket) -> BTreeSet<u16> {
        let accounts = locked(&self.accounts);
        let of = accounts.iter().filter(|one| one.0.listener == listener);
        let outcomes = of.map(|one| *locked(&one.0.outcome));
        let good = outcomes.filter(|(status, socket, _)| *status == ASOCK_OK && *socket != 0);
        good.map(|(.., port)| port).collect()
    }

    /// Every connection that came to a listener that is still there can be accepted.
    fn accept_the_rest(&self, random: &mut Random) {
        for listener in locked(&self.listeners).clone() {
            let clients = locked(&self.clients).remove(&listener).unwrap_or_default();
            let own_port = |stream: &TcpStream| stream.local_addr().expect("it was open").port();
            let expected: BTreeSet<_> = clients.iter().map(own_port).collect();
            for _ in 0..expected.len() {
                self.accept(listener, random);
            }
            until("every connection is handed over", || {
                self.pull();
                self.collect();
                self.handed_over(listener) == expected
            });
            locked(&self.clients).insert(listener, clients);
            assert_eq!(asock_close(listener), ASOCK_OK);
        }
        until("all completions", || {
            self.pull();
            self.collect();
            let accounts = locked(&self.accounts);
            accounts.iter().all(|one| !one.1 || one.0.is_done())
        });
        for (account, _) in locked(&self.accounts).iter() {
            let (_, socket, _) = *locked(&account.outcome);
            if !account.closes_at_once && socket != 0 {
                assert_eq!(asock_close(socket), ASOCK_OK);
            }
        }
        until("none is open", || self.runtime.stats().sockets_open == 0);
    }

    /// Gives the statuses that were met.
    fn verify(self) -> BTreeSet<asock_status> {
        let seed = self.seed;
        let (mut met, mut sockets) = (BTreeSet::new(), BTreeSet::new());
        for (account, begun) in locked(&self.accounts).iter() {
            let completions = account.completions.load(Ordering::SeqCst);
            assert_eq!(completions, u32::from(*begun), "seed {seed}");
            let (status, socket, _) = *locked(&account.outcome);
            if *begun {
                met.insert(status);
            }
            assert!(socket == 0 || sockets.insert(socket), "seed {seed}: twice");
        }
        for client in locked(&self.clients).values_mut().flatten() {
            assert_gone(client);
        }
        met
    }
}

fn play(seed: u64, delivery: u32) -> BTreeSet<asock_status> {
    let mut random = Random::new(seed);
    let mut config = config(delivery);
    config.workers = 1 + random.below(3) as u32;
    let runtime = Runtime::start(&config);
    let play = Play {
        listeners: Mutex::new(vec![listener(&runtime), listener(&runtime)]),
        runtime,
        seed,
        accounts: Mutex::default(),
        clients: Mutex::default(),
    };
    let mut other = Random::new(!seed);
    std::thread::scope(|scope| {
        scope.spawn(|| play.act(&mut other));
        play.act(&mut random);
    });
    match random.below(3) {
        0 => assert_eq!(asock_runtime_drain(play.runtime.handle()), ASOCK_OK),
        1 => play.accept_the_rest(&mut random),
        _ => {}
    }
    play.runtime.stop();
    play.collect();
    play.verify()
}

fn play_all(delivery: u32) {
    let mut met = BTreeSet::new();
    for seed in 0..SCHEDULES {
        met.extend(play(seed, delivery));
    }
    // Else the schedules have not been where it is interesting.
    let all = [
        ASOCK_OK,
        ASOCK_CANCELED,
        ASOCK_CLOSED,
        ASOCK_STOPPED,
        ASOCK_TIMED_OUT,
    ];
    assert_eq!(met, BTreeSet::from(all));
}

#[test]
fn every_accept_completes_once_on_the_worker() {
    play_all(ASOCK_DELIVER_ON_WORKER);
}

#[test]
fn every_accept_completes_once_on_poll() {
    play_all(ASOCK_DELIVER_ON_POLL);
}
