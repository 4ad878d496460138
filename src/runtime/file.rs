//! Beginning to send a file.

use super::submit::{deadline, in_service, on, room_in_queue, socket_of, submit, timeout};
use crate::engine::files;
use crate::engine::operation::{Begin, Flags, Kind, Payload};
use crate::foreign::{Buffer, Notify};
use crate::status::{Answer, Status};
use crate::sys::file;

/// Sends `length` bytes of a file of the application's, from `offset` on.
pub fn begin_send_file(
    socket: u64,
    os_file: i64,
    offset: u64,
    length: usize,
    notify: &Notify,
) -> Answer<()> {
    super::check_socket(socket)?; // Before its arguments, and so before the file is looked at.
    let file = file::duplicate(os_file).map_err(Status::of_os)?;
    let (_, _, shared) = socket_of(socket)?;
    in_service(&shared)?;
    let threads = shared.files.clone().ok_or(Status::BadHandle)?;
    drop(shared); // A thread may have to be started.
    if length == 0 {
        return hand_over(socket, 0, 0, &mut None, notify);
    }
    let (payload, most) = threads.admit(file, offset)?;
    let mut payload = Some(payload);
    let begun = hand_over(socket, length, most, &mut payload, notify);
    if let Some(payload) = payload {
        threads.release(payload);
    }
    begun
}

/// Hands the operation over. Its payload is taken only then.
fn hand_over(
    socket: u64,
    length: usize,
    most: usize,
    payload: &mut Option<Box<Payload>>,
    notify: &Notify,
) -> Answer<()> {
    let (seat, handle, mut shared) = socket_of(socket)?;
    in_service(&shared)?;
    room_in_queue(shared.sockets.at(handle.slot), length)?;
    files::make_room(&mut shared, most)?;
    let room = seat.make_room(&mut shared)?;
    let record = shared.sockets.at(handle.slot);
    record.queued += length as u64;
    let mut begin = Begin {
        buffer: Buffer::of_file(length),
        payload: payload.take(),
        deadline: deadline(timeout(record, |kept| kept.send_timeout_ms)),
        ..on(record, handle, Kind::Send)
    };
    let is_file = begin.payload.is_some() || begin.flags.has(Flags::DATAGRAM);
    begin.flags.set(Flags::FILE, is_file);
    submit(seat, shared, room, begin, notify);
    Ok(())
}
