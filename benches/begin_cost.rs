//! What `asock_begin_*` costs the thread that calls it where nothing can go on: to an address that never answers, and
//! while the runtime's only worker is inside a callback that sleeps. Promise 1 says an enqueue and at most a wake-up.
//!
//! ```text
//! cargo bench --bench begin_cost
//! ```
//!
//! A figure and not a test: how long a call takes depends on the machine, and on what else runs on it. Under
//! `cargo test` it ends at once.
#![allow(unsafe_code, reason = "the C functions take pointers")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::ffi::{c_void, CString};
use std::net::{TcpListener, TcpStream};
use std::ptr::null_mut;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use asock::*;

const CALLS: usize = 20_000;
/// A callback that sleeps for so long is one that the calls below do not wait for, else it would show.
const SLEEP: Duration = Duration::from_millis(1500);

fn main() {
    // Cargo says `--bench` where figures are wanted, and nothing of the kind when it runs tests.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("begin_cost: run it with `cargo bench`");
        return;
    }
    println!(
        "{:44} {:>7} {:>9} {:>9} {:>9}",
        "nanoseconds of one call", "calls", "median", "p99", "max"
    );
    to_nobody();
    while_a_callback_sleeps();
}

fn report(name: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let [median, p99] = [50, 99].map(|percent| took[(took.len() - 1) * percent / 100].as_nanos());
    let max = took[took.len() - 1].as_nanos();
    println!("{name:44} {:>7} {median:>9} {p99:>9} {max:>9}", took.len());
}

fn timed(call: impl FnOnce() -> asock_status) -> Duration {
    let start = Instant::now();
    let status = call();
    let took = start.elapsed();
    assert_eq!(status, ASOCK_OK);
    took
}

fn start() -> asock_runtime {
    let mut runtime = 0;
    // SAFETY: NULL is the default configuration; `runtime` may be written.
    let status = unsafe { asock_runtime_start(std::ptr::null(), &raw mut runtime) };
    assert_eq!(status, ASOCK_OK);
    runtime
}

fn open(runtime: asock_runtime) -> asock_socket {
    let mut socket = 0;
    // SAFETY: `socket` may be written.
    let status = unsafe { asock_open(runtime, ASOCK_STREAM, &raw mut socket) };
    assert_eq!(status, ASOCK_OK);
    socket
}

fn begin_connect(socket: asock_socket, host: &str, port: u16, gate: Option<&Gate>) -> asock_status {
    let host = CString::new(host).expect("no zero in it");
    let callback = gate.map(|_| sleep as unsafe extern "C" fn(*const asock_result, *mut c_void));
    let user_data = gate.map_or(null_mut(), |gate| {
        std::ptr::from_ref(gate).cast_mut().cast()
    });
    // SAFETY: the host is read during the call; the gate is static.
    unsafe { asock_begin_connect(socket, host.as_ptr(), port, callback, user_data, null_mut()) }
}

/// Nobody is to be told: the text is static, so it may be sent at any time.
fn begin_send(socket: asock_socket) -> asock_status {
    const TEXT: &[u8] = b"This is a test<EOF>";
    // SAFETY: the text outlives every operation.
    unsafe {
        asock_begin_send(
            socket,
            TEXT.as_ptr().cast(),
            TEXT.len(),
            0,
            None,
            null_mut(),
            null_mut(),
        )
    }
}

/// A handful of addresses that are set aside for documentation (RFC 5737): packets to them vanish, or a router says
/// that there is no way. Either way `begin` does not wait for the answer.
fn to_nobody() {
    let runtime = start();
    let mut connects = Vec::new();
    let mut sends = Vec::new();
    let mut closes = Vec::new();
    // As many at a time as any limit of descriptors allows.
    for round in 0..CALLS / 200 {
        let sockets: Vec<asock_socket> = (0..200).map(|_| open(runtime)).collect();
        for (number, socket) in sockets.iter().enumerate() {
            let host = format!("192.0.2.{}", 1 + (round + number) % 250);
            connects.push(timed(|| begin_connect(*socket, &host, 9, None)));
            sends.push(timed(|| begin_send(*socket)));
        }
        for socket in sockets {
            closes.push(timed(|| asock_close(socket)));
        }
    }
    assert_eq!(asock_runtime_stop(runtime), ASOCK_OK);
    report("asock_begin_connect, nobody answers", connects);
    report("asock_begin_send, behind that connect", sends);
    report("asock_close, during that connect", closes);
}

/// What the sleeping callback tells: that it has begun, and that it has ended.
struct Gate {
    stage: Mutex<u32>,
    changed: Condvar,
}

impl Gate {
    fn enter(&self, stage: u32) {
        *self.stage.lock().expect("nobody panics with it") = stage;
        self.changed.notify_all();
    }

    fn stage(&self) -> u32 {
        *self.stage.lock().expect("nobody panics with it")
    }

    fn wait_for(&self, stage: u32) {
        let guard = self.stage.lock().expect("nobody panics with it");
        let reached = self.changed.wait_while(guard, |now| *now < stage);
        drop(reached.expect("nobody panics with it"));
    }
}

static GATE: Gate = Gate {
    stage: Mutex::new(0),
    changed: Condvar::new(),
};

unsafe extern "C" fn sleep(_: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the user data is the static gate.
    let gate = unsafe { &*user_data.cast::<Gate>() };
    gate.enter(1);
    std::thread::sleep(SLEEP);
    gate.enter(2);
}

fn while_a_callback_sleeps() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    let runtime = start();
    let socket = open(runtime);
    assert_eq!(
        begin_connect(socket, "127.0.0.1", port, Some(&GATE)),
        ASOCK_OK
    );
    let peer: TcpStream = listener.accept().expect("it connects").0;
    GATE.wait_for(1);

    let others: Vec<asock_socket> = (0..CALLS / 4).map(|_| open(runtime)).collect();
    let connects: Vec<_> = others
        .iter()
        .map(|other| timed(|| begin_connect(*other, "127.0.0.1", port, None)))
        .collect();
    let sends: Vec<_> = (0..CALLS).map(|_| timed(|| begin_send(socket))).collect();
    let closes: Vec<_> = others
        .iter()
        .map(|other| timed(|| asock_close(*other)))
        .collect();
    // Else these are no figures of a sleeping callback.
    assert_eq!(
        GATE.stage(),
        1,
        "the callback woke before the calls were made"
    );

    assert_eq!(asock_close(socket), ASOCK_OK);
    assert_eq!(asock_runtime_stop(runtime), ASOCK_OK);
    drop(peer);
    report("asock_begin_connect, while a callback sleeps", connects);
    report("asock_begin_send, while a callback sleeps", sends);
    report("asock_close, while a callback sleeps", closes);
}
