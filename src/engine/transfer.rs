//! The ends of sends and receives: how far they came, and what an end means for those behind.

use super::operation::{Fault, Flags, Kind};
use super::socket::{Engine, LaneState, Steps, Trouble};
use crate::driver::{Lane, Outcome, Token};
use crate::status::{OsError, Status};

impl Engine {
    pub(super) fn send_done(&mut self, index: u32, outcome: Outcome, steps: &mut impl Steps) {
        let Some(id) = self.sockets[index].sends.first() else {
            return;
        };
        let flags = self.operations[id].flags;
        if flags.has(Flags::DATAGRAM) {
            self.datagram_sent(index, id, outcome, steps);
        } else if !flags.has(Flags::FILE) {
            self.stream_sent(index, id, outcome, steps);
        } else if let Some(outcome) = self.file_outcome(id, outcome) {
            self.stream_sent(index, id, outcome, steps);
        }
    }

    #[inline(always)]
    fn stream_sent(&mut self, index: u32, id: u32, outcome: Outcome, steps: &mut impl Steps) {
        let operation = &mut self.operations[id];
        if let Outcome::Done(bytes) = outcome {
            let at_once = operation.bytes() == 0 && bytes == operation.buffer.len();
            operation.moved(bytes);
            if at_once {
                operation.flags.set(Flags::AT_ONCE, true);
            } else {
                steps.sent(index, bytes);
            }
            if operation.bytes() < operation.buffer.len() && operation.fate.is_none() {
                return; // The rest goes on as soon as there is room.
            }
        }
        let complete = operation.bytes() == operation.buffer.len();
        let socket = &mut self.sockets[index];
        // A broken pipe is never our own shutdown's doing: that takes effect after the sends before
        // it, and those behind it are refused.
        let fault = match (outcome, operation.fate) {
            (Outcome::Done(_), _) if complete => Fault::of(Status::Ok),
            (Outcome::Failed(error), _) => Fault::system(error),
            (_, Some(fate)) => Fault::of(fate),
            (_, None) => socket.broken().unwrap_or(Fault::of(Status::Canceled)),
        };
        let alone = socket.sends.end_only(id, operation, fault);
        self.head_ended(id, alone, fault);
        if fault.status == Status::Ok {
            return;
        }
        if breaks(fault) {
            self.broke(index, fault, steps);
        } else if self.operations[id].bytes() > 0 {
            self.cut_sends(index, id, fault);
        }
    }

    /// A send ended after its first byte: what was queued behind it must not follow.
    pub(super) fn cut_sends(&mut self, index: u32, id: u32, fault: Fault) {
        self.operations[id].flags.set(Flags::CUTS, true);
        let fault = Fault::of(fault.status);
        let socket = &mut self.sockets[index];
        socket.cut(Trouble::SendsCut, fault);
        let mut next = socket.sends.first();
        while let Some(id) = next {
            next = self.sockets[index].sends.after(&self.operations, id);
            if self.operations[id].kind == Kind::Send {
                self.end_queued(id, fault);
            }
        }
    }

    pub(super) fn receive_done(&mut self, index: u32, outcome: Outcome, steps: &mut impl Steps) {
        let socket = &mut self.sockets[index];
        let Some(id) = socket.receives.first() else {
            return;
        };
        let operation = &mut self.operations[id];
        if operation.flags.has(Flags::DATAGRAM) {
            return self.datagram_received(id, outcome);
        }
        let broken = socket.broken();
        let fault = match outcome {
            Outcome::Done(0) => match broken {
                Some(broken) => broken,
                None => Fault::of(Status::Ok),
            },
            Outcome::Done(bytes) => {
                operation.moved(bytes);
                let more =
                    operation.flags.has(Flags::ALL) && operation.bytes() < operation.buffer.len();
                match operation.fate {
                    None if more => return, // The rest of the buffer is still to be filled.
                    Some(fate) if more => Fault::of(fate),
                    _ => Fault::of(Status::Ok),
                }
            }
            Outcome::Failed(error) => Fault::system(error),
            Outcome::Canceled => match (operation.fate, broken) {
                (Some(fate), _) => Fault::of(fate),
                (None, Some(broken)) => broken,
                (None, None) => Fault::of(Status::Canceled),
            },
        };
        let alone = socket.receives.end_only(id, operation, fault);
        self.head_ended(id, alone, fault);
        if matches!(outcome, Outcome::Failed(_)) && breaks(fault) {
            self.broke(index, fault, steps);
        }
    }

    /// The end of a request that no lane had: a receive of urgent data.
    pub(super) fn finish_outcome(&mut self, id: u32, outcome: Outcome, steps: &mut impl Steps) {
        let fault = match outcome {
            Outcome::Done(bytes) => {
                self.operations[id].set_bytes(bytes);
                Fault::of(Status::Ok)
            }
            Outcome::Failed(error) => Fault::system(error),
            Outcome::Canceled => Fault::of(Status::Canceled),
        };
        self.finish(id, fault);
        if breaks(fault) {
            self.broke(self.operations[id].socket, fault, steps);
        }
    }

    /// The connection is gone: everything that is pending says so, and all that comes later.
    pub(super) fn broke(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        if self.sockets[index].broken().is_some() {
            return;
        }
        self.sockets[index].meet(Trouble::Broken, fault);
        self.abort_broken(index, Lane::Output, fault, steps);
        self.abort_broken(index, Lane::Input, fault, steps);
    }

    pub(super) fn abort_broken(
        &mut self,
        index: u32,
        lane: Lane,
        fault: Fault,
        steps: &mut impl Steps,
    ) {
        let token = Token {
            socket: index,
            lane,
        };
        if self.sockets[index].lanes[lane as usize] == LaneState::Busy {
            self.sockets[index].lanes[lane as usize] = LaneState::Canceling;
            if let Some(outcome) = self.take_back(token, steps) {
                self.lane_done(token, outcome, steps);
            }
        }
        if self.sockets[index].lanes[lane as usize] != LaneState::Idle {
            return; // The pump ends the rest when the driver has let go.
        }
        loop {
            let socket = &self.sockets[index];
            let head = match lane {
                Lane::Input => socket.receives.first(),
                Lane::Output => socket.sends.first(),
            };
            let Some(id) = head else { return };
            self.end_queued(id, fault);
        }
    }
}

/// Whether the connection is of no more use after that.
fn breaks(fault: Fault) -> bool {
    fault.os_error != OsError(0)
        && matches!(
            fault.status,
            Status::ConnectionReset
                | Status::ConnectionAborted
                | Status::TimedOut
                | Status::HostUnreachable
                | Status::NetworkUnreachable
        )
}
