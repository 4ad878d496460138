//! A connection of the simulated world: both directions, and what each system call finds.

use super::{read, write, Random};
use crate::driver::{Outcome, Request};
use crate::foreign::Buffer;
use crate::status::OsError;

/// A request, as the driver keeps it.
#[derive(Clone, Copy)]
pub(super) enum Work {
    Connect,
    Send(Buffer),
    Receive(Buffer, bool),
    Readable,
    Writable,
}

impl Work {
    pub(super) fn of(request: Request<'_>) -> Work {
        match request {
            Request::Connect(_) => Work::Connect,
            Request::Send { buffer, .. } => Work::Send(buffer),
            Request::Receive { buffer, peek, .. } => Work::Receive(buffer, peek),
            Request::Readable => Work::Readable,
            // One piece after the other: as little as the system may move at once.
            Request::SendMessage { message, .. } => Work::Send(message.piece()),
            Request::ReceiveMessage { message, peek } => Work::Receive(message.piece(), peek),
            Request::Writable => Work::Writable,
            Request::Accept => panic!("nobody listens"),
        }
    }

    pub(super) fn buffer(&self) -> Buffer {
        match self {
            Work::Send(buffer) | Work::Receive(buffer, _) => *buffer,
            Work::Connect | Work::Readable | Work::Writable => Buffer::EMPTY,
        }
    }

    pub(super) fn is_same(&self, other: &Work) -> bool {
        let (mine, others) = (self.buffer(), other.buffer());
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && mine.pointer() == others.pointer()
            && mine.len() == others.len()
    }
}

/// A request that the driver has.
pub(super) struct Held {
    pub work: Work,
    /// It is over, and nobody has been told.
    pub over: Option<Outcome>,
    pub canceled: bool,
}

/// One attempt to connect, and the connection that came of it.
#[derive(Default)]
pub struct Link {
    pub stands: bool,
    /// How the connect ends, once the world has decided.
    pub(super) plan: Option<Result<(), OsError>>,
    /// What the system has taken from us, which is what the peer gets.
    pub received: Vec<u8>,
    /// How much more it takes at present.
    pub room: usize,
    /// What the peer has written, and how much of it was handed out.
    pub written: Vec<u8>,
    pub taken: usize,
    /// The rest of it was lost when the connection broke.
    pub(super) lost: bool,
    pub ended: bool,
    /// The error that waits to be told, once; after it the link is dead.
    pub(super) error: Option<OsError>,
    pub dead: bool,
    /// An error that passes.
    pub(super) hiccup: Option<OsError>,
    pub urgent: Option<u8>,
    pub send_shut: bool,
    pub receive_shut: bool,
    pub(super) lanes: [Option<Held>; 2],
}

impl Link {
    fn available(&self) -> usize {
        match self.lost {
            true => 0,
            false => self.written.len() - self.taken,
        }
    }

    fn is_readable(&self) -> bool {
        self.available() > 0 || self.ended || self.receive_shut || self.dead || self.error.is_some()
    }

    /// Whether a receive may be told that nothing comes any more.
    pub fn is_at_end(&self) -> bool {
        self.ended || self.receive_shut || self.dead
    }

    /// The system call of a request; `None` when it would have to wait.
    pub(super) fn attempt(&mut self, work: Work, random: &mut Random) -> Option<Outcome> {
        match work {
            Work::Connect => self.plan.map(|plan| match plan {
                Ok(()) => {
                    self.stands = true;
                    Outcome::Done(0)
                }
                Err(error) => Outcome::Failed(error),
            }),
            Work::Readable => match (self.is_readable(), self.error) {
                (false, _) => None,
                (true, Some(_)) if self.available() == 0 => self.fail(),
                (true, _) => Some(Outcome::Done(0)),
            },
            Work::Writable => {
                let waits = self.room == 0 && !self.dead && self.error.is_none();
                (!waits).then_some(Outcome::Done(0))
            }
            Work::Send(buffer) => self.send(read(&buffer), random),
            Work::Receive(buffer, peek) => self.receive(buffer, peek, random),
        }
    }

    pub(super) fn fail(&mut self) -> Option<Outcome> {
        self.dead = true;
        self.error.take().map(Outcome::Failed)
    }

    /// Takes some of those bytes.
    pub(super) fn send(&mut self, bytes: &[u8], random: &mut Random) -> Option<Outcome> {
        if self.error.is_some() {
            return self.fail();
        }
        if self.dead {
            return Some(Outcome::Failed(OsError(libc::EPIPE)));
        }
        if let Some(error) = self.hiccup.take() {
            return Some(Outcome::Failed(error));
        }
        let most = bytes.len().min(self.room);
        if most == 0 {
            return None;
        }
        let count = 1 + random.below(most);
        self.received.extend_from_slice(&bytes[..count]);
        self.room -= count;
        Some(Outcome::Done(count))
    }

    fn receive(&mut self, buffer: Buffer, peek: bool, random: &mut Random) -> Option<Outcome> {
        if let Some(error) = self.hiccup.take() {
            return Some(Outcome::Failed(error));
        }
        let most = buffer.len().min(self.available());
        if most > 0 {
            let bytes = 1 + random.below(most);
            write(&buffer, &self.written[self.taken..self.taken + bytes]);
            self.taken += if peek { 0 } else { bytes };
            return Some(Outcome::Done(bytes));
        }
        if self.error.is_some() {
            return self.fail();
        }
        self.is_at_end().then_some(Outcome::Done(0))
    }
}
