//! What a driver is.
//!
//! A driver is given requests and later says that they are done; how it comes to know is its own
//! affair. The shape is that of completions, since io_uring and Windows work that way and a
//! readiness system imitates it cheaply, while the reverse is costly.
//!
//! - A socket is attached with its descriptor, and detached before that is closed. While it is
//!   attached its number means this socket; what comes late for an earlier one is dropped here.
//!   Numbers below `handle::SLOTS` are sockets, those above it the attempts of races to connect.
//! - `start` gives a lane of a socket one request. The answer is its outcome, if it is over
//!   already, or `None`: then the outcome comes from `next`, exactly once.
//! - A send or receive may move fewer bytes than asked for; the engine asks again for the rest.
//! - `cancel` takes a lane's request back. With an outcome it is over; without one it still
//!   belongs to the driver, its buffer too, until `next` gives its outcome, which may be
//!   `Canceled` or its own, where the cancel came too late.
//! - `look` is a wait that does not sleep, for a worker that looks again and again: it may try what is
//!   likely, so only several looks see everything.
//! - `wait` sleeps until something is done, the waker is signalled, or the time is over.
//! - A message for which there is no room, and of whose room the system does not tell, fails as one
//!   that would block, and the engine tries again.
//! - A driver may ask for a request's particulars again (`Requests`) instead of keeping them.
//!
//! Only the worker's thread touches a driver; the `Waker` alone is for every thread.

mod epoll;
#[cfg(test)]
pub mod sim;
mod table;
mod uring;

use crate::address::Address;
use crate::foreign::Buffer;
use crate::status::OsError;
use crate::sys::{Epoll, EventFd, Message, RawDescriptor, SysResult};
use std::sync::Arc;

pub use epoll::EpollDriver;
pub use table::Table;
pub use uring::UringDriver;

/// Looks of a worker of which one asks for everything, and the others try what is likely.
const LOOKS_PER_EVENT: u32 = 4;

/// The two directions of a socket; each has one request with the driver at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    Output = 0,
    Input = 1,
}

/// Names the request of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    pub socket: u32,
    pub lane: Lane,
}

impl Token {
    pub fn output(socket: u32) -> Token {
        let lane = Lane::Output;
        Token { socket, lane }
    }

    pub fn input(socket: u32) -> Token {
        let lane = Lane::Input;
        Token { socket, lane }
    }
}

/// What a driver is asked to do.
#[derive(Clone, Copy)]
pub enum Request<'a> {
    /// The address stays where it is until the outcome.
    Connect(&'a Address),
    Send {
        buffer: Buffer,
        more: bool,
        out_of_band: bool,
    },
    /// Of a datagram (`whole`), `Done` says how long it was, which may be more than there is room for.
    Receive {
        buffer: Buffer,
        peek: bool,
        out_of_band: bool,
        whole: bool,
    },
    /// Done as soon as a receive would not wait; takes nothing.
    Readable,
    /// As `Send` and `Receive`, of many pieces or with an address.
    SendMessage {
        message: &'a Message,
        more: bool,
    },
    ReceiveMessage {
        message: &'a Message,
        peek: bool,
    },
    /// Done as soon as a send would find room.
    Writable,
    /// The next connection of a listening socket.
    Accept,
}

impl Request<'_> {
    /// Whether the system tells when it can go on.
    fn room_is_told(&self) -> bool {
        match self {
            Request::SendMessage { message, .. } => message.room_is_told(),
            _ => true,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// So many bytes were moved; 0 for a connect, and for a receive at the end of the stream. Of an
    /// accept it is the number of the new descriptor, whose peer `Driver::peer` names until the next.
    Done(usize),
    Failed(OsError),
    /// It was taken back and has moved nothing.
    Canceled,
}

/// The end of a request that `start` had left open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    pub token: Token,
    pub outcome: Outcome,
}

/// Where a driver finds the particulars of a request that it has.
pub trait Requests {
    fn request(&self, token: Token) -> Option<Request<'_>>;
}

/// Ends a driver's wait, from any thread.
#[derive(Clone)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    pub fn new() -> SysResult<Waker> {
        Ok(Waker(Arc::new(EventFd::new()?)))
    }

    pub fn wake(&self) {
        self.0.signal();
    }

    fn descriptor(&self) -> RawDescriptor {
        self.0.raw()
    }

    /// Takes back every wake-up so far; for who knows that they were meant for nobody.
    fn clear(&self) {
        self.0.clear();
    }
}

/// Takes a descriptor from a driver, from any thread: once it is gone the driver's own means would
/// name another by its number.
#[derive(Clone, Default)]
pub struct Registry(Option<Arc<Epoll>>);

impl Registry {
    pub fn remove(&self, descriptor: RawDescriptor) {
        if let Some(epoll) = &self.0 {
            let _ = epoll.remove(descriptor); // It may never have been registered.
        }
    }
}

/// The driver that a worker runs on, chosen at its start.
pub enum Driver {
    Epoll(Box<EpollDriver>),
    Uring(Box<UringDriver>),
}

impl Driver {
    pub fn epoll(waker: &Waker) -> SysResult<Driver> {
        Ok(Driver::Epoll(Box::new(EpollDriver::new(waker)?)))
    }

    /// Whether a ring would do all that its driver needs on this machine. If not, the error says
    /// what stood against it. The waker must be one that nobody uses yet.
    pub fn probe_uring(waker: &Waker) -> SysResult<()> {
        UringDriver::probe(waker)
    }

    /// Where `probe_uring` has found nothing against it.
    pub fn uring(waker: &Waker) -> SysResult<Driver> {
        Ok(Driver::Uring(Box::new(UringDriver::new(waker)?)))
    }

    /// Called once by the worker's thread, before anything else.
    pub fn enable(&mut self) -> SysResult<()> {
        match self {
            Driver::Epoll(_) => Ok(()),
            Driver::Uring(driver) => driver.enable(),
        }
    }

    /// Lets go of every buffer at once, after a panic.
    pub fn abandon(&mut self) {
        match self {
            Driver::Epoll(_) => {} // It holds none between two calls.
            Driver::Uring(driver) => driver.abandon(),
        }
    }

    /// Whether it waits on descriptors that are not non-blocking, and only on those.
    pub fn waits_itself(&self) -> bool {
        matches!(self, Driver::Uring(_))
    }

    pub fn attach(&mut self, socket: u32, descriptor: RawDescriptor) -> SysResult<()> {
        match self {
            Driver::Epoll(driver) => driver.attach(socket, descriptor),
            Driver::Uring(driver) => driver.attach(socket, descriptor),
        }
    }

    pub fn detach(&mut self, socket: u32) {
        match self {
            Driver::Epoll(driver) => driver.detach(socket),
            Driver::Uring(driver) => driver.detach(socket),
        }
    }

    /// Forgets a socket whose descriptor the registry has taken.
    pub fn forget(&mut self, socket: u32) {
        match self {
            Driver::Epoll(driver) => driver.forget(socket),
            Driver::Uring(driver) => driver.detach(socket),
        }
    }

    /// What takes descriptors from it.
    pub fn registry(&self) -> Registry {
        match self {
            Driver::Epoll(driver) => driver.registry(),
            Driver::Uring(_) => Registry::default(),
        }
    }

    /// The descriptor attached under one number is from now on another's; it has no request.
    pub fn move_to(&mut self, from: u32, to: u32) -> SysResult<()> {
        match self {
            Driver::Epoll(driver) => driver.move_to(from, to),
            Driver::Uring(driver) => driver.move_to(from, to),
        }
    }

    pub fn descriptor(&self, socket: u32) -> Option<RawDescriptor> {
        match self {
            Driver::Epoll(driver) => driver.descriptor(socket),
            Driver::Uring(driver) => driver.descriptor(socket),
        }
    }

    pub fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        match self {
            Driver::Epoll(driver) => driver.start(token, request),
            Driver::Uring(driver) => driver.start(token, request),
        }
    }

    pub fn cancel(&mut self, token: Token) -> Option<Outcome> {
        match self {
            Driver::Epoll(driver) => driver.cancel(token),
            Driver::Uring(driver) => driver.cancel(token),
        }
    }

    /// Where the connection comes from that was accepted last.
    pub fn peer(&self) -> Address {
        match self {
            Driver::Epoll(driver) => driver.peer(),
            Driver::Uring(driver) => driver.peer(),
        }
    }

    /// Whether input may be waiting that nobody has read yet.
    pub fn may_have_input(&self, socket: u32) -> bool {
        match self {
            Driver::Epoll(driver) => driver.may_have_input(socket),
            Driver::Uring(_) => true,
        }
    }

    /// Reads of a socket may stop short, and no event tells of that: it is a unix socket, or urgent
    /// data was received from it past the driver.
    pub fn reads_may_stop(&mut self, socket: u32) {
        match self {
            Driver::Epoll(driver) => driver.reads_may_stop(socket),
            Driver::Uring(_) => {} // It does without such knowledge.
        }
    }

    /// Sleeps for `timeout_ms` at most (-1: without limit, 0: not at all).
    pub fn wait(&mut self, timeout_ms: i32) -> SysResult<()> {
        match self {
            Driver::Epoll(driver) => driver.wait(timeout_ms),
            Driver::Uring(driver) => driver.wait(timeout_ms),
        }
    }

    /// Looks for what is done. One look in `LOOKS_PER_EVENT` sees everything.
    pub fn look(&mut self) -> SysResult<()> {
        match self {
            Driver::Epoll(driver) => driver.look(),
            Driver::Uring(driver) => driver.look(),
        }
    }

    /// The next request that is done since the last `wait`.
    pub fn next(&mut self, requests: &impl Requests) -> Option<Done> {
        match self {
            Driver::Epoll(driver) => driver.next(requests),
            Driver::Uring(driver) => driver.next(requests),
        }
    }
}
