//! A worker's place in the process: the records that it shares with the application's threads,
//! and the inbox through which they speak to it.
//!
//! Everything shared lies behind one lock, which is held for a few dozen instructions and never
//! over a system call or a call of the application's. The inbox is linked through the records, so
//! that handing over an operation needs no memory; whoever hands over wakes the worker only if it
//! sleeps. The worker announces its sleep under the lock, after it has found the inbox empty, so
//! no hand-over falls between its look and its sleep.

use super::arena::{chunk, Chunk, Growth, OutOfMemory};
use super::calls::{Returns, Turns};
use super::files::Files;
use super::handover::SeatSide;
use super::inbox::{Event, Inbox, NameAnswer};
use super::messages::Messages;
use super::operation::{Kind, Operation, Payload};
use super::pins::Pins;
use super::population::{Population, Spares};
use super::queue::Chain;
use super::record::{Marks, OperationState, SocketRecord, Stage};
use super::resolver::Resolver;
use super::slots::Slots;
use super::socket::{Engine, Socket};
use crate::abi::asock_result;
use crate::driver::{Driver, Registry, Waker};
use crate::handle::{Handle, HandleKind};
use crate::status::{Answer, Status};
use crate::sys::RawDescriptor;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads that wait for different operations mostly sleep on different conditions.
const CONDITIONS: usize = 8;

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
}

/// Behind the lock.
pub struct Shared {
    number: u16,
    pub service: Service,
    pub on_poll: bool,
    /// The driver waits by itself; see `Driver::waits_itself`.
    pub waits_itself: bool,
    pub registry: Registry,
    /// The worker is to end when nothing is left to do.
    pub stopping: bool,
    /// A drain that the worker has not seen yet: what stood in the inbox before it.
    drain: Option<u64>,
    pub waker: Option<Waker>,
    pub(super) spares: Spares,
    /// Places for sockets that accepts may bring.
    pub reserved: u32,
    /// The sockets of the whole runtime.
    population: Option<Arc<Population>>,
    /// Where the names of its operations are looked up.
    pub resolver: Option<Arc<Resolver>>,
    /// Where its files are read.
    pub files: Option<Arc<Files>>,
    pub operations: Slots<OperationState>,
    /// The operations' records, while the worker has not got them.
    pub records: SeatSide<Operation>,
    pub sockets: Slots<SocketRecord>,
    pub(super) sockets_growth: Growth<Chunk<Socket>>,
    /// Descriptors that the application's threads are looking at.
    pub pins: Pins,
    /// For the operations that need one.
    pub messages: Messages,
    /// Callbacks of this seat's operations are running, or are about to.
    pub calling: bool,
    /// The calls that the worker was given; see `OperationState::turn`.
    turns: Turns,
    /// A test wants the worker to panic.
    #[cfg(test)]
    pub mistaken: bool,
    pub(super) inbox: Inbox,
    /// What the threads for files give back; `begin` makes the room.
    #[allow(
        clippy::vec_box,
        reason = "the boxes go to and fro, and none is made on the way"
    )]
    pub returned: Vec<Box<Payload>>,
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
    /// The calls that have returned, so that a call needs no lock.
    pub returns: Returns,
    /// Sockets on this seat, to be read without the lock.
    load: AtomicU32,
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
                waits_itself: false,
                registry: Registry::default(),
                stopping: false,
                drain: None,
                waker: None,
                spares: Spares::default(),
                reserved: 0,
                population: None,
                resolver: None,
                files: None,
                operations: Slots::new(),
                records: SeatSide::new(),
                sockets: Slots::new(),
                sockets_growth: Growth::new(),
                pins: Pins::new(),
                messages: Messages::default(),
                calling: false,
                turns: Turns::new(),
                #[cfg(test)]
                mistaken: false,
                inbox: Inbox::new(),
                returned: Vec::new(),
                ready: Chain::default(),
                counters: Counters::default(),
            }),
            done: Default::default(),
            asleep: AtomicBool::new(false),
            returns: Returns::default(),
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

    /// Frees the slots of the operations whose calls have returned, so that the next ones are begun
    /// in places that are still in the cache.
    #[inline(always)]
    pub fn reclaim(&self, shared: &mut Shared) {
        while let Some(id) = shared.turns.next_returned(&self.returns) {
            shared.records.take_back(id);
            shared.retire(id);
        }
    }

    /// Sees to it that the next operation can be begun.
    #[inline(always)]
    pub fn make_room(&self, shared: &mut Shared) -> Answer<Room> {
        self.reclaim(shared);
        shared.make_room().map_err(|_| Status::OutOfMemory)
    }

    /// A slot for a new socket, with its handle.
    pub fn new_socket(&self, shared: &mut Shared) -> Result<(u32, u64), OutOfMemory> {
        let made = shared.new_socket()?;
        self.show_load(shared);
        Ok(made)
    }

    fn show_load(&self, shared: &Shared) {
        let used = shared.sockets.used() as u32;
        self.load.store(used, Ordering::Relaxed);
    }

    /// Frees a socket's slot, and keeps what may be used again.
    fn free_socket(&self, shared: &mut Shared, slot: u32) {
        let rare = shared.sockets.at(slot).rare.take();
        shared.spares.keep(rare);
        shared.sockets.release(slot);
        self.show_load(shared);
    }

    /// The socket's slot may be used anew.
    pub fn release_socket(&self, shared: &mut Shared, id: u32) {
        self.free_socket(shared, id);
        if let Some(population) = &shared.population {
            population.leave();
        }
    }

    /// A place that was reserved is not needed. The runtime may have been stopped meanwhile, and
    /// its places with it.
    pub fn give_back(&self, population: &Arc<Population>, slot: u32) {
        let mut shared = self.lock();
        if !shared.is_seat_of(population) {
            return;
        }
        self.free_socket(&mut shared, slot);
        shared.reserved -= 1;
    }

    /// The worker is gone, and its runtime.
    pub fn vacate(&self) {
        let mut shared = self.lock();
        shared.vacate();
        shared.turns.settle(&self.returns);
        drop(shared);
        self.returns.forget_longest();
        self.awake();
        self.load.store(0, Ordering::Relaxed);
    }

    /// Ends the hand-over that was made under `shared`: wakes the worker if it sleeps.
    #[inline(always)]
    pub fn hand_over(&self, shared: MutexGuard<'_, Shared>) {
        if self.asleep.load(Ordering::Relaxed) {
            self.wake(shared);
        }
    }

    #[inline(never)]
    fn wake(&self, mut shared: MutexGuard<'_, Shared>) {
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
        let mut shared = self.lock();
        let Some(state) = shared.operations.get(slot, generation) else {
            return;
        };
        if state.stage == Stage::Pending {
            shared.answer(slot, answer);
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
    pub fn take(
        &self,
        mut shared: MutexGuard<'_, Shared>,
        engine: &mut Engine,
        events: &mut Vec<Event>,
        sleeps: bool,
    ) -> Taken {
        #[cfg(test)]
        assert!(!shared.mistaken, "the mistake that a test wants");
        shared.take(engine, events);
        // Not before the last of what was begun earlier is known to the engine: it must end too. But
        // what has come later is not waited for, since there may always be more of it.
        let Shared { inbox, drain, .. } = &mut *shared;
        let drain = drain.take_if(|mark| inbox.has_passed(*mark)).is_some();
        let empty = shared.inbox.is_empty() && shared.returned.is_empty();
        let idle = events.is_empty() && !drain && empty;
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

/// There is room for one more operation, as long as the lock is held.
pub struct Room(());

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
    /// It is put with those to be polled.
    Poll,
    /// `asock_end` collects it.
    Rest,
    /// Nobody is told.
    Drop,
}

/// An operation whose result was made visible.
pub struct Completed {
    pub route: Route,
    /// Threads wait for it, who are still to be woken.
    pub awaited: bool,
    pub operation: Handle,
}

impl Shared {
    #[inline(always)]
    pub(super) fn make_room(&mut self) -> Result<Room, OutOfMemory> {
        if !self.operations.has_free() {
            self.grow_operations()?;
        }
        Ok(Room(()))
    }

    /// A slot for an operation that is begun, as the handle that names it.
    #[inline(always)]
    pub fn new_operation(&mut self, _: Room) -> Handle {
        match self.operations.take() {
            Some((slot, generation)) => self.handle(HandleKind::Operation, slot, generation),
            None => unreachable!("there is room"),
        }
    }

    /// Makes room for more operations.
    #[cold]
    fn grow_operations(&mut self) -> Result<(), OutOfMemory> {
        let chunk = self.operations.grow()?;
        self.records.grow(chunk).inspect_err(|_| {
            self.operations.vacate(); // Slots without records are of no use.
        })
    }

    fn new_socket(&mut self) -> Result<(u32, u64), OutOfMemory> {
        if !self.sockets.has_free() {
            let index = self.sockets.grow()?;
            self.sockets_growth.give(index, chunk).inspect_err(|_| {
                self.sockets.vacate();
            })?;
        }
        let (slot, generation) = self.sockets.take().ok_or(OutOfMemory)?;
        Ok((
            slot,
            self.handle(HandleKind::Socket, slot, generation).pack(),
        ))
    }

    fn handle(&self, kind: HandleKind, slot: u32, generation: u32) -> Handle {
        Handle {
            kind,
            seat: self.number,
            slot,
            generation,
        }
    }

    /// Keeps a socket's descriptor open until it is unpinned.
    pub fn pin(&mut self, socket: u32) -> Result<Option<RawDescriptor>, OutOfMemory> {
        match &self.sockets.at(socket).descriptor {
            None => Ok(None),
            Some(descriptor) => self.pins.pin(descriptor.raw()).map(Some),
        }
    }

    /// Ends what is pending, and lets nothing more be begun.
    pub fn drain(&mut self) {
        if self.service == Service::Open {
            self.service = Service::Draining;
            self.drain = Some(self.inbox.end());
        }
    }

    /// The completion of an operation whose result is visible, and whose record is here.
    pub fn completion(&mut self, id: u32) -> asock_result {
        let (_, generation) = self.operations.entry(id);
        let own = self.handle(HandleKind::Operation, id, generation);
        self.records.at(id).completion(own)
    }

    /// Makes the result of an operation visible. The worker keeps the record for a call, else gives
    /// it back.
    pub fn complete(&mut self, id: u32, kind: Kind, calls: bool) -> Completed {
        let (state, generation) = self.operations.entry(id);
        let awaited = state.marks.has(Marks::AWAITED);
        let route = if kind == Kind::Shutdown {
            Route::Drop
        } else if self.on_poll {
            Route::Poll
        } else if calls {
            Route::Call
        } else if state.marks.has(Marks::COLLECTED) {
            Route::Rest
        } else {
            Route::Drop
        };
        state.stage = Stage::Done;
        if route == Route::Call {
            self.calling = true;
            state.stage = Stage::Calling;
            state.turn = self.turns.give(id);
        }
        self.counters.completed += u64::from(kind != Kind::Shutdown);
        Completed {
            route,
            awaited,
            operation: self.handle(HandleKind::Operation, id, generation),
        }
    }

    /// As `complete` has said of an operation whose record is here again.
    pub fn go_on(&mut self, id: u32, route: Route) {
        match route {
            Route::Poll => self.ready.push(&mut self.records, id),
            Route::Drop => self.retire(id),
            Route::Rest | Route::Call => {}
        }
    }

    /// The operation's handle is stale from now on.
    #[inline(always)]
    pub fn retire(&mut self, id: u32) {
        self.operations.release_unless(id, |state| {
            let linked = state.marks.has(Marks::LINKED);
            if linked {
                state.stage = Stage::Retired; // The inbox still leads to the slot.
            }
            linked
        });
    }

    /// The first completion that waits to be polled.
    pub fn pop_ready(&mut self) -> Option<u32> {
        self.ready.pop(&mut self.records)
    }

    /// Whether an operation of a socket has not completed.
    pub fn has_pending(&mut self, socket: u32) -> bool {
        let mut found = false;
        self.operations.each_used(|_, record| {
            found |= record.socket == socket && record.stage == Stage::Pending;
        });
        found
    }

    /// The sockets of the runtime that sits here.
    pub fn population(&self) -> Answer<Arc<Population>> {
        self.population.clone().ok_or(Status::BadHandle)
    }

    /// The sockets of this seat that the application knows of.
    pub fn open_sockets(&self) -> usize {
        self.sockets.used() - self.reserved as usize
    }

    /// Whether the runtime that counts its sockets there still sits here.
    pub fn is_seat_of(&self, population: &Arc<Population>) -> bool {
        let own = self.population.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, population))
    }

    /// The worker is no more: forgets what the inbox holds, closes the sockets, takes the records
    /// back, and names the operations that still owe a completion, which says so.
    pub fn break_down(&mut self, engine: &mut Engine) -> Vec<u32> {
        self.service = Service::Broken;
        self.empty_inbox();
        engine.operations.accept(&mut self.records);
        engine.operations.give_back_all();
        let mut owing = Vec::new();
        self.operations.each_used(|id, state| {
            if state.stage == Stage::Pending {
                owing.push(id);
            }
        });
        for &id in &owing {
            self.records.at(id).fail(Status::Internal);
        }
        let Shared { sockets, pins, .. } = self;
        sockets.each_used(|_, record| record.let_go(pins));
        owing
    }

    /// The runtime has gone. What `asock_end` is to collect stays; all else is retired.
    fn vacate(&mut self) {
        self.service = Service::Vacant;
        self.waker = None;
        self.registry = Registry::default();
        self.population = None;
        self.reserved = 0;
        self.spares = Spares::default();
        self.resolver = None;
        self.files = None;
        self.returned = Vec::new();
        self.empty_inbox();
        self.inbox = Inbox::new();
        let mut leaving = Vec::new();
        self.operations.each_used(|id, state| {
            if state.stage != Stage::Done || !state.marks.has(Marks::COLLECTED) {
                leaving.push(id);
            }
        });
        for id in leaving {
            self.operations.release(id);
        }
        let mut leaving = Vec::new();
        let Shared { sockets, pins, .. } = self;
        sockets.each_used(|id, record| {
            record.let_go(pins);
            leaving.push(id);
        });
        for id in leaving {
            self.sockets.release(id);
        }
        self.operations.vacate();
        self.sockets.vacate();
        let operations = &self.operations;
        self.records.vacate(|index| operations.has_chunk(index));
        #[cfg(test)]
        {
            self.mistaken = false;
        }
        self.ready = Chain::default();
        self.sockets_growth = Growth::new();
        self.messages = Messages::default();
    }

    /// A runtime moves in.
    pub fn occupy(
        &mut self,
        waker: Waker,
        driver: &Driver,
        on_poll: bool,
        population: Arc<Population>,
        resolver: Arc<Resolver>,
        files: Arc<Files>,
    ) -> Result<(), OutOfMemory> {
        debug_assert_eq!(self.service, Service::Vacant);
        // Records that wait to be collected have kept their chunks.
        self.records.introduce()?;
        self.inbox.make_room()?;
        self.service = Service::Open;
        self.on_poll = on_poll;
        self.waits_itself = driver.waits_itself();
        self.registry = driver.registry();
        self.stopping = false;
        self.drain = None;
        self.waker = Some(waker);
        self.population = Some(population);
        self.resolver = Some(resolver);
        self.files = Some(files);
        self.counters = Counters::default();
        Ok(())
    }
}
