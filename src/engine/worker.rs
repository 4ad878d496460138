//! A worker's thread: the only place where engine, driver and seat meet.
//!
//! One turn takes the inbox, lets the driver work, looks at the clock, and delivers what has
//! finished; callbacks come last, with nothing borrowed and nothing locked.

use super::arrival::Arrival;
use super::connect::FIRST_ATTEMPT;
use super::delivery::{self, Call, Poll};
use super::files;
use super::inbox::{Event, EVENTS};
use super::operation::{Fault, Flags, Kind, Payload};
use super::population::{Leftover, Population};
use super::prepared::Prepared;
use super::record::Marks;
use super::seat::{Route, Seat, Shared};
use super::socket::{Engine, Steps};
use crate::address::{Address, Family};
use crate::driver::{Driver, Outcome, Request, Requests, Table, Token};
use crate::log;
use crate::status::Status;
use crate::sys::socket::{self as system, ReceiveFlags};
use crate::sys::{
    clock, option, thread, SocketOption, SysResult, CONNECTION_REFUSED, OUT_OF_MEMORY,
};
use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

/// Completions delivered under one look at the lock.
const BATCH: usize = if cfg!(test) { 4 } else { 256 };
/// Turns that work may go on without asking the system for news.
const TURNS: u32 = 16;

/// Looks between two offers of the core to others.
const LOOKS: u32 = 8;

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
    /// How long it looks for work before it sleeps.
    spin_ns: u64,
    events: Vec<Event>,
    /// Those whose callbacks are to be called.
    calls: VecDeque<u32>,
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
        let mut calls = VecDeque::new();
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
            spin_ns,
            events,
            calls,
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
        let mut looks_in_vain = 0_u32;
        let mut look_until = self.look_until();
        loop {
            // A worker that looks for work is not woken, for it finds what is handed over.
            let looks = look_until.is_some_and(|until| clock::now_ns() < until);
            let taken = self.seat.take(&mut self.engine, &mut self.events, !looks);
            self.apply(taken.drain);
            if taken.stop && self.engine.is_quiet() {
                return self.leave();
            }
            busy = if taken.idle { 0 } else { busy + 1 };
            if taken.idle && looks {
                self.listen(0);
                self.react();
                looks_in_vain = if self.engine.has_finished() {
                    0
                } else {
                    looks_in_vain + 1
                };
                if looks_in_vain % LOOKS == LOOKS - 1 {
                    thread::yield_now();
                }
            } else if taken.idle {
                self.sleep();
                self.react();
            } else if busy % TURNS == 0 {
                self.listen(0);
                self.react();
            }
            self.expire();
            if !taken.idle || self.engine.has_finished() {
                look_until = self.look_until();
            }
            self.deliver();
        }
    }

    /// Until when the worker looks for more before it sleeps; none when it is not to look.
    fn look_until(&self) -> Option<u64> {
        (self.spin_ns > 0).then(|| clock::now_ns().saturating_add(self.spin_ns))
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
        if let Err(error) = self.driver.wait(timeout_ms) {
            log::write(
                log::ERROR,
                format_args!("asock: waiting for events failed: {}", error.0),
            );
        }
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

    /// Hands out what has finished.
    fn deliver(&mut self) {
        while self.engine.has_finished() || self.engine.has_closed() {
            let (polled, call) = self.publish();
            for leftover in self.leftovers.drain(..) {
                leftover.clear(&self.population);
            }
            if let (Some(poll), true) = (&self.poll, polled > 0) {
                poll.tell();
            }
            let Some(mut call) = call else { continue };
            let mut now = clock::now_ns();
            loop {
                let next = self.calls.pop_front();
                now = call.make(self.seat, now, next);
                if next.is_none() {
                    break;
                }
            }
        }
        if self.drained && self.engine.pending() == 0 {
            if let Some(poll) = self.poll.take() {
                poll.drained();
            }
        }
    }

    /// Makes a batch of results visible: those with callbacks go to `calls`. Gives the number of
    /// those to be polled, and the first call to be made.
    fn publish(&mut self) -> (usize, Option<Call>) {
        let mut polled = 0;
        let seat = self.seat;
        let mut shared = seat.lock();
        while self.calls.len() < self.calls.capacity().min(BATCH) {
            if !self.calls.is_empty() && self.engine.finishes_close() {
                break; // Nobody learns of it while callbacks are still to be called.
            }
            if self.leftovers.len() == self.leftovers.capacity() {
                break;
            }
            let Some(id) = self.engine.take_finished() else {
                break;
            };
            if self.settle(&mut shared, id) == Kind::Accept {
                self.leftovers.extend(Leftover::of(&mut shared, id));
            }
            let (route, awaited) = shared.complete(id);
            match route {
                Route::Rest => {}
                Route::Poll => polled += 1,
                Route::Call => self.calls.push_back(id),
            }
            if awaited {
                seat.wake_waiters(id);
            }
        }
        // Only now: the completions of a socket are settled on its record.
        while !self.engine.has_finished() {
            match self.engine.take_closed() {
                Some(socket) => seat.release_socket(&mut shared, socket),
                None => break,
            }
        }
        if let (Some(poll), true) = (&self.poll, polled > 0) {
            poll.add(polled);
        }
        let first = self.calls.pop_front();
        (polled, first.map(|id| Call::of(&mut shared, id)))
    }

    /// Gives a finished operation's record back to the seat, with what its end changes on the shared
    /// half of its socket. Says what it was.
    fn settle(&mut self, shared: &mut Shared, id: u32) -> Kind {
        let operation = &mut self.engine.operations[id];
        if let Some(payload) = operation.payload.take() {
            files::use_again(shared, payload);
        }
        let kind = operation.kind;
        let ok = operation.status == Status::Ok;
        match kind {
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
        self.engine.deliver(id);
        kind
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
        for id in std::mem::take(&mut self.calls) {
            let mut call = Call::of(&mut self.seat.lock(), id);
            call.make(self.seat, clock::now_ns(), None);
        }
        // Taken out of the loop's head, where the lock would be held all through it.
        let broken = self.seat.lock().break_down(&mut self.engine);
        for id in broken {
            let mut shared = self.seat.lock();
            let (route, _) = shared.complete(id);
            let call = (route == Route::Call).then(|| Call::of(&mut shared, id));
            if let (Some(poll), Route::Poll) = (&self.poll, route) {
                poll.add(1);
            }
            drop(shared);
            self.seat.wake_waiters(id);
            if let Some(mut call) = call {
                call.make(self.seat, clock::now_ns(), None);
            }
        }
        if let Some(poll) = self.poll.take() {
            poll.drained();
        }
    }
}

/// The real world for the engine's steps.
pub(super) struct Ports<'a> {
    pub(super) seat: &'static Seat,
    pub(super) driver: &'a mut Driver,
    pub(super) population: &'a Arc<Population>,
    pub(super) attempts: &'a mut Table<Option<Prepared>>,
}

impl Ports<'_> {
    /// Where nobody listens on a port of this machine, the system may choose that very port for
    /// our end too, and then TCP connects the socket with itself. That is a refusal.
    fn refuse_itself(&self, socket: u32, remote: &Address) -> Result<(), Fault> {
        match self.driver.descriptor(socket) {
            Some(descriptor) if system::is_its_own_peer(descriptor, remote.port()) => {
                Err(Fault::system(CONNECTION_REFUSED))
            }
            _ => Ok(()),
        }
    }
}

impl Steps for Ports<'_> {
    fn open(&mut self, number: u32, socket: u32, family: Family) -> Result<(), Fault> {
        let kind = self.seat.lock().sockets.at(socket).kind;
        let descriptor =
            system::open(family, kind, self.driver.waits_itself()).map_err(Fault::system)?;
        let raw = descriptor.raw();
        let prepared = Prepared {
            descriptor,
            family,
            kind,
            version: None,
        };
        let opened = match number {
            attempt if attempt >= FIRST_ATTEMPT => self.keep_attempt(attempt, prepared, socket),
            _ => self.settle_in(socket, prepared),
        };
        let opened = opened.and_then(|()| self.driver.attach(number, raw));
        opened.map_err(|error| {
            self.discard(number);
            Fault::system(error)
        })
    }

    fn now(&self) -> u64 {
        tick_of(clock::now_ns())
    }

    fn adopt(&mut self, socket: u32, attempt: u32, remote: &Address) -> Result<(), Fault> {
        self.refuse_itself(attempt, remote)?;
        let Some(prepared) = self.take_attempt(attempt) else {
            return Err(Fault::of(Status::Internal));
        };
        let moved = self.driver.move_to(attempt, socket);
        let settled = moved.and_then(|()| self.settle_in(socket, prepared));
        settled.map_err(|error| {
            self.driver.detach(socket);
            Fault::system(error)
        })
    }

    fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        self.driver.start(token, request)
    }

    fn cancel(&mut self, token: Token) -> Option<Outcome> {
        self.driver.cancel(token)
    }

    fn send_file(&mut self, socket: u32, payload: Box<Payload>) -> Option<Box<Payload>> {
        files::send(self.seat, socket, payload)
    }

    fn recall_file(&mut self, operation: u32) -> Option<Box<Payload>> {
        files::recall(self.seat, operation)
    }

    fn receive_urgent(&mut self, socket: u32, request: Request<'_>) -> Outcome {
        let Request::Receive { buffer, peek, .. } = request else {
            return Outcome::Done(0);
        };
        let flags = ReceiveFlags {
            peek,
            out_of_band: true,
            whole: false,
        };
        match self.driver.descriptor(socket) {
            None => Outcome::Canceled,
            Some(descriptor) => match system::receive(descriptor, buffer, flags) {
                Ok(bytes) => Outcome::Done(bytes),
                Err(error) => Outcome::Failed(error),
            },
        }
    }

    fn shutdown(&mut self, socket: u32, receive: bool, send: bool) {
        if let Some(descriptor) = self.driver.descriptor(socket) {
            // It fails when the peer has reset the connection, and then the next operation says so.
            let _ = system::shutdown(descriptor, receive, send);
        }
    }

    fn connected(&mut self, socket: u32, remote: Option<Box<Payload>>) -> Result<(), Fault> {
        if let Some(Payload::Connect(address)) = remote.as_deref() {
            self.refuse_itself(socket, address)?;
            if !self.seat.lock().sockets.at(socket).set_peer(address) {
                return Err(Fault::of(Status::OutOfMemory));
            }
        }
        Ok(())
    }

    fn sent(&mut self, socket: u32, bytes: usize) {
        self.seat.lock().sockets.at(socket).queued -= bytes as u64;
    }

    fn arrived(&mut self, socket: u32) -> Result<Arrival, Fault> {
        self.take_in(socket)
    }

    fn accepted(&mut self, listener: u32, place: u64, number: usize) -> Result<(), Fault> {
        self.house(listener, place, number)
    }

    fn forget(&mut self, socket: u32) {
        self.driver.forget(socket);
    }

    fn renew(&mut self, socket: u32) -> Result<(), Fault> {
        let Some(descriptor) = self.driver.descriptor(socket) else {
            return Err(Fault::of(Status::Internal));
        };
        self.driver.detach(socket);
        // It fails where nothing had begun.
        let _ = system::disconnect(descriptor);
        let attached = self.driver.attach(socket, descriptor);
        attached.map_err(Fault::system)
    }

    fn discard(&mut self, number: u32) {
        self.driver.detach(number);
        if number >= FIRST_ATTEMPT {
            drop(self.take_attempt(number));
        } else {
            let mut shared = self.seat.lock();
            let descriptor = shared.sockets.at(number).descriptor.take();
            let unseen = descriptor.and_then(|descriptor| shared.pins.let_go(descriptor));
            drop(shared);
            drop(unseen); // Not under the lock: it is a system call.
        }
    }

    fn close(&mut self, socket: u32, reset: bool) {
        let mut shared = self.seat.lock();
        let record = shared.sockets.at(socket);
        let (descriptor, file) = record.take_descriptor();
        // Others may listen with a descriptor that came from them; a shutdown would be for all.
        let marks = record.marks;
        let shared_listener = marks.has(Marks::ADOPTED) && marks.has(Marks::LISTENING);
        let (kind, linger) = (record.kind, record.kept());
        let linger = linger.and_then(|kept| kept.system[SocketOption::LingerS as usize]);
        drop(shared);
        let Some(descriptor) = descriptor else {
            return;
        };
        if let Some(file) = file {
            file.remove();
        }
        let raw = descriptor.raw();
        // A child of fork may hold a copy of the descriptor, so the peer is told by a call of its
        // own and not by the close, which would then say nothing. Errors mean that the peer knows.
        // Where the peer's data was not taken, the system's close resets the connection.
        let resets = reset
            || linger == Some(0)
            || (self.driver.may_have_input(socket) && system::unread(raw));
        self.driver.detach(socket);
        if !shared_listener && (!resets || system::disconnect(raw).is_err()) {
            let _ = system::shutdown(raw, true, true);
        }
        if linger.is_some_and(|seconds| seconds > 0) {
            // A close that lingers would stop the worker; the system goes on sending anyway.
            let _ = option::set(raw, Family::Ipv4, kind, SocketOption::LingerS, -1);
        }
        let unseen = self.seat.lock().pins.let_go(descriptor);
        drop(unseen);
    }
}
