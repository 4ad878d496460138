//! The sockets of a runtime: how many there are, how many there may be, and on which of its workers
//! the next one goes.
//!
//! The place of an accepted socket is made when its accept is begun, on the worker that has the
//! fewest then, so that a connection that has come needs no memory. Nobody can name the place, and
//! nobody counts it, until a connection fills it.

use super::arrival::Standing;
use super::files::Files;
use super::operation::{Operation, Payload};
use super::record::{Marks, Rare, Settings};
use super::seat::Seat;
use super::shared::{Service, Shared};
use crate::address::{Address, Family};
use crate::foreign;
use crate::handle::Handle;
use crate::status::{Answer, Status};
use crate::sys::{outside, Kind, RawDescriptor};
use once_cell::sync::OnceCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

pub struct Population {
    limit: u32,
    count: AtomicU32,
    /// The runtime's, once they are all taken.
    seats: OnceCell<Vec<&'static Seat>>,
}

/// A descriptor that becomes a socket: one that was accepted, or one of the application's.
pub struct Arriving {
    pub descriptor: RawDescriptor,
    pub family: Family,
    pub kind: Kind,
    pub standing: Standing,
    /// Where it is connected.
    pub peer: Address,
    pub adopted: bool,
}

impl Population {
    /// Nothing is 0: no limit.
    pub fn new(limit: u32) -> Arc<Population> {
        Arc::new(Population {
            limit: if limit == 0 { u32::MAX } else { limit },
            count: AtomicU32::new(0),
            seats: OnceCell::new(),
        })
    }

    /// These workers have the sockets.
    pub fn settle(&self, seats: Vec<&'static Seat>) {
        let _ = self.seats.set(seats); // It is done once.
    }

    fn seats(&self) -> &[&'static Seat] {
        self.seats.get().map_or(&[], Vec::as_slice)
    }

    /// One more, if there may be.
    pub fn enter(&self) -> Answer<()> {
        let one_more = |count: u32| (count < self.limit).then_some(count + 1);
        let counted = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map(|_| ()).map_err(|_| Status::TooManySockets)
    }

    pub fn leave(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// The worker that has the fewest sockets.
    pub fn least_loaded(&self) -> Answer<&'static Seat> {
        let least = self.seats().iter().min_by_key(|seat| seat.load());
        least.copied().ok_or(Status::Internal)
    }

    /// A place for a socket that an accept may bring; its handle to be.
    /// `settings` are its own, and where it may need it there is room for a rare peer.
    pub fn reserve(self: &Arc<Self>, settings: Option<Settings>, roomy: bool) -> Answer<u64> {
        let seat = self.least_loaded()?;
        let mut shared = seat.lock();
        if !shared.is_seat_of(self) {
            return Err(Status::BadHandle);
        }
        let rare = match settings {
            None if !roomy => None,
            settings => Some(shared.spares.take(settings.unwrap_or_default())?),
        };
        let (slot, handle) = seat
            .new_socket(&mut shared)
            .map_err(|_| Status::OutOfMemory)?;
        shared.sockets.outdate(slot);
        shared.reserved += 1;
        shared.sockets.at(slot).rare = rare;
        Ok(handle)
    }

    fn place(&self, place: u64) -> Option<(&'static Seat, u32)> {
        let handle = Handle::unpack(place)?;
        let mut seats = self.seats().iter();
        let seat = seats.find(|seat| seat.number == handle.seat)?;
        Some((seat, handle.slot))
    }

    /// No connection has come for it.
    pub fn give_back(self: &Arc<Self>, place: u64) {
        if let Some((seat, slot)) = self.place(place) {
            seat.give_back(self, slot);
        }
    }

    fn close(&self, socket: u64) {
        if let (Some((seat, _)), Some(handle)) = (self.place(socket), Handle::unpack(socket)) {
            let _ = seat.close(handle); // The application may have closed it, by a guess.
        }
    }

    /// A descriptor takes its place, which the handle means from now on. On `Ok` it is the socket's;
    /// else it is still its owner's, and the place is still to be given back.
    pub fn fill(self: &Arc<Self>, place: u64, arriving: Arriving) -> Answer<()> {
        self.enter()?;
        let filled = self.fill_counted(place, arriving);
        if filled.is_err() {
            self.leave();
        }
        filled
    }

    fn fill_counted(self: &Arc<Self>, place: u64, arriving: Arriving) -> Answer<()> {
        let (seat, slot) = self.place(place).ok_or(Status::Internal)?;
        let mut shared = seat.lock();
        if !shared.is_seat_of(self) || shared.service == Service::Broken {
            return Err(Status::Internal);
        }
        let record = shared.sockets.at(slot);
        record.kind = arriving.kind;
        record.family = arriving.family;
        record.descriptor = Some(outside::claim(arriving.descriptor));
        // For a rare one there is room since `reserve`.
        let _ = arriving.peer != Address::NONE && record.set_peer(&arriving.peer);
        let marks = &mut record.marks;
        marks.set(Marks::ARRIVED);
        match arriving.standing {
            Standing::Open => {}
            Standing::Connected => _ = marks.set(Marks::CONNECTED),
            Standing::Listening => _ = marks.set(Marks::LISTENING),
        }
        if arriving.adopted {
            marks.set(Marks::ADOPTED);
        }
        let spare = record.take_needless();
        shared.spares.keep(spare);
        shared.sockets.validate(slot);
        shared.reserved -= 1;
        Ok(())
    }
}

/// Places for the rare things of sockets, which are used again, so that a server in its steady state
/// makes none.
#[derive(Default)]
pub struct Spares {
    #[allow(
        clippy::vec_box,
        reason = "the boxes go to and fro, and none is made on the way"
    )]
    free: Vec<Box<Rare>>,
    /// How many were made; there is room for all of them.
    made: usize,
}

impl Spares {
    fn take(&mut self, settings: Settings) -> Answer<Box<Rare>> {
        let rare = Rare {
            settings,
            peer: Address::NONE,
        };
        if let Some(mut spare) = self.free.pop() {
            *spare = rare;
            return Ok(spare);
        }
        let room = self.free.try_reserve(self.made + 1);
        room.map_err(|_| Status::OutOfMemory)?;
        let made = foreign::try_box(rare).ok_or(Status::OutOfMemory)?;
        self.made += 1;
        Ok(made)
    }

    /// One that nobody needs any more.
    pub fn keep(&mut self, rare: Option<Box<Rare>>) {
        match rare {
            Some(rare) if self.free.len() < self.free.capacity() => self.free.push(rare),
            _ => {}
        }
    }
}

impl Seat {
    /// Closes a socket; where there is no worker to do it any more, at once.
    pub fn close(&self, handle: Handle) -> Answer<()> {
        let mut shared = self.lock();
        let record = shared.sockets.get(handle.slot, handle.generation);
        record.ok_or(Status::BadHandle)?;
        if shared.service == Service::Broken {
            self.release_socket(&mut shared, handle.slot);
            return Ok(());
        }
        shared.sockets.outdate(handle.slot);
        shared.link_socket(handle.slot);
        self.hand_over(shared);
        Ok(())
    }
}

/// What the end of an operation leaves to be done, without the lock.
pub enum Leftover {
    /// A place that no connection has filled.
    Place(u64),
    /// A socket that nobody will ever learn of.
    Socket(u64),
    /// A file that is read no more.
    File(Arc<Files>, Box<Payload>),
}

impl Leftover {
    /// What that of an operation which is over leaves.
    pub fn of(shared: &mut Shared, id: u32, accept: &Operation) -> Option<Leftover> {
        let (place, brought) = (accept.buffer.number(), accept.brought());
        let forgotten = shared.operations.at(id).marks.has(Marks::FORGOTTEN);
        match brought {
            0 => Some(Leftover::Place(place)),
            socket => forgotten.then_some(Leftover::Socket(socket)),
        }
    }

    pub fn clear(self, population: &Arc<Population>) {
        match self {
            Leftover::Place(place) => population.give_back(place),
            Leftover::Socket(socket) => population.close(socket),
            Leftover::File(files, payload) => files.release(payload),
        }
    }
}
