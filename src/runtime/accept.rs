//! Beginning to accept: the place of the socket to come is made before anything waits for it.

use super::submit::{deadline, in_service, must_be_seen, on, socket_of, submit, timeout};
use crate::address::Family;
use crate::engine::operation::{Begin, Kind};
use crate::engine::population::{Arriving, Population};
use crate::engine::record::Settings;
use crate::foreign::{Buffer, Notify};
use crate::status::{Answer, Status};
use std::sync::Arc;

/// A place that is given back unless something takes it.
pub(super) struct Place {
    population: Arc<Population>,
    handle: Option<u64>,
}

impl Place {
    /// With settings of its own, and room for a peer that is not noted in place.
    pub fn new(
        population: &Arc<Population>,
        settings: Option<Settings>,
        roomy: bool,
    ) -> Answer<Place> {
        let handle = population.reserve(settings, roomy)?;
        Ok(Place {
            population: population.clone(),
            handle: Some(handle),
        })
    }

    /// A descriptor takes it; its handle.
    pub fn fill(mut self, arriving: Arriving) -> Answer<u64> {
        let handle = self.handle.ok_or(Status::Internal)?;
        self.population.fill(handle, arriving)?;
        self.handle = None;
        Ok(handle)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            self.population.give_back(handle);
        }
    }
}

pub fn begin_accept(listener: u64, notify: Notify) -> Answer<()> {
    let (_, handle, mut shared) = socket_of(listener)?;
    must_be_seen(&shared, &notify)?;
    in_service(&shared)?;
    let population = shared.population()?;
    let record = shared.sockets.at(handle.slot);
    let (heritage, roomy) = (record.heritage(), record.family != Family::Ipv4);
    // Two seats are never locked at once.
    drop(shared);
    let mut place = Place::new(&population, heritage, roomy)?;
    let (seat, handle, mut shared) = socket_of(listener)?;
    in_service(&shared)?;
    let room = seat.make_room(&mut shared)?;
    let record = shared.sockets.at(handle.slot);
    let begin = Begin {
        buffer: Buffer::of_number(place.handle.unwrap_or(0)),
        deadline: deadline(timeout(record, |kept| kept.accept_timeout_ms)),
        ..on(record, handle, Kind::Accept)
    };
    submit(seat, shared, room, begin, &notify);
    place.handle = None; // The operation has it.
    Ok(())
}
