//! Whether this machine's io_uring does what the driver needs. Kernels grow it bit by bit, and
//! administrators forbid it in several ways: as a whole, by a limit, or call by call. So the probe
//! makes a ring and uses it as a worker will.

use super::{make_ring, of_io, poll_waker, push_plain, CANCEL, WAKER};
use crate::driver::Waker;
use crate::sys::{SysResult, CANCELED, NOT_SUPPORTED};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, IoUring, Probe};

/// Entries of the ring, which lives for a moment only.
const ENTRIES: u32 = 4;
/// All that is asked for happens within the calls: the limit is for a kernel that does not keep to it.
const LIMIT: Timespec = Timespec::new().nsec(200_000_000);
/// Calls that may be in vain, since a signal of the application interrupts them.
const CALLS: u32 = 100;

/// What the driver cannot do without.
const NEEDED: [u8; 9] = [
    opcode::Accept::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Connect::CODE,
    opcode::PollAdd::CODE,
    opcode::Recv::CODE,
    opcode::RecvMsg::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::Timeout::CODE,
];

/// Gives the error that stands against it.
pub fn probe(waker: &Waker) -> SysResult<()> {
    let mut ring = make_ring(ENTRIES, 2 * ENTRIES)?;
    let features = ring.params();
    if !(features.is_feature_ext_arg()
        && features.is_feature_nodrop()
        && features.is_feature_fast_poll()
        && features.is_feature_submit_stable())
    {
        return Err(NOT_SUPPORTED);
    }
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known).map_err(of_io)?;
    if !NEEDED.iter().all(|&code| known.is_supported(code)) {
        return Err(NOT_SUPPORTED);
    }
    ring.submitter().register_enable_rings().map_err(of_io)?;
    let watched = watch(&mut ring, waker);
    waker.clear();
    watched
}

/// The way a worker is woken: one poll that tells of every signal, until it is taken back.
fn watch(ring: &mut IoUring, waker: &Waker) -> SysResult<()> {
    push_plain(ring, poll_waker(waker))?;
    for _ in 0..2 {
        waker.wake();
        let told = next(ring)?;
        let ready = told.user_data() == WAKER && told.result() >= 0;
        if !ready || !cqueue::more(told.flags()) {
            return Err(NOT_SUPPORTED);
        }
    }
    let cancel = opcode::AsyncCancel::new(WAKER).build();
    push_plain(ring, cancel.user_data(CANCEL))?;
    for _ in 0..2 {
        let told = next(ring)?;
        let expected = match told.user_data() {
            WAKER => -CANCELED.0,
            _ => 0,
        };
        if told.result() != expected {
            return Err(NOT_SUPPORTED);
        }
    }
    Ok(())
}

/// The next completion, with the calls of a worker that sleeps for a while.
fn next(ring: &mut IoUring) -> SysResult<cqueue::Entry> {
    for _ in 0..CALLS {
        if let Some(completion) = ring.completion().next() {
            return Ok(completion);
        }
        let arguments = SubmitArgs::new().timespec(&LIMIT);
        match ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(of_io(error)),
        }
    }
    Err(NOT_SUPPORTED)
}
