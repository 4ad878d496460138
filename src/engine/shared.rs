//! What a seat's lock guards: the records of its operations and sockets, where each stands for the
//! application's threads, and all that they and the worker hand to each other.

use super::arena::{chunk, Chunk, Growth, OutOfMemory};
use super::calls::Turns;
use super::files::Files;
use super::handover::SeatSide;
use super::inbox::Inbox;
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
use std::sync::Arc;

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

/// Behind the lock of one seat.
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
    pub(super) drain: Option<u64>,
    pub waker: Option<Waker>,
    pub(super) spares: Spares,
    /// Places for sockets that accepts may bring.
    pub reserved: u32,
    /// The sockets of the whole runtime.
    pub(super) population: Option<Arc<Population>>,
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
    pub(super) turns: Turns,
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

/// There is room for one more operation, as long as the lock is held.
pub struct Room(());

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
    pub(super) fn new(number: u16) -> Shared {
        Shared {
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
        }
    }

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

    pub(super) fn new_socket(&mut self) -> Result<(u32, u64), OutOfMemory> {
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
    pub(super) fn vacate(&mut self) {
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
