//! Connecting: one address on the socket's own descriptor, or a race between several, each on a
//! descriptor of its own until one has won.

use super::operation::{Fault, Flags, Kind, Payload, Phase, Tick};
use super::queue::Queue;
use super::race::{interleave, Race};
use super::socket::{Engine, State, Steps, Trouble};
use crate::address::{Address, Family};
use crate::driver::{Outcome, Request, Token};
use crate::foreign;
use crate::handle::SLOTS;
use crate::status::Status;
use crate::sys::WOULD_BLOCK;

/// The attempts of races are numbered behind the sockets, so that a driver can tell them apart.
pub const FIRST_ATTEMPT: u32 = SLOTS;

/// Ticks after which a listener is asked again whose queue was full and that does not tell of room.
const AGAIN: u64 = 10;

/// One attempt of a race.
pub struct Attempt {
    socket: u32,
    /// At a place of its own, since a driver may go on reading it.
    address: Box<Address>,
    /// The race is over, and the driver was asked to let go of it.
    canceled: bool,
}

impl Engine {
    /// Starts what the head of the connects needs; true when something has moved.
    pub(super) fn start_connect(&mut self, index: u32, steps: &mut impl Steps) -> bool {
        let Some(id) = self.sockets[index].connects.first() else {
            return false;
        };
        let given = self.sockets[index].given;
        let rests = self.operations[id].due() != Tick::NEVER;
        match self.operations[id].payload.as_deref_mut() {
            Some(Payload::Connect(_)) if rests => false, // It is tried again then.
            Some(Payload::Connect(address)) => {
                *address = given.map_or(*address, |family| address.for_family(family));
                let family = address.family();
                self.start_single(index, id, family, steps)
            }
            Some(Payload::Found(_)) if given.is_some() => {
                self.start(Token::output(index), id, steps)
            }
            Some(Payload::Race(..)) => {
                self.go_on_racing(index, id, steps);
                // An attempt may be over at once, and then what has waited for it goes on.
                self.sockets[index].state != State::Connecting
            }
            _ => false, // The name is still being looked up.
        }
    }

    fn start_single(
        &mut self,
        index: u32,
        id: u32,
        family: Family,
        steps: &mut impl Steps,
    ) -> bool {
        if !self.sockets[index].open {
            if let Err(fault) = steps.open(index, index, family) {
                self.connect_failed(index, fault, steps);
                return true;
            }
            self.sockets[index].open = true;
        }
        self.start(Token::output(index), id, steps)
    }

    /// A name has been looked up, or could not be.
    pub fn resolved(
        &mut self,
        id: u32,
        answer: Result<Vec<Address>, Fault>,
        steps: &mut impl Steps,
    ) {
        let operation = &mut self.operations[id];
        let (queued, kind, index) = (
            operation.phase == Phase::Queued,
            operation.kind,
            operation.socket,
        );
        let Some(Payload::Name(port)) = operation.payload.as_deref() else {
            return;
        };
        if !queued {
            return;
        }
        let port = *port;
        let found = answer.map(|mut addresses| {
            for address in &mut addresses {
                *address = address.with_port(port);
            }
            addresses
        });
        if kind == Kind::Resolve {
            return self.finish_resolve(id, found);
        }
        if self.sockets[index].connects.first() != Some(id)
            && !operation.flags.has(Flags::AMONG_SENDS)
        {
            return; // It waits for the connect before it, and shares that one's end.
        }
        match found {
            Err(fault) => self.abort_queued(id, fault, steps),
            Ok(addresses) => {
                let found = match addresses[..] {
                    [only] => Payload::Connect(only),
                    _ => {
                        let mut order = interleave(&addresses);
                        match self.in_turn(index, id, &mut order) {
                            true => Payload::Found(order),
                            false => Payload::Race(order, Race::new(addresses.len())),
                        }
                    }
                };
                if let Some(payload) = self.operations[id].payload.as_deref_mut() {
                    *payload = found;
                }
            }
        }
        self.pump(index, steps);
    }

    /// Hands the addresses of a name to the application.
    pub(super) fn finish_resolve(&mut self, id: u32, found: Result<Vec<Address>, Fault>) {
        let fault = match found {
            Err(fault) => fault,
            Ok(addresses) => {
                foreign::write_addresses(self.operations[id].buffer, &addresses);
                self.operations[id].set_bytes(addresses.len());
                Fault::of(Status::Ok)
            }
        };
        self.finish(id, fault);
    }

    /// Begins the attempts of a race that are due.
    fn go_on_racing(&mut self, index: u32, id: u32, steps: &mut impl Steps) {
        loop {
            let now = steps.now();
            let operation = &mut self.operations[id];
            let Some(Payload::Race(addresses, race)) = operation.payload.as_deref_mut() else {
                return; // It is decided.
            };
            let Some(next) = race.step(now) else {
                let (lost, due) = (race.lost(), Tick::of(race.next_due()));
                if let Some(fault) = lost {
                    return self.connect_failed(index, fault, steps);
                }
                if operation.due() != due {
                    let deadline = operation.deadline;
                    self.set_times(id, due, deadline);
                }
                return;
            };
            let address = addresses[next];
            if let Err(fault) = self.start_attempt(index, address, steps) {
                if let Some(race) = self.race_of(index) {
                    race.failed(fault);
                }
            }
        }
    }

    /// The race that a socket's connect is running.
    fn race_of(&mut self, index: u32) -> Option<&mut Race> {
        let id = self.sockets[index].connects.first()?;
        match self.operations[id].payload.as_deref_mut() {
            Some(Payload::Race(_, race)) => Some(race),
            _ => None,
        }
    }

    fn start_attempt(
        &mut self,
        index: u32,
        address: Address,
        steps: &mut impl Steps,
    ) -> Result<(), Fault> {
        let number = match self.attempts.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                let room = self.attempts.try_reserve(1);
                room.map_err(|_| Fault::of(Status::OutOfMemory))?;
                self.attempts.push(None);
                self.attempts.len() - 1
            }
        };
        let token = attempt_token(number);
        let address = foreign::try_box(address).ok_or(Fault::of(Status::OutOfMemory))?;
        steps.open(token.socket, index, address.family())?;
        let attempt = self.attempts[number].insert(Attempt {
            socket: index,
            address,
            canceled: false,
        });
        let outcome = steps.start(token, Request::Connect(&attempt.address));
        if let Some(outcome) = outcome {
            self.attempt_done(token, outcome, steps);
        }
        Ok(())
    }

    /// An attempt of a race has ended.
    pub(super) fn attempt_done(&mut self, token: Token, outcome: Outcome, steps: &mut impl Steps) {
        let number = (token.socket - FIRST_ATTEMPT) as usize;
        let Some(attempt) = self.attempts.get_mut(number).and_then(Option::take) else {
            return;
        };
        let index = attempt.socket;
        let failure = match outcome {
            Outcome::Done(_) if !attempt.canceled => {
                match steps.adopt(index, token.socket, &attempt.address) {
                    Ok(()) => {
                        self.sockets[index].open = true;
                        return self.race_won(index, *attempt.address, steps);
                    }
                    Err(fault) => fault,
                }
            }
            Outcome::Failed(error) => Fault::system(error),
            Outcome::Done(_) | Outcome::Canceled => Fault::of(Status::Canceled),
        };
        steps.discard(token.socket);
        if !attempt.canceled {
            if let Some(race) = self.race_of(index) {
                race.failed(failure);
            }
        }
    }

    fn race_won(&mut self, index: u32, address: Address, steps: &mut impl Steps) {
        self.end_race(index, steps);
        let Some(id) = self.sockets[index].connects.first() else {
            return;
        };
        if let Some(payload) = self.operations[id].payload.as_deref_mut() {
            *payload = Payload::Connect(address);
        }
        let deadline = self.operations[id].deadline;
        self.set_times(id, Tick::NEVER, deadline);
        self.connect_done(index, Outcome::Done(0), steps);
    }

    /// The losers are closed, as soon as the driver lets go of them.
    fn end_race(&mut self, index: u32, steps: &mut impl Steps) {
        let head = self.sockets[index].connects.first();
        let payload = head.and_then(|id| self.operations[id].payload.as_deref_mut());
        match payload {
            Some(payload @ Payload::Race(..)) => *payload = Payload::Found(Vec::new()),
            _ => return,
        }
        for number in 0..self.attempts.len() {
            let loser = self.attempts[number].as_mut();
            let Some(loser) = loser.filter(|one| one.socket == index && !one.canceled) else {
                continue;
            };
            loser.canceled = true;
            let token = attempt_token(number);
            if let Some(outcome) = steps.cancel(token) {
                self.attempt_done(token, outcome, steps);
            }
        }
    }

    pub(super) fn socket_of_attempt(&self, token: Token) -> Option<u32> {
        let number = (token.socket - FIRST_ATTEMPT) as usize;
        let attempt = self.attempts.get(number)?.as_ref()?;
        Some(attempt.socket)
    }

    /// The address that an attempt of a race tries.
    pub(super) fn attempt_address(&self, token: Token) -> Option<&Address> {
        let number = (token.socket - FIRST_ATTEMPT) as usize;
        let attempt = self.attempts.get(number)?.as_ref()?;
        Some(&attempt.address)
    }

    pub(super) fn connect_done(&mut self, index: u32, outcome: Outcome, steps: &mut impl Steps) {
        let Some(id) = self.sockets[index].connects.first() else {
            return;
        };
        let fate = self.operations[id].fate.unwrap_or(Status::Canceled);
        match outcome {
            Outcome::Failed(WOULD_BLOCK) if self.waits_for_room(id) => {
                let due = Tick::of(Some(steps.now() + AGAIN));
                let deadline = self.operations[id].deadline;
                self.set_times(id, due, deadline);
            }
            Outcome::Failed(_) if self.try_next(index, id, steps) => {}
            Outcome::Failed(error) => self.connect_failed(index, Fault::system(error), steps),
            Outcome::Canceled => self.connect_failed(index, Fault::of(fate), steps),
            Outcome::Done(_) => {
                let remote = self.take_remote(id);
                if let Err(fault) = steps.connected(index, remote) {
                    return self.connect_failed(index, fault, steps);
                }
                let socket = &mut self.sockets[index];
                socket.state = State::Connected;
                if std::mem::take(&mut socket.receive_shut_pending) {
                    if self.operations[id].flags.has(Flags::DATAGRAM) {
                        self.shut_receiving(index, steps);
                    } else {
                        steps.shutdown(index, true, false);
                    }
                }
                let socket = &mut self.sockets[index];
                socket.connects.remove(&mut self.operations, id);
                self.finish(id, Fault::of(Status::Ok));
                while let Some(id) = self.sockets[index].connects.pop(&mut self.operations) {
                    self.finish(id, Fault::of(Status::AlreadyConnected));
                }
            }
        }
    }

    /// Whether a connect whose peer has no room goes on: over TCP the system waits by itself, over
    /// unix sockets it does not.
    fn waits_for_room(&self, id: u32) -> bool {
        let operation = &self.operations[id];
        match operation.payload.as_deref() {
            Some(Payload::Connect(to)) => to.family() == Family::Unix && operation.fate.is_none(),
            _ => false,
        }
    }

    /// The connect is over, and so is everything that waited for it; the handle may try again.
    pub(super) fn connect_failed(&mut self, index: u32, fault: Fault, steps: &mut impl Steps) {
        self.end_race(index, steps);
        self.leave_attempt(index, steps);
        let socket = &mut self.sockets[index];
        socket.state = State::Idle;
        socket.send_shut = false;
        socket.receive_shut_pending = false;
        if let Some(last) = socket.connects.last(&self.operations) {
            self.cut_connect(last, fault); // It is the last of them to become visible.
        }
        let socket = &mut self.sockets[index];
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

    /// A connect has failed: what is begun before that is visible fails with it.
    pub(super) fn cut_connect(&mut self, id: u32, fault: Fault) {
        self.operations[id].flags.set(Flags::CUTS, true);
        let socket = &mut self.sockets[self.operations[id].socket];
        socket.cut(Trouble::Cut, fault);
    }
}

fn attempt_token(number: usize) -> Token {
    Token::output(FIRST_ATTEMPT + number as u32)
}
