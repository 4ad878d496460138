//! Ends that the application, a deadline or a stop decides: cancel, close, drain.

use super::operation::{Fault, Flags, Kind, Phase, NONE};
use super::queue::Queue;
use super::socket::{Engine, LaneState, Link, Socket, State, Steps};
use crate::driver::{Lane, Token};
use crate::status::Status;

impl Engine {
    /// Ends an operation that the application no longer wants; `status` says why.
    pub fn abort(&mut self, id: u32, status: Status, steps: &mut impl Steps) {
        if self.operations[id].phase != Phase::Queued {
            return;
        }
        let index = self.operations[id].socket;
        match self.operations[id].kind {
            Kind::Timer | Kind::Resolve => return self.finish(id, Fault::of(status)),
            Kind::Close => self.abort_close(index, status, steps),
            _ => self.abort_queued(id, Fault::of(status), steps),
        }
        self.pump(index, steps);
    }

    pub(super) fn abort_close(&mut self, index: u32, status: Status, steps: &mut impl Steps) {
        let socket = &mut self.sockets[index];
        if !socket.draining {
            return; // It is closing already, and as fast as it can.
        }
        socket.draining = false;
        socket.close_status = Some(status);
        let rest = match status {
            Status::Stopped => Status::Stopped,
            _ => Status::Closed,
        };
        self.abort_all_of(index, Fault::of(rest), steps);
    }

    /// Ends one operation of a socket's queues. The one that is with the driver ends when the
    /// driver has let go of its buffer.
    pub(super) fn abort_queued(&mut self, id: u32, fault: Fault, steps: &mut impl Steps) {
        let index = self.operations[id].socket;
        let lane = match self.operations[id].kind.is_input() {
            true => Lane::Input,
            false => Lane::Output,
        };
        let among_sends = self.operations[id].flags.has(Flags::AMONG_SENDS);
        let token = Token {
            socket: index,
            lane,
        };
        let socket = &mut self.sockets[index];
        let is_head = match lane {
            Lane::Input => socket.receives.first() == Some(id),
            Lane::Output if socket.state == State::Connecting => {
                socket.connects.first() == Some(id)
            }
            Lane::Output => socket.sends.first() == Some(id),
        };
        let state = &mut socket.lanes[lane as usize];
        match *state {
            LaneState::Busy if is_head => {
                self.operations[id].fate.get_or_insert(fault.status);
                *state = LaneState::Canceling;
                if let Some(outcome) = self.take_back(token, steps) {
                    self.lane_done(token, outcome, steps);
                }
            }
            LaneState::Canceling if is_head => {
                self.operations[id].fate.get_or_insert(fault.status);
            }
            _ if is_head && !among_sends && self.operations[id].kind == Kind::Connect => {
                self.connect_failed(index, fault, steps);
            }
            _ if self.operations[id].fate.is_some() => {} // It ends when its turn comes.
            _ if among_sends => self.change_failed(index, id, fault),
            _ => {
                self.leave_queue(id);
                let cut = self.operations[id].kind == Kind::Send && self.operations[id].bytes() > 0;
                self.finish(id, fault);
                if cut {
                    self.cut_sends(index, id, fault);
                }
            }
        }
    }

    /// Ends everything that a socket has, each queue in its order.
    pub(super) fn abort_all_of(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        self.abort_queue(index, fault, |socket| socket.connects, steps);
        self.abort_queue(index, fault, |socket| socket.sends, steps);
        self.abort_receives(index, fault, steps);
    }

    pub(super) fn abort_receives(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        self.abort_queue(index, fault, |socket| socket.receives, steps);
    }

    /// Ends a queue from its head. While the driver holds on to the head, those behind it wait
    /// for their turn, so that they end in the order begun.
    fn abort_queue(
        &mut self,
        index: u32,
        fault: Fault,
        queue: impl Fn(&Socket) -> Queue,
        steps: &mut impl Steps,
    ) {
        while let Some(first) = queue(&self.sockets[index]).first() {
            self.abort_queued(first, fault, steps);
            if queue(&self.sockets[index]).first() == Some(first) {
                break;
            }
        }
        let queue = queue(&self.sockets[index]);
        let mut next = queue.first();
        while let Some(id) = next {
            self.operations[id].fate.get_or_insert(fault.status);
            next = queue.after(&self.operations, id);
        }
    }

    /// The socket's handle is gone; `closer` is told when all is over.
    pub fn close(&mut self, index: u32, flags: Flags, closer: Option<u32>, steps: &mut impl Steps) {
        let closed = Fault::of(Status::Closed);
        let socket = &mut self.sockets[index];
        socket.closing = true;
        socket.reset = flags.has(Flags::RESET);
        socket.link = Link::of(closer);
        socket.draining = flags.has(Flags::DRAIN) && !socket.sends.is_empty();
        if socket.draining {
            self.abort_receives(index, closed, steps);
        } else {
            self.abort_all_of(index, closed, steps);
        }
        self.pump(index, steps);
    }

    /// Ends every operation, as a drain or stop does.
    pub fn abort_everything(&mut self, status: Status, steps: &mut impl Steps) {
        for index in 0..self.sockets.end() {
            if self.sockets.get(index).is_some_and(Socket::is_busy) {
                self.abort_all_of(index, Fault::of(status), steps);
                self.abort_close(index, status, steps);
                self.pump(index, steps);
            }
        }
        for id in 0..self.operations.end() {
            if self.is_queued(id) && self.operations[id].socket == NONE {
                self.abort(id, status, steps); // A timer, or a look-up.
            }
        }
    }

    /// Whether an operation is pending.
    pub fn is_queued(&self, id: u32) -> bool {
        let operation = self.operations.get(id);
        operation.is_some_and(|operation| operation.phase == Phase::Queued)
    }

    /// Closes every socket that still has a descriptor; the operations have ended before.
    pub fn close_everything(&mut self, steps: &mut impl Steps) {
        for index in 0..self.sockets.end() {
            let socket = self.sockets.get(index);
            if socket.is_some_and(|socket| socket.open && !socket.closing) {
                self.close(index, Flags::NONE, None, steps);
            }
        }
    }
}
