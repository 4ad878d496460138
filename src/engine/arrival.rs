//! Descriptors that do not come from the worker: bound, listening and accepted ones. A connect takes
//! what is there.

use super::operation::{Flags, Payload};
use super::socket::{Engine, Socket, State, Steps, Trouble};
use crate::address::{Address, Family};

/// What a descriptor can do already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// Nothing yet.
    #[default]
    Open,
    Connected,
    Listening,
}

/// A descriptor that the driver has from now on.
pub struct Arrival {
    pub family: Family,
    pub standing: Standing,
}

impl Engine {
    /// A socket has a descriptor that was made elsewhere, or listens with it.
    pub fn arrived(&mut self, index: u32, steps: &mut impl Steps) {
        match steps.arrived(index) {
            Ok(Arrival { family, standing }) => {
                let socket = &mut self.sockets[index];
                socket.open = true;
                socket.given = Some(family);
                match standing {
                    Standing::Connected => socket.state = State::Connected,
                    Standing::Listening => socket.state = State::Listening,
                    // It was to listen, and cannot.
                    Standing::Open if socket.state == State::Listening && !socket.is_busy() => {
                        socket.state = State::Idle;
                    }
                    Standing::Open => {}
                }
            }
            Err(fault) => {
                let socket = &mut self.sockets[index];
                socket.given = Some(Family::None);
                socket.meet(Trouble::Broken, fault);
            }
        }
    }

    /// A socket's descriptor is the application's, who may have closed it by now.
    pub fn released(&mut self, index: u32, steps: &mut impl Steps) {
        debug_assert!(!self.sockets[index].is_busy());
        steps.forget(index);
        self.pauses.retain(|pause| pause.socket != index);
        self.sockets[index] = Socket::default();
        self.note_closed(index);
    }

    /// The addresses of a name, for a socket that has to try one after the other on the descriptor
    /// that it has: the first one last, so that each is gone when it has been tried.
    pub(super) fn in_turn(&self, index: u32, id: u32, addresses: &mut [Address]) -> bool {
        let given = self.sockets[index].given;
        if given.is_none() && !self.operations[id].flags.has(Flags::AMONG_SENDS) {
            return false;
        }
        for address in &mut *addresses {
            *address = given.map_or(*address, |family| address.for_family(family));
        }
        addresses.reverse();
        true
    }

    /// An attempt of a socket with a descriptor of its own has failed; true when another address
    /// is left to try.
    pub(super) fn try_next(&mut self, index: u32, id: u32, steps: &mut impl Steps) -> bool {
        let operation = &mut self.operations[id];
        let (Some(Payload::Found(left)), None) = (operation.payload.as_deref_mut(), operation.fate)
        else {
            return false;
        };
        left.pop();
        !left.is_empty() && steps.renew(index).is_ok()
    }

    /// The address that a connect has led to.
    pub(super) fn take_remote(&mut self, id: u32) -> Option<Box<Payload>> {
        let mut remote = self.operations[id].payload.take()?;
        if let Payload::Found(left) = &*remote {
            let reached = left.last().copied();
            *remote = Payload::Connect(reached.unwrap_or(Address::NONE));
        }
        Some(remote)
    }

    /// What a failed connect leaves: nothing, or the descriptor that was there before.
    pub(super) fn leave_attempt(&mut self, index: u32, steps: &mut impl Steps) {
        let socket = &mut self.sockets[index];
        if !socket.open {
            return;
        }
        if socket.given.is_none() {
            socket.open = false;
            return steps.discard(index);
        }
        if let Err(fault) = steps.renew(index) {
            self.sockets[index].meet(Trouble::Broken, fault);
        }
    }
}
