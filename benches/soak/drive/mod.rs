//! The soak itself: two runtimes, one of each delivery, and threads that run session after session on them.

mod driver;
mod peer;
mod pool;
mod sessions;

use asock::*;
use driver::Driver;
use peer::Peers;
use pool::Totals;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Threads of the application on each runtime.
const THREADS: u64 = 3;
/// What memory may grow by between a third of the time and the end: the allocator's, the threads', the kernel's moods.
const GROWTH: usize = 24 << 20;
/// How long anything may take that must come.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What was done; that all of it was right goes without saying.
pub struct Report {
    seconds: f64,
    sessions: u64,
    begun: u64,
    succeeded: u64,
    bytes: u64,
    growth: i64,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:.1} s: {} sessions, {} operations, each with one completion, {} of them with success; {} MB compared; memory \
             grew by {} kB, descriptors by 0",
            self.seconds,
            self.sessions,
            self.begun,
            self.succeeded,
            self.bytes >> 20,
            self.growth / 1024,
        )
    }
}

/// A generator of numbers that looks random and is repeated by its seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end - 1`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// The byte at a place of a stream; another seed makes another stream.
pub fn byte_at(seed: u8, place: usize) -> u8 {
    // 251 is prime: the pattern does not line up with any power of two.
    (place % 251) as u8 ^ seed
}

/// Bytes of a stream from a place on.
pub fn stretch(seed: u8, place: usize, length: usize) -> Vec<u8> {
    (place..place + length)
        .map(|at| byte_at(seed, at))
        .collect()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("Linux has it")
        .count()
}

/// Bytes of memory that the process has.
fn memory() -> usize {
    let told = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = told
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * 4096
}

fn start(backend: u32, delivery: u32, workers: u32) -> Option<asock_runtime> {
    let config = asock_runtime_config {
        size: size_of::<asock_runtime_config>(),
        delivery,
        backend,
        workers,
        resolvers: 0,
        max_sockets: 0,
        spin_us: 0,
    };
    let mut runtime = 0;
    // SAFETY: both point to live values of their type.
    match unsafe { asock_runtime_start(&raw const config, &raw mut runtime) } {
        ASOCK_OK => Some(runtime),
        ASOCK_NOT_SUPPORTED => None,
        status => panic!("cannot start: {status}"),
    }
}

fn stats(runtime: asock_runtime) -> asock_stats {
    // SAFETY: a struct of integers may be all zero.
    let mut stats: asock_stats = unsafe { std::mem::zeroed() };
    stats.size = size_of::<asock_stats>();
    // SAFETY: it may be written.
    let status = unsafe { asock_runtime_stats(runtime, &raw mut stats) };
    assert_eq!(status, ASOCK_OK);
    stats
}

/// Calls the callbacks of a runtime that delivers on poll, until it has nothing more to deliver.
fn dispatch(runtime: asock_runtime) {
    loop {
        let mut count = 0;
        // SAFETY: `count` may be written.
        match unsafe { asock_dispatch(runtime, -1, 0, 0, &raw mut count) } {
            ASOCK_OK => {}
            ASOCK_STOPPED => return,
            status => panic!("asock_dispatch: {status}"),
        }
    }
}

/// `None` where this machine has no such driver. Panics when anything is wrong.
pub fn run(backend: u32, time: Duration, seed: u64) -> Option<Report> {
    let before = descriptors();
    let called = start(backend, ASOCK_DELIVER_ON_WORKER, 2)?;
    let polled = start(backend, ASOCK_DELIVER_ON_POLL, 1)?;
    let (peers, totals, over) = (Peers::start(), Totals::default(), AtomicBool::new(false));
    let begin = Instant::now();
    let mut growth = 0;
    std::thread::scope(|scope| {
        scope.spawn(move || dispatch(polled));
        let mut threads = Vec::new();
        for (number, runtime) in [called, polled]
            .into_iter()
            .cycle()
            .take(2 * THREADS as usize)
            .enumerate()
        {
            let (peers, totals, over) = (&peers, &totals, &over);
            let random = Random(seed.wrapping_mul(1000) + number as u64);
            threads.push(scope.spawn(move || {
                let mut driver = Driver::new(runtime, peers, totals, random);
                while !over.load(Ordering::SeqCst) {
                    driver.session();
                }
            }));
        }
        std::thread::sleep(time / 3);
        let early = memory();
        std::thread::sleep(time - time / 3);
        over.store(true, Ordering::SeqCst);
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        growth = memory() as i64 - early as i64;
        assert_eq!(asock_runtime_drain(polled), ASOCK_OK);
        assert!(ended.iter().all(Result::is_ok), "a session found a fault");
    });
    let begun = totals.begun.load(Ordering::SeqCst);
    let sum = |of: fn(&asock_stats) -> u64| -> u64 {
        [called, polled].iter().map(|one| of(&stats(*one))).sum()
    };
    // Nobody is told when a plain close is over.
    let until = Instant::now() + LIMIT;
    while sum(|stats| stats.sockets_open) > 0 {
        assert!(Instant::now() < until, "a socket is left");
        std::thread::sleep(Duration::from_millis(1));
    }
    let told = sum(|stats| stats.operations_begun);
    let pending = sum(|stats| stats.operations_pending);
    assert_eq!((told, pending), (begun, 0), "begun and pending");
    assert_eq!(
        totals.completed.load(Ordering::SeqCst),
        begun,
        "each begin has one completion"
    );
    for runtime in [called, polled] {
        assert_eq!(asock_runtime_stop(runtime), ASOCK_OK);
    }
    peers.end();
    assert_eq!(descriptors(), before, "descriptors");
    assert!(growth < GROWTH as i64, "memory has grown by {growth} bytes");
    Some(Report {
        seconds: begin.elapsed().as_secs_f64(),
        sessions: totals.sessions.load(Ordering::SeqCst),
        begun,
        succeeded: totals.succeeded.load(Ordering::SeqCst),
        bytes: totals.bytes.load(Ordering::SeqCst),
        growth,
    })
}
