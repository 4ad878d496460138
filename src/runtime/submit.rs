//! Beginning an operation: its record is filled in and handed to the worker, and nothing waits.

use super::{runtime_of, seat_of};
use crate::abi;
use crate::address::Address;
use crate::engine::operation::{Begin, Fault, Flags, Kind, Payload, NONE};
use crate::engine::record::{Marks, Settings, SocketRecord};
use crate::engine::resolver::{Asker, Resolver};
use crate::engine::seat::{Seat, Service, Shared};
use crate::engine::worker::tick_after;
use crate::foreign::{self, Buffer, Notify};
use crate::handle::{Handle, HandleKind};
use crate::status::{Answer, Status};
use crate::sys::{self, clock};
use std::sync::{Arc, MutexGuard};

/// What is begun.
pub(super) struct Draft {
    pub kind: Kind,
    pub flags: Flags,
    pub buffer: Buffer,
    pub payload: Option<Box<Payload>>,
    /// The tick at which a timer is done.
    pub due: Option<u64>,
    /// 0 is none.
    pub timeout_ms: u64,
}

impl Draft {
    pub fn new(kind: Kind) -> Draft {
        Draft {
            kind,
            flags: Flags::NONE,
            buffer: Buffer::EMPTY,
            payload: None,
            due: None,
            timeout_ms: 0,
        }
    }
}

/// The tick at which an operation times out that is begun now.
fn deadline(timeout_ms: u64) -> Option<u64> {
    (timeout_ms > 0).then(|| tick_after(clock::now_ns(), timeout_ms))
}

pub(super) fn timeout(record: &SocketRecord, of: impl Fn(&Settings) -> u64) -> u64 {
    record.kept().map_or(0, of)
}

/// Whether the runtime still takes operations.
pub fn in_service(shared: &Shared) -> Answer<()> {
    match shared.service {
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

/// Puts an operation of a socket, or of none, into the inbox. The caller's `op` is written before
/// the worker can see the operation. Gives its handle.
pub(super) fn submit(
    seat: &Seat,
    shared: MutexGuard<'_, Shared>,
    socket: Option<Handle>,
    draft: Draft,
    notify: &Notify,
) -> Answer<Handle> {
    submit_fast(seat, shared, socket, draft, notify)
}

/// As `submit`, for the operations that there are most of: made anew for each of them.
#[inline(always)]
fn submit_fast(
    seat: &Seat,
    mut shared: MutexGuard<'_, Shared>,
    socket: Option<Handle>,
    mut draft: Draft,
    notify: &Notify,
) -> Answer<Handle> {
    seat.reclaim(&mut shared);
    let operation = shared.new_operation().map_err(|_| Status::OutOfMemory)?;
    notify.op.write(operation.pack());
    let mut epoch = 0;
    if let Some(socket) = socket {
        let record = shared.sockets.at(socket.slot);
        epoch = record.epoch;
        draft
            .flags
            .set(Flags::DATAGRAM, record.kind == sys::Kind::Datagram);
        match draft.kind {
            Kind::Connect => record.connecting += 1,
            Kind::Send | Kind::SendTo => record.queued += draft.buffer.len() as u64,
            _ => {}
        }
    }
    let record = shared.records.at(operation.slot);
    record.begin(Begin {
        kind: draft.kind,
        socket: socket.map_or(NONE, |socket| socket.slot),
        flags: draft.flags,
        buffer: draft.buffer,
        payload: draft.payload,
        due: draft.due,
        deadline: deadline(draft.timeout_ms),
        epoch,
    });
    record.socket_generation = socket.map_or(0, |socket| socket.generation);
    record.callback = notify.callback;
    record.user_data = notify.user_data;
    let collected = !shared.on_poll && notify.callback.is_none() && notify.op.wanted();
    shared.counters.begun += u64::from(draft.kind != Kind::Shutdown);
    let socket = socket.map_or(NONE, |socket| socket.slot);
    shared.link_begun(operation.slot, socket, collected);
    seat.hand_over(shared);
    Ok(operation)
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
    if !shared.on_poll && notify.callback.is_none() && !notify.op.wanted() {
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
    let record = shared.sockets.at(handle.slot);
    if is_rare && record.rare().is_none() {
        return Err(Status::OutOfMemory); // There the peer is to be remembered.
    }
    if record.connecting == u16::MAX {
        return Err(Status::QueueFull);
    }
    let draft = Draft {
        payload: Some(payload),
        timeout_ms: timeout(record, |kept| kept.connect_timeout_ms),
        ..Draft::new(Kind::Connect)
    };
    let submitted = submit(seat, shared, Some(handle), draft, &notify)?;
    if let Host::Name(name, _) = host {
        look_up(seat, resolver, name, submitted);
    }
    Ok(())
}

/// Finds the addresses of a host. `room` counts addresses, not bytes.
pub fn begin_resolve(runtime: u64, host: Host<'_>, room: Buffer, notify: Notify) -> Answer<()> {
    let payload = match host {
        Host::Address(address) => Payload::Found(vec![address]),
        Host::Name(_, port) => Payload::Name(port),
    };
    let payload = foreign::try_box(payload).ok_or(Status::OutOfMemory)?;
    let runtime = runtime_of(runtime)?;
    let seat = runtime.nearest();
    let shared = runtime.lock(seat)?;
    in_service(&shared)?;
    let resolver = shared.resolver.clone();
    let draft = Draft {
        buffer: room,
        payload: Some(payload),
        ..Draft::new(Kind::Resolve)
    };
    let submitted = submit(seat, shared, None, draft, &notify)?;
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
    let record = shared.sockets.at(handle.slot);
    suits(record, flags, abi::ASOCK_SEND_OUT_OF_BAND)?;
    // To the system, more of a datagram would be a part of the same one.
    let more = flags & abi::ASOCK_SEND_MORE != 0 && record.kind == sys::Kind::Stream;
    in_service(&shared)?;
    let record = shared.sockets.at(handle.slot);
    room_in_queue(record, data.len())?;
    let timeout_ms = timeout(record, |kept| kept.send_timeout_ms);
    let draft = Draft {
        flags: Flags::MORE.when(more)
            | Flags::OUT_OF_BAND.when(flags & abi::ASOCK_SEND_OUT_OF_BAND != 0),
        buffer: data,
        payload: take_payload(&mut shared, handle, payload)?,
        timeout_ms,
        ..Draft::new(Kind::Send)
    };
    submit_fast(seat, shared, Some(handle), draft, notify).map(|_| ())
}

/// Takes the payload of an operation, if it has one, when nothing can fail any more.
fn take_payload(
    shared: &mut Shared,
    socket: Handle,
    payload: &mut Option<Box<Payload>>,
) -> Answer<Option<Box<Payload>>> {
    if payload.is_none() {
        return Ok(None);
    }
    if !shared.operations.has_free() {
        shared.grow_operations().map_err(|_| Status::OutOfMemory)?;
    }
    let mut payload = payload.take();
    if shared.sockets.at(socket.slot).kind == sys::Kind::Datagram {
        if let Some(message) = payload.as_deref_mut().and_then(Payload::message_mut) {
            message.make_whole();
        }
    }
    Ok(payload)
}

pub fn begin_receive(socket: u64, room: Buffer, flags: u32, notify: Notify) -> Answer<()> {
    submit_receive(socket, room, &mut None, flags, &notify)
}

/// Hands over a receive. Its payload, if there is one, is taken only then.
pub(super) fn submit_receive(
    socket: u64,
    room: Buffer,
    payload: &mut Option<Box<Payload>>,
    flags: u32,
    notify: &Notify,
) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    must_be_seen(&shared, notify)?;
    let of_streams = abi::ASOCK_RECEIVE_ALL | abi::ASOCK_RECEIVE_OUT_OF_BAND;
    suits(shared.sockets.at(handle.slot), flags, of_streams)?;
    in_service(&shared)?;
    let record = shared.sockets.at(handle.slot);
    let timeout_ms = timeout(record, |kept| kept.receive_timeout_ms);
    let draft = Draft {
        flags: Flags::ALL.when(flags & abi::ASOCK_RECEIVE_ALL != 0)
            | Flags::PEEK.when(flags & abi::ASOCK_RECEIVE_PEEK != 0)
            | Flags::OUT_OF_BAND.when(flags & abi::ASOCK_RECEIVE_OUT_OF_BAND != 0),
        buffer: room,
        payload: take_payload(&mut shared, handle, payload)?,
        timeout_ms,
        ..Draft::new(Kind::Receive)
    };
    submit_fast(seat, shared, Some(handle), draft, notify).map(|_| ())
}

pub fn begin_close(socket: u64, flags: u32, notify: Notify) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    in_service(&shared)?;
    let draft = Draft {
        flags: Flags::DRAIN.when(flags & abi::ASOCK_CLOSE_DRAIN != 0)
            | Flags::RESET.when(flags & abi::ASOCK_CLOSE_RESET != 0),
        ..Draft::new(Kind::Close)
    };
    // The handle is stale before the worker can see the close; it is kept if that cannot be begun.
    if !shared.operations.has_free() {
        shared.grow_operations().map_err(|_| Status::OutOfMemory)?;
    }
    shared.sockets.outdate(handle.slot);
    submit(seat, shared, Some(handle), draft, &notify).map(|_| ())
}

/// A shutdown takes its place behind the sends begun before it, as an operation of the library's.
pub fn begin_shutdown(socket: u64, receive: bool, send: bool) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    if shared.service == Service::Broken {
        return Err(Status::Internal);
    }
    let record = shared.sockets.at(handle.slot);
    if !record.marks.has(Marks::CONNECTED) && record.connecting == 0 {
        return Err(Status::NotConnected);
    }
    let draft = Draft {
        flags: Flags::RECEIVE.when(receive) | Flags::SEND.when(send),
        ..Draft::new(Kind::Shutdown)
    };
    submit(seat, shared, Some(handle), draft, &Notify::NONE).map(|_| ())
}

pub fn begin_timer(runtime: u64, delay_ms: u64, notify: Notify) -> Answer<()> {
    let runtime = runtime_of(runtime)?;
    let seat = runtime.nearest();
    let shared = runtime.lock(seat)?;
    in_service(&shared)?;
    let draft = Draft {
        due: Some(tick_after(clock::now_ns(), delay_ms)),
        ..Draft::new(Kind::Timer)
    };
    submit(seat, shared, None, draft, &notify).map(|_| ())
}
