//! A worker's place in the process: the records that it shares with the application's threads,
//! and the inbox through which they speak to it.
//!
//! Everything shared lies behind one lock, which is held for a few dozen instructions and never
//! over a system call or a call of the application's. The inbox is linked through the records, so
//! that handing over an operation needs no memory; whoever hands over wakes the worker only if it
//! sleeps. The worker announces its sleep under the lock, after it has found the inbox empty, so
//! no hand-over falls between its look and its sleep.

use super::arena::{Growth, OutOfMemory};
use super::operation::{Begin, Kind, Operation, NONE};
use super::record::{Chain, Course, Finished, NameAnswer, OperationRecord, SocketRecord, Stage};
use super::resolver::Resolver;
use super::slots::Slots;
use super::socket::{Engine, Socket};
use crate::abi::asock_result;
use crate::driver::Waker;
use crate::handle::{Handle, HandleKind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Commands that the worker takes at once, so that it never holds the lock for long.
const TAKE: usize = if cfg!(test) { 4 } else { 256 };
/// The most events that one inbox entry turns into.
const EVENTS_PER_ENTRY: usize = 4;
pub const EVENTS: usize = TAKE * EVENTS_PER_ENTRY;

/// Threads that wait for different operations mostly sleep on different conditions.
const CONDITIONS: usize = 8;

/// Marks an inbox entry that is a socket, not an operation.
const SOCKET_ENTRY: u32 = 1 << 31;

/// What the inbox holds for the worker.
pub enum Event {
    Begin(u32, Begin),
    Resolved(u32, NameAnswer),
    Deadline(u32, Option<u64>),
    Cancel(u32),
    Close(u32),
}

/// Whether the seat takes operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// No runtime sits here.
    Vacant,
    Open,
    /// New operations are refused, those pending are ended.
    Draining,
    /// The worker has met a panic and is no more.
    Broken,
}

/// Counters of a runtime, in the units of `asock_stats`.
#[derive(Clone, Copy, Default)]
pub struct Counters {
    pub begun: u64,
    pub completed: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub wake_ups: u64,
    pub longest_callback_ns: u64,
}

/// Behind the lock.
pub struct Shared {
    number: u16,
    pub service: Service,
    pub on_poll: bool,
    /// The worker is to end when nothing is left to do.
    pub stopping: bool,
    /// A drain that the worker has not seen yet.
    pub drain: bool,
    pub waker: Option<Waker>,
    /// The sockets of the whole runtime.
    population: Option<Arc<AtomicU32>>,
    /// Where the names of its operations are looked up.
    pub resolver: Option<Arc<Resolver>>,
    pub operations: Slots<OperationRecord>,
    pub sockets: Slots<SocketRecord>,
    pub operations_growth: Growth<Operation>,
    pub sockets_growth: Growth<Socket>,
    /// A test wants the worker to panic.
    #[cfg(test)]
    pub mistaken: bool,
    inbox: Chain,
    /// Completions that wait to be polled.
    ready: Chain,
    pub counters: Counters,
}

pub struct Seat {
    /// Its number, which the handles of its records bear.
    pub number: u16,
    /// The number of the process; see `delivery::become_worker`.
    pub process: u32,
    shared: Mutex<Shared>,
    done: [Condvar; CONDITIONS],
    asleep: AtomicBool,
    /// Sockets on this seat, to be read without the lock.
    load: AtomicU32,
    /// Callbacks of this seat's operations that are running.
    pub calling: AtomicU32,
}

impl Seat {
    pub fn new(number: u16, process: u32) -> Seat {
        Seat {
            number,
            process,
            load: AtomicU32::new(0),
            shared: Mutex::new(Shared {
                number,
                service: Service::Vacant,
                on_poll: false,
                stopping: false,
                drain: false,
                waker: None,
                population: None,
                resolver: None,
                operations: Slots::new(),
                sockets: Slots::new(),
                operations_growth: Growth::new(),
                sockets_growth: Growth::new(),
                #[cfg(test)]
                mistaken: false,
                inbox: Chain::default(),
                ready: Chain::default(),
                counters: Counters::default(),
            }),
            done: Default::default(),
            asleep: AtomicBool::new(false),
            calling: AtomicU32::new(0),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic under the lock is a mistake of ours, and the worker answers for it; the records
        // are still the only truth there is.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn load(&self) -> u32 {
        self.load.load(Ordering::Relaxed)
    }

    /// A slot for a new socket, with its handle.
    pub fn new_socket(&self, shared: &mut Shared) -> Result<u64, OutOfMemory> {
        let handle = shared.new_socket()?;
        self.load
            .store(shared.sockets.used() as u32, Ordering::Relaxed);
        Ok(handle)
    }

    /// The socket's slot may be used anew.
    pub fn release_socket(&self, shared: &mut Shared, id: u32) {
        shared.sockets.release(id);
        self.load
            .store(shared.sockets.used() as u32, Ordering::Relaxed);
        if let Some(population) = &shared.population {
            population.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The worker is gone, and its runtime.
    pub fn vacate(&self) {
        self.lock().vacate();
        self.load.store(0, Ordering::Relaxed);
    }

    /// Ends the hand-over that was made under `shared`: wakes the worker if it sleeps.
    pub fn hand_over(&self, mut shared: MutexGuard<'_, Shared>) {
        if !self.asleep.load(Ordering::Relaxed) {
            return;
        }
        self.asleep.store(false, Ordering::Relaxed);
        shared.counters.wake_ups += 1;
        let waker = shared.waker.clone();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The name of an operation has been looked up; if the operation is over, nobody cares.
    pub fn resolved(&self, slot: u32, generation: u32, answer: NameAnswer) {
        let answer = Box::new(answer);
        let mut shared = self.lock();
        let Some(record) = shared.operations.get(slot, generation) else {
            return;
        };
        if record.stage == Stage::Pending {
            record.answer = Some(answer);
            shared.link_operation(slot);
            self.hand_over(shared);
        }
    }

    /// Whether an operation has not completed yet.
    pub fn is_pending(&self, slot: u32, generation: u32) -> bool {
        let mut shared = self.lock();
        let record = shared.operations.get(slot, generation);
        record.is_some_and(|record| record.stage == Stage::Pending)
    }

    /// The worker is up again; a hand-over need not wake it.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Takes what has arrived, and, if that is nothing and it sleeps then, announces the worker's
    /// sleep.
    pub fn take(&self, engine: &mut Engine, events: &mut Vec<Event>, sleeps: bool) -> Taken {
        let mut shared = self.lock();
        #[cfg(test)]
        assert!(!shared.mistaken, "the mistake that a test wants");
        shared.take(engine, events);
        // Not before the last of what was begun earlier is known to the engine: it must end too.
        let drain = shared.inbox.length == 0 && std::mem::take(&mut shared.drain);
        let idle = events.is_empty() && !drain && shared.inbox.length == 0;
        if idle && sleeps {
            self.asleep.store(true, Ordering::Relaxed);
        }
        Taken {
            drain,
            idle,
            stop: idle && shared.stopping,
        }
    }

    fn condition(&self, id: u32) -> &Condvar {
        &self.done[id as usize % CONDITIONS]
    }

    /// Sleeps until some operation that shares `id`'s condition is done.
    pub fn wait<'a>(
        &self,
        shared: MutexGuard<'a, Shared>,
        id: u32,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Shared> {
        let condition = self.condition(id);
        match timeout {
            None => condition
                .wait(shared)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let answer = condition.wait_timeout(shared, timeout);
                answer.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    pub fn wake_waiters(&self, id: u32) {
        self.condition(id).notify_all();
    }
}

/// What the worker learns besides the events.
pub struct Taken {
    pub drain: bool,
    /// Nothing has arrived.
    pub idle: bool,
    /// Stop has been asked for and the inbox is empty.
    pub stop: bool,
}

/// How a finished operation goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The worker calls its callback.
    Call,
    /// It was put with those to be polled.
    Poll,
    /// `asock_end` collects it, or nobody is told.
    Rest,
}

impl Shared {
    /// A slot for a new operation, with its handle.
    pub fn new_operation(&mut self) -> Result<(u32, u64), OutOfMemory> {
        if !self.operations.has_free() {
            self.grow_operations()?;
        }
        let id = self.operations.take().ok_or(OutOfMemory)?;
        Ok((id, self.handle_of(HandleKind::Operation, id)))
    }

    /// Makes room for more operations.
    pub fn grow_operations(&mut self) -> Result<(), OutOfMemory> {
        let chunk = self.operations.grow()?;
        self.operations_growth.give(chunk).inspect_err(|_| {
            self.operations.vacate(); // Without the worker's half the chunk is of no use.
        })
    }

    fn new_socket(&mut self) -> Result<u64, OutOfMemory> {
        if !self.sockets.has_free() {
            let chunk = self.sockets.grow()?;
            self.sockets_growth.give(chunk).inspect_err(|_| {
                self.sockets.vacate();
            })?;
        }
        let id = self.sockets.take().ok_or(OutOfMemory)?;
        Ok(self.handle_of(HandleKind::Socket, id))
    }

    pub fn handle_of(&mut self, kind: HandleKind, slot: u32) -> u64 {
        let generation = match kind {
            HandleKind::Socket => self.sockets.generation(slot),
            _ => self.operations.generation(slot),
        };
        let seat = self.number;
        Handle {
            kind,
            seat,
            slot,
            generation,
        }
        .pack()
    }

    fn link(&mut self, entry: u32) {
        match self.inbox.tail {
            NONE => self.inbox.head = entry,
            tail if tail & SOCKET_ENTRY != 0 => {
                self.sockets.at(tail & !SOCKET_ENTRY).inbox_next = entry;
            }
            tail => self.operations.at(tail).inbox_next = entry,
        }
        self.inbox.tail = entry;
        self.inbox.length += 1;
    }

    /// Puts an operation into the inbox, unless it is there.
    pub fn link_operation(&mut self, id: u32) {
        let record = self.operations.at(id);
        if !std::mem::replace(&mut record.linked, true) {
            record.inbox_next = NONE;
            self.link(id);
        }
    }

    /// Puts a socket that is to be closed into the inbox.
    pub fn link_socket(&mut self, id: u32) {
        let record = self.sockets.at(id);
        if !std::mem::replace(&mut record.linked, true) {
            record.inbox_next = NONE;
            self.link(id | SOCKET_ENTRY);
        }
    }

    fn unlink(&mut self) -> Option<u32> {
        let entry = self.inbox.head;
        if entry == NONE {
            return None;
        }
        let next = if entry & SOCKET_ENTRY != 0 {
            let record = self.sockets.at(entry & !SOCKET_ENTRY);
            record.linked = false;
            record.inbox_next
        } else {
            let record = self.operations.at(entry);
            record.linked = false;
            record.inbox_next
        };
        self.inbox.head = next;
        if next == NONE {
            self.inbox.tail = NONE;
        }
        self.inbox.length -= 1;
        Some(entry)
    }

    fn take(&mut self, engine: &mut Engine, events: &mut Vec<Event>) {
        engine.operations.accept(&mut self.operations_growth);
        engine.sockets.accept(&mut self.sockets_growth);
        while events.len() + EVENTS_PER_ENTRY <= EVENTS {
            let Some(entry) = self.unlink() else { return };
            if entry & SOCKET_ENTRY != 0 {
                events.push(Event::Close(entry & !SOCKET_ENTRY));
                continue;
            }
            let record = self.operations.at(entry);
            if record.stage == Stage::Retired {
                self.operations.release(entry);
                continue;
            }
            if std::mem::take(&mut record.begun) {
                events.push(Event::Begin(entry, record.begin()));
            }
            if let Some(answer) = record.answer.take() {
                events.push(Event::Resolved(entry, *answer));
            }
            if std::mem::take(&mut record.deadline_changed) {
                events.push(Event::Deadline(entry, record.deadline()));
            }
            if std::mem::take(&mut record.canceled) {
                events.push(Event::Cancel(entry));
            }
        }
    }

    /// The completion of an operation whose result is visible.
    pub fn completion(&mut self, id: u32) -> asock_result {
        let op = self.handle_of(HandleKind::Operation, id);
        let seat = self.number;
        let record = self.operations.at(id);
        let socket = match record.socket {
            NONE => 0,
            slot => Handle {
                kind: HandleKind::Socket,
                seat,
                slot,
                generation: record.socket_generation,
            }
            .pack(),
        };
        asock_result {
            op,
            socket,
            ..record.completion()
        }
    }

    /// Makes the result of an operation visible and says how it goes on.
    pub fn complete(&mut self, id: u32, finished: Finished) -> Route {
        let on_poll = self.on_poll;
        let record = self.operations.at(id);
        self.counters.completed += u64::from(record.kind != Kind::Shutdown);
        record.stage = Stage::Done;
        record.course = Course::Done(finished);
        if record.kind == Kind::Shutdown {
            self.retire(id);
            Route::Rest
        } else if on_poll {
            self.push_ready(id);
            Route::Poll
        } else if record.callback.is_some() {
            Route::Call
        } else {
            if !record.collected {
                self.retire(id);
            }
            Route::Rest
        }
    }

    /// The operation's handle is stale from now on.
    pub fn retire(&mut self, id: u32) {
        let record = self.operations.at(id);
        if record.linked {
            record.stage = Stage::Retired;
            self.operations.outdate(id);
        } else {
            self.operations.release(id);
        }
    }

    fn push_ready(&mut self, id: u32) {
        self.operations.at(id).ready_next = NONE;
        match self.ready.tail {
            NONE => self.ready.head = id,
            tail => self.operations.at(tail).ready_next = id,
        }
        self.ready.tail = id;
        self.ready.length += 1;
    }

    /// The first completion that waits to be polled.
    pub fn pop_ready(&mut self) -> Option<u32> {
        let id = self.ready.head;
        if id == NONE {
            return None;
        }
        self.ready.head = self.operations.at(id).ready_next;
        if self.ready.head == NONE {
            self.ready.tail = NONE;
        }
        self.ready.length -= 1;
        Some(id)
    }

    /// Whether the runtime that counts its sockets there still sits here.
    pub fn is_seat_of(&self, population: &Arc<AtomicU32>) -> bool {
        let own = self.population.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, population))
    }

    /// The worker is no more: forgets what the inbox holds, closes the sockets, and names the
    /// operations that still owe a completion.
    pub fn break_down(&mut self) -> Vec<u32> {
        self.service = Service::Broken;
        while self.unlink().is_some() {}
        let mut owing = Vec::new();
        self.operations.each_used(|id, record| {
            if record.stage == Stage::Pending {
                owing.push(id);
            }
        });
        self.sockets.each_used(|_, record| record.descriptor = None);
        owing
    }

    /// The runtime has gone. What `asock_end` is to collect stays; all else is retired.
    fn vacate(&mut self) {
        self.service = Service::Vacant;
        self.waker = None;
        self.population = None;
        self.resolver = None;
        while self.unlink().is_some() {}
        let mut leaving = Vec::new();
        self.operations.each_used(|id, record| {
            if record.stage != Stage::Done || !record.collected {
                leaving.push(id);
            }
        });
        for id in leaving {
            self.operations.release(id);
        }
        let mut leaving = Vec::new();
        self.sockets.each_used(|id, _| leaving.push(id));
        for id in leaving {
            self.sockets.release(id);
        }
        self.operations.vacate();
        self.sockets.vacate();
        #[cfg(test)]
        {
            self.mistaken = false;
        }
        self.ready = Chain::default();
        self.operations_growth = Growth::new();
        self.sockets_growth = Growth::new();
    }

    /// A runtime moves in.
    pub fn occupy(
        &mut self,
        waker: Waker,
        on_poll: bool,
        population: Arc<AtomicU32>,
        resolver: Arc<Resolver>,
    ) -> Result<(), OutOfMemory> {
        debug_assert_eq!(self.service, Service::Vacant);
        // Records that wait to be collected have kept their chunks; the new worker needs its
        // half of them too.
        for chunk in self.operations.chunks() {
            self.operations_growth.give(chunk)?;
        }
        self.service = Service::Open;
        self.on_poll = on_poll;
        self.stopping = false;
        self.drain = false;
        self.waker = Some(waker);
        self.population = Some(population);
        self.resolver = Some(resolver);
        self.counters = Counters::default();
        Ok(())
    }
}
