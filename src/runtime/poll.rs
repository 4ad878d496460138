//! Pulling completions on the application's own thread.

use super::collect::close_unseen;
use super::{runtime_of, Runtime, PROCESS};
use crate::abi::asock_result;
use crate::engine::delivery::{self, Poll};
use crate::status::{Answer, Status};
use crate::sys::clock;

/// The poll of an on-poll runtime.
fn poll_of(runtime: &Runtime) -> Answer<&Poll> {
    runtime.poll.as_deref().ok_or(Status::InvalidState)
}

/// A callback that dispatch has called may not pull more itself.
fn not_in_callback() -> Answer<()> {
    match PROCESS.get() {
        Some(process) if delivery::calls_here(process.number()) > 0 => Err(Status::WouldDeadlock),
        _ => Ok(()),
    }
}

pub fn poll(
    runtime: u64,
    timeout_ms: i32,
    capacity: usize,
    hand_out: &mut dyn FnMut(usize, asock_result),
) -> Answer<usize> {
    let runtime = runtime_of(runtime)?;
    let poll = poll_of(&runtime)?;
    not_in_callback()?;
    let ready = poll.enter(timeout_ms)?;
    let mut count = 0;
    for seat in runtime.seats_in_turn() {
        let mut shared = seat.lock();
        while count < ready.min(capacity) {
            let Some(id) = shared.pop_ready() else { break };
            hand_out(count, shared.completion(id));
            shared.retire(id);
            count += 1;
        }
    }
    poll.leave(count);
    Ok(count)
}

pub fn dispatch(
    runtime: u64,
    timeout_ms: i32,
    max_callbacks: usize,
    budget_us: u32,
) -> Answer<usize> {
    let runtime = runtime_of(runtime)?;
    let poll = poll_of(&runtime)?;
    not_in_callback()?;
    let ready = poll.enter(timeout_ms)?;
    let most = if max_callbacks == 0 {
        usize::MAX
    } else {
        max_callbacks
    };
    let start = clock::now_ns();
    let budget_ns = match budget_us {
        0 => u64::MAX,
        budget_us => u64::from(budget_us) * 1000,
    };
    let (mut now, mut taken, mut called) = (start, 0, 0);
    for seat in runtime.seats_in_turn() {
        // What becomes ready meanwhile is for the next call: an endless chain must not hold a
        // frame.
        while taken < ready && called < most && now - start < budget_ns {
            let Some((call, ended)) = delivery::pull(seat, now) else {
                break;
            };
            taken += 1;
            now = ended;
            if call.callback.is_some() {
                called += 1;
            } else {
                close_unseen(call.brought());
            }
        }
    }
    poll.leave(taken);
    Ok(called)
}

pub fn poll_fd(runtime: u64) -> Answer<i64> {
    let runtime = runtime_of(runtime)?;
    poll_of(&runtime)?.event_number().map_err(Status::of_os)
}

pub fn wake(runtime: u64) -> Answer<()> {
    let runtime = runtime_of(runtime)?;
    poll_of(&runtime)?.wake();
    Ok(())
}
