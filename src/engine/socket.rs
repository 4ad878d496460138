//! The rules of a socket, pure: commands, outcomes and expiries go in; steps for a driver and
//! finished operations come out. Order, send-all, cancelling, deadlines, cut sends, shutdown and
//! close live here once, for every driver.
//!
//! A socket has two lanes. On each at most one operation is with the driver at a time, the head
//! of its queue: connects and then sends on the output lane, receives on the input lane.

use super::accept::Pause;
use super::arena::Arena;
use super::arrival::Arrival;
use super::connect::Attempt;
use super::operation::{Fault, Flags, Kind, Operation, Operations, Payload, Phase, Tick, NONE};
use super::queue::{Chain, Queue};
use super::request::request_of;
use super::timer::Wheel;
use crate::address::{Address, Family};
use crate::driver::{Lane, Outcome, Request, Token};
use crate::status::{OsError, Status};

/// What the engine asks of the world: a driver and real descriptors, or a simulation.
pub trait Steps {
    /// Makes the descriptor for a connection of that family, with the options that were kept. The
    /// number is a socket's or, from `FIRST_ATTEMPT` on, that of an attempt of the socket's race.
    fn open(&mut self, number: u32, socket: u32, family: Family) -> Result<(), Fault>;
    /// Starts a request; an outcome means that it is over already.
    fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome>;
    /// Takes the lane's request back. Without an outcome it is still with the driver, and its
    /// outcome comes later: `Canceled`, or its own where the cancel came too late.
    fn cancel(&mut self, token: Token) -> Option<Outcome>;
    /// A receive of urgent data, which never waits.
    fn receive_urgent(&mut self, socket: u32, request: Request<'_>) -> Outcome;
    fn shutdown(&mut self, socket: u32, receive: bool, send: bool);
    /// Has the part of a file sent that a payload asks for. Given back it is over already; else it
    /// comes back with its outcome by `Engine::file_done`.
    fn send_file(&mut self, socket: u32, payload: Box<Payload>) -> Option<Box<Payload>>;
    /// Takes an operation's payload back, unless a thread for files has begun with it.
    fn recall_file(&mut self, operation: u32) -> Option<Box<Payload>>;
    /// The present tick.
    fn now(&self) -> u64;
    /// The attempt of a race has won: its descriptor becomes the socket's own.
    fn adopt(&mut self, socket: u32, attempt: u32, remote: &Address) -> Result<(), Fault>;
    /// The connection stands; the payload names its peer. A fault refuses it after all.
    fn connected(&mut self, socket: u32, remote: Option<Box<Payload>>) -> Result<(), Fault>;
    /// So many bytes of an operation that goes on have left.
    fn sent(&mut self, socket: u32, bytes: usize);
    /// A descriptor that did not come from here is the driver's from now on, if it was not before.
    fn arrived(&mut self, socket: u32) -> Result<Arrival, Fault>;
    /// The descriptor of that number was accepted: it is the place's that an accept has made, and
    /// closed where that cannot be.
    fn accepted(&mut self, listener: u32, place: u64, number: usize) -> Result<(), Fault>;
    /// The descriptor of a socket is the driver's no more, and is not to be touched.
    fn forget(&mut self, socket: u32);
    /// A descriptor that came from outside is as it was before a connect that has failed.
    fn renew(&mut self, socket: u32) -> Result<(), Fault>;
    /// Closes the descriptor of a failed attempt.
    fn discard(&mut self, socket: u32);
    /// Closes the descriptor for good, if there is one. The socket's number may be used anew when
    /// `take_closed` has named it.
    fn close(&mut self, socket: u32, reset: bool);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    #[default]
    Idle,
    Connecting,
    Connected,
    Listening,
}

/// What has happened to a socket and concerns the operations that come later. A cut is an end that
/// takes others with it: of a connect, all that waited for it; of a send, the sends behind it.
/// Operations still on their way to the worker are recognised by their epoch, which the
/// application's side raises when it makes that end visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Trouble {
    #[default]
    None,
    Cut,
    SendsCut,
    /// The connection is broken, for good.
    Broken,
}

/// A number, or none, in the room of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link(u32);

impl Link {
    pub fn of(number: Option<u32>) -> Link {
        Link(number.unwrap_or(NONE))
    }

    pub fn get(self) -> Option<u32> {
        (self.0 != NONE).then_some(self.0)
    }
}

impl Default for Link {
    fn default() -> Link {
        Link(NONE)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum LaneState {
    #[default]
    Idle,
    /// The driver has the head of the queue.
    Busy,
    /// The driver has been asked for it back.
    Canceling,
}

/// The worker's half of a socket. There are many of them, so it is kept small.
#[derive(Default)]
pub struct Socket {
    pub(super) connects: Queue,
    pub(super) sends: Queue,
    pub(super) receives: Queue,
    pub(super) state: State,
    pub(super) lanes: [LaneState; 2],
    /// There is a descriptor.
    pub(super) open: bool,
    /// The descriptor came from outside and outlives a failed connect; of which family it is.
    pub(super) given: Option<Family>,
    pub(super) send_shut: bool,
    /// The receiving side is to be shut down as soon as the connection stands.
    pub(super) receive_shut_pending: bool,
    /// Of a datagram socket: nothing is received any more.
    pub(super) receive_shut: bool,
    pub(super) closing: bool,
    pub(super) draining: bool,
    pub(super) reset: bool,
    pub(super) epoch: u8,
    pub(super) trouble: Trouble,
    /// What `trouble` tells the operations that it concerns; see `fault`.
    status: Status,
    os_error: OsError,
    /// What the `begin_close` operation will say.
    pub(super) close_status: Option<Status>,
    /// The `begin_close` operation; once it has finished, the next in the list of closed sockets.
    pub(super) link: Link,
}

const _: () = assert!(size_of::<Socket>() <= 36);

impl Socket {
    /// What broke the connection.
    pub(super) fn broken(&self) -> Option<Fault> {
        (self.trouble == Trouble::Broken).then_some(self.fault())
    }

    fn fault(&self) -> Fault {
        Fault {
            status: self.status,
            os_error: self.os_error,
        }
    }

    /// Notes what has happened, and what it tells the operations that it concerns.
    pub(super) fn meet(&mut self, trouble: Trouble, fault: Fault) {
        self.trouble = trouble;
        self.status = fault.status;
        self.os_error = fault.os_error;
    }

    /// What was begun before the end that is just told is visible shares it.
    pub(super) fn cut(&mut self, cut: Trouble, fault: Fault) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.trouble != Trouble::Broken {
            self.meet(cut, fault);
        }
    }

    /// The queue of a lane of a connection.
    pub(super) fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Output => &mut self.sends,
            Lane::Input => &mut self.receives,
        }
    }

    /// Something of it is pending.
    pub(super) fn is_busy(&self) -> bool {
        !(self.connects.is_empty() && self.sends.is_empty() && self.receives.is_empty())
    }
}

/// Everything that one worker owns.
pub struct Engine {
    pub operations: Operations,
    pub sockets: Arena<Socket>,
    pub(super) timers: Wheel,
    pub(super) finished: Chain,
    /// The first and the last of the closed sockets.
    closed: Option<u32>,
    last_closed: u32,
    pub(super) attempts: Vec<Option<Attempt>>,
    pub(super) pauses: Vec<Pause>,
    pub(super) pending: usize,
}

impl Engine {
    pub fn new(now: u64) -> Engine {
        Engine {
            operations: Operations::new(),
            sockets: Arena::new(),
            timers: Wheel::new(now),
            finished: Chain::default(),
            closed: None,
            last_closed: NONE,
            attempts: Vec::new(),
            pauses: Vec::new(),
            pending: 0,
        }
    }

    /// Operations that are not finished.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Nothing is pending, and the driver has let go of everything.
    pub fn is_quiet(&self) -> bool {
        self.pending == 0 && self.attempts.iter().all(Option::is_none)
    }

    /// The next operation whose result is fixed, if it is as wanted; its record stays until it is
    /// delivered.
    pub fn take_finished_if(
        &mut self,
        wanted: impl FnOnce(&Operation) -> bool,
    ) -> Option<(u32, &mut Operation)> {
        let id = self.finished.first()?;
        let operation = &mut self.operations[id];
        if !wanted(operation) {
            return None;
        }
        self.finished.drop_first(&mut operation.next);
        Some((id, operation))
    }

    /// The next operation whose result is fixed.
    #[cfg(test)]
    pub fn take_finished(&mut self) -> Option<u32> {
        self.take_finished_if(|_| true).map(|(id, _)| id)
    }

    /// The record of a finished operation goes back to the seat.
    pub fn deliver(&mut self, id: u32) {
        debug_assert_eq!(self.operations[id].phase, Phase::Finished);
        self.operations[id].phase = Phase::Free;
        self.operations.give_back(id);
    }

    pub fn has_finished(&self) -> bool {
        self.finished.first().is_some()
    }

    /// A socket is closed, and its operations are all finished.
    pub(super) fn note_closed(&mut self, index: u32) {
        self.sockets[index].link = Link::of(None);
        match self.closed {
            None => self.closed = Some(index),
            Some(_) => self.sockets[self.last_closed].link = Link::of(Some(index)),
        }
        self.last_closed = index;
    }

    /// The next socket that is closed and whose operations are all finished, in the order of their
    /// closes. Its number is free once those that `take_finished_if` gave before it have been settled.
    pub fn take_closed(&mut self) -> Option<u32> {
        let index = self.closed?;
        self.closed = std::mem::take(&mut self.sockets[index].link).get();
        Some(index)
    }

    pub fn has_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// The tick until which nothing expires.
    pub fn next_expiry(&self) -> Option<u64> {
        self.timers.next()
    }

    /// An operation arrives from the application.
    pub fn begin(&mut self, id: u32, steps: &mut impl Steps) {
        let operation = &mut self.operations[id];
        debug_assert_eq!(operation.phase, Phase::Free);
        operation.phase = Phase::Queued;
        self.pending += 1;
        let timed = operation.is_timed();
        // What there is most of needs no decision: the pump would do just this with it.
        if let Some(lane) = operation.plain_lane().filter(|_| !timed) {
            let socket = &mut self.sockets[operation.socket];
            if socket.is_free_for(lane) {
                socket.queue(lane).push_only(id, operation);
                let token = Token {
                    socket: operation.socket,
                    lane,
                };
                let answer = steps.start(token, request_of(operation));
                return self.begun(token, answer, steps);
            }
        }
        let (index, kind, flags) = (operation.socket, operation.kind, operation.flags);
        let epoch = operation.epoch;
        if timed {
            self.timers.insert(&mut self.operations, id);
        }
        match kind {
            Kind::Timer => return,
            Kind::Resolve => {
                // A literal address has been looked up already.
                if let Some(Payload::Found(found)) = self.operations[id].payload.as_deref_mut() {
                    let found = std::mem::take(found);
                    self.finish_resolve(id, Ok(found));
                }
                return;
            }
            Kind::Close => return self.close(index, flags, Some(id), steps),
            _ => {}
        }
        if let Some(fault) = self.refusal(index, kind, flags, epoch) {
            if kind == Kind::Connect && self.sockets[index].state == State::Idle {
                self.cut_connect(id, fault); // What was begun after it waits for it, too.
            }
            return self.finish(id, fault);
        }
        match kind {
            Kind::Connect if self.changes_peer(index, id) => {
                self.sockets[index].sends.push(&mut self.operations, id);
            }
            Kind::Connect => {
                let socket = &mut self.sockets[index];
                if socket.state == State::Idle {
                    socket.state = State::Connecting;
                }
                socket.connects.push(&mut self.operations, id);
            }
            Kind::Send => self.sockets[index].sends.push(&mut self.operations, id),
            Kind::SendTo => self.queue_send_to(index, id, steps),
            Kind::Receive | Kind::ReceiveFrom => self.queue_receive(index, id, flags, steps),
            Kind::Accept => self.sockets[index].receives.push(&mut self.operations, id),
            Kind::Shutdown => self.queue_shutdown(index, id, steps),
            Kind::Timer | Kind::Resolve | Kind::Close => unreachable!("handled above"),
        }
        self.pump(index, steps);
    }

    /// What already speaks against an operation that arrives.
    fn refusal(&self, index: u32, kind: Kind, flags: Flags, epoch: u8) -> Option<Fault> {
        let socket = &self.sockets[index];
        // A socket that cannot get hold of the descriptor it was given is broken for good.
        let for_good = socket.given.is_some() && socket.state == State::Idle;
        let concerned = match socket.trouble {
            Trouble::None => false,
            Trouble::Cut => epoch != socket.epoch,
            Trouble::SendsCut => epoch != socket.epoch && kind.sends(),
            Trouble::Broken => kind != Kind::Connect || for_good, // Once told, it is told always.
        };
        if concerned {
            return Some(socket.fault());
        }
        if flags.has(Flags::DATAGRAM) {
            if flags.has(Flags::FILE) {
                return Some(Fault::of(Status::NotSupported));
            }
            return self.datagram_refusal(index, kind);
        }
        let status = match (kind, socket.state) {
            (Kind::Send | Kind::Receive | Kind::Shutdown, State::Idle | State::Listening) => {
                Status::NotConnected
            }
            (Kind::Send, _) if socket.send_shut => Status::ShutDown,
            (Kind::Connect, State::Listening) => Status::InvalidState,
            (Kind::Connect, State::Connected) => Status::AlreadyConnected,
            (Kind::Accept, State::Idle | State::Connecting | State::Connected) => {
                Status::InvalidState
            }
            _ => return None,
        };
        Some(Fault::of(status))
    }

    /// Urgent data does not stand in line with the rest of the stream.
    fn queue_receive(&mut self, index: u32, id: u32, flags: Flags, steps: &mut impl Steps) {
        if flags.has(Flags::OUT_OF_BAND) && self.sockets[index].state == State::Connected {
            let outcome = steps.receive_urgent(index, request_of(&self.operations[id]));
            self.finish_outcome(id, outcome, steps);
        } else {
            self.sockets[index].receives.push(&mut self.operations, id);
        }
    }

    /// The receiving side ends now, or with the connect; the sending side after the sends before.
    fn queue_shutdown(&mut self, index: u32, id: u32, steps: &mut impl Steps) {
        let flags = self.operations[id].flags;
        let waits = flags.has(Flags::DATAGRAM) && self.is_changing(index);
        let socket = &mut self.sockets[index];
        if flags.has(Flags::RECEIVE) && !waits {
            if socket.state != State::Connecting && flags.has(Flags::DATAGRAM) {
                self.shut_receiving(index, steps);
            } else if socket.state == State::Connected {
                steps.shutdown(index, true, false);
            } else {
                socket.receive_shut_pending = true;
            }
        }
        let socket = &mut self.sockets[index];
        if waits || flags.has(Flags::SEND) && !socket.send_shut {
            socket.send_shut |= flags.has(Flags::SEND);
            socket.sends.push(&mut self.operations, id);
        } else {
            self.finish(id, Fault::of(Status::Ok));
        }
    }

    /// A shutdown has come to the head of the sends.
    pub(super) fn shut_in_turn(&mut self, index: u32, id: u32, steps: &mut impl Steps) {
        let flags = self.operations[id].flags;
        let waited = flags.has(Flags::DATAGRAM) && !self.sockets[index].receive_shut;
        if waited && flags.has(Flags::RECEIVE) {
            self.shut_receiving(index, steps); // With a connect that stood among the sends.
        }
        if flags.has(Flags::SEND) {
            steps.shutdown(index, false, true);
        }
        self.end_queued(id, Fault::of(Status::Ok));
    }

    pub(super) fn leave_queue(&mut self, id: u32) {
        let operation = &self.operations[id];
        let socket = &mut self.sockets[operation.socket];
        let queue = match operation.kind {
            Kind::Connect if !operation.flags.has(Flags::AMONG_SENDS) => &mut socket.connects,
            kind if kind.is_input() => &mut socket.receives,
            _ => &mut socket.sends,
        };
        queue.remove(&mut self.operations, id);
    }

    /// Ends an operation that stands in a queue.
    pub(super) fn end_queued(&mut self, id: u32, fault: Fault) {
        self.leave_queue(id);
        self.finish(id, fault);
    }

    /// Fixes an operation's result. From here on nobody touches its buffer.
    pub(super) fn finish(&mut self, id: u32, fault: Fault) {
        let operation = &mut self.operations[id];
        if operation.node.armed() {
            self.timers.remove(&mut self.operations, id);
            self.operations[id].finish(fault);
        } else {
            operation.finish(fault);
        }
        self.pending -= 1;
        self.finished.push(&mut self.operations, id);
    }

    /// The head of a lane has ended, or is still to end if others stand behind it.
    #[inline(always)]
    pub(super) fn head_ended(&mut self, id: u32, ended: bool, fault: Fault) {
        if ended {
            self.pending -= 1;
            self.finished.push(&mut self.operations, id);
        } else {
            self.end_queued(id, fault);
        }
    }

    /// The deadline of a pending operation is set anew, or taken away.
    pub fn set_deadline(&mut self, id: u32, deadline: Option<u64>) {
        if self.operations[id].phase == Phase::Queued {
            let due = self.operations[id].due();
            self.set_times(id, due, Tick::of(deadline));
        }
    }

    /// Changes the times of an operation, whose timer may be armed.
    pub(super) fn set_times(&mut self, id: u32, due: Tick, deadline: Tick) {
        self.timers.remove(&mut self.operations, id);
        let operation = &mut self.operations[id];
        operation.set_due(due);
        operation.deadline = deadline;
        if operation.is_timed() {
            self.timers.insert(&mut self.operations, id);
        }
    }

    /// Time has come to `now`: timers are done, races go on, and what is late times out.
    pub fn expire(&mut self, now: u64, steps: &mut impl Steps) {
        self.timers.advance(&mut self.operations, now);
        while let Some(id) = self.timers.take_due(&mut self.operations) {
            let operation = &self.operations[id];
            let due = operation.due().has_come(now);
            let deadline = operation.deadline;
            match operation.kind {
                Kind::Timer if due => self.finish(id, Fault::of(Status::Ok)),
                Kind::Connect | Kind::SendTo | Kind::Accept if due && !deadline.has_come(now) => {
                    self.set_times(id, Tick::NEVER, deadline);
                    self.pump(self.operations[id].socket, steps);
                }
                _ => self.abort(id, Status::TimedOut, steps),
            }
        }
    }
}
