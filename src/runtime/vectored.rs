//! Sends and receives of several pieces of memory.

use super::seat_of;
use super::submit::{socket_of, submit_receive, submit_send};
use crate::abi;
use crate::engine::operation::Payload;
use crate::foreign::{self, Notify, Pieces};
use crate::handle::HandleKind;
use crate::status::{Answer, Status};

pub fn begin_send_vectored(
    socket: u64,
    pieces: &Pieces,
    flags: u32,
    notify: &Notify,
) -> Answer<()> {
    let mut payload = if flags & abi::ASOCK_SEND_COPY != 0 {
        super::check_socket(socket)?; // Before the copy, which may be long.
        let bytes = pieces.copy().ok_or(Status::OutOfMemory)?;
        let given = pieces.whole();
        let copy = Payload::Copy { bytes, given };
        Some(foreign::try_box(copy).ok_or(Status::OutOfMemory)?)
    } else {
        message_of(socket, pieces)?
    };
    let begun = submit_send(socket, pieces.whole(), &mut payload, flags, notify);
    give_back(socket, payload);
    begun
}

pub fn begin_receive_vectored(
    socket: u64,
    pieces: &Pieces,
    flags: u32,
    notify: &Notify,
) -> Answer<()> {
    let mut payload = message_of(socket, pieces)?;
    let begun = submit_receive(socket, pieces.whole(), &mut payload, flags, notify);
    give_back(socket, payload);
    begun
}

/// The message that these pieces make, if a plain buffer is not enough. It is filled without the
/// lock, since they may be many.
fn message_of(socket: u64, pieces: &Pieces) -> Answer<Option<Box<Payload>>> {
    if pieces.is_whole() {
        return Ok(None);
    }
    let (_, _, mut shared) = socket_of(socket)?;
    let payload = shared.messages.take(0).map_err(|_| Status::OutOfMemory)?;
    drop(shared);
    let mut payload = Some(payload);
    let message = payload.as_deref_mut().and_then(Payload::message_mut);
    let roomy = message.is_some_and(|message| {
        let roomy = message.reserve(pieces.count());
        if roomy {
            pieces.iter().for_each(|piece| message.push(piece));
        }
        roomy
    });
    if !roomy {
        give_back(socket, payload);
        return Err(Status::OutOfMemory);
    }
    Ok(payload)
}

/// A message that was not handed over is used again.
fn give_back(socket: u64, payload: Option<Box<Payload>>) {
    if let (Some(payload), Ok((seat, _))) = (payload, seat_of(socket, HandleKind::Socket)) {
        seat.lock().messages.give_back(payload);
    }
}
