//! Entries of the submission queue, as the kernel wants them.

use crate::driver::{Lane, Request};
use crate::sys::{ReceiveFlags, SendFlags, SysResult, NOT_SUPPORTED};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};

/// Tells when a lane can go on.
pub(super) fn poll(fd: Fd, lane: Lane) -> squeue::Entry {
    let events = match lane {
        Lane::Output => libc::POLLOUT,
        Lane::Input => libc::POLLIN | libc::POLLRDHUP,
    };
    opcode::PollAdd::new(fd, events as u32).build()
}

/// The entry for a message, whose header is made anew each time.
pub(super) fn message(fd: Fd, request: Request<'_>) -> SysResult<squeue::Entry> {
    Ok(match request {
        Request::SendMessage { message, more } => {
            let flags = SendFlags {
                more,
                ..SendFlags::default()
            };
            opcode::SendMsg::new(fd, message.outgoing()?)
                .flags(flags.bits() as u32)
                .build()
        }
        Request::ReceiveMessage { message, peek } => {
            let flags = ReceiveFlags {
                peek,
                ..ReceiveFlags::default()
            };
            opcode::RecvMsg::new(fd, message.incoming()?)
                .flags(receive_bits(flags) as u32)
                .build()
        }
        _ => return Err(NOT_SUPPORTED),
    })
}

/// A receive waits in the kernel, except one that only peeks: the kernel would try it again and again
/// as long as there is urgent data, and then leave it to a thread. That one comes back and polls.
pub(super) fn receive_bits(flags: ReceiveFlags) -> i32 {
    let comes_back = if flags.peek { libc::MSG_DONTWAIT } else { 0 };
    flags.bits() | comes_back
}

/// As much as an entry can ask for; the engine asks again for the rest.
pub(super) fn length_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(1 << 30).min(1 << 30)
}
