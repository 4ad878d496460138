//! A worker's thread: the only place where engine, driver and seat meet.
//!
//! One turn takes the inbox, lets the driver work, looks at the clock, and delivers what has
//! finished; callbacks come last, with nothing borrowed and nothing locked.

use super::calls::BATCH;
use super::delivery::{self, Call, Poll};
use super::files;
use super::inbox::{Event, EVENTS};
use super::look::Look;
use super::operation::{Flags, Kind, Operation};
use super::population::{Leftover, Population};
use super::ports::Ports;
use super::prepared::Prepared;
use super::record::Marks;
use super::seat::{Seat, Taken};
use super::shared::{Route, Shared};
use super::socket::Engine;
use crate::driver::{Driver, Request, Requests, Table, Token};
use crate::handle::Handle;
use crate::log;
use crate::status::Status;
use crate::sys::clock::{self, Stopwatch};
use crate::sys::{thread, SysResult, OUT_OF_MEMORY};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

/// Turns that work may go on without asking the system for news.
const TURNS: u32 = 16;

const NS_PER_TICK: u64 = 1_000_000;

/// The tick that has begun; what is due at it is due now.
pub fn tick_of(ns: u64) -> u64 {
    ns / NS_PER_TICK
}

/// The first tick that begins `ms` or more after `ns`, so that nothing fires early.
pub fn tick_after(ns: u64, ms: u64) -> u64 {
    ns.div_ceil(NS_PER_TICK).saturating_add(ms)
}

impl Requests for Engine {
    fn request(&self, token: Token) -> Option<Request<'_>> {
        Engine::request(self, token)
    }
}

pub struct Worker {
    seat: &'static Seat,
    engine: Engine,
    driver: Driver,
    population: Arc<Population>,
    /// The descriptors of races, by the numbers of their attempts.
    attempts: Table<Option<Prepared>>,
    poll: Option<Arc<Poll>>,
    look: Look,
    events: Vec<Event>,
    /// The operations of a batch whose callbacks are called, and how many of those calls were made.
    calls: Vec<Handle>,
    called: usize,
    /// What calls are measured with, and the longest so far in its unit.
    stopwatch: Stopwatch,
    longest_call: u64,
    /// What accepts leave over, to be dealt with when no lock is held.
    leftovers: Vec<Leftover>,
    drained: bool,
}

impl Worker {
    pub fn new(
        seat: &'static Seat,
        driver: Driver,
        population: Arc<Population>,
        poll: Option<Arc<Poll>>,
        spin_ns: u64,
    ) -> SysResult<Worker> {
        let mut events = Vec::new();
        let mut calls = Vec::new();
        let mut leftovers = Vec::new();
        events
            .try_reserve_exact(EVENTS)
            .map_err(|_| OUT_OF_MEMORY)?;
        calls.try_reserve_exact(BATCH).map_err(|_| OUT_OF_MEMORY)?;
        leftovers
            .try_reserve_exact(BATCH)
            .map_err(|_| OUT_OF_MEMORY)?;
        Ok(Worker {
            seat,
            engine: Engine::new(tick_of(clock::now_ns())),
            driver,
            population,
            attempts: Table::new(),
            poll,
            look: Look::new(spin_ns),
            events,
            calls,
            called: 0,
            stopwatch: Stopwatch::start(),
            longest_call: 0,
            leftovers,
            drained: false,
        })
    }

    /// The body of the worker's thread.
    pub fn run(mut self) {
        delivery::become_worker(self.seat.process, self.seat.number);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            log::inside(|| match self.driver.enable() {
                Ok(()) => self.turns(),
                Err(error) => panic!("the driver cannot be used: {}", error.0),
            });
        }));
        if ran.is_err() {
            self.driver.abandon();
            let _ = catch_unwind(AssertUnwindSafe(|| log::inside(|| self.break_down())));
        }
    }

    fn turns(&mut self) {
        let mut busy = 0;
        loop {
            // A worker that looks for work is not woken, for it finds what is handed over.
            let looks = self.look.goes_on(clock::now_ns);
            let taken = self.take(!looks);
            self.apply(taken.drain);
            if taken.stop && self.engine.is_quiet() {
                return self.leave();
            }
            busy = if taken.idle { 0 } else { busy + 1 };
            if taken.idle && looks {
                self.look();
                self.react();
            } else if taken.idle {
                self.sleep();
                self.react();
            } else if busy % TURNS == 0 {
                self.listen(0);
                self.react();
            }
            self.expire();
            let found = !taken.idle || self.engine.has_finished();
            self.deliver();
            if found {
                self.look.found();
            } else if looks && self.look.found_nothing(clock::now_ns) {
                thread::yield_now();
            }
        }
    }

    /// The steps that the engine may ask for, with the engine itself beside them.
    fn split(&mut self) -> (&mut Engine, Ports<'_>) {
        let ports = Ports {
            seat: self.seat,
            driver: &mut self.driver,
            population: &self.population,
            attempts: &mut self.attempts,
        };
        (&mut self.engine, ports)
    }

    fn apply(&mut self, drain: bool) {
        let mut events = std::mem::take(&mut self.events);
        let (engine, mut ports) = self.split();
        for event in events.drain(..) {
            match event {
                Event::Begin(id) => engine.begin(id, &mut ports),
                Event::Resolved(id, answer) => engine.resolved(id, answer, &mut ports),
                Event::File(payload) => engine.file_done(payload, &mut ports),
                Event::Deadline(id, deadline) => engine.set_deadline(id, deadline),
                Event::Cancel(id) => engine.abort(id, Status::Canceled, &mut ports),
                Event::Arrived(socket) => engine.arrived(socket, &mut ports),
                Event::Released(socket) => engine.released(socket, &mut ports),
                Event::Close(socket) => {
                    engine.close(socket, Default::default(), None, &mut ports);
                }
            }
        }
        if drain {
            engine.abort_everything(Status::Stopped, &mut ports);
            self.drained = true;
        }
        self.events = events;
    }

    /// Sleeps until there is news or something expires.
    fn sleep(&mut self) {
        let timeout_ms = match self.engine.next_expiry() {
            None => -1,
            Some(tick) => {
                let due = tick.saturating_mul(NS_PER_TICK);
                let left = due.saturating_sub(clock::now_ns());
                i32::try_from(left.div_ceil(NS_PER_TICK)).unwrap_or(i32::MAX)
            }
        };
        self.listen(timeout_ms);
        self.seat.awake();
    }

    fn listen(&mut self, timeout_ms: i32) {
        heard(self.driver.wait(timeout_ms));
    }

    fn look(&mut self) {
        heard(self.driver.look());
    }

    /// Goes through what the driver has to tell.
    fn react(&mut self) {
        while let Some(done) = self.driver.next(&self.engine) {
            let (engine, mut ports) = self.split();
            engine.done(done.token, done.outcome, &mut ports);
        }
    }

    fn expire(&mut self) {
        if let Some(tick) = self.engine.next_expiry() {
            let now = tick_of(clock::now_ns());
            if tick <= now {
                let (engine, mut ports) = self.split();
                engine.expire(now, &mut ports);
            }
        }
    }

    /// Takes what has arrived.
    fn take(&mut self, sleeps: bool) -> Taken {
        let mut shared = self.seat.lock();
        self.end_batch(&mut shared);
        let (engine, events) = (&mut self.engine, &mut self.events);
        self.seat.take(shared, engine, events, sleeps)
    }

    /// Hands out what has finished.
    fn deliver(&mut self) {
        while self.engine.has_finished() || self.engine.has_closed() {
            let polled = self.publish();
            for leftover in self.leftovers.drain(..) {
                leftover.clear(&self.population);
            }
            if let (Some(poll), true) = (&self.poll, polled > 0) {
                poll.tell();
            }
            self.call();
        }
        if self.drained && self.engine.pending() == 0 {
            if let Some(poll) = self.poll.take() {
                poll.drained();
            }
        }
    }

    /// Calls the callbacks of the batch. No lock is taken: each handle is retired with its call's
    /// return, which the seat is told, and its slot is freed by whoever next holds the lock.
    fn call(&mut self) {
        if self.called == self.calls.len() {
            return;
        }
        let mut now = self.stopwatch.read();
        while let Some(&own) = self.calls.get(self.called) {
            self.called += 1;
            let operation = &self.engine.operations[own.slot];
            let call = Call {
                callback: operation.callback,
                result: operation.completion(own),
            };
            call.make(self.seat.process);
            let started = std::mem::replace(&mut now, self.stopwatch.read());
            self.seat.returns.count_one();
            let took = now.saturating_sub(started);
            if took > self.longest_call {
                self.longest_call = took;
                self.seat.returns.note(self.stopwatch.ns(took));
            }
        }
    }

    /// The calls of the batch have returned.
    fn end_batch(&mut self, shared: &mut Shared) {
        if self.calls.is_empty() {
            return; // It may be another thread that calls, which pulls completions of this seat.
        }
        self.seat.reclaim(shared);
        shared.calling = false;
        self.calls.clear();
        self.called = 0;
    }

    /// Makes a batch of results visible: those with callbacks go to `calls`. Gives the number of
    /// those to be polled.
    fn publish(&mut self) -> usize {
        let mut polled = 0;
        let seat = self.seat;
        let mut shared = seat.lock();
        self.end_batch(&mut shared);
        // However they are told: whoever begins something meanwhile waits for the lock.
        for _ in 0..BATCH {
            // Whoever hears of a close may take it that the socket's callbacks have returned.
            let may_close = self.calls.is_empty();
            let wanted = |next: &Operation| may_close || next.kind != Kind::Close;
            let Some((id, operation)) = self.engine.take_finished_if(wanted) else {
                break;
            };
            if let Some(leftover) = settle(id, operation, &mut shared) {
                self.leftovers.push(leftover);
            }
            let (kind, socket) = (operation.kind, operation.socket);
            let ended = shared.complete(id, kind, operation.callback.is_some());
            if ended.route == Route::Call {
                self.calls.push(ended.operation);
            } else {
                self.engine.deliver(id);
                shared.go_on(id, ended.route);
                polled += usize::from(ended.route == Route::Poll);
            }
            if ended.awaited {
                seat.wake_waiters(id);
            }
            if kind == Kind::Close {
                // Whoever hears of it may open another socket in its place. Those that were closed
                // before it have ended before it, too.
                self.release_closed(&mut shared, Some(socket));
            }
        }
        // Only now: the completions of a socket are settled on its record.
        if !self.engine.has_finished() {
            self.release_closed(&mut shared, None);
        }
        if let (Some(poll), true) = (&self.poll, polled > 0) {
            poll.add(polled);
        }
        polled
    }

    /// Frees the slots of the sockets that are closed, up to `last` where there is such a one.
    fn release_closed(&mut self, shared: &mut Shared, last: Option<u32>) {
        while let Some(socket) = self.engine.take_closed() {
            self.seat.release_socket(shared, socket);
            if Some(socket) == last {
                return;
            }
        }
    }

    /// The last of the worker: nothing is pending and nobody may begin anything.
    fn leave(&mut self) {
        let (engine, mut ports) = self.split();
        engine.close_everything(&mut ports);
        if let Some(poll) = self.poll.take() {
            poll.drained();
        }
    }

    /// After a panic: whatever the engine thought, every operation still gets its completion.
    /// The driver has let go of all buffers, since on epoll it holds none between two calls.
    fn break_down(&mut self) {
        self.seat.awake();
        self.call();
        let mut shared = self.seat.lock();
        self.end_batch(&mut shared);
        let broken = shared.break_down(&mut self.engine);
        drop(shared);
        for id in broken {
            let mut shared = self.seat.lock();
            let record = shared.records.at(id);
            let (kind, callback) = (record.kind, record.callback);
            let ended = shared.complete(id, kind, callback.is_some());
            if ended.route == Route::Call {
                shared.records.hand(id, |_| ());
                self.calls.push(ended.operation);
            } else {
                shared.go_on(id, ended.route);
            }
            if let (Some(poll), Route::Poll) = (&self.poll, ended.route) {
                poll.add(1);
            }
            drop(shared);
            self.seat.wake_waiters(id);
            self.call();
            self.end_batch(&mut self.seat.lock());
        }
        if let Some(poll) = self.poll.take() {
            poll.drained();
        }
    }
}

/// What is to be said of a wait.
fn heard(waited: SysResult<()>) {
    if let Err(error) = waited {
        log::write(
            log::ERROR,
            format_args!("asock: waiting for events failed: {}", error.0),
        );
    }
}

/// What an operation's end changes on the shared half of its socket. Gives what is left to be done.
#[inline(always)]
fn settle(id: u32, operation: &mut Operation, shared: &mut Shared) -> Option<Leftover> {
    let payload = operation.payload.take();
    let ok = operation.status == Status::Ok;
    match operation.kind {
        Kind::Accept => return Leftover::of(shared, id, operation),
        Kind::Connect => {
            let record = shared.sockets.at(operation.socket);
            record.connecting -= 1;
            if ok {
                record.marks.set(Marks::CONNECTED);
            }
        }
        Kind::Send | Kind::SendTo => {
            shared.counters.bytes_sent += operation.bytes() as u64;
            // What had left bit by bit was taken off as it left.
            let told = if operation.flags.has(Flags::AT_ONCE) {
                0
            } else {
                operation.bytes()
            };
            let record = shared.sockets.at(operation.socket);
            record.queued -= (operation.buffer.len() - told) as u64;
        }
        kind if kind.receives() && !operation.flags.has(Flags::PEEK) => {
            shared.counters.bytes_received += operation.bytes() as u64;
        }
        _ => {}
    }
    if operation.flags.has(Flags::CUTS) {
        let record = shared.sockets.at(operation.socket);
        record.epoch = record.epoch.wrapping_add(1);
    }
    payload.and_then(|payload| files::use_again(shared, payload))
}
