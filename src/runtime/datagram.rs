//! Datagrams with an address: what is sent somewhere, and what is received from somebody.

use super::submit::{in_service, must_be_seen, room_in_queue, socket_of, submit, timeout, Draft};
use crate::abi;
use crate::address::{Address, Family};
use crate::engine::operation::{Flags, Kind, Payload};
use crate::engine::seat::Shared;
use crate::foreign::{AddressOut, Buffer, Notify};
use crate::status::{Answer, Status};
use crate::sys;

/// A message with room for one piece, when nothing but that can fail any more.
fn message(shared: &mut Shared) -> Answer<Box<Payload>> {
    if !shared.operations.has_free() {
        shared.grow_operations().map_err(|_| Status::OutOfMemory)?;
    }
    shared.messages.take(1).map_err(|_| Status::OutOfMemory)
}

pub fn begin_send_to(
    socket: u64,
    data: Buffer,
    flags: u32,
    to: &Address,
    notify: Notify,
) -> Answer<()> {
    let mut copy = None;
    if flags & abi::ASOCK_SEND_COPY != 0 {
        super::check_socket(socket)?; // Before the copy, which may be long.
        copy = Some(data.copy().ok_or(Status::OutOfMemory)?);
    }
    let (seat, handle, mut shared) = socket_of(socket)?;
    let record = shared.sockets.at(handle.slot);
    if record.kind != sys::Kind::Datagram {
        return Err(Status::InvalidArgument);
    }
    let to = to.for_family(record.family);
    let timeout_ms = timeout(record, |kept| kept.send_timeout_ms);
    let room = room_in_queue(record, data.len());
    in_service(&shared)?;
    room?;
    let mut payload = message(&mut shared)?;
    if let Some(message) = payload.message_mut() {
        message.make_whole();
        message.send_to(&to);
        match copy {
            Some(copy) => message.push_copy(copy),
            None => message.push(data),
        }
    }
    let draft = Draft {
        buffer: data,
        payload: Some(payload),
        timeout_ms,
        ..Draft::new(Kind::SendTo)
    };
    submit(seat, shared, Some(handle), draft, &notify).map(|_| ())
}

pub fn begin_receive_from(
    socket: u64,
    room: Buffer,
    flags: u32,
    from: AddressOut,
    notify: Notify,
) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    must_be_seen(&shared, &notify)?;
    let record = shared.sockets.at(handle.slot);
    if record.kind != sys::Kind::Datagram {
        return Err(Status::InvalidArgument);
    }
    // Whoever receives on a unix socket has bound it, so its family is known.
    let unix = record.family == Family::Unix;
    let timeout_ms = timeout(record, |kept| kept.receive_timeout_ms);
    in_service(&shared)?;
    let mut payload = message(&mut shared)?;
    if let Some(message) = payload.message_mut() {
        message.make_whole();
        message.receive_from(from, unix);
        message.push(room);
    }
    let draft = Draft {
        flags: Flags::PEEK.when(flags & abi::ASOCK_RECEIVE_PEEK != 0),
        buffer: room,
        payload: Some(payload),
        timeout_ms,
        ..Draft::new(Kind::ReceiveFrom)
    };
    submit(seat, shared, Some(handle), draft, &notify).map(|_| ())
}
