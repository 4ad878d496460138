//! The engine's steps in the simulated world.

use super::{NUMBERS, PATTERN};
use crate::address::{Address, Family};
use crate::driver::sim::{Link, SimDriver};
use crate::driver::{Lane, Outcome, Request, Token};
use crate::engine::arrival::{Arrival, Standing};
use crate::engine::connect::FIRST_ATTEMPT;
use crate::engine::operation::{Fault, Payload};
use crate::engine::socket::Steps;
use crate::foreign::Buffer;

/// A part of a file that a thread is to send.
struct Away {
    socket: u32,
    payload: Box<Payload>,
    /// The thread has begun with it, or may have.
    begun: bool,
    /// It was wanted back in vain.
    recalled: bool,
    /// It is done, and nobody has been told.
    over: bool,
}

pub struct Ports {
    pub driver: SimDriver,
    /// Bytes begun and not yet sent, as the shared record counts them.
    pub queued: [usize; NUMBERS as usize],
    /// Sockets that the engine has closed, and whether with a reset; the test takes them.
    pub closed: Vec<(u32, bool)>,
    /// The links of closed sockets, until their last completion has been judged.
    pub past: [Option<Link>; NUMBERS as usize],
    /// Percent of the opens and of the connections made that fail after all.
    pub trouble: usize,
    /// The attempts of races, with their sockets.
    attempts: Vec<(u32, u32)>,
    is_open: [bool; NUMBERS as usize],
    /// What the threads for files have.
    away: Vec<Away>,
    pub now: u64,
    /// Races that were won.
    pub races: usize,
}

impl Ports {
    pub fn new(driver: SimDriver) -> Ports {
        Ports {
            driver,
            queued: [0; NUMBERS as usize],
            closed: Vec::new(),
            past: [const { None }; NUMBERS as usize],
            trouble: 0,
            attempts: Vec::new(),
            is_open: [false; NUMBERS as usize],
            away: Vec::new(),
            now: 0,
            races: 0,
        }
    }

    /// The link that a socket has or had.
    pub fn link(&mut self, socket: u32) -> Option<&mut Link> {
        match self.past[socket as usize].as_mut() {
            Some(link) => Some(link),
            None => self.driver.link(socket),
        }
    }

    /// No attempt of a socket goes on, as far as that is the engine's affair.
    pub fn check_race_over(&self, socket: u32) {
        for &(number, own) in &self.attempts {
            let lane = Lane::Output;
            let token = Token {
                socket: number,
                lane,
            };
            let let_go = self.driver.is_canceling(token, Buffer::EMPTY);
            assert!(own != socket || let_go, "an attempt outlives its race");
        }
    }

    /// Whether a thread has a file of that socket which the engine wants back.
    pub fn is_recalled(&self, socket: u32) -> bool {
        let mut away = self.away.iter();
        away.any(|away| away.socket == socket && away.recalled)
    }

    /// Some thread does something; a payload that it gives back goes to the engine.
    pub fn advance_file(&mut self) -> Option<Box<Payload>> {
        let some = self.driver.random.below(self.away.len().max(1));
        let away = self.away.get_mut(some)?;
        let Payload::File(file) = &mut *away.payload else {
            panic!("only files go to threads");
        };
        away.begun = true;
        if !std::mem::replace(&mut away.over, true) {
            let from = (file.offset as usize).min(PATTERN.len());
            let to = (from + file.length).min(PATTERN.len());
            file.outcome = self.driver.send_file(away.socket, &PATTERN[from..to]);
        }
        if !self.driver.calm && self.driver.random.chance(40) {
            return None; // It is told later.
        }
        Some(self.away.swap_remove(some).payload)
    }

    pub fn has_files(&self) -> bool {
        !self.away.is_empty()
    }

    fn assert_no_file(&self, socket: u32) {
        let mut away = self.away.iter();
        let none = away.all(|away| away.socket != socket);
        assert!(none, "a thread has a file of {socket}");
    }

    fn fails(&mut self) -> bool {
        self.trouble > 0 && self.driver.random.chance(self.trouble)
    }
}

impl Steps for Ports {
    fn open(&mut self, number: u32, socket: u32, _family: Family) -> Result<(), Fault> {
        assert!(!self.is_open[socket as usize], "opened twice");
        if self.fails() {
            return Err(Fault::system(self.driver.refuse_open(number)));
        }
        self.driver.attach(number);
        match number < FIRST_ATTEMPT {
            true => self.is_open[socket as usize] = true,
            false => self.attempts.push((number, socket)),
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn adopt(&mut self, socket: u32, attempt: u32, _remote: &Address) -> Result<(), Fault> {
        assert!(!self.is_open[socket as usize], "two races won");
        if self.fails() {
            return Err(Fault::system(self.driver.refuse(attempt)));
        }
        self.driver.move_to(attempt, socket);
        self.attempts.retain(|own| own.0 != attempt);
        self.races += 1;
        self.is_open[socket as usize] = true;
        Ok(())
    }

    fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        if token.lane == Lane::Output {
            self.assert_no_file(token.socket);
        }
        self.driver.start(token, request)
    }

    fn cancel(&mut self, token: Token) -> Option<Outcome> {
        self.driver.cancel(token)
    }

    fn send_file(&mut self, socket: u32, payload: Box<Payload>) -> Option<Box<Payload>> {
        self.assert_no_file(socket);
        assert!(!self.driver.has_output(socket), "the driver has the lane");
        self.away.push(Away {
            socket,
            payload,
            begun: false,
            recalled: false,
            over: false,
        });
        None
    }

    fn recall_file(&mut self, operation: u32) -> Option<Box<Payload>> {
        let begins = self.driver.random.chance(50);
        let of = |away: &Away| match &*away.payload {
            Payload::File(file) => file.operation == operation,
            _ => false,
        };
        let place = self.away.iter().position(of).expect("a thread has it");
        let away = &mut self.away[place];
        assert!(!away.recalled, "wanted back twice");
        away.recalled = true;
        away.begun |= begins;
        match away.begun {
            true => None,
            false => Some(self.away.swap_remove(place).payload),
        }
    }

    fn receive_urgent(&mut self, socket: u32, request: Request<'_>) -> Outcome {
        match request {
            Request::Receive { buffer, .. } => self.driver.receive_urgent(socket, buffer),
            _ => panic!("urgent data is only received"),
        }
    }

    fn shutdown(&mut self, socket: u32, receive: bool, send: bool) {
        let link = self.driver.link(socket).expect("it is attached");
        assert!(link.stands, "a shutdown before the connection stands");
        link.receive_shut |= receive;
        link.send_shut |= send;
    }

    fn connected(&mut self, socket: u32, remote: Option<Box<Payload>>) -> Result<(), Fault> {
        assert!(matches!(remote.as_deref(), Some(Payload::Connect(_))));
        self.check_race_over(socket);
        match self.fails() {
            true => Err(Fault::system(self.driver.refuse(socket))),
            false => Ok(()),
        }
    }

    fn sent(&mut self, socket: u32, bytes: usize) {
        let queued = &mut self.queued[socket as usize];
        *queued = queued.checked_sub(bytes).expect("no more than was queued");
    }

    fn arrived(&mut self, socket: u32) -> Result<Arrival, Fault> {
        assert!(!self.is_open[socket as usize], "it has a descriptor");
        self.driver.attach(socket);
        self.is_open[socket as usize] = true;
        Ok(Arrival {
            family: Family::Ipv4,
            standing: Standing::Open,
        })
    }

    fn accepted(&mut self, _listener: u32, _place: u64, _number: usize) -> Result<(), Fault> {
        panic!("nobody listens")
    }

    fn forget(&mut self, _socket: u32) {
        panic!("nobody releases")
    }

    fn renew(&mut self, socket: u32) -> Result<(), Fault> {
        assert!(self.is_open[socket as usize], "it has no descriptor");
        let link = self.driver.detach(socket).expect("it is attached");
        assert!(link.received.is_empty() && link.taken == 0);
        self.driver.attach(socket);
        Ok(())
    }

    fn discard(&mut self, number: u32) {
        if number < FIRST_ATTEMPT {
            let open = &mut self.is_open[number as usize];
            assert!(std::mem::take(open), "discarded without an open");
        }
        self.attempts.retain(|own| own.0 != number);
        let link = self.driver.detach(number).expect("it is attached");
        assert!(link.received.is_empty() && link.taken == 0);
    }

    fn close(&mut self, socket: u32, reset: bool) {
        self.check_race_over(socket);
        self.assert_no_file(socket);
        let link = self.driver.detach(socket);
        assert_eq!(link.is_some(), self.is_open[socket as usize]);
        self.is_open[socket as usize] = false;
        self.past[socket as usize] = link;
        self.closed.push((socket, reset));
    }
}
