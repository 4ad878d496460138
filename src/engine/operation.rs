//! Operations: what is kept of each, and where it stands with the engine.

use super::file::FileSend;
use super::handover::WorkerSide;
use super::race::Race;
use super::timer::{Node, Nodes};
use crate::abi::{asock_callback, asock_result, ASOCK_RESULT_TRUNCATED};
use crate::address::Address;
use crate::driver::Lane;
use crate::foreign::{Buffer, UserData};
use crate::handle::{Handle, HandleKind};
use crate::status::{OsError, Status};
use crate::sys::Message;
use std::ops::BitOr;

/// No operation, or no socket.
pub const NONE: u32 = u32::MAX;

/// What was begun. The numbers are those of the contract; `Shutdown` is the library's own and
/// has no completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    Connect = 1,
    Send = 2,
    Receive = 3,
    Accept = 4,
    SendTo = 5,
    ReceiveFrom = 6,
    Resolve = 7,
    #[default]
    Timer = 8,
    Close = 9,
    Shutdown = 32,
}

/// Why an operation failed: the status, and the system's number behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub status: Status,
    pub os_error: OsError,
}

impl Default for Fault {
    fn default() -> Fault {
        Fault::of(Status::Ok)
    }
}

impl Fault {
    pub fn of(status: Status) -> Fault {
        Fault {
            status,
            os_error: OsError(0),
        }
    }

    pub fn system(error: OsError) -> Fault {
        Fault {
            status: Status::of_os(error),
            os_error: error,
        }
    }
}

/// What an operation keeps of its own besides the application's buffer.
pub enum Payload {
    /// A connect by name, while the name is being looked up; only its port is known.
    Name(u16),
    /// The addresses that were found.
    Found(Vec<Address>),
    /// A connect to several addresses, which are tried in this order.
    Race(Vec<Address>, Race),
    Connect(Address),
    /// The bytes of a send, copied from the application's buffer.
    Copy {
        bytes: Box<[u8]>,
        given: Buffer,
    },
    /// Many pieces of memory, or an address, or both; see `messages`.
    Message(Box<Message>),
    /// A file that is sent; see `file`.
    File(FileSend),
}

impl Payload {
    /// It was made for more than this operation; see `messages` and `files`.
    pub fn is_used_again(&self) -> bool {
        matches!(self, Payload::Message(_) | Payload::File(_))
    }

    pub fn message(&self) -> Option<&Message> {
        match self {
            Payload::Message(message) => Some(message),
            _ => None,
        }
    }

    pub fn message_mut(&mut self) -> Option<&mut Message> {
        match self {
            Payload::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// What is so of an operation, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u16);

impl Flags {
    pub const NONE: Flags = Flags(0);

    pub const MORE: Flags = Flags(1 << 0);
    pub const OUT_OF_BAND: Flags = Flags(1 << 1);
    pub const PEEK: Flags = Flags(1 << 2);
    pub const ALL: Flags = Flags(1 << 3);
    /// A shutdown's directions; a close's ways.
    pub const RECEIVE: Flags = Flags(1 << 4);
    pub const SEND: Flags = Flags(1 << 5);
    pub const DRAIN: Flags = Flags(1 << 6);
    pub const RESET: Flags = Flags(1 << 7);
    /// It is on a datagram socket.
    pub const DATAGRAM: Flags = Flags(1 << 8);
    /// Of a datagram: there was more than room for it.
    pub const TRUNCATED: Flags = Flags(1 << 9);
    /// Of a connect: it stands among the sends; see `datagram`.
    pub const AMONG_SENDS: Flags = Flags(1 << 10);
    /// Of the send of a datagram: it has met a refusal and is tried again.
    pub const REFUSED: Flags = Flags(1 << 11);
    /// Its end also ends what was begun behind it; see `socket::Trouble`.
    pub const CUTS: Flags = Flags(1 << 12);
    /// Of a send: it left all at once, so the count of queued bytes has not heard of it.
    pub const AT_ONCE: Flags = Flags(1 << 13);
    /// A send of a file: its buffer is no memory, only a length.
    pub const FILE: Flags = Flags(1 << 14);
    /// See `Operation::due`.
    const HAS_DUE: Flags = Flags(1 << 15);

    pub fn has(self, any: Flags) -> bool {
        self.0 & any.0 != 0
    }

    pub fn set(&mut self, flags: Flags, so: bool) {
        self.0 = self.0 & !flags.0 | flags.when(so).0;
    }

    /// These, if it is so.
    pub fn when(self, so: bool) -> Flags {
        Flags(self.0 * u16::from(so))
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, more: Flags) -> Flags {
        Flags(self.0 | more.0)
    }
}

/// What is begun.
pub struct Begin {
    pub kind: Kind,
    /// The slot and the generation of its socket; `NONE` for what belongs to no socket.
    pub socket: u32,
    pub socket_generation: u32,
    pub flags: Flags,
    pub buffer: Buffer,
    pub payload: Option<Box<Payload>>,
    /// When a timer is done.
    pub due: Tick,
    /// When the operation times out.
    pub deadline: Tick,
    /// The socket's epoch when the operation was begun; see `socket::Trouble`.
    pub epoch: u8,
}

impl Begin {
    /// Of no socket, and with nothing but its kind.
    pub fn new(kind: Kind) -> Begin {
        Begin {
            kind,
            socket: NONE,
            socket_generation: 0,
            flags: Flags::NONE,
            buffer: Buffer::EMPTY,
            payload: None,
            due: Tick::NEVER,
            deadline: Tick::NEVER,
            epoch: 0,
        }
    }
}

/// Where an operation stands with the engine. Each transition asserts the phase that it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// On its way to the worker, or delivered.
    #[default]
    Free,
    /// In a queue of its socket or, a timer, in the wheel only.
    Queued,
    /// Its result is fixed and its buffer released; it waits to be delivered.
    Finished,
}

/// A tick, or none, in the room of a tick: the last tick of all never comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tick(u64);

impl Tick {
    pub const NEVER: Tick = Tick(u64::MAX);

    pub fn of(tick: Option<u64>) -> Tick {
        tick.map_or(Tick::NEVER, Tick)
    }

    #[cfg(test)]
    pub fn get(self) -> Option<u64> {
        (self != Tick::NEVER).then_some(self.0)
    }

    pub fn has_come(self, now: u64) -> bool {
        self != Tick::NEVER && self.0 <= now
    }
}

/// An operation. There is one for every operation that is pending, so it is kept small; the seat
/// and the worker hand it to each other (see `handover`).
pub struct Operation {
    /// Its neighbours in the queue that it stands in; see `queue`.
    pub next: u32,
    pub previous: u32,
    /// The socket's slot, and the generation of its handle as the application knows it.
    pub socket: u32,
    pub socket_generation: u32,
    pub callback: asock_callback,
    pub user_data: UserData,
    /// The application's buffer, or, while it is pending, the copy of it in the payload.
    pub buffer: Buffer,
    pub payload: Option<Box<Payload>>,
    /// See `bytes` and `due`.
    progress: u64,
    /// When it times out.
    pub deadline: Tick,
    pub node: Node,
    pub os_error: OsError,
    pub status: Status,
    pub kind: Kind,
    pub phase: Phase,
    pub flags: Flags,
    pub epoch: u8,
    /// What a cancel, deadline, close or stop decided while the driver still had the operation.
    pub fate: Option<Status>,
}

/// There are many of them.
const _: () = assert!(size_of::<Operation>() <= 96 || cfg!(not(target_pointer_width = "64")));

impl Default for Operation {
    fn default() -> Operation {
        Operation {
            next: NONE,
            previous: NONE,
            socket: NONE,
            socket_generation: 0,
            callback: None,
            user_data: UserData::NONE,
            buffer: Buffer::EMPTY,
            payload: None,
            progress: 0,
            deadline: Tick::NEVER,
            node: Node::default(),
            os_error: OsError(0),
            status: Status::Internal,
            kind: Kind::default(),
            phase: Phase::Free,
            flags: Flags::NONE,
            epoch: 0,
            fate: None,
        }
    }
}

impl Operation {
    /// Fills in the record of what is begun.
    #[inline(always)]
    pub fn begin(&mut self, begin: Begin) {
        *self = Operation {
            socket: begin.socket,
            socket_generation: begin.socket_generation,
            buffer: begin.buffer,
            payload: begin.payload,
            deadline: begin.deadline,
            kind: begin.kind,
            flags: begin.flags,
            epoch: begin.epoch,
            ..Operation::default()
        };
        self.set_due(begin.due);
        if let Some(Payload::Copy { bytes, .. }) = self.payload.as_deref_mut() {
            self.buffer = Buffer::of_box(bytes);
        }
    }

    /// Bytes sent or received so far; for a look-up, the addresses that were found. None while
    /// something is due.
    pub fn bytes(&self) -> usize {
        match self.flags.has(Flags::HAS_DUE) {
            true => 0,
            false => self.progress as usize,
        }
    }

    pub fn set_bytes(&mut self, bytes: usize) {
        debug_assert!(!self.flags.has(Flags::HAS_DUE));
        self.progress = bytes as u64;
    }

    /// When a timer is done, the next attempt of a race begins, or something is tried again.
    pub fn due(&self) -> Tick {
        match self.flags.has(Flags::HAS_DUE) {
            true => Tick(self.progress),
            false => Tick::NEVER,
        }
    }

    /// The lane of an operation that moves the bytes of a stream, and nothing but that.
    pub fn plain_lane(&self) -> Option<Lane> {
        let special = Flags::DATAGRAM | Flags::OUT_OF_BAND | Flags::FILE;
        match self.kind {
            _ if self.flags.has(special) => None,
            Kind::Send if !self.buffer.is_empty() => Some(Lane::Output),
            Kind::Receive => Some(Lane::Input),
            _ => None,
        }
    }

    /// It needs a timer.
    pub fn is_timed(&self) -> bool {
        self.flags.has(Flags::HAS_DUE) || self.deadline != Tick::NEVER
    }

    /// Nothing has been moved yet.
    pub fn set_due(&mut self, due: Tick) {
        if due == self.due() {
            return;
        }
        debug_assert_eq!(self.bytes(), 0);
        self.flags.set(Flags::HAS_DUE, due != Tick::NEVER);
        self.progress = match due {
            Tick::NEVER => 0,
            Tick(tick) => tick,
        };
    }

    /// Why it ended as it did.
    #[cfg(test)]
    pub fn fault(&self) -> Fault {
        Fault {
            status: self.status,
            os_error: self.os_error,
        }
    }

    /// Fixes the result. What the operation kept of its own goes; the application's buffer is
    /// named again.
    pub fn finish(&mut self, fault: Fault) {
        debug_assert_eq!(self.phase, Phase::Queued);
        self.phase = Phase::Finished;
        if self.flags.has(Flags::HAS_DUE) {
            self.set_due(Tick::NEVER);
        }
        self.status = fault.status;
        self.os_error = fault.os_error;
        if let Some(Payload::Copy { given, .. }) = self.payload.as_deref() {
            self.buffer = *given;
        }
        self.payload.take_if(|payload| !payload.is_used_again());
    }

    /// It ends without the engine.
    pub fn fail(&mut self, status: Status) {
        self.phase = Phase::Queued;
        self.finish(Fault::of(status));
        self.payload = None;
        self.phase = Phase::Free;
        self.progress = 0;
        // Whatever it stood in is no more.
        self.next = NONE;
        self.previous = NONE;
    }

    /// The socket that an accept has brought; 0 is none.
    pub fn brought(&self) -> u64 {
        match (self.kind, self.status) {
            (Kind::Accept, Status::Ok) => self.buffer.number(),
            _ => 0,
        }
    }

    /// The completion as the application gets it. The operation's own handle names it.
    pub fn completion(&self, own: Handle) -> asock_result {
        let (value, bytes, buffer) = match self.kind {
            Kind::Resolve => (self.bytes() as u64, 0, self.buffer.pointer()),
            Kind::Accept => (self.brought(), 0, std::ptr::null_mut()),
            _ => (0, self.bytes(), self.buffer.pointer()),
        };
        let truncated = match self.kind {
            Kind::Resolve => self.bytes() > self.buffer.len(),
            _ => self.flags.has(Flags::TRUNCATED),
        };
        let socket = Handle {
            kind: HandleKind::Socket,
            slot: self.socket,
            generation: self.socket_generation,
            ..own
        };
        asock_result {
            op: own.pack(),
            socket: match self.socket {
                NONE => 0,
                _ => socket.pack(),
            },
            value,
            bytes,
            buffer: buffer.cast(),
            user_data: self.user_data.pointer(),
            kind: self.kind as u32,
            status: self.status.code(),
            os_error: self.os_error.0,
            flags: u32::from(truncated) * ASOCK_RESULT_TRUNCATED,
        }
    }

    pub fn message(&self) -> Option<&Message> {
        self.payload.as_deref().and_then(Payload::message)
    }

    /// A datagram of that length was received, or as much of it as there is room for.
    pub fn received_datagram(&mut self, length: usize) {
        let truncated = self.message().map(|message| {
            message.write_sender();
            message.truncated()
        });
        let truncated = truncated.unwrap_or(length > self.buffer.len());
        self.flags.set(Flags::TRUNCATED, truncated);
        self.set_bytes(length.min(self.buffer.len()));
    }

    /// So many bytes more were sent or received.
    pub fn moved(&mut self, bytes: usize) {
        self.set_bytes(self.bytes() + bytes);
        if let Some(message) = self.payload.as_deref_mut().and_then(Payload::message_mut) {
            message.advance(bytes);
        }
    }
}

impl Kind {
    /// Whose queue it stands in: that of the input, or that of the output.
    pub fn is_input(self) -> bool {
        self.receives() || self == Kind::Accept
    }

    /// It receives bytes.
    pub fn receives(self) -> bool {
        matches!(self, Kind::Receive | Kind::ReceiveFrom)
    }

    /// It stands among the sends and is counted with them.
    pub fn sends(self) -> bool {
        matches!(self, Kind::Send | Kind::SendTo)
    }
}

/// The operations on the worker's side.
pub type Operations = WorkerSide<Operation>;

impl Nodes for Operations {
    fn node(&mut self, id: u32) -> &mut Node {
        &mut self[id].node
    }

    /// Whichever comes first: a timer is done, or a race goes on, or the time is over.
    fn deadline(&self, id: u32) -> u64 {
        let operation = &self[id];
        operation.due().0.min(operation.deadline.0)
    }
}
