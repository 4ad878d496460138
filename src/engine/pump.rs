//! What moves next on a socket: the heads of its lanes go to the driver, and what that answers goes
//! to whoever knows what it means.

use super::connect::FIRST_ATTEMPT;
use super::operation::{Fault, Flags, Kind, Tick};
use super::request::request_of;
use super::socket::{Engine, LaneState, Socket, State, Steps, Trouble};
use crate::driver::{Lane, Outcome, Token};
use crate::status::Status;

impl Socket {
    /// Something waits for a lane that is idle.
    fn waits_for(&self, lane: Lane) -> bool {
        self.lanes[lane as usize] == LaneState::Idle
            && match (lane, self.state) {
                (Lane::Output, State::Connecting) => !self.connects.is_empty(),
                (Lane::Output, State::Idle | State::Connected) => !self.sends.is_empty(),
                (Lane::Output, State::Listening) | (Lane::Input, State::Connecting) => false,
                (Lane::Input, _) => !self.receives.is_empty(),
            }
    }

    /// There may be something for the pump to do. Mostly there is nothing.
    fn is_due(&self) -> bool {
        self.closing || self.waits_for(Lane::Output) || self.waits_for(Lane::Input)
    }

    /// What is begun on that lane now may go to the driver at once: nothing speaks against it, and
    /// nothing stands before it.
    pub(super) fn is_free_for(&self, lane: Lane) -> bool {
        let (queue, shut) = match lane {
            Lane::Output => (&self.sends, self.send_shut),
            Lane::Input => (&self.receives, false),
        };
        let idle = self.lanes[lane as usize] == LaneState::Idle && queue.is_empty();
        idle && !shut && self.state == State::Connected && self.trouble == Trouble::None
    }
}

impl Engine {
    /// The driver reports the end of what a lane had started.
    pub fn done(&mut self, token: Token, outcome: Outcome, steps: &mut impl Steps) {
        if token.socket < FIRST_ATTEMPT {
            self.lane_done(token, outcome, steps);
            if self.sockets[token.socket].is_due() {
                self.pump(token.socket, steps);
            }
        } else if let Some(socket) = self.socket_of_attempt(token) {
            self.attempt_done(token, outcome, steps);
            self.pump(socket, steps);
        }
    }

    #[inline(always)]
    pub(super) fn lane_done(&mut self, token: Token, outcome: Outcome, steps: &mut impl Steps) {
        let socket = &mut self.sockets[token.socket];
        debug_assert_ne!(socket.lanes[token.lane as usize], LaneState::Idle);
        socket.lanes[token.lane as usize] = LaneState::Idle;
        let state = socket.state;
        self.answered(token, state, outcome, steps);
    }

    /// The driver has answered what stands at the head of a lane, which is idle.
    #[inline(always)]
    fn answered(&mut self, token: Token, state: State, outcome: Outcome, steps: &mut impl Steps) {
        match (token.lane, state) {
            (Lane::Output, State::Connecting) => self.connect_done(token.socket, outcome, steps),
            (Lane::Output, _) => self.send_done(token.socket, outcome, steps),
            (Lane::Input, State::Listening) => self.accept_done(token.socket, outcome, steps),
            (Lane::Input, _) => self.receive_done(token.socket, outcome, steps),
        }
    }

    /// Starts what can be started, until nothing moves.
    pub(super) fn pump(&mut self, index: u32, steps: &mut impl Steps) {
        loop {
            let socket = &self.sockets[index];
            let (output, input) = (
                socket.waits_for(Lane::Output),
                socket.waits_for(Lane::Input),
            );
            let moved =
                output && self.pump_output(index, steps) || input && self.pump_input(index, steps);
            if !moved {
                break;
            }
        }
        if self.sockets[index].closing {
            self.end_close(index, steps);
        }
    }

    /// Closes the descriptor of a socket whose operations have all ended.
    fn end_close(&mut self, index: u32, steps: &mut impl Steps) {
        let socket = &self.sockets[index];
        if socket.lanes == [LaneState::Idle; 2] && !socket.is_busy() {
            self.pauses.retain(|pause| pause.socket != index);
            let socket = std::mem::take(&mut self.sockets[index]);
            steps.close(index, socket.reset);
            self.note_closed(index);
            if let Some(closer) = socket.link.get() {
                let status = socket.close_status.unwrap_or(Status::Ok);
                self.finish(closer, Fault::of(status));
            }
        }
    }

    /// One move on the output lane; false when there is none.
    fn pump_output(&mut self, index: u32, steps: &mut impl Steps) -> bool {
        let socket = &self.sockets[index];
        match socket.state {
            State::Listening => false,
            State::Connecting => self.start_connect(index, steps),
            // Sends may stand there without a connection: those of datagrams.
            State::Idle | State::Connected => {
                let Some(id) = socket.sends.first() else {
                    return false;
                };
                let operation = &self.operations[id];
                if let Some(fault) = socket.broken().or(operation.fate.map(Fault::of)) {
                    self.end_queued(id, fault);
                } else if operation.due() != Tick::NEVER {
                    return false; // It is tried again then.
                } else if operation.kind == Kind::Connect {
                    return self.start_change(index, id, steps);
                } else if operation.kind == Kind::Shutdown {
                    self.shut_in_turn(index, id, steps);
                } else if operation.buffer.is_empty() && !operation.flags.has(Flags::DATAGRAM) {
                    self.end_queued(id, Fault::of(Status::Ok));
                } else if operation.flags.has(Flags::FILE) {
                    return self.start_file(index, id, steps);
                } else {
                    return self.start(Token::output(index), id, steps);
                }
                true
            }
        }
    }

    /// One move on the input lane; false when there is none.
    fn pump_input(&mut self, index: u32, steps: &mut impl Steps) -> bool {
        let socket = &self.sockets[index];
        let Some(id) = socket.receives.first() else {
            return false;
        };
        let operation = &self.operations[id];
        if let Some(fault) = socket.broken().or(operation.fate.map(Fault::of)) {
            self.end_queued(id, fault);
        } else if self.rests(index, id, steps) {
            return false;
        } else if self.operations[id].flags.has(Flags::OUT_OF_BAND) {
            let outcome = steps.receive_urgent(index, request_of(&self.operations[id]));
            self.leave_queue(id);
            self.finish_outcome(id, outcome, steps);
        } else {
            return self.start(Token::input(index), id, steps);
        }
        true
    }

    /// Gives the head of a lane to the driver; true when it is back already.
    pub(super) fn start(&mut self, token: Token, head: u32, steps: &mut impl Steps) -> bool {
        let answer = steps.start(token, request_of(&self.operations[head]));
        self.started(token, answer, steps)
    }

    /// The driver has been given the head of a lane; true when it is back already.
    #[inline(always)]
    fn started(&mut self, token: Token, answer: Option<Outcome>, steps: &mut impl Steps) -> bool {
        match answer {
            None => {
                self.sockets[token.socket].lanes[token.lane as usize] = LaneState::Busy;
                false
            }
            Some(outcome) => {
                let state = self.sockets[token.socket].state;
                self.answered(token, state, outcome, steps);
                true
            }
        }
    }

    /// What has found its lane free was given to the driver at once.
    pub(super) fn begun(&mut self, token: Token, answer: Option<Outcome>, steps: &mut impl Steps) {
        if self.started(token, answer, steps) && self.sockets[token.socket].is_due() {
            self.pump(token.socket, steps);
        }
    }
}
