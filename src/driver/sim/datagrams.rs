//! A datagram socket of the simulated world, with its driver: it moves whole datagrams, tells a
//! refusal once, has no room at times, and answers by the rules of either kind of driver.

use super::{read, write, Random, Temper};
use crate::address::Address;
use crate::driver::{Done, Lane, Outcome, Request, Requests, Token};
use crate::foreign::Buffer;
use crate::status::OsError;
use crate::sys::{Message, CONNECTION_REFUSED, WOULD_BLOCK};
use std::collections::VecDeque;

/// Ports from here on can be reached.
pub const FIRST_PORT: u16 = 100;
/// Datagrams of that length, and longer ones, cannot be sent.
pub const TOO_LONG: usize = 40;

/// The address of a port.
pub fn place(port: u16) -> Address {
    Address::of_ipv4([127, 0, 0, 1].into(), port)
}

/// What the driver has of a lane.
#[derive(Clone, Copy)]
struct Held {
    /// The memory that it is about.
    buffer: Buffer,
    over: Option<Outcome>,
    canceled: bool,
}

fn buffer_of(request: Request<'_>) -> Buffer {
    match request {
        Request::Send { buffer, .. } | Request::Receive { buffer, .. } => buffer,
        Request::SendMessage { message, .. } | Request::ReceiveMessage { message, .. } => {
            message.piece()
        }
        _ => Buffer::EMPTY,
    }
}

/// The system and the driver.
pub struct Datagrams {
    pub random: Random,
    temper: Temper,
    pub calm: bool,
    pub is_open: bool,
    pub peer: Option<u16>,
    lanes: [Option<Held>; 2],
    /// What has left, and to whom.
    pub sent: Vec<(u16, Vec<u8>)>,
    /// What is there to be received, with its sender.
    pub waiting: VecDeque<(u16, Vec<u8>)>,
    /// Datagrams for which there is room.
    pub room: usize,
    /// A refusal waits to be told.
    pub refusal: bool,
    pub refusals: usize,
    pub send_shut: bool,
    pub receive_shut: bool,
}

impl Datagrams {
    pub fn new(seed: u64, temper: Temper) -> Datagrams {
        Datagrams {
            random: Random::new(seed),
            temper,
            calm: false,
            is_open: false,
            peer: None,
            lanes: [None; 2],
            sent: Vec::new(),
            waiting: VecDeque::new(),
            room: 2,
            refusal: false,
            refusals: 0,
            send_shut: false,
            receive_shut: false,
        }
    }

    /// Whether the driver has that memory.
    pub fn holds(&self, buffer: Buffer) -> bool {
        let place = buffer.pointer();
        let mut held = self.lanes.iter().flatten();
        held.any(|held| held.buffer.pointer() == place && !place.is_null())
    }

    /// Whether the driver has something of a lane.
    pub fn is_busy(&self, lane: Lane) -> bool {
        self.lanes[lane as usize].is_some()
    }

    fn at_once(&mut self) -> bool {
        match self.temper {
            Temper::Readiness => true,
            Temper::Completion => false,
            Temper::Mixed => self.random.chance(50),
        }
    }

    /// The system call of a request; `None` when it has to wait.
    fn attempt(&mut self, request: Request<'_>) -> Option<Outcome> {
        match request {
            Request::Connect(address) => match address.port() {
                0..FIRST_PORT => Some(Outcome::Failed(OsError(libc::EHOSTUNREACH))),
                port => {
                    self.peer = Some(port);
                    Some(Outcome::Done(0))
                }
            },
            Request::Send { buffer, .. } => self.send(self.peer, read(&buffer)),
            Request::SendMessage { message, .. } => {
                let bytes = message.piece();
                self.send(Some(message.to().port()), read(&bytes))
            }
            Request::Receive {
                buffer,
                peek,
                whole,
                ..
            } => {
                assert!(whole);
                self.receive(buffer, peek, None)
            }
            Request::ReceiveMessage { message, peek } => {
                self.receive(message.piece(), peek, Some(message))
            }
            _ => panic!("datagrams are sent and received"),
        }
    }

    fn refuse(&mut self) -> Option<Outcome> {
        self.refusals += usize::from(self.refusal);
        std::mem::take(&mut self.refusal).then_some(Outcome::Failed(CONNECTION_REFUSED))
    }

    fn send(&mut self, to: Option<u16>, bytes: &[u8]) -> Option<Outcome> {
        assert!(!self.send_shut, "a send after our shutdown");
        let Some(to) = to else {
            return Some(Outcome::Failed(OsError(libc::EDESTADDRREQ)));
        };
        if let Some(refused) = self.refuse() {
            return Some(refused);
        }
        if bytes.len() >= TOO_LONG {
            return Some(Outcome::Failed(OsError(libc::EMSGSIZE)));
        }
        if self.room == 0 {
            // Of some receivers it is never told that they have room again.
            return (to % 2 == 1).then_some(Outcome::Failed(WOULD_BLOCK));
        }
        self.room -= 1;
        self.sent.push((to, bytes.to_vec()));
        Some(Outcome::Done(bytes.len()))
    }

    fn receive(&mut self, room: Buffer, peek: bool, message: Option<&Message>) -> Option<Outcome> {
        if let Some(refused) = self.refuse() {
            return Some(refused);
        }
        let (from, bytes) = self.waiting.front()?;
        assert!(peek || !room.is_empty(), "a receive of nothing takes it");
        let kept = bytes.len().min(room.len());
        write(&room, &bytes[..kept]);
        let outcome = match message {
            Some(message) => {
                message.received(&place(*from), kept < bytes.len());
                Outcome::Done(kept)
            }
            None => Outcome::Done(bytes.len()),
        };
        if !peek {
            self.waiting.pop_front();
        }
        Some(outcome)
    }

    /// What the driver has to tell of some lane.
    pub fn next(&mut self, requests: &impl Requests) -> Option<Done> {
        let first = self.random.below(2);
        for turn in 0..2 {
            let lane = [Lane::Output, Lane::Input][(first + turn) % 2];
            let token = Token { socket: 0, lane };
            let Some(held) = self.lanes[lane as usize] else {
                continue;
            };
            let request = requests.request(token).expect("it was given");
            let asked = buffer_of(request).pointer();
            assert_eq!(
                asked,
                held.buffer.pointer(),
                "another request than was given"
            );
            let mut over = held.over;
            let lets_go = held.canceled && self.random.chance(60);
            if over.is_none() && !lets_go {
                over = self.attempt(request);
            }
            if over.is_none() && held.canceled {
                over = Some(Outcome::Canceled);
            }
            let delayed = self.temper != Temper::Readiness && self.random.chance(40);
            match over {
                Some(outcome) if self.calm || !delayed => {
                    self.lanes[lane as usize] = None;
                    return Some(Done { token, outcome });
                }
                over => self.lanes[lane as usize] = Some(Held { over, ..held }),
            }
        }
        None
    }

    pub fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        assert!(self.is_open && self.lanes[token.lane as usize].is_none());
        if self.at_once() {
            let over = self.attempt(request);
            if over.is_some() {
                return over;
            }
        }
        self.lanes[token.lane as usize] = Some(Held {
            buffer: buffer_of(request),
            over: None,
            canceled: false,
        });
        None
    }

    pub fn cancel(&mut self, token: Token) -> Option<Outcome> {
        let at_once = self.at_once();
        let lane = &mut self.lanes[token.lane as usize];
        let held = lane.as_mut().expect("a cancel without a request");
        assert!(!held.canceled, "a second cancel");
        held.canceled = true;
        let over = held.over.unwrap_or(Outcome::Canceled);
        at_once.then(|| {
            *lane = None;
            over
        })
    }
}
