//! Beginning to send a file.

use super::submit::{in_service, room_in_queue, socket_of, submit, timeout, Draft};
use crate::engine::files;
use crate::engine::operation::{self, Flags, Payload};
use crate::foreign::{Buffer, Notify};
use crate::status::{Answer, Status};
use crate::sys::{file, Kind};

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
    let record = shared.sockets.at(handle.slot);
    room_in_queue(record, length)?;
    let is_datagram = record.kind == Kind::Datagram;
    let timeout_ms = timeout(record, |kept| kept.send_timeout_ms);
    files::make_room(&mut shared, most)?;
    if !shared.operations.has_free() {
        shared.grow_operations().map_err(|_| Status::OutOfMemory)?;
    }
    let payload = payload.take();
    let draft = Draft {
        flags: Flags::FILE.when(payload.is_some() || is_datagram),
        buffer: Buffer::of_file(length),
        payload,
        timeout_ms,
        ..Draft::new(operation::Kind::Send)
    };
    submit(seat, shared, Some(handle), draft, notify).map(|_| ())
}
