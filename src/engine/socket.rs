//! The rules of a socket, pure: commands, outcomes and expiries go in; steps for a driver and
//! finished operations come out. Order, send-all, cancelling, deadlines, cut sends, shutdown and
//! close live here once, for every driver.
//!
//! A socket has two lanes. On each at most one operation is with the driver at a time, the head
//! of its queue: connects and then sends on the output lane, receives on the input lane.

use super::arena::Arena;
use super::operation::{Begin, Fault, Flags, Kind, Operation, Payload, Phase, Queue, NONE};
use super::timer::Wheel;
use crate::address::Family;
use crate::driver::{Lane, Outcome, Request, Token, BROKEN_PIPE};
use crate::status::{OsError, Status};

/// What the engine asks of the world: a driver and real descriptors, or a simulation.
pub trait Steps {
    /// Makes the descriptor for a connection of that family, with the options that were kept.
    fn open(&mut self, socket: u32, family: Family) -> Result<(), Fault>;
    /// Starts a request; an outcome means that it is over already.
    fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome>;
    /// Takes the lane's request back. Without an outcome it is still with the driver, and its
    /// outcome comes later: `Canceled`, or its own where the cancel came too late.
    fn cancel(&mut self, token: Token) -> Option<Outcome>;
    /// A receive of urgent data, which never waits.
    fn receive_urgent(&mut self, socket: u32, request: Request<'_>) -> Outcome;
    fn shutdown(&mut self, socket: u32, receive: bool, send: bool);
    /// The connection stands; the payload names its peer. A fault refuses it after all.
    fn connected(&mut self, socket: u32, remote: Option<Box<Payload>>) -> Result<(), Fault>;
    /// So many bytes of an operation that goes on have left.
    fn sent(&mut self, socket: u32, bytes: usize);
    /// Closes the descriptor of a failed attempt.
    fn discard(&mut self, socket: u32);
    /// Closes the socket for good; its number may be used anew at once.
    fn close(&mut self, socket: u32, reset: bool);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Idle,
    Connecting,
    Connected,
}

/// An end that takes others with it: of a connect, all that waited for it; of a send, the sends
/// behind it. Operations still on their way to the worker are recognised by their epoch, which
/// the application's side raises when it makes that end visible.
#[derive(Clone, Copy, Debug)]
struct Cut {
    fault: Fault,
    sends_only: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum LaneState {
    #[default]
    Idle,
    /// The driver has the head of the queue.
    Busy,
    /// The driver has been asked for it back.
    Canceling,
}

/// The worker's half of a socket.
#[derive(Default)]
pub struct Socket {
    connects: Queue,
    sends: Queue,
    receives: Queue,
    state: State,
    lanes: [LaneState; 2],
    /// There is a descriptor.
    open: bool,
    send_shut: bool,
    /// The receiving side is to be shut down as soon as the connection stands.
    receive_shut_pending: bool,
    closing: bool,
    draining: bool,
    reset: bool,
    epoch: u8,
    /// Sticky: what broke the connection, told to every later operation.
    broken: Option<Fault>,
    cut: Option<Cut>,
    /// The `begin_close` operation, and what it will say.
    closer: Option<u32>,
    close_status: Option<Status>,
}

/// Everything that one worker owns.
pub struct Engine {
    pub operations: Arena<Operation>,
    pub sockets: Arena<Socket>,
    timers: Wheel,
    finished: Queue,
    pending: usize,
}

impl Engine {
    pub fn new(now: u64) -> Engine {
        Engine {
            operations: Arena::new(),
            sockets: Arena::new(),
            timers: Wheel::new(now),
            finished: Queue::default(),
            pending: 0,
        }
    }

    /// Operations that are not finished.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// The next operation whose result is fixed; its record stays until it is delivered.
    pub fn take_finished(&mut self) -> Option<u32> {
        self.finished.pop(&mut self.operations)
    }

    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// The tick until which nothing expires.
    pub fn next_expiry(&self) -> Option<u64> {
        self.timers.next()
    }

    /// The request that the driver has, or is to have, for a lane.
    pub fn request(&self, token: Token) -> Option<Request<'_>> {
        let socket = self.sockets.get(token.socket)?;
        let queue = match (token.lane, socket.state) {
            (Lane::Output, State::Connecting) => &socket.connects,
            (Lane::Output, _) => &socket.sends,
            (Lane::Input, _) => &socket.receives,
        };
        Some(request_of(&self.operations[queue.first()?]))
    }

    /// An operation arrives from the application.
    pub fn begin(&mut self, id: u32, begin: Begin, steps: &mut impl Steps) {
        let (index, kind, epoch) = (begin.socket, begin.kind, begin.epoch);
        debug_assert_eq!(self.operations[id].phase, Phase::Free);
        let expiry = match (begin.due, begin.deadline) {
            (Some(due), Some(deadline)) => Some(due.min(deadline)),
            (due, deadline) => due.or(deadline),
        };
        self.operations[id] = Operation::new(begin);
        self.pending += 1;
        if let Some(expiry) = expiry {
            self.timers.insert(&mut self.operations, id, expiry);
        }
        match kind {
            Kind::Timer => return,
            Kind::Close => {
                let flags = self.operations[id].flags;
                return self.close(index, flags, Some(id), steps);
            }
            _ => {}
        }
        if let Some(fault) = self.refusal(index, kind, epoch) {
            return self.finish(id, fault);
        }
        match kind {
            Kind::Connect => {
                let socket = &mut self.sockets[index];
                if socket.state == State::Idle {
                    socket.state = State::Connecting;
                }
                socket.connects.push(&mut self.operations, id);
            }
            Kind::Send => self.sockets[index].sends.push(&mut self.operations, id),
            Kind::Receive => self.queue_receive(index, id, steps),
            Kind::Shutdown => self.queue_shutdown(index, id, steps),
            Kind::Timer | Kind::Close => unreachable!("handled above"),
        }
        self.pump(index, steps);
    }

    /// What already speaks against an operation that arrives.
    fn refusal(&self, index: u32, kind: Kind, epoch: u8) -> Option<Fault> {
        let socket = &self.sockets[index];
        if let Some(cut) = socket.cut {
            if epoch != socket.epoch && (!cut.sends_only || kind == Kind::Send) {
                return Some(cut.fault);
            }
        }
        match kind {
            Kind::Connect if socket.state == State::Connected => {
                Some(Fault::of(Status::AlreadyConnected))
            }
            Kind::Send | Kind::Receive | Kind::Shutdown => {
                if socket.broken.is_some() {
                    return socket.broken;
                }
                if socket.state == State::Idle {
                    return Some(Fault::of(Status::NotConnected));
                }
                (kind == Kind::Send && socket.send_shut).then(|| Fault::of(Status::ShutDown))
            }
            _ => None,
        }
    }

    /// Urgent data does not stand in line with the rest of the stream.
    fn queue_receive(&mut self, index: u32, id: u32, steps: &mut impl Steps) {
        let urgent = self.operations[id].flags.out_of_band;
        if urgent && self.sockets[index].state == State::Connected {
            let outcome = steps.receive_urgent(index, request_of(&self.operations[id]));
            self.finish_outcome(id, outcome);
        } else {
            self.sockets[index].receives.push(&mut self.operations, id);
        }
    }

    /// The receiving side ends now, or with the connect; the sending side after the sends before.
    fn queue_shutdown(&mut self, index: u32, id: u32, steps: &mut impl Steps) {
        let flags = self.operations[id].flags;
        let socket = &mut self.sockets[index];
        if flags.receive {
            if socket.state == State::Connected {
                steps.shutdown(index, true, false);
            } else {
                socket.receive_shut_pending = true;
            }
        }
        if flags.send && !socket.send_shut {
            socket.send_shut = true;
            socket.sends.push(&mut self.operations, id);
        } else {
            self.finish(id, Fault::of(Status::Ok));
        }
    }

    /// Ends an operation that the application no longer wants; `status` says why.
    pub fn abort(&mut self, id: u32, status: Status, steps: &mut impl Steps) {
        if self.operations[id].phase != Phase::Queued {
            return;
        }
        let index = self.operations[id].socket;
        match self.operations[id].kind {
            Kind::Timer => return self.finish(id, Fault::of(status)),
            Kind::Close => self.abort_close(index, status, steps),
            _ => self.abort_queued(id, Fault::of(status), steps),
        }
        self.pump(index, steps);
    }

    fn abort_close(&mut self, index: u32, status: Status, steps: &mut impl Steps) {
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
    fn abort_queued(&mut self, id: u32, fault: Fault, steps: &mut impl Steps) {
        let index = self.operations[id].socket;
        let lane = match self.operations[id].kind {
            Kind::Receive => Lane::Input,
            _ => Lane::Output,
        };
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
                if let Some(outcome) = steps.cancel(token) {
                    self.lane_done(token, outcome, steps);
                }
            }
            LaneState::Canceling if is_head => {
                self.operations[id].fate.get_or_insert(fault.status);
            }
            _ if is_head && self.operations[id].kind == Kind::Connect => {
                self.connect_failed(index, fault, steps);
            }
            _ => {
                self.leave_queue(id);
                let cut = self.operations[id].kind == Kind::Send && self.operations[id].bytes > 0;
                self.finish(id, fault);
                if cut {
                    self.cut_sends(index, id, fault);
                }
            }
        }
    }

    fn leave_queue(&mut self, id: u32) {
        let socket = &mut self.sockets[self.operations[id].socket];
        let queue = match self.operations[id].kind {
            Kind::Connect => &mut socket.connects,
            Kind::Receive => &mut socket.receives,
            _ => &mut socket.sends,
        };
        queue.remove(&mut self.operations, id);
    }

    fn abort_all_of(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        while self.abort_next(index, fault, |socket| socket.connects.first(), steps) {}
        while self.abort_next(index, fault, |socket| socket.sends.first(), steps) {}
        self.abort_receives(index, fault, steps);
    }

    fn abort_receives(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        while self.abort_next(index, fault, |socket| socket.receives.first(), steps) {}
    }

    /// Aborts the head of a queue, or, while the driver holds on to it, the one behind it.
    fn abort_next(
        &mut self,
        index: u32,
        fault: Fault,
        head: impl Fn(&Socket) -> Option<u32>,
        steps: &mut impl Steps,
    ) -> bool {
        let Some(first) = head(&self.sockets[index]) else {
            return false;
        };
        if self.operations[first].fate.is_none() {
            self.abort_queued(first, fault, steps);
            return true;
        }
        match self.operations[first].next {
            NONE => false,
            second => {
                self.abort_queued(second, fault, steps);
                true
            }
        }
    }

    /// The socket's handle is gone; `closer` is told when all is over.
    pub fn close(&mut self, index: u32, flags: Flags, closer: Option<u32>, steps: &mut impl Steps) {
        let closed = Fault::of(Status::Closed);
        let socket = &mut self.sockets[index];
        socket.closing = true;
        socket.reset = flags.reset;
        socket.closer = closer;
        socket.draining = flags.drain && !socket.sends.is_empty();
        if socket.draining {
            self.abort_receives(index, closed, steps);
        } else {
            self.abort_all_of(index, closed, steps);
        }
        self.pump(index, steps);
    }

    /// The driver reports the end of what a lane had started.
    pub fn done(&mut self, token: Token, outcome: Outcome, steps: &mut impl Steps) {
        self.lane_done(token, outcome, steps);
        self.pump(token.socket, steps);
    }

    fn lane_done(&mut self, token: Token, outcome: Outcome, steps: &mut impl Steps) {
        let socket = &mut self.sockets[token.socket];
        debug_assert_ne!(socket.lanes[token.lane as usize], LaneState::Idle);
        socket.lanes[token.lane as usize] = LaneState::Idle;
        match (token.lane, socket.state) {
            (Lane::Output, State::Connecting) => self.connect_done(token.socket, outcome, steps),
            (Lane::Output, _) => self.send_done(token.socket, outcome, steps),
            (Lane::Input, _) => self.receive_done(token.socket, outcome, steps),
        }
    }

    fn connect_done(&mut self, index: u32, outcome: Outcome, steps: &mut impl Steps) {
        let Some(id) = self.sockets[index].connects.first() else {
            return;
        };
        let fate = self.operations[id].fate.unwrap_or(Status::Canceled);
        match outcome {
            Outcome::Failed(error) => self.connect_failed(index, Fault::system(error), steps),
            Outcome::Canceled => self.connect_failed(index, Fault::of(fate), steps),
            Outcome::Done(_) => {
                let remote = self.operations[id].payload.take();
                if let Err(fault) = steps.connected(index, remote) {
                    return self.connect_failed(index, fault, steps);
                }
                let socket = &mut self.sockets[index];
                socket.state = State::Connected;
                if std::mem::take(&mut socket.receive_shut_pending) {
                    steps.shutdown(index, true, false);
                }
                socket.connects.remove(&mut self.operations, id);
                self.finish(id, Fault::of(Status::Ok));
                while let Some(id) = self.sockets[index].connects.pop(&mut self.operations) {
                    self.finish(id, Fault::of(Status::AlreadyConnected));
                }
            }
        }
    }

    /// The attempt is over, and so is everything that waited for it; the handle may try again.
    fn connect_failed(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        let socket = &mut self.sockets[index];
        if std::mem::take(&mut socket.open) {
            steps.discard(index);
        }
        socket.state = State::Idle;
        socket.send_shut = false;
        socket.receive_shut_pending = false;
        socket.epoch = socket.epoch.wrapping_add(1);
        socket.cut = Some(Cut {
            fault,
            sends_only: false,
        });
        if let Some(first) = socket.connects.first() {
            self.operations[first].cuts = true;
        }
        let queues = [socket.connects, socket.sends, socket.receives];
        socket.connects = Queue::default();
        socket.sends = Queue::default();
        socket.receives = Queue::default();
        for mut queue in queues {
            while let Some(id) = queue.pop(&mut self.operations) {
                self.finish(id, fault);
            }
        }
    }

    fn send_done(&mut self, index: u32, outcome: Outcome, steps: &mut impl Steps) {
        let Some(id) = self.sockets[index].sends.first() else {
            return;
        };
        let operation = &mut self.operations[id];
        if let Outcome::Done(bytes) = outcome {
            operation.bytes += bytes;
            if operation.bytes < operation.buffer.len() && operation.fate.is_none() {
                operation.reported += bytes;
                return steps.sent(index, bytes); // The rest goes on as soon as there is room.
            }
        }
        let complete = operation.bytes == operation.buffer.len();
        let mut fault = match (outcome, operation.fate) {
            (Outcome::Done(_), _) if complete => Fault::of(Status::Ok),
            (Outcome::Failed(error), _) => Fault::system(error),
            (_, fate) => Fault::of(fate.unwrap_or(Status::Canceled)),
        };
        if fault.os_error == BROKEN_PIPE && self.sockets[index].send_shut {
            fault.status = Status::ShutDown;
        } else if let (Status::Canceled, None, Some(broken)) = (
            fault.status,
            self.operations[id].fate,
            self.sockets[index].broken,
        ) {
            fault = broken;
        }
        self.leave_queue(id);
        self.finish(id, fault);
        if fault.status == Status::Ok {
            return;
        }
        if breaks(fault) {
            self.broke(index, fault, steps);
        } else if self.operations[id].bytes > 0 {
            self.cut_sends(index, id, fault);
        }
    }

    /// A send ended after its first byte: what was queued behind it must not follow.
    fn cut_sends(&mut self, index: u32, id: u32, fault: Fault) {
        self.operations[id].cuts = true;
        let socket = &mut self.sockets[index];
        socket.epoch = socket.epoch.wrapping_add(1);
        let fault = Fault::of(fault.status);
        socket.cut = Some(Cut {
            fault,
            sends_only: true,
        });
        let mut next = socket.sends.first();
        while let Some(id) = next {
            let following = self.operations[id].next;
            next = (following != NONE).then_some(following);
            if self.operations[id].kind == Kind::Send {
                self.leave_queue(id);
                self.finish(id, fault);
            }
        }
    }

    fn receive_done(&mut self, index: u32, outcome: Outcome, steps: &mut impl Steps) {
        let Some(id) = self.sockets[index].receives.first() else {
            return;
        };
        let broken = self.sockets[index].broken;
        let operation = &mut self.operations[id];
        let fault = match outcome {
            Outcome::Done(0) => match broken {
                Some(broken) => broken,
                None => Fault::of(Status::Ok),
            },
            Outcome::Done(bytes) => {
                operation.bytes += bytes;
                let more = operation.flags.all && operation.bytes < operation.buffer.len();
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
        self.leave_queue(id);
        self.finish(id, fault);
        if matches!(outcome, Outcome::Failed(_)) && breaks(fault) {
            self.broke(index, fault, steps);
        }
    }

    /// The connection is gone: everything that is pending says so, and all that comes later.
    fn broke(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        if self.sockets[index].broken.is_some() {
            return;
        }
        self.sockets[index].broken = Some(fault);
        self.abort_broken(index, Lane::Output, fault, steps);
        self.abort_broken(index, Lane::Input, fault, steps);
    }

    fn abort_broken(&mut self, index: u32, lane: Lane, fault: Fault, steps: &mut impl Steps) {
        let token = Token {
            socket: index,
            lane,
        };
        if self.sockets[index].lanes[lane as usize] == LaneState::Busy {
            self.sockets[index].lanes[lane as usize] = LaneState::Canceling;
            if let Some(outcome) = steps.cancel(token) {
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
            self.leave_queue(id);
            self.finish(id, fault);
        }
    }

    /// Starts what can be started, until nothing moves.
    fn pump(&mut self, index: u32, steps: &mut impl Steps) {
        while self.pump_output(index, steps) || self.pump_input(index, steps) {}
        let socket = &self.sockets[index];
        let settled = socket.lanes == [LaneState::Idle; 2]
            && socket.connects.is_empty()
            && socket.sends.is_empty()
            && socket.receives.is_empty();
        if socket.closing && settled {
            let socket = std::mem::take(&mut self.sockets[index]);
            steps.close(index, socket.reset);
            if let Some(closer) = socket.closer {
                let status = socket.close_status.unwrap_or(Status::Ok);
                self.finish(closer, Fault::of(status));
            }
        }
    }

    /// One move on the output lane; false when there is none.
    fn pump_output(&mut self, index: u32, steps: &mut impl Steps) -> bool {
        let socket = &self.sockets[index];
        if socket.lanes[Lane::Output as usize] != LaneState::Idle {
            return false;
        }
        match socket.state {
            State::Idle => false,
            State::Connecting => self.start_connect(index, steps),
            State::Connected => {
                let Some(id) = socket.sends.first() else {
                    return false;
                };
                let operation = &self.operations[id];
                if let Some(broken) = socket.broken {
                    self.leave_queue(id);
                    self.finish(id, broken);
                } else if operation.kind == Kind::Shutdown {
                    steps.shutdown(index, false, true);
                    self.leave_queue(id);
                    self.finish(id, Fault::of(Status::Ok));
                } else if operation.buffer.is_empty() {
                    self.leave_queue(id);
                    self.finish(id, Fault::of(Status::Ok));
                } else {
                    return self.start(index, Lane::Output, steps);
                }
                true
            }
        }
    }

    fn start_connect(&mut self, index: u32, steps: &mut impl Steps) -> bool {
        let socket = &mut self.sockets[index];
        let Some(id) = socket.connects.first() else {
            return false;
        };
        if !socket.open {
            let family = match self.operations[id].payload.as_deref() {
                Some(Payload::Connect(address)) => address.family(),
                _ => Family::None,
            };
            if let Err(fault) = steps.open(index, family) {
                self.connect_failed(index, fault, steps);
                return true;
            }
            self.sockets[index].open = true;
        }
        self.start(index, Lane::Output, steps)
    }

    /// One move on the input lane; false when there is none.
    fn pump_input(&mut self, index: u32, steps: &mut impl Steps) -> bool {
        let socket = &self.sockets[index];
        if socket.state != State::Connected || socket.lanes[Lane::Input as usize] != LaneState::Idle
        {
            return false;
        }
        let Some(id) = socket.receives.first() else {
            return false;
        };
        if let Some(broken) = socket.broken {
            self.leave_queue(id);
            self.finish(id, broken);
        } else if self.operations[id].flags.out_of_band {
            let outcome = steps.receive_urgent(index, request_of(&self.operations[id]));
            self.leave_queue(id);
            self.finish_outcome(id, outcome);
        } else {
            return self.start(index, Lane::Input, steps);
        }
        true
    }

    /// Gives the head of a lane to the driver; true when it is back already.
    fn start(&mut self, index: u32, lane: Lane, steps: &mut impl Steps) -> bool {
        let token = Token {
            socket: index,
            lane,
        };
        let Some(request) = self.request(token) else {
            return false;
        };
        let outcome = steps.start(token, request);
        self.sockets[index].lanes[lane as usize] = LaneState::Busy;
        match outcome {
            None => false,
            Some(outcome) => {
                self.lane_done(token, outcome, steps);
                true
            }
        }
    }

    fn finish_outcome(&mut self, id: u32, outcome: Outcome) {
        let fault = match outcome {
            Outcome::Done(bytes) => {
                self.operations[id].bytes = bytes;
                Fault::of(Status::Ok)
            }
            Outcome::Failed(error) => Fault::system(error),
            Outcome::Canceled => Fault::of(Status::Canceled),
        };
        self.finish(id, fault);
    }

    /// Fixes an operation's result. From here on nobody touches its buffer.
    fn finish(&mut self, id: u32, fault: Fault) {
        debug_assert_eq!(self.operations[id].phase, Phase::Queued);
        self.timers.remove(&mut self.operations, id);
        let operation = &mut self.operations[id];
        operation.phase = Phase::Finished;
        operation.result = Some(fault);
        operation.payload = None;
        self.pending -= 1;
        self.finished.push(&mut self.operations, id);
    }

    /// The deadline of a pending operation is set anew, or taken away.
    pub fn set_deadline(&mut self, id: u32, deadline: Option<u64>) {
        if self.operations[id].phase != Phase::Queued {
            return;
        }
        let due = self.operations[id].due;
        let expiry = match (due, deadline) {
            (Some(due), Some(deadline)) => Some(due.min(deadline)),
            (due, deadline) => due.or(deadline),
        };
        self.timers.remove(&mut self.operations, id);
        if let Some(expiry) = expiry {
            self.timers.insert(&mut self.operations, id, expiry);
        }
    }

    /// Time has come to `now`: timers are done, and what is late times out.
    pub fn expire(&mut self, now: u64, steps: &mut impl Steps) {
        self.timers.advance(&mut self.operations, now);
        while let Some(id) = self.timers.take_due(&mut self.operations) {
            match self.operations[id].due {
                Some(due) if due <= now => self.finish(id, Fault::of(Status::Ok)),
                _ => self.abort(id, Status::TimedOut, steps),
            }
        }
    }

    /// Ends every operation, as a drain or stop does.
    pub fn abort_everything(&mut self, status: Status, steps: &mut impl Steps) {
        for id in 0..self.operations.end() {
            if self.is_queued(id) {
                self.abort(id, status, steps);
            }
        }
    }

    fn is_queued(&self, id: u32) -> bool {
        let operation = self.operations.get(id);
        operation.is_some_and(|operation| operation.phase == Phase::Queued)
    }

    /// Closes every socket that still has a descriptor; the operations have ended before.
    pub fn close_everything(&mut self, steps: &mut impl Steps) {
        for index in 0..self.sockets.end() {
            let socket = self.sockets.get(index);
            if socket.is_some_and(|socket| socket.open && !socket.closing) {
                self.close(index, Flags::default(), None, steps);
            }
        }
    }
}

/// The request for an operation's next move.
fn request_of(operation: &Operation) -> Request<'_> {
    let rest = operation.buffer.part(operation.bytes);
    match (&operation.kind, operation.payload.as_deref()) {
        (Kind::Connect, Some(Payload::Connect(address))) => Request::Connect(address),
        (Kind::Receive, _) if operation.buffer.is_empty() => Request::Readable,
        (Kind::Receive, _) => Request::Receive {
            buffer: rest,
            peek: operation.flags.peek,
            out_of_band: operation.flags.out_of_band,
        },
        _ => Request::Send {
            buffer: rest,
            more: operation.flags.more,
            out_of_band: operation.flags.out_of_band,
        },
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
