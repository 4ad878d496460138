//! Beginning an operation: its record is filled in and handed to the worker, and nothing waits.

use super::{runtime_of, seat_of};
use crate::abi;
use crate::address::Address;
use crate::engine::operation::{Flags, Kind, Payload, NONE};
use crate::engine::record::{OperationRecord, Settings, SocketRecord};
use crate::engine::seat::{Seat, Service, Shared};
use crate::engine::worker::tick_after;
use crate::foreign::{self, Buffer, Notify};
use crate::handle::{Handle, HandleKind};
use crate::status::{Answer, Status};
use crate::sys::clock;
use std::sync::MutexGuard;

/// What is begun.
struct Draft {
    kind: Kind,
    flags: Flags,
    buffer: Buffer,
    payload: Option<Box<Payload>>,
    due: Option<u64>,
}

impl Draft {
    fn new(kind: Kind) -> Draft {
        Draft {
            kind,
            flags: Flags::default(),
            buffer: Buffer::EMPTY,
            payload: None,
            due: None,
        }
    }
}

/// The tick at which an operation times out that is begun now.
fn deadline(timeout_ms: u64) -> Option<u64> {
    (timeout_ms > 0).then(|| tick_after(clock::now_ns(), timeout_ms))
}

fn timeout(record: &SocketRecord, of: impl Fn(&Settings) -> u64) -> u64 {
    record.settings.as_deref().map_or(0, of)
}

/// Whether the runtime still takes operations.
fn in_service(shared: &Shared) -> Answer<()> {
    match shared.service {
        Service::Open => Ok(()),
        Service::Draining => Err(Status::Stopped),
        Service::Broken => Err(Status::Internal),
        Service::Vacant => Err(Status::BadHandle),
    }
}

/// Puts an operation of a socket, or a timer (`socket` is `NONE`), into the inbox. The caller's
/// `op` is written before the worker can see the operation.
fn submit(
    seat: &Seat,
    mut shared: MutexGuard<'_, Shared>,
    socket: u32,
    socket_handle: u64,
    draft: Draft,
    timeout_ms: u64,
    notify: &Notify,
) -> Answer<()> {
    let (id, handle) = shared.new_operation().map_err(|_| Status::OutOfMemory)?;
    notify.op.write(handle);
    let epoch = match socket {
        NONE => 0,
        socket => shared.sockets.at(socket).epoch,
    };
    let collected = !shared.on_poll && notify.callback.is_none() && notify.op.wanted();
    let public = draft.kind != Kind::Shutdown;
    *shared.operations.at(id) = OperationRecord {
        kind: draft.kind,
        flags: draft.flags,
        epoch,
        collected,
        begun: true,
        socket,
        socket_handle,
        handle,
        callback: notify.callback,
        user_data: Some(notify.user_data),
        buffer: draft.buffer,
        payload: draft.payload,
        due: draft.due,
        deadline: deadline(timeout_ms),
        ..OperationRecord::default()
    };
    shared.counters.begun += u64::from(public);
    shared.link_operation(id);
    seat.hand_over(shared);
    Ok(())
}

/// The record of a socket, with the lock that it lies behind.
fn socket_of(handle: u64) -> Answer<(&'static Seat, Handle, MutexGuard<'static, Shared>)> {
    let (seat, unpacked) = seat_of(handle, HandleKind::Socket)?;
    let mut shared = seat.lock();
    shared
        .sockets
        .get(unpacked.slot, unpacked.generation)
        .ok_or(Status::BadHandle)?;
    Ok((seat, unpacked, shared))
}

/// A receive whose result nobody could see makes no sense.
fn must_be_seen(shared: &Shared, notify: &Notify) -> Answer<()> {
    if !shared.on_poll && notify.callback.is_none() && !notify.op.wanted() {
        return Err(Status::InvalidArgument);
    }
    Ok(())
}

pub fn begin_connect(socket: u64, address: Address, notify: Notify) -> Answer<()> {
    let payload = foreign::try_box(Payload::Connect(address)).ok_or(Status::OutOfMemory)?;
    let (seat, handle, mut shared) = socket_of(socket)?;
    in_service(&shared)?;
    let record = shared.sockets.at(handle.slot);
    let timeout_ms = timeout(record, |kept| kept.connect_timeout_ms);
    record.connecting = record.connecting.checked_add(1).ok_or(Status::QueueFull)?;
    let draft = Draft {
        payload: Some(payload),
        ..Draft::new(Kind::Connect)
    };
    let submitted = submit(
        seat,
        shared,
        handle.slot,
        socket,
        draft,
        timeout_ms,
        &notify,
    );
    if submitted.is_err() {
        if let Ok((_, handle, mut shared)) = socket_of(socket) {
            shared.sockets.at(handle.slot).connecting -= 1;
        }
    }
    submitted
}

pub fn begin_send(socket: u64, data: Buffer, flags: u32, notify: Notify) -> Answer<()> {
    let payload = if flags & abi::ASOCK_SEND_COPY != 0 {
        super::check_socket(socket)?; // Before the copy, which may be long.
        let copy = data.copy().ok_or(Status::OutOfMemory)?;
        Some(foreign::try_box(Payload::Copy(copy)).ok_or(Status::OutOfMemory)?)
    } else {
        None
    };
    let (seat, handle, mut shared) = socket_of(socket)?;
    in_service(&shared)?;
    let length = data.len() as u64;
    let record = shared.sockets.at(handle.slot);
    let limit = timeout(record, |kept| kept.send_queue_limit);
    if limit > 0 && record.queued > 0 && record.queued.saturating_add(length) > limit {
        return Err(Status::QueueFull);
    }
    let timeout_ms = timeout(record, |kept| kept.send_timeout_ms);
    let draft = Draft {
        flags: Flags {
            more: flags & abi::ASOCK_SEND_MORE != 0,
            out_of_band: flags & abi::ASOCK_SEND_OUT_OF_BAND != 0,
            ..Flags::default()
        },
        buffer: data,
        payload,
        ..Draft::new(Kind::Send)
    };
    // Counted first: the worker may have sent it before we are back.
    record.queued += length;
    let submitted = submit(
        seat,
        shared,
        handle.slot,
        socket,
        draft,
        timeout_ms,
        &notify,
    );
    if submitted.is_err() {
        if let Ok((_, handle, mut shared)) = socket_of(socket) {
            shared.sockets.at(handle.slot).queued -= length;
        }
    }
    submitted
}

pub fn begin_receive(socket: u64, room: Buffer, flags: u32, notify: Notify) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    must_be_seen(&shared, &notify)?;
    in_service(&shared)?;
    let record = shared.sockets.at(handle.slot);
    let timeout_ms = timeout(record, |kept| kept.receive_timeout_ms);
    let draft = Draft {
        flags: Flags {
            all: flags & abi::ASOCK_RECEIVE_ALL != 0,
            peek: flags & abi::ASOCK_RECEIVE_PEEK != 0,
            out_of_band: flags & abi::ASOCK_RECEIVE_OUT_OF_BAND != 0,
            ..Flags::default()
        },
        buffer: room,
        ..Draft::new(Kind::Receive)
    };
    submit(
        seat,
        shared,
        handle.slot,
        socket,
        draft,
        timeout_ms,
        &notify,
    )
}

pub fn begin_close(socket: u64, flags: u32, notify: Notify) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    in_service(&shared)?;
    let draft = Draft {
        flags: Flags {
            drain: flags & abi::ASOCK_CLOSE_DRAIN != 0,
            reset: flags & abi::ASOCK_CLOSE_RESET != 0,
            ..Flags::default()
        },
        ..Draft::new(Kind::Close)
    };
    // The handle is stale before the worker can see the close; it is kept if that cannot be begun.
    if !shared.operations.has_free() {
        shared.grow_operations().map_err(|_| Status::OutOfMemory)?;
    }
    shared.sockets.outdate(handle.slot);
    submit(seat, shared, handle.slot, socket, draft, 0, &notify)
}

/// A shutdown takes its place behind the sends begun before it, as an operation of the library's.
pub fn begin_shutdown(socket: u64, receive: bool, send: bool) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    if shared.service == Service::Broken {
        return Err(Status::Internal);
    }
    let record = shared.sockets.at(handle.slot);
    if !record.connected && record.connecting == 0 {
        return Err(Status::NotConnected);
    }
    let draft = Draft {
        flags: Flags {
            receive,
            send,
            ..Flags::default()
        },
        ..Draft::new(Kind::Shutdown)
    };
    submit(seat, shared, handle.slot, socket, draft, 0, &Notify::NONE)
}

pub fn begin_timer(runtime: u64, delay_ms: u64, notify: Notify) -> Answer<()> {
    let runtime = runtime_of(runtime)?;
    let shared = runtime.seat.lock();
    in_service(&shared)?;
    let draft = Draft {
        due: Some(tick_after(clock::now_ns(), delay_ms)),
        ..Draft::new(Kind::Timer)
    };
    submit(runtime.seat, shared, NONE, 0, draft, 0, &notify)
}
