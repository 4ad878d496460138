//! What may be done with an operation's handle: wait, end, forget, cancel, set a deadline.

use super::{seat_of, PROCESS};
use crate::abi::asock_result;
use crate::engine::delivery;
use crate::engine::record::{Marks, OperationState, Stage};
use crate::engine::seat::Seat;
use crate::engine::shared::Shared;
use crate::engine::slots::Issued;
use crate::engine::worker::tick_after;
use crate::handle::{Handle, HandleKind};
use crate::status::{Answer, Status};
use crate::sys::clock;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

/// The record of an operation that can still be reached.
fn record_of<'a>(
    seat: &Seat,
    shared: &'a mut Shared,
    handle: Handle,
) -> Option<&'a mut OperationState> {
    let record = shared.operations.get(handle.slot, handle.generation)?;
    match record.stage {
        Stage::Retired => None,
        Stage::Calling if seat.returns.has(record.turn) => None,
        _ => Some(record),
    }
}

/// Sleeps until the operation is no longer pending, or one of `marks` is there; `Ok(None)` when its
/// handle is retired.
fn wait_until_done<'a>(
    seat: &'a Seat,
    mut shared: MutexGuard<'a, Shared>,
    handle: Handle,
    timeout: Option<Duration>,
    marks: Marks,
) -> Answer<Option<MutexGuard<'a, Shared>>> {
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let Some(record) = record_of(seat, &mut shared, handle) else {
            return Ok(None);
        };
        if record.stage != Stage::Pending || record.marks.has(marks) {
            return Ok(Some(shared));
        }
        if timeout == Some(Duration::ZERO) {
            return Err(Status::TimedOut); // It only asks, which a worker may do.
        }
        // Before the clock is looked at: a short limit that has passed by now is no excuse.
        if PROCESS
            .get()
            .is_some_and(|process| delivery::is_worker(process.number()))
        {
            return Err(Status::WouldDeadlock);
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Status::TimedOut);
        }
        record.marks.set(Marks::AWAITED);
        shared = seat.wait(shared, handle.slot, left);
    }
}

pub fn wait(operation: u64, timeout_ms: i32) -> Answer<()> {
    let (seat, handle) = seat_of(operation, HandleKind::Operation)?;
    let mut shared = seat.lock();
    if shared.operations.issued(handle.slot, handle.generation) == Issued::Never {
        return Err(Status::BadHandle);
    }
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    wait_until_done(seat, shared, handle, timeout, Marks::default()).map(|_| ())
}

pub fn end(operation: u64) -> Answer<asock_result> {
    let (seat, handle) = seat_of(operation, HandleKind::Operation)?;
    let mut shared = seat.lock();
    may_be_ended(seat, &mut shared, handle)?;
    let shared = wait_until_done(seat, shared, handle, None, Marks::FORGOTTEN)?;
    let mut shared = shared.ok_or(Status::BadHandle)?; // Another thread has ended it.
    may_be_ended(seat, &mut shared, handle)?;
    let result = shared.completion(handle.slot);
    shared.retire(handle.slot);
    Ok(result)
}

/// For `ffi`: a bad handle wins over a bad argument, and for `asock_end` a retired one is bad.
pub fn check_end(operation: u64) -> Answer<()> {
    let (seat, handle) = seat_of(operation, HandleKind::Operation)?;
    match may_be_ended(seat, &mut seat.lock(), handle) {
        Err(Status::BadHandle) => Err(Status::BadHandle),
        _ => Ok(()),
    }
}

/// `asock_end` is for operations that nothing else tells of.
fn may_be_ended(seat: &Seat, shared: &mut Shared, handle: Handle) -> Answer<()> {
    let record = record_of(seat, shared, handle).ok_or(Status::BadHandle)?;
    if record.marks.has(Marks::FORGOTTEN) {
        return Err(Status::BadHandle);
    }
    if record.marks.has(Marks::COLLECTED) {
        Ok(())
    } else {
        Err(Status::InvalidState)
    }
}

/// Nobody will learn of the socket that an accept has brought; 0 is none.
pub(super) fn close_unseen(socket: u64) {
    if socket != 0 {
        let _ = super::close(socket); // It may be gone with its runtime.
    }
}

pub fn forget(operation: u64) -> Answer<()> {
    let (seat, handle) = seat_of(operation, HandleKind::Operation)?;
    let mut shared = seat.lock();
    may_be_ended(seat, &mut shared, handle)?;
    let record = record_of(seat, &mut shared, handle).ok_or(Status::BadHandle)?;
    record.marks.clear(Marks::COLLECTED);
    record.marks.set(Marks::FORGOTTEN);
    let awaited = record.marks.has(Marks::AWAITED);
    let done = record.stage == Stage::Done;
    let brought = match done {
        true => shared.records.at(handle.slot).brought(),
        false => 0,
    };
    if done {
        shared.retire(handle.slot);
    }
    drop(shared);
    close_unseen(brought);
    if awaited {
        seat.wake_waiters(handle.slot); // A thread in `asock_end` shall know.
    }
    Ok(())
}

pub fn cancel(operation: u64) -> Answer<()> {
    let (seat, handle) = seat_of(operation, HandleKind::Operation)?;
    let mut shared = seat.lock();
    let record = record_of(seat, &mut shared, handle).ok_or(Status::BadHandle)?;
    if record.stage == Stage::Pending {
        record.marks.set(Marks::CANCELED);
        shared.link_operation(handle.slot);
        seat.hand_over(shared);
    }
    Ok(())
}

pub fn set_deadline(operation: u64, timeout_ms: i64) -> Answer<()> {
    let (seat, handle) = seat_of(operation, HandleKind::Operation)?;
    let deadline = u64::try_from(timeout_ms).ok();
    let deadline = deadline.map(|timeout_ms| tick_after(clock::now_ns(), timeout_ms));
    let mut shared = seat.lock();
    let record = record_of(seat, &mut shared, handle).ok_or(Status::BadHandle)?;
    if record.stage == Stage::Pending {
        let changed = shared.change_deadline(handle.slot, deadline);
        changed.map_err(|_| Status::OutOfMemory)?;
        seat.hand_over(shared);
    }
    Ok(())
}
