//! What the tests share: a runtime that stops when it goes out of scope, a recorder of completions, memory that may be
//! handed to the library, and (in `peer`) the other end of the line.
//!
//! Everything here works for both deliveries. A recorder that waits for completions pulls them itself on a runtime that
//! delivers on poll, so that one test body can be run on either kind: see `on_both`.
//!
//! The memory and the recorders that operations refer to are kept by their `Runtime` until it has stopped. That is what
//! makes the calls here safe to use, whatever a test does or however it fails.
#![allow(unsafe_code)] // The functions under test take pointers; here they are wrapped once.
#![allow(dead_code, unused_imports)] // Every test uses a part of it.

pub mod allocations;
pub mod c;
pub mod calls;
pub mod child;
pub mod datagram;
pub mod files;
pub mod gate;
pub mod handles;
pub mod held;
pub mod memory;
pub mod peer;
pub mod pieces;
pub mod processor;
pub mod server;

use asock::*;
pub use gate::Gate;
pub use held::{Held, Watchdog};
pub use memory::Memory;
pub use peer::{read_exactly, reset, rest_and_end_of, rest_of, BlackHole, Listener, Peer, Refused};
use std::ffi::{c_void, CString};
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// How long a test waits for what must come. It is only ever reached by a test that fails.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How long one pull of completions waits before the condition is looked at again.
const PULL_MS: i32 = 20;

/// Runs a test's body once for each delivery.
pub fn on_both(body: impl Fn(Runtime)) {
    body(Runtime::on_worker());
    body(Runtime::on_poll());
}

/// Waits until `condition` holds; panics with `what` at the limit.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

pub fn config(delivery: u32) -> asock_runtime_config {
    asock_runtime_config {
        size: size_of::<asock_runtime_config>(),
        delivery,
        backend: ASOCK_BACKEND_AUTO,
        workers: 0,
        resolvers: 0,
        max_sockets: 0,
        spin_us: spin_us(),
    }
}

/// What the tests' runtimes are started with where they do not care: `ASOCK_TEST_SPIN_US` has any test
/// run with workers that look before they sleep, and CI does so with those that it concerns most.
fn spin_us() -> u32 {
    let asked = std::env::var("ASOCK_TEST_SPIN_US");
    asked.map_or(0, |text| text.parse().expect("a number of microseconds"))
}

/// A runtime of its own, stopped at the end of its scope.
pub struct Runtime {
    handle: asock_runtime,
    delivery: u32,
    /// Dropped after the runtime has stopped: operations may refer to them until then.
    recorders: Mutex<Vec<Arc<Recorder>>>,
}

impl Runtime {
    pub fn on_worker() -> Runtime {
        Runtime::start(&config(ASOCK_DELIVER_ON_WORKER))
    }

    pub fn on_poll() -> Runtime {
        Runtime::start(&config(ASOCK_DELIVER_ON_POLL))
    }

    pub fn start(config: &asock_runtime_config) -> Runtime {
        let mut handle = 0;
        // SAFETY: both point to live values of their type.
        let status = unsafe { asock_runtime_start(config, &raw mut handle) };
        assert_eq!(status, ASOCK_OK);
        Runtime {
            handle,
            delivery: config.delivery,
            recorders: Mutex::default(),
        }
    }

    pub fn handle(&self) -> asock_runtime {
        self.handle
    }

    pub fn delivers_on_poll(&self) -> bool {
        self.delivery == ASOCK_DELIVER_ON_POLL
    }

    /// Stops it now. Recorders stay readable for those who hold them.
    pub fn stop(&self) {
        assert_eq!(asock_runtime_stop(self.handle), ASOCK_OK);
    }

    pub fn stats(&self) -> asock_stats {
        // SAFETY: a struct of integers may be all zero.
        let mut stats: asock_stats = unsafe { std::mem::zeroed() };
        stats.size = size_of::<asock_stats>();
        // SAFETY: it points to a live struct of the size that it tells.
        let status = unsafe { asock_runtime_stats(self.handle, &raw mut stats) };
        assert_eq!(status, ASOCK_OK);
        stats
    }

    /// A new stream socket.
    pub fn open(&self) -> asock_socket {
        let mut socket = 0;
        // SAFETY: `socket` may be written.
        let status = unsafe { asock_open(self.handle, ASOCK_STREAM, &raw mut socket) };
        assert_eq!(status, ASOCK_OK);
        assert_ne!(socket, 0);
        socket
    }

    /// A new stream socket that is connected to a port on loopback.
    pub fn connected(&self, port: u16) -> asock_socket {
        let socket = self.open();
        let recorder = self.recorder();
        recorder.connect(socket, port);
        recorder.wait_for(1)[0].expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        socket
    }

    /// Collects completions.
    pub fn recorder(&self) -> Arc<Recorder> {
        self.recorder_with(|_| ())
    }

    /// Collects completions, and does something inside each callback before the completion is recorded.
    pub fn recorder_with(
        &self,
        action: impl Fn(&asock_result) + Send + Sync + 'static,
    ) -> Arc<Recorder> {
        let recorder = Arc::new(Recorder {
            runtime: self.handle,
            on_poll: self.delivers_on_poll(),
            action: Box::new(action),
            kept: Mutex::default(),
            completions: Mutex::default(),
            changed: Condvar::new(),
        });
        self.recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&recorder));
        recorder
    }

    /// As `stop`, where it may have happened already.
    pub fn stop_if_running(&self) {
        let status = asock_runtime_stop(self.handle);
        assert!(status == ASOCK_OK || status == ASOCK_BAD_HANDLE);
    }

    /// Calls the callbacks that are due, if nobody else does.
    pub fn dispatch_if_polled(&self) {
        if self.delivers_on_poll() {
            let status = self.dispatch();
            assert!(status == ASOCK_OK || status == ASOCK_STOPPED);
        }
    }

    /// Calls the callbacks that are due on a runtime that delivers on poll; waits at most `PULL_MS` for the first one.
    pub fn dispatch(&self) -> asock_status {
        dispatch(self.handle)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A test may have stopped it already.
        let status = asock_runtime_stop(self.handle);
        if !std::thread::panicking() {
            assert!(status == ASOCK_OK || status == ASOCK_BAD_HANDLE);
        }
    }
}

fn dispatch(runtime: asock_runtime) -> asock_status {
    let mut count = 0;
    // SAFETY: `count` may be written.
    unsafe { asock_dispatch(runtime, PULL_MS, 0, 0, &raw mut count) }
}

/// One completion: a copy of its record, and the thread that the callback ran on.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    pub result: asock_result,
    pub thread: ThreadId,
}

// SAFETY: the pointers in the record are only compared, never followed.
unsafe impl Send for Completion {}

impl Deref for Completion {
    type Target = asock_result;

    fn deref(&self) -> &asock_result {
        &self.result
    }
}

impl Completion {
    #[track_caller]
    pub fn expect(&self, kind: u32, status: asock_status) {
        assert_eq!((self.kind, self.status), (kind, status), "{self:?}");
    }
}

type Action = Box<dyn Fn(&asock_result) + Send + Sync>;

/// Collects the completions of the operations that are begun through it, in the order of their callbacks.
pub struct Recorder {
    runtime: asock_runtime,
    on_poll: bool,
    action: Action,
    /// The memory of the operations begun: it must live as long as they do.
    kept: Mutex<Vec<Memory>>,
    completions: Mutex<Vec<Completion>>,
    changed: Condvar,
}

/// The callback of every recorder.
///
/// # Safety
/// `user_data` is a recorder that is still there, and `result` what the library gives a callback.
pub unsafe extern "C" fn record(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the recorder is kept by its runtime until that has stopped; the record is valid during the call.
    let (recorder, result) = unsafe { (&*user_data.cast::<Recorder>(), *result) };
    (recorder.action)(&result);
    let thread = std::thread::current().id();
    recorder.lock().push(Completion { result, thread });
    recorder.changed.notify_all();
}

impl Recorder {
    /// What goes with `record` into a call of the library that is not wrapped here.
    pub fn user_data(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Completion>> {
        self.completions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps memory alive as long as operations may refer to it.
    pub fn keep(&self, memory: &Memory) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(memory.clone());
    }

    #[track_caller]
    pub fn connect(&self, socket: asock_socket, port: u16) -> asock_op {
        self.connect_to(socket, "127.0.0.1", port)
    }

    #[track_caller]
    pub fn connect_to(&self, socket: asock_socket, host: &str, port: u16) -> asock_op {
        let host = CString::new(host).expect("a host has no zero inside");
        begun(|op| {
            // SAFETY: the host ends with a zero, and the recorder outlives the operation.
            unsafe {
                asock_begin_connect(
                    socket,
                    host.as_ptr(),
                    port,
                    Some(record),
                    self.user_data(),
                    op,
                )
            }
        })
    }

    /// Sends the whole memory.
    #[track_caller]
    pub fn send(&self, socket: asock_socket, memory: &Memory, flags: u32) -> asock_op {
        let (status, op) = self.try_send(socket, memory, flags);
        assert_eq!(status, ASOCK_OK);
        op
    }

    pub fn try_send(
        &self,
        socket: asock_socket,
        memory: &Memory,
        flags: u32,
    ) -> (asock_status, asock_op) {
        self.keep(memory);
        let (data, length) = (memory.pointer().cast_const(), memory.len());
        let mut op = 0;
        // SAFETY: memory and recorder outlive the operation.
        let status = unsafe {
            asock_begin_send(
                socket,
                data,
                length,
                flags,
                Some(record),
                self.user_data(),
                &raw mut op,
            )
        };
        (status, op)
    }

    /// Receives into the memory.
    #[track_caller]
    pub fn receive(&self, socket: asock_socket, memory: &Memory, flags: u32) -> asock_op {
        let (status, op) = self.try_receive(socket, memory, flags);
        assert_eq!(status, ASOCK_OK);
        op
    }

    pub fn try_receive(
        &self,
        socket: asock_socket,
        memory: &Memory,
        flags: u32,
    ) -> (asock_status, asock_op) {
        self.keep(memory);
        let (room, length) = (memory.pointer(), memory.len());
        let mut op = 0;
        // SAFETY: memory and recorder outlive the operation.
        let status = unsafe {
            asock_begin_receive(
                socket,
                room,
                length,
                flags,
                Some(record),
                self.user_data(),
                &raw mut op,
            )
        };
        (status, op)
    }

    #[track_caller]
    pub fn close(&self, socket: asock_socket, flags: u32) -> asock_op {
        // SAFETY: the recorder outlives the operation.
        begun(|op| unsafe { asock_begin_close(socket, flags, Some(record), self.user_data(), op) })
    }

    #[track_caller]
    pub fn timer(&self, delay_ms: u64) -> asock_op {
        // SAFETY: the recorder outlives the operation.
        begun(|op| unsafe {
            asock_begin_timer(self.runtime, delay_ms, Some(record), self.user_data(), op)
        })
    }

    /// What has been recorded so far.
    pub fn completions(&self) -> Vec<Completion> {
        self.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits until at least `count` completions are there, and gives them all. On a runtime that delivers on poll it pulls
    /// them, unless another thread does.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Completion> {
        self.wait_until(&format!("{count} completions"), |completions| {
            completions.len() >= count
        })
    }

    /// Waits for the completion of one operation.
    #[track_caller]
    pub fn completion_of(&self, op: asock_op) -> Completion {
        let of = |completions: &[Completion]| completions.iter().find(|one| one.op == op).copied();
        let completions = self.wait_until("one operation", |all| of(all).is_some());
        of(&completions).expect("it was just there")
    }

    /// Waits until what was recorded satisfies `condition`, and gives it.
    #[track_caller]
    pub fn wait_until(
        &self,
        what: &str,
        condition: impl Fn(&[Completion]) -> bool,
    ) -> Vec<Completion> {
        let start = Instant::now();
        loop {
            let completions = self.lock();
            if condition(&completions) {
                return completions.clone();
            }
            let so_far = completions.len();
            assert!(
                start.elapsed() < LIMIT,
                "waited in vain for {what}; there are {so_far}: {:#?}",
                &completions[so_far.saturating_sub(10)..]
            );
            drop(completions);
            // Another thread that pulls, or a runtime that has stopped meanwhile, leaves only the waiting.
            if self.on_poll && dispatch(self.runtime) == ASOCK_OK {
                continue;
            }
            let completions = self.lock();
            if completions.len() == so_far {
                let pause = Duration::from_millis(PULL_MS as u64);
                drop(self.changed.wait_timeout(completions, pause));
            }
        }
    }
}

/// Makes a call that must begin an operation, and gives its handle.
#[track_caller]
pub fn begun(begin: impl FnOnce(*mut asock_op) -> asock_status) -> asock_op {
    let mut op = 0;
    assert_eq!(begin(&raw mut op), ASOCK_OK);
    assert_ne!(op, 0);
    op
}

/// Whether an operation has not ended yet.
pub fn is_pending(op: asock_op) -> bool {
    match asock_wait(op, 0) {
        ASOCK_OK => false,
        ASOCK_TIMED_OUT => true,
        status => panic!("asock_wait answers {status}"),
    }
}

/// An option's value.
#[track_caller]
pub fn option(socket: asock_socket, option: u32) -> i64 {
    let mut value = 0;
    // SAFETY: `value` may be written.
    let status = unsafe { asock_get_option(socket, option, &raw mut value) };
    assert_eq!(status, ASOCK_OK);
    value
}

/// The address of a port on loopback.
pub fn loopback(port: u16) -> asock_address {
    // SAFETY: a struct of integers may be all zero.
    let mut address: asock_address = unsafe { std::mem::zeroed() };
    // SAFETY: the host ends with a zero, and the address may be written.
    let status = unsafe { asock_address_parse(c"127.0.0.1".as_ptr(), port, &raw mut address) };
    assert_eq!(status, ASOCK_OK);
    address
}

/// `asock_end`, for an operation that can be ended.
#[track_caller]
pub fn end(op: asock_op) -> asock_result {
    // SAFETY: a record of integers and pointers may be all zero, and is written by the call.
    let mut result: asock_result = unsafe { std::mem::zeroed() };
    // SAFETY: it may be written.
    let status = unsafe { asock_end(op, &raw mut result) };
    assert_eq!(status, ASOCK_OK);
    result
}

/// A user_data or buffer that is no address of anything.
pub const NOTHING: *mut c_void = null_mut();

/// A generator of numbers that looks random and is repeated by its seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end - 1`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
