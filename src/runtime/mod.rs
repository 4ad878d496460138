//! Runtimes: where they are registered, how they start, drain and stop, and how a handle leads to
//! what it names.
//!
//! All that the process keeps hangs on one pointer which a fork leaves behind: a child finds none,
//! makes its own when it needs one, and takes no lock that a thread of its parent may hold. The
//! seats of a child are numbered after those of its parent, so a handle shows whose it is.

mod accept;
mod adopt;
mod bind;
mod collect;
mod datagram;
mod file;
mod poll;
mod setting;
mod socket;
mod start;
mod submit;
#[cfg(test)]
mod tests;
mod vectored;

pub use accept::begin_accept;
pub use adopt::{adopt, release};
pub use bind::{bind, listen, Local};
pub use collect::{cancel, check_end, end, forget, set_deadline, wait};
pub use datagram::{begin_receive_from, begin_send_to};
pub use file::begin_send_file;
pub use poll::{dispatch, poll, poll_fd, wake};
pub use setting::Setting;
pub use socket::{
    change_group, close, get_option, local_address, open, remote_address, set_option, shutdown,
};
pub use start::start;
pub use submit::{
    begin_close, begin_connect, begin_receive, begin_resolve, begin_send, begin_timer, Host,
};
pub use vectored::{begin_receive_vectored, begin_send_vectored};

pub use crate::sys::name::interface_index;
pub use crate::sys::Kind;

use crate::engine::delivery::{self, Poll};
use crate::engine::files::Files;
use crate::engine::population::Population;
use crate::engine::resolver::Resolver;
use crate::engine::seat::Seat;
use crate::engine::shared::Shared;
use crate::engine::slots::Issued;
use crate::handle::{Handle, HandleKind, SEATS};
use crate::log;
use crate::status::{Answer, Status};
use crate::sys::{clock, process, thread, PerProcess};
use once_cell::sync::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How a runtime's completions reach the application.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    #[default]
    OnWorker,
    OnPoll,
}

/// What a worker runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Backend {
    #[default]
    Auto,
    Epoll,
    IoUring,
    Kqueue,
    Iocp,
}

/// The application's wishes for a runtime; 0 stands for the default.
#[derive(Clone, Copy, Default)]
pub struct Config {
    pub delivery: Delivery,
    pub backend: Backend,
    pub workers: u32,
    pub resolvers: u32,
    pub max_sockets: u32,
    pub spin_us: u32,
}

/// What a runtime has done so far.
#[derive(Clone, Copy, Default)]
pub struct Stats {
    pub begun: u64,
    pub completed: u64,
    pub pending: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub sockets: u64,
    pub wake_ups: u64,
    pub longest_callback_ns: u64,
    pub backend: u32,
    pub workers: u32,
}

/// Seats given out by this process and those that it was forked from.
static SEATS_TAKEN: AtomicU32 = AtomicU32::new(0);
static PROCESS: PerProcess<Process> = PerProcess::new();

/// What the process keeps.
struct Process {
    /// The number of its first seat; lower ones are an ancestor's.
    first_seat: u32,
    seats: Vec<OnceCell<Box<Seat>>>,
    registry: Mutex<Registry>,
    /// The default runtime, once it is started. A stop puts an empty cell in its place.
    default: Mutex<Arc<OnceCell<Arc<Runtime>>>>,
}

#[derive(Default)]
struct Registry {
    runtimes: Vec<Entry>,
    free_seats: Vec<u16>,
}

struct Entry {
    generation: u32,
    runtime: Option<Arc<Runtime>>,
}

/// A running runtime.
struct Runtime {
    slot: usize,
    handle: u64,
    /// One for each worker, and never none.
    seats: Vec<&'static Seat>,
    /// Where its completions are pulled; none when the workers call.
    poll: Option<Arc<Poll>>,
    backend: Backend,
    /// The sockets that are open, on all workers.
    sockets: Arc<Population>,
    resolver: Arc<Resolver>,
    files: Arc<Files>,
    /// Counts polls.
    turn: AtomicU32,
    threads: Mutex<Vec<JoinHandle<()>>>,
    life: Mutex<Life>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Stopping,
    Stopped,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    fn new() -> Answer<Process> {
        let mut seats = Vec::new();
        seats
            .try_reserve_exact(SEATS)
            .map_err(|_| Status::OutOfMemory)?;
        seats.resize_with(SEATS, OnceCell::new);
        Ok(Process {
            first_seat: SEATS_TAKEN.load(Ordering::SeqCst),
            seats,
            registry: Mutex::new(Registry::default()),
            default: Mutex::new(Arc::new(OnceCell::new())),
        })
    }

    /// A number that tells this process from its ancestors; never 0.
    fn number(&self) -> u32 {
        self.first_seat + 1
    }

    /// A seat for a new worker.
    fn take_seat(&'static self) -> Answer<&'static Seat> {
        let free = locked(&self.registry).free_seats.pop();
        let number = match free {
            Some(number) => number,
            None => {
                let next = |taken: u32| ((taken as usize) < SEATS).then_some(taken + 1);
                let taken = SEATS_TAKEN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
                taken.map_err(|_| Status::OutOfMemory)? as u16
            }
        };
        let cell = &self.seats[number as usize];
        let seat = cell.get_or_init(|| Box::new(Seat::new(number, self.number())));
        Ok(seat)
    }

    /// The workers of these seats are gone.
    fn give_back(&self, seats: &[&'static Seat]) {
        for seat in seats {
            seat.vacate();
            locked(&self.registry).free_seats.push(seat.number);
        }
    }
}

/// This process's own state, made when it is first needed.
fn process() -> Answer<&'static Process> {
    PROCESS.get_or_try_init(Process::new)
}

/// Takes a handle apart and finds out whose it is.
fn unpack(handle: u64, kind: HandleKind) -> Answer<(&'static Process, Handle)> {
    let handle = Handle::unpack(handle)
        .filter(|handle| handle.kind == kind)
        .ok_or(Status::BadHandle)?;
    let seat = u32::from(handle.seat);
    match PROCESS.get() {
        Some(process) if seat >= process.first_seat => Ok((process, handle)),
        None if seat >= SEATS_TAKEN.load(Ordering::SeqCst) => Err(Status::BadHandle),
        _ => Err(Status::Forked),
    }
}

/// The seat that a socket's or an operation's handle names.
#[inline(always)]
fn seat_of(handle: u64, kind: HandleKind) -> Answer<(&'static Seat, Handle)> {
    let (process, handle) = unpack(handle, kind)?;
    let seat = process.seats[handle.seat as usize].get();
    Ok((seat.ok_or(Status::BadHandle)?, handle))
}

/// The runtime that a handle names; 0 is the default one, started if need be.
fn runtime_of(number: u64) -> Answer<Arc<Runtime>> {
    if number == 0 {
        return default_runtime();
    }
    let (process, handle) = unpack(number, HandleKind::Runtime)?;
    let registry = locked(&process.registry);
    let entry = registry.runtimes.get(handle.slot as usize);
    entry
        .and_then(|entry| entry.runtime.clone())
        .filter(|runtime| runtime.handle == number)
        .ok_or(Status::BadHandle)
}

fn default_runtime() -> Answer<Arc<Runtime>> {
    let cell = locked(&process()?.default).clone();
    let mut news = start::News::default();
    let runtime = cell.get_or_try_init(|| start::start_runtime(&Config::default(), &mut news));
    news.tell(); // Not inside: the log function may use the default runtime, too.
    runtime.cloned()
}

/// The runtime to act on, if it runs: a default runtime is not started only to be stopped.
fn running(handle: u64) -> Answer<Option<Arc<Runtime>>> {
    if handle == 0 {
        let cell = PROCESS
            .get()
            .map(|process| locked(&process.default).clone());
        return Ok(cell.and_then(|cell| cell.get().cloned()));
    }
    runtime_of(handle).map(Some)
}

/// For `ffi`: a bad handle wins over a bad argument.
pub fn check_runtime(handle: u64) -> Answer<()> {
    match handle {
        0 => Ok(()),
        _ => runtime_of(handle).map(|_| ()),
    }
}

/// As `check_runtime`.
pub fn check_socket(handle: u64) -> Answer<()> {
    let (seat, handle) = seat_of(handle, HandleKind::Socket)?;
    let mut shared = seat.lock();
    let record = shared.sockets.get(handle.slot, handle.generation);
    record.map(|_| ()).ok_or(Status::BadHandle)
}

/// As `check_runtime`; a handle that was ever issued may be waited for.
pub fn check_operation(handle: u64) -> Answer<()> {
    let (seat, handle) = seat_of(handle, HandleKind::Operation)?;
    match seat
        .lock()
        .operations
        .issued(handle.slot, handle.generation)
    {
        Issued::Never => Err(Status::BadHandle),
        Issued::Now | Issued::Before => Ok(()),
    }
}

/// Ends what is pending and refuses what is new.
pub fn drain(handle: u64) -> Answer<()> {
    if let Some(runtime) = running(handle)? {
        runtime.drain(false);
    }
    Ok(())
}

/// Stops a runtime, and waits until nothing of it is left.
pub fn stop(handle: u64) -> Answer<()> {
    let Some(runtime) = running(handle)? else {
        return Ok(());
    };
    let process = process()?;
    let in_callback = delivery::calls_here(process.number()) > 0 || log::is_here();
    if delivery::is_worker(process.number()) || in_callback {
        return Err(Status::WouldDeadlock);
    }
    let mut life = locked(&runtime.life);
    while *life == Life::Stopping {
        if delivery::is_exiting(process.number()) {
            return Ok(()); // Whoever stops it may wait for a callback that never returns.
        }
        let answer = runtime.changed.wait(life);
        life = answer.unwrap_or_else(PoisonError::into_inner);
    }
    if *life == Life::Stopped {
        // Another thread has stopped it meanwhile, and we have waited for that.
        return if handle == 0 {
            Ok(())
        } else {
            Err(Status::BadHandle)
        };
    }
    *life = Life::Stopping;
    drop(life);
    runtime.drain(true);
    if delivery::is_exiting(process.number()) {
        return Ok(()); // At the process's exit nothing is joined, and no callback starts any more.
    }
    let threads = std::mem::take(&mut *locked(&runtime.threads));
    for thread in threads {
        let _ = thread.join(); // A worker catches its panics itself.
    }
    runtime.resolver.stop();
    runtime.files.stop();
    runtime.deliver_rest();
    process.give_back(&runtime.seats);
    let mut default = locked(&process.default);
    if default.get().is_some_and(|of| Arc::ptr_eq(of, &runtime)) {
        *default = Arc::new(OnceCell::new());
    }
    drop(default);
    locked(&process.registry).runtimes[runtime.slot].runtime = None;
    *locked(&runtime.life) = Life::Stopped;
    runtime.changed.notify_all();
    log::write(
        log::INFO,
        format_args!("asock: runtime {:#x} stopped", runtime.handle),
    );
    Ok(())
}

/// Has a worker end what is pending and, if asked, itself.
fn drain_seat(seat: &Seat, mut shared: MutexGuard<'_, Shared>, stop: bool) {
    shared.drain();
    shared.stopping |= stop;
    seat.hand_over(shared);
}

impl Runtime {
    /// Locks one of its seats. A thread may have held on to the runtime for so long that it was stopped meanwhile and
    /// another one sits there. Its handle was good when the call began, and that of the default runtime always is.
    fn lock(&self, seat: &'static Seat) -> Answer<MutexGuard<'static, Shared>> {
        let shared = seat.lock();
        match shared.is_seat_of(&self.sockets) {
            true => Ok(shared),
            false => Err(Status::Stopped),
        }
    }

    fn drain(&self, stop: bool) {
        for seat in &self.seats {
            if let Ok(shared) = self.lock(seat) {
                drain_seat(seat, shared, stop);
            }
        }
    }

    /// What nobody has polled: callbacks are called here, records without one are dropped.
    fn deliver_rest(&self) {
        let Some(poll) = &self.poll else { return };
        poll.take_over();
        let mut now = clock::now_ns();
        for seat in &self.seats {
            while let Some((_, ended)) = delivery::pull(seat, now) {
                now = ended;
            }
        }
    }

    /// The seats, beginning with another one each time, so that none is always polled last.
    fn seats_in_turn(&self) -> impl Iterator<Item = &'static Seat> + '_ {
        let count = self.seats.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) as usize % count;
        let order = (first..count).chain(0..first);
        order.map(|index| self.seats[index])
    }

    /// The worker that this thread is, if it is one of this runtime's; else the first.
    fn nearest(&self) -> &'static Seat {
        let here = delivery::current_seat();
        let nearest = self.seats.iter().find(|seat| Some(seat.number) == here);
        nearest.unwrap_or(&self.seats[0])
    }
}

/// The counters of a runtime.
pub fn stats(handle: u64) -> Answer<Stats> {
    let runtime = runtime_of(handle)?;
    let mut stats = Stats {
        backend: runtime.backend as u32,
        workers: runtime.seats.len() as u32,
        ..Stats::default()
    };
    for seat in &runtime.seats {
        let shared = runtime.lock(seat).map_err(|_| Status::BadHandle)?;
        let counters = shared.counters;
        stats.begun += counters.begun;
        stats.completed += counters.completed;
        stats.pending += counters.begun - counters.completed;
        stats.bytes_sent += counters.bytes_sent;
        stats.bytes_received += counters.bytes_received;
        stats.sockets += shared.open_sockets() as u64;
        stats.wake_ups += counters.wake_ups;
        stats.longest_callback_ns = stats.longest_callback_ns.max(seat.returns.longest_ns());
    }
    Ok(stats)
}

/// Once per line of processes: at exit no callback starts any more.
fn settle_exit() -> Answer<()> {
    static SETTLED: AtomicBool = AtomicBool::new(false);
    if SETTLED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    process::at_exit(at_exit).map_err(Status::of_os)
}

/// How long the process's exit waits for a callback that is running.
const EXIT_WAIT_NS: u64 = 1_000_000_000;

extern "C" fn at_exit() {
    // A child of fork inherits this function, but not the runtimes.
    let Some(process) = PROCESS.get() else { return };
    delivery::begin_exit(process.number());
    let until = clock::now_ns() + EXIT_WAIT_NS;
    let own = delivery::calls_here(process.number());
    loop {
        let seats = process.seats.iter().filter_map(OnceCell::get);
        let running = seats.filter(|seat| seat.lock().calling).count();
        if running <= own as usize || clock::now_ns() >= until {
            return;
        }
        thread::sleep_ms(1);
    }
}
