//! How a completion reaches the application: called on the worker, pulled by `asock_poll`, called
//! by `asock_dispatch`, or collected by `asock_end`.

use super::operation::Kind;
use super::seat::Seat;
use crate::abi::{asock_callback, asock_result};
use crate::foreign;
use crate::log;
use crate::status::{Answer, Status};
use crate::sys::{clock, EventFd, SysResult};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

thread_local! {
    /// The process whose worker this thread is.
    static WORKER_OF: Cell<u32> = const { Cell::new(0) };
    /// The seat that it works on.
    static SEAT: Cell<Option<u16>> = const { Cell::new(None) };
    /// The process and the number of our callbacks that run on this thread. In a forked child
    /// the process is another one, and so none of them runs.
    static CALLS: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// The process that is on its way out: no callback starts there any more. 0 is none; a child that it
/// forks even then is another one.
static EXITING: AtomicU32 = AtomicU32::new(0);

/// This thread is a worker from now on. A process is known by a number that a fork changes.
pub fn become_worker(process: u32, seat: u16) {
    WORKER_OF.set(process);
    SEAT.set(Some(seat));
}

/// The number of the seat that this thread works on.
pub fn current_seat() -> Option<u16> {
    SEAT.get()
}

pub fn is_worker(process: u32) -> bool {
    WORKER_OF.get() == process
}

/// How many callbacks of ours are running on this thread, one inside the other.
pub fn calls_here(process: u32) -> u32 {
    match CALLS.get() {
        (of, calls) if of == process => calls,
        _ => 0,
    }
}

pub fn begin_exit(process: u32) {
    EXITING.store(process, Ordering::SeqCst);
}

pub fn is_exiting(process: u32) -> bool {
    EXITING.load(Ordering::SeqCst) == process
}

/// A completion that is to be handed to a callback.
pub struct Call {
    pub callback: asock_callback,
    pub result: asock_result,
}

impl Call {
    /// The socket that an accept has brought; 0 is none.
    pub fn brought(&self) -> u64 {
        match self.result.kind == Kind::Accept as u32 {
            true => self.result.value,
            false => 0,
        }
    }

    /// Calls the application, with no lock held.
    ///
    /// At the process's exit none is made any more. The exit looks for `Shared::calling`, which was
    /// set before, under the lock, and so it either sees this one or is seen here.
    pub fn make(&self, process: u32) {
        if !is_exiting(process) {
            let calls = calls_here(process);
            CALLS.set((process, calls + 1));
            log::outside(|| foreign::call(self.callback, &self.result));
            CALLS.set((process, calls));
        }
    }
}

/// What pollers and the workers of an on-poll runtime tell each other.
pub struct Poll {
    state: Mutex<PollState>,
    changed: Condvar,
}

struct PollState {
    /// Completions in the seats' lists.
    ready: usize,
    woken: bool,
    /// A thread is inside poll or dispatch.
    busy: bool,
    /// That thread sleeps.
    waiting: bool,
    /// Workers that may still bring completions.
    workers: usize,
    /// The runtime is being stopped; the stopping thread takes over.
    stopping: bool,
    /// Made when the application asks for it, and readable while there is something to do.
    event: Option<EventFd>,
    signaled: bool,
}

impl Poll {
    pub fn new(workers: usize) -> Poll {
        Poll {
            state: Mutex::new(PollState {
                ready: 0,
                woken: false,
                busy: false,
                waiting: false,
                workers,
                stopping: false,
                event: None,
                signaled: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, PollState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker is putting `count` completions into its seat's list. It says so while it holds
    /// the seat's lock: who has seen an operation end finds it here. `tell` must follow, without
    /// that lock.
    pub fn add(&self, count: usize) {
        self.lock().ready += count;
    }

    /// Wakes whoever waits for what was added.
    pub fn tell(&self) {
        self.tell_with(self.lock());
    }

    /// A worker has drained: nothing more comes from it.
    pub fn drained(&self) {
        let mut state = self.lock();
        state.workers -= 1;
        self.tell_with(state);
    }

    pub fn wake(&self) {
        let mut state = self.lock();
        state.woken = true;
        self.tell_with(state);
    }

    fn tell_with(&self, mut state: MutexGuard<'_, PollState>) {
        state.show();
        if state.waiting {
            self.changed.notify_all();
        }
    }

    /// The descriptor that is readable while there is something to do.
    pub fn event_number(&self) -> SysResult<i64> {
        let mut state = self.lock();
        if state.event.is_none() {
            state.event = Some(EventFd::new()?);
            state.show();
        }
        Ok(state
            .event
            .as_ref()
            .map_or(-1, |event| event.raw().number()))
    }

    /// Enters as the one poller, and waits until there is something to hand out. `Ok(0)` when
    /// woken or at the limit; else how many completions there are. `leave` must follow.
    pub fn enter(&self, timeout_ms: i32) -> Answer<usize> {
        let mut state = self.lock();
        // Before the other: the stopping thread is no poller that could be waited for.
        if state.stopping {
            return Err(Status::Stopped);
        }
        if state.busy {
            return Err(Status::InvalidState);
        }
        state.busy = true;
        let until = u64::try_from(timeout_ms)
            .ok()
            .map(|limit| Instant::now() + Duration::from_millis(limit));
        let answer = loop {
            if state.stopping {
                break Err(Status::Stopped);
            }
            let woken = std::mem::take(&mut state.woken);
            if state.ready > 0 || woken {
                break Ok(state.ready);
            }
            if state.workers == 0 {
                break Err(Status::Stopped);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break Ok(0);
            }
            state.waiting = true;
            state = self.sleep(state, left);
            state.waiting = false;
        };
        if answer.is_err() {
            self.leave_with(state, 0);
        }
        answer
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, PollState>,
        left: Option<Duration>,
    ) -> MutexGuard<'a, PollState> {
        match left {
            None => {
                let answer = self.changed.wait(state);
                answer.unwrap_or_else(PoisonError::into_inner)
            }
            Some(left) => {
                let answer = self.changed.wait_timeout(state, left);
                answer.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// The poller goes, having taken `count` completions.
    pub fn leave(&self, count: usize) {
        self.leave_with(self.lock(), count);
    }

    fn leave_with(&self, mut state: MutexGuard<'_, PollState>, count: usize) {
        state.ready -= count;
        state.busy = false;
        state.show();
        if state.stopping {
            self.changed.notify_all();
        }
    }

    /// The stopping thread takes the poller's place, for good, once a present one has left.
    pub fn take_over(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.changed.notify_all();
        while state.busy {
            state = self.sleep(state, None);
        }
        state.busy = true;
        state.show();
    }
}

impl PollState {
    /// Brings the descriptor up to date.
    fn show(&mut self) {
        let due = self.ready > 0 || self.woken || self.workers == 0 || self.stopping;
        if let Some(event) = &self.event {
            if due != self.signaled {
                if due {
                    event.signal();
                } else {
                    event.clear();
                }
                self.signaled = due;
            }
        }
    }
}

/// Takes the next completion of a seat, and makes its call on this thread; of one without a callback
/// there is only the record. Takes and gives the time, in nanoseconds.
pub fn pull(seat: &Seat, started: u64) -> Option<(Call, u64)> {
    let mut shared = seat.lock();
    let id = shared.pop_ready()?;
    let call = Call {
        callback: shared.records.at(id).callback,
        result: shared.completion(id),
    };
    if call.callback.is_none() {
        shared.retire(id);
        return Some((call, started));
    }
    shared.calling = true;
    drop(shared);
    call.make(seat.process);
    let ended = clock::now_ns();
    seat.returns.note(ended - started);
    let mut shared = seat.lock();
    shared.retire(id);
    shared.calling = false;
    Some((call, ended))
}
