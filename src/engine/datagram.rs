//! What is different on datagram sockets: each send and receive is one datagram, nothing breaks,
//! and a connect only names the peer.
//!
//! A connect of a socket that has a descriptor stands among the sends, so that those before it go
//! to the earlier peer and those behind it to the new one; receives go on meanwhile.

use super::operation::{Fault, Flags, Kind, Operation, Payload, Tick};
use super::socket::{Engine, LaneState, State, Steps, Trouble};
use crate::address::Address;
use crate::driver::{Lane, Outcome, Token};
use crate::status::Status;
use crate::sys::{CONNECTION_REFUSED, WOULD_BLOCK};

/// Ticks after which a datagram is sent again for which its receiver had no room.
const AGAIN: u64 = 2;

impl Engine {
    /// What speaks against an operation that arrives. Where there is a descriptor, it is for the
    /// system to say that there is nobody to send to.
    pub(super) fn datagram_refusal(&self, index: u32, kind: Kind) -> Option<Fault> {
        let socket = &self.sockets[index];
        let nowhere = socket.state == State::Idle && !socket.open;
        match kind {
            Kind::Send | Kind::SendTo if socket.send_shut => Some(Fault::of(Status::ShutDown)),
            Kind::Send | Kind::Receive if nowhere => Some(Fault::of(Status::NotConnected)),
            // The connect that it was to wait for has failed.
            Kind::Shutdown if socket.state == State::Idle && !self.is_changing(index) => {
                Some(Fault::of(Status::NotConnected))
            }
            Kind::ReceiveFrom if nowhere => Some(Fault::of(Status::InvalidState)),
            Kind::Accept => Some(Fault::of(Status::InvalidState)),
            Kind::Receive | Kind::ReceiveFrom if socket.receive_shut => {
                Some(Fault::of(Status::Ok)) // There is nothing, now and ever.
            }
            _ => None,
        }
    }

    /// A send to an address makes the descriptor, if there is none and none is on its way.
    pub(super) fn queue_send_to(&mut self, index: u32, id: u32, steps: &mut impl Steps) {
        let socket = &self.sockets[index];
        if socket.state == State::Idle && !socket.open {
            let message = self.operations[id].message();
            let to = message.map_or(Address::NONE, |message| message.to());
            if let Err(fault) = steps.open(index, index, to.family()) {
                return self.finish(id, fault);
            }
            self.sockets[index].open = true;
        }
        self.sockets[index].sends.push(&mut self.operations, id);
    }

    /// Whether a connect that arrives only changes the peer; then it stands among the sends.
    pub(super) fn changes_peer(&mut self, index: u32, id: u32) -> bool {
        let socket = &self.sockets[index];
        let among_sends = socket.open || socket.state != State::Idle;
        let operation = &mut self.operations[id];
        let among_sends = operation.flags.has(Flags::DATAGRAM) && among_sends;
        operation.flags.set(Flags::AMONG_SENDS, among_sends);
        among_sends
    }

    /// A connect stands among the sends. A shutdown that is begun then takes effect after it.
    pub(super) fn is_changing(&self, index: u32) -> bool {
        self.any_of_sends(index, |one| one.kind == Kind::Connect)
    }

    fn any_of_sends(&self, index: u32, wanted: impl Fn(&Operation) -> bool) -> bool {
        let sends = self.sockets[index].sends;
        let mut next = sends.first();
        while let Some(id) = next {
            if wanted(&self.operations[id]) {
                return true;
            }
            next = sends.after(&self.operations, id);
        }
        false
    }

    /// Starts the connect at the head of the sends; true when it is over already.
    pub(super) fn start_change(&mut self, index: u32, id: u32, steps: &mut impl Steps) -> bool {
        match self.operations[id].payload.as_deref() {
            Some(Payload::Name(_)) => false, // It is still being looked up.
            _ => self.start(Token::output(index), id, steps),
        }
    }

    /// The system has answered a connect that stands among the sends.
    fn peer_changed(&mut self, index: u32, id: u32, outcome: Outcome, steps: &mut impl Steps) {
        let operation = &mut self.operations[id];
        let fault = match (outcome, operation.fate) {
            (Outcome::Done(_), _) => {
                let remote = self.take_remote(id);
                match steps.connected(index, remote) {
                    Ok(()) => {
                        self.sockets[index].state = State::Connected;
                        return self.end_queued(id, Fault::of(Status::Ok));
                    }
                    Err(fault) => fault,
                }
            }
            (Outcome::Failed(error), None) => {
                if let Some(Payload::Found(left)) = operation.payload.as_deref_mut() {
                    left.pop();
                    if !left.is_empty() {
                        return; // The next one is tried.
                    }
                }
                Fault::system(error)
            }
            (_, fate) => Fault::of(fate.unwrap_or(Status::Canceled)),
        };
        self.change_failed(index, id, fault);
    }

    /// A connect among the sends has failed: the peer is who it was, and what was to go to the new
    /// one goes nowhere. Where there was none, a shutdown behind it is forgotten.
    pub(super) fn change_failed(&mut self, index: u32, id: u32, fault: Fault) {
        let mut next = self.sockets[index].sends.after(&self.operations, id);
        self.operations[id].flags.set(Flags::CUTS, true);
        self.end_queued(id, fault);
        let socket = &mut self.sockets[index];
        socket.cut(Trouble::SendsCut, fault);
        let nobody = socket.state == State::Idle;
        while let Some(behind) = next {
            if self.operations[behind].kind == Kind::Connect {
                break;
            }
            next = self.sockets[index].sends.after(&self.operations, behind);
            if self.operations[behind].kind.sends() || nobody {
                self.end_queued(behind, fault);
            }
        }
        if nobody {
            let shuts = |one: &Operation| one.kind == Kind::Shutdown && one.flags.has(Flags::SEND);
            self.sockets[index].send_shut = self.any_of_sends(index, shuts);
        }
    }

    /// The system has answered the head of the sends: a datagram goes as a whole or not at all.
    pub(super) fn datagram_sent(
        &mut self,
        index: u32,
        id: u32,
        outcome: Outcome,
        steps: &mut impl Steps,
    ) {
        if self.operations[id].kind == Kind::Connect {
            return self.peer_changed(index, id, outcome, steps);
        }
        let operation = &mut self.operations[id];
        let fault = match outcome {
            Outcome::Done(bytes) => {
                operation.set_bytes(bytes);
                operation.flags.set(Flags::AT_ONCE, true);
                Fault::of(Status::Ok)
            }
            Outcome::Failed(CONNECTION_REFUSED)
                if !operation.flags.has(Flags::REFUSED)
                    && !self.sockets[index].receives.is_empty() =>
            {
                // Mostly that is about an earlier datagram, and then another try sends this one.
                operation.flags.set(Flags::REFUSED, true);
                return;
            }
            Outcome::Failed(WOULD_BLOCK) if operation.fate.is_none() => {
                let (due, deadline) = (Tick::of(Some(steps.now() + AGAIN)), operation.deadline);
                return self.set_times(id, due, deadline);
            }
            Outcome::Failed(WOULD_BLOCK) | Outcome::Canceled => {
                Fault::of(operation.fate.unwrap_or(Status::Canceled))
            }
            // Then it was about this one.
            Outcome::Failed(_) if operation.flags.has(Flags::REFUSED) => {
                Fault::system(CONNECTION_REFUSED)
            }
            Outcome::Failed(error) => Fault::system(error),
        };
        let refused = operation.flags.has(Flags::REFUSED) && fault.status == Status::Ok;
        self.end_queued(id, fault);
        if refused {
            self.tell_refusal(index, steps);
        }
    }

    /// A send has met the refusal of an earlier datagram, whose answer the first receive waits for.
    fn tell_refusal(&mut self, index: u32, steps: &mut impl Steps) {
        let Some(id) = self.sockets[index].receives.first() else {
            return;
        };
        if self.sockets[index].lanes[Lane::Input as usize] == LaneState::Busy {
            self.sockets[index].lanes[Lane::Input as usize] = LaneState::Canceling;
            let fate = &mut self.operations[id].fate;
            fate.get_or_insert(Status::ConnectionRefused);
            let token = Token::input(index);
            if let Some(outcome) = steps.cancel(token) {
                self.lane_done(token, outcome, steps);
            }
        }
    }

    /// The system has answered the head of the receives.
    pub(super) fn datagram_received(&mut self, id: u32, outcome: Outcome) {
        let operation = &mut self.operations[id];
        let fault = match outcome {
            Outcome::Done(length) => {
                operation.received_datagram(length);
                Fault::of(Status::Ok)
            }
            Outcome::Failed(error) => Fault::system(error),
            Outcome::Canceled => match operation.fate {
                Some(Status::ConnectionRefused) => Fault::system(CONNECTION_REFUSED),
                fate => Fault::of(fate.unwrap_or(Status::Canceled)),
            },
        };
        self.end_queued(id, fault);
    }

    /// Nothing is received any more: that is said here, since the system goes on with datagrams.
    pub(super) fn shut_receiving(&mut self, index: u32, steps: &mut impl Steps) {
        self.sockets[index].receive_shut = true;
        self.abort_receives(index, Fault::of(Status::Ok), steps);
        steps.shutdown(index, true, false);
    }
}
