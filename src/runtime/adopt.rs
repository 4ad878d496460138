//! Descriptors that come from the application, and go back to it.

use super::accept::Place;
use super::submit::in_service;
use super::{runtime_of, seat_of};
use crate::address::{Address, Family};
use crate::engine::arrival::Standing;
use crate::engine::population::Arriving;
use crate::engine::record::{Marks, Settings};
use crate::handle::HandleKind;
use crate::status::{Answer, Status};
use crate::sys::outside::{self, Found};
use crate::sys::{option, thread, RawDescriptor, SocketOption};

pub fn adopt(runtime: u64, number: i64) -> Answer<u64> {
    let runtime = runtime_of(runtime)?;
    let descriptor = outside::named(number).ok_or(Status::InvalidArgument)?;
    let found = outside::inspect(descriptor).ok_or(Status::InvalidArgument)?;
    let waits = {
        let shared = runtime.lock(runtime.seats[0])?;
        in_service(&shared)?;
        shared.waits_itself
    };
    let roomy = found.family != Family::Ipv4;
    let place = Place::new(&runtime.sockets, settings_of(descriptor, &found)?, roomy)?;
    let standing = match found.peer {
        _ if found.listening => Standing::Listening,
        Some(_) => Standing::Connected,
        None => Standing::Open,
    };
    outside::prepare(descriptor, waits).map_err(Status::of_os)?;
    if found.listening && found.family != Family::Unix {
        // Connections take it from their listener.
        let (family, option) = (found.family, SocketOption::NoDelay);
        option::set(descriptor, family, found.kind, option, 1).map_err(Status::of_os)?;
    }
    let arriving = Arriving {
        descriptor,
        family: found.family,
        kind: found.kind,
        standing,
        peer: found.peer.unwrap_or(Address::NONE),
        adopted: true,
    };
    place.fill(arriving)
}

/// What the library has to know of a descriptor's options: a close that lingers would stop a worker.
fn settings_of(descriptor: RawDescriptor, found: &Found) -> Answer<Option<Settings>> {
    let (family, option) = (found.family, SocketOption::LingerS);
    let linger = option::get(descriptor, family, found.kind, option).map_err(Status::of_os)?;
    if linger < 0 {
        return Ok(None);
    }
    let mut settings = Settings::default();
    settings.system[option as usize] = Some(linger);
    Ok(Some(settings))
}

pub fn release(socket: u64) -> Answer<i64> {
    let (seat, handle) = seat_of(socket, HandleKind::Socket)?;
    let mut shared = seat.lock();
    let record = shared.sockets.get(handle.slot, handle.generation);
    let record = record.ok_or(Status::BadHandle)?;
    if record.descriptor.is_none() || shared.has_pending(handle.slot) {
        return Err(Status::InvalidState);
    }
    let record = shared.sockets.at(handle.slot);
    record.marks.set(Marks::RELEASED);
    // The file of a unix socket goes with the descriptor.
    let (descriptor, _file) = record.take_descriptor();
    shared.sockets.outdate(handle.slot);
    shared.link_socket(handle.slot);
    let registry = shared.registry.clone();
    seat.hand_over(shared);
    let descriptor = descriptor.ok_or(Status::Internal)?;
    registry.remove(descriptor.raw());
    // Another thread may be in a short call on it.
    while seat.lock().pins.is_pinned(descriptor.raw()) {
        thread::yield_now();
    }
    Ok(outside::give_up(descriptor))
}
