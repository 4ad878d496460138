//! Beginning an operation: its record is filled in and handed to the worker, and nothing waits.

use super::{runtime_of, seat_of};
use crate::abi;
use crate::address::Address;
use crate::engine::operation::{Begin, Fault, Flags, Kind, Payload, Tick};
use crate::engine::record::{Marks, Settings, SocketRecord};
use crate::engine::resolver::{Asker, Resolver};
use crate::engine::seat::Seat;
use crate::engine::shared::{Room, Service, Shared};
use crate::engine::worker::tick_after;
use crate::foreign::{self, Buffer, Notify};
use crate::handle::{Handle, HandleKind};
use crate::status::{Answer, Status};
use crate::sys::{self, clock};
use std::sync::{Arc, MutexGuard};

/// An operation on a socket, with nothing but what each of them has.
pub(super) fn on(record: &SocketRecord, socket: Handle, kind: Kind) -> Begin {
    Begin {
        socket: socket.slot,
        socket_generation: socket.generation,
        flags: Flags::DATAGRAM.when(record.kind == sys::Kind::Datagram),
        epoch: record.epoch,
        ..Begin::new(kind)
    }
}

/// When an operation times out that is begun now; 0 is never.
pub(super) fn deadline(timeout_ms: u64) -> Tick {
    Tick::of((timeout_ms > 0).then(|| tick_after(clock::now_ns(), timeout_ms)))
}

pub(super) fn timeout(record: &SocketRecord, of: impl Fn(&Settings) -> u64) -> u64 {
    record.kept().map_or(0, of)
}

/// Whether the runtime still takes operations.
pub fn in_service(shared: &Shared) -> Answer<()> {
    takes(shared.service)
}

fn takes(service: Service) -> Answer<()> {
    match service {
        Service::Open => Ok(()),
        Service::Draining => Err(Status::Stopped),
        Service::Broken => Err(Status::Internal),
        Service::Vacant => Err(Status::BadHandle),
    }
}

/// Where to: an address, or a name that is still to be looked up.
pub enum Host<'a> {
    Address(Address),
    Name(&'a str, u16),
}

/// Puts an operation into the inbox. The caller's `op` is written before the worker can see the
/// operation. Gives its handle.
pub(super) fn submit(
    seat: &Seat,
    shared: MutexGuard<'_, Shared>,
    room: Room,
    begin: Begin,
    notify: &Notify,
) -> Handle {
    submit_fast(seat, shared, room, begin, notify)
}

/// As `submit`, for the operations that there are most of: made anew for each of them.
#[inline(always)]
fn submit_fast(
    seat: &Seat,
    mut shared: MutexGuard<'_, Shared>,
    room: Room,
    begin: Begin,
    notify: &Notify,
) -> Handle {
    let operation = shared.new_operation(room);
    notify.op.write(operation.pack());
    let (kind, socket) = (begin.kind, begin.socket);
    shared.records.hand(operation.slot, |record| {
        record.begin(begin);
        record.callback = notify.callback;
        record.user_data = notify.user_data;
    });
    let collected = notify.callback.is_none() && !shared.on_poll && notify.op.wanted();
    shared.counters.begun += u64::from(kind != Kind::Shutdown);
    shared.link_begun(operation.slot, socket, collected);
    seat.hand_over(shared);
    operation
}

/// The record of a socket, with the lock that it lies behind.
#[inline(always)]
pub(super) fn socket_of(
    handle: u64,
) -> Answer<(&'static Seat, Handle, MutexGuard<'static, Shared>)> {
    let (seat, unpacked) = seat_of(handle, HandleKind::Socket)?;
    let mut shared = seat.lock();
    shared
        .sockets
        .get(unpacked.slot, unpacked.generation)
        .ok_or(Status::BadHandle)?;
    Ok((seat, unpacked, shared))
}

/// A receive whose result nobody could see makes no sense.
pub(super) fn must_be_seen(shared: &Shared, notify: &Notify) -> Answer<()> {
    if notify.callback.is_none() && !shared.on_poll && !notify.op.wanted() {
        return Err(Status::InvalidArgument);
    }
    Ok(())
}

/// Has a name looked up for an operation that waits for it. Where that cannot even be begun, the
/// operation is told so, and nothing is lost.
fn look_up(seat: &'static Seat, resolver: Option<Arc<Resolver>>, name: &str, for_whom: Handle) {
    let Handle {
        slot, generation, ..
    } = for_whom;
    let asker = Asker {
        seat,
        slot,
        generation,
    };
    let asked = match resolver {
        Some(resolver) => resolver.ask(name, asker),
        None => Err(Status::Stopped),
    };
    if let Err(status) = asked {
        seat.resolved(slot, generation, Err(Fault::of(status)));
    }
}

pub fn begin_connect(socket: u64, host: Host<'_>, notify: Notify) -> Answer<()> {
    let payload = match host {
        Host::Address(address) => Payload::Connect(address),
        Host::Name(_, port) => Payload::Name(port),
    };
    let is_rare = matches!(&payload, Payload::Connect(peer) if peer.ipv4().is_none());
    let payload = foreign::try_box(payload).ok_or(Status::OutOfMemory)?;
    let (seat, handle, mut shared) = socket_of(socket)?;
    in_service(&shared)?;
    let resolver = shared.resolver.clone();
    let room = seat.make_room(&mut shared);
    let record = shared.sockets.at(handle.slot);
    if is_rare && record.rare().is_none() {
        return Err(Status::OutOfMemory); // There the peer is to be remembered.
    }
    if record.connecting == u16::MAX {
        return Err(Status::QueueFull);
    }
    let room = room?;
    record.connecting += 1;
    let begin = Begin {
        payload: Some(payload),
        deadline: deadline(timeout(record, |kept| kept.connect_timeout_ms)),
        ..on(record, handle, Kind::Connect)
    };
    let submitted = submit(seat, shared, room, begin, &notify);
    if let Host::Name(name, _) = host {
        look_up(seat, resolver, name, submitted);
    }
    Ok(())
}

/// Finds the addresses of a host. The buffer's length counts addresses, not bytes.
pub fn begin_resolve(runtime: u64, host: Host<'_>, buffer: Buffer, notify: Notify) -> Answer<()> {
    let payload = match host {
        Host::Address(address) => Payload::Found(vec![address]),
        Host::Name(_, port) => Payload::Name(port),
    };
    let payload = foreign::try_box(payload).ok_or(Status::OutOfMemory)?;
    let runtime = runtime_of(runtime)?;
    let seat = runtime.nearest();
    let mut shared = runtime.lock(seat)?;
    in_service(&shared)?;
    let resolver = shared.resolver.clone();
    let begin = Begin {
        buffer,
        payload: Some(payload),
        ..Begin::new(Kind::Resolve)
    };
    let room = seat.make_room(&mut shared)?;
    let submitted = submit(seat, shared, room, begin, &notify);
    if let Host::Name(name, _) = host {
        look_up(seat, resolver, name, submitted);
    }
    Ok(())
}

/// Whether a send of that length may be begun.
pub(super) fn room_in_queue(record: &SocketRecord, length: usize) -> Answer<()> {
    let limit = timeout(record, |kept| kept.send_queue_limit);
    if limit > 0 && record.queued > 0 && record.queued.saturating_add(length as u64) > limit {
        return Err(Status::QueueFull);
    }
    Ok(())
}

/// Flags that mean nothing to datagrams.
fn suits(record: &SocketRecord, flags: u32, of_streams: u32) -> Answer<()> {
    if record.kind == sys::Kind::Datagram && flags & of_streams != 0 {
        return Err(Status::InvalidArgument);
    }
    Ok(())
}

pub fn begin_send(socket: u64, data: Buffer, flags: u32, notify: Notify) -> Answer<()> {
    let payload = if flags & abi::ASOCK_SEND_COPY != 0 {
        super::check_socket(socket)?; // Before the copy, which may be long.
        let bytes = data.copy().ok_or(Status::OutOfMemory)?;
        let copy = Payload::Copy { bytes, given: data };
        Some(foreign::try_box(copy).ok_or(Status::OutOfMemory)?)
    } else {
        None
    };
    submit_send(socket, data, &mut { payload }, flags, &notify)
}

/// Hands over a send. Its payload, if there is one, is taken only then.
pub(super) fn submit_send(
    socket: u64,
    data: Buffer,
    payload: &mut Option<Box<Payload>>,
    flags: u32,
    notify: &Notify,
) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    let room = seat.make_room(&mut shared);
    let Shared {
        service, sockets, ..
    } = &mut *shared;
    let record = sockets.at(handle.slot);
    suits(record, flags, abi::ASOCK_SEND_OUT_OF_BAND)?;
    takes(*service)?;
    room_in_queue(record, data.len())?;
    let room = room?;
    record.queued += data.len() as u64;
    // To the system, more of a datagram would be a part of the same one.
    let more = flags & abi::ASOCK_SEND_MORE != 0 && record.kind == sys::Kind::Stream;
    let mut begin = Begin {
        buffer: data,
        payload: take_payload(record, payload),
        deadline: deadline(timeout(record, |kept| kept.send_timeout_ms)),
        ..on(record, handle, Kind::Send)
    };
    begin.flags = begin.flags
        | Flags::MORE.when(more)
        | Flags::OUT_OF_BAND.when(flags & abi::ASOCK_SEND_OUT_OF_BAND != 0);
    submit_fast(seat, shared, room, begin, notify);
    Ok(())
}

/// Takes the payload of an operation, if it has one, when nothing can fail any more.
fn take_payload(record: &SocketRecord, payload: &mut Option<Box<Payload>>) -> Option<Box<Payload>> {
    let mut payload = payload.take()?;
    if record.kind == sys::Kind::Datagram {
        if let Some(message) = payload.message_mut() {
            message.make_whole();
        }
    }
    Some(payload)
}

pub fn begin_receive(socket: u64, buffer: Buffer, flags: u32, notify: Notify) -> Answer<()> {
    submit_receive(socket, buffer, &mut None, flags, &notify)
}

/// Hands over a receive. Its payload, if there is one, is taken only then.
pub(super) fn submit_receive(
    socket: u64,
    buffer: Buffer,
    payload: &mut Option<Box<Payload>>,
    flags: u32,
    notify: &Notify,
) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    must_be_seen(&shared, notify)?;
    let room = seat.make_room(&mut shared);
    let Shared {
        service, sockets, ..
    } = &mut *shared;
    let record = sockets.at(handle.slot);
    let of_streams = abi::ASOCK_RECEIVE_ALL | abi::ASOCK_RECEIVE_OUT_OF_BAND;
    suits(record, flags, of_streams)?;
    takes(*service)?;
    let room = room?;
    let mut begin = Begin {
        buffer,
        payload: take_payload(record, payload),
        deadline: deadline(timeout(record, |kept| kept.receive_timeout_ms)),
        ..on(record, handle, Kind::Receive)
    };
    begin.flags = begin.flags
        | Flags::ALL.when(flags & abi::ASOCK_RECEIVE_ALL != 0)
        | Flags::PEEK.when(flags & abi::ASOCK_RECEIVE_PEEK != 0)
        | Flags::OUT_OF_BAND.when(flags & abi::ASOCK_RECEIVE_OUT_OF_BAND != 0);
    submit_fast(seat, shared, room, begin, notify);
    Ok(())
}

pub fn begin_close(socket: u64, flags: u32, notify: Notify) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    in_service(&shared)?;
    let room = seat.make_room(&mut shared)?;
    let mut begin = on(shared.sockets.at(handle.slot), handle, Kind::Close);
    begin.flags = begin.flags
        | Flags::DRAIN.when(flags & abi::ASOCK_CLOSE_DRAIN != 0)
        | Flags::RESET.when(flags & abi::ASOCK_CLOSE_RESET != 0);
    // The handle is stale before the worker can see the close; it is kept if that cannot be begun.
    shared.sockets.outdate(handle.slot);
    submit(seat, shared, room, begin, &notify);
    Ok(())
}

/// A shutdown takes its place behind the sends begun before it, as an operation of the library's.
pub fn begin_shutdown(socket: u64, receive: bool, send: bool) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    if shared.service == Service::Broken {
        return Err(Status::Internal);
    }
    if shared.stopping {
        return Err(Status::Stopped); // The worker goes when nothing comes any more.
    }
    let record = shared.sockets.at(handle.slot);
    if !record.marks.has(Marks::CONNECTED) && record.connecting == 0 {
        return Err(Status::NotConnected);
    }
    let mut begin = on(record, handle, Kind::Shutdown);
    begin.flags = begin.flags | Flags::RECEIVE.when(receive) | Flags::SEND.when(send);
    let room = seat.make_room(&mut shared)?;
    submit(seat, shared, room, begin, &Notify::NONE);
    Ok(())
}

pub fn begin_timer(runtime: u64, delay_ms: u64, notify: Notify) -> Answer<()> {
    let runtime = runtime_of(runtime)?;
    let seat = runtime.nearest();
    let mut shared = runtime.lock(seat)?;
    in_service(&shared)?;
    let begin = Begin {
        due: Tick::of(Some(tick_after(clock::now_ns(), delay_ms))),
        ..Begin::new(Kind::Timer)
    };
    let room = seat.make_room(&mut shared)?;
    submit(seat, shared, room, begin, &notify);
    Ok(())
}
