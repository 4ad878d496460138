//! Datagrams with an address: what is sent somewhere, and what is received from somebody.

use super::submit::{
    deadline, in_service, must_be_seen, on, room_in_queue, socket_of, submit, timeout,
};
use crate::abi;
use crate::address::{Address, Family};
use crate::engine::operation::{Begin, Flags, Kind, Payload};
use crate::engine::seat::Seat;
use crate::engine::shared::{Room, Shared};
use crate::foreign::{AddressOut, Buffer, Notify};
use crate::status::{Answer, Status};
use crate::sys;

/// Room for an operation, and a message with room for one piece, when nothing but that can fail any
/// more.
fn message(seat: &Seat, shared: &mut Shared) -> Answer<(Room, Box<Payload>)> {
    let room = seat.make_room(shared)?;
    let message = shared.messages.take(1);
    Ok((room, message.map_err(|_| Status::OutOfMemory)?))
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
    let fits = room_in_queue(record, data.len());
    in_service(&shared)?;
    fits?;
    let (room, mut payload) = message(seat, &mut shared)?;
    if let Some(message) = payload.message_mut() {
        message.make_whole();
        message.send_to(&to);
        match copy {
            Some(copy) => message.push_copy(copy),
            None => message.push(data),
        }
    }
    let record = shared.sockets.at(handle.slot);
    record.queued += data.len() as u64;
    let begin = Begin {
        buffer: data,
        payload: Some(payload),
        deadline: deadline(timeout(record, |kept| kept.send_timeout_ms)),
        ..on(record, handle, Kind::SendTo)
    };
    submit(seat, shared, room, begin, &notify);
    Ok(())
}

pub fn begin_receive_from(
    socket: u64,
    buffer: Buffer,
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
    in_service(&shared)?;
    let (room, mut payload) = message(seat, &mut shared)?;
    if let Some(message) = payload.message_mut() {
        message.make_whole();
        message.receive_from(from, unix);
        message.push(buffer);
    }
    let record = shared.sockets.at(handle.slot);
    let mut begin = Begin {
        buffer,
        payload: Some(payload),
        deadline: deadline(timeout(record, |kept| kept.receive_timeout_ms)),
        ..on(record, handle, Kind::ReceiveFrom)
    };
    begin.flags = begin.flags | Flags::PEEK.when(flags & abi::ASOCK_RECEIVE_PEEK != 0);
    submit(seat, shared, room, begin, &notify);
    Ok(())
}
