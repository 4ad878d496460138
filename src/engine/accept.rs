//! Accepting: the ends of accepts, and the pause of a listener for which the system has no room.

use super::operation::{Fault, Tick};
use super::socket::{Engine, Steps};
use crate::driver::Outcome;
use crate::status::{OsError, Status};
use crate::sys::server;

/// How long a listener waits before it asks again, when there was no room for a connection: 100 ms,
/// and one tick, since the present one is not a whole one any more.
const PAUSE_TICKS: u64 = 101;

/// A listener that waits.
pub struct Pause {
    pub(super) socket: u32,
    until: u64,
}

impl Engine {
    pub(super) fn accept_done(&mut self, index: u32, outcome: Outcome, steps: &mut impl Steps) {
        let Some(id) = self.sockets[index].receives.first() else {
            return;
        };
        let operation = &self.operations[id];
        let (fate, place) = (operation.fate, operation.buffer.number());
        let fault = match outcome {
            // Handed over also if a cancel was on its way: the connection is there.
            Outcome::Done(number) => match steps.accepted(index, place, number) {
                Ok(()) => Fault::of(Status::Ok),
                Err(fault) => fault,
            },
            Outcome::Failed(error) if server::is_passing(error) => match fate {
                None => return, // That one is gone; the pump waits for the next.
                Some(fate) => Fault::of(fate),
            },
            Outcome::Failed(error) => self.not_accepted(index, error, steps),
            Outcome::Canceled => Fault::of(fate.unwrap_or(Status::Canceled)),
        };
        self.end_queued(id, fault);
    }

    /// Why nothing could be accepted. Where the system has run out of something, the connection
    /// waits on, and whoever begins again at once shall not keep a core busy.
    fn not_accepted(&mut self, index: u32, error: OsError, steps: &mut impl Steps) -> Fault {
        if server::is_shortage(error) {
            let pause = Pause {
                socket: index,
                until: steps.now().saturating_add(PAUSE_TICKS),
            };
            if self.pauses.try_reserve(1).is_ok() {
                self.pauses.push(pause);
            }
        }
        match server::is_no_listener(error) {
            true => Fault {
                status: Status::InvalidState,
                os_error: error,
            },
            false => Fault::system(error),
        }
    }

    /// Whether the head of a listener's accepts is to wait until its pause is over.
    pub(super) fn rests(&mut self, index: u32, id: u32, steps: &mut impl Steps) -> bool {
        let Some(at) = self.pauses.iter().position(|pause| pause.socket == index) else {
            return false;
        };
        let until = self.pauses[at].until;
        if until <= steps.now() {
            self.pauses.swap_remove(at);
            return false;
        }
        let (due, deadline) = (Tick::of(Some(until)), self.operations[id].deadline);
        if self.operations[id].due() != due {
            self.set_times(id, due, deadline);
        }
        true
    }
}
