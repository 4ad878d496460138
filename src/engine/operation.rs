//! The worker's half of an operation, and the queues that operations stand in.

use super::arena::Arena;
use super::timer::{Node, Nodes};
use crate::address::Address;
use crate::foreign::Buffer;
use crate::status::{OsError, Status};

/// No operation, or no socket.
pub const NONE: u32 = u32::MAX;

/// What was begun. The numbers are those of the contract; `Shutdown` is the library's own and
/// has no completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    Connect = 1,
    Send = 2,
    Receive = 3,
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
    /// The addresses to try, in this order.
    Race(Vec<Address>),
    Connect(Address),
    Copy(Box<[u8]>),
}

/// Flags of sends and receives, as the engine reads them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    pub more: bool,
    pub out_of_band: bool,
    pub peek: bool,
    pub all: bool,
    /// A shutdown's directions; a close's ways.
    pub receive: bool,
    pub send: bool,
    pub drain: bool,
    pub reset: bool,
}

/// Everything that `begin_*` hands to the worker.
pub struct Begin {
    pub kind: Kind,
    pub socket: u32,
    pub flags: Flags,
    pub buffer: Buffer,
    pub payload: Option<Box<Payload>>,
    /// The tick at which a timer is due.
    pub due: Option<u64>,
    /// The tick at which the operation times out.
    pub deadline: Option<u64>,
    /// The socket's epoch when the operation was begun; see `socket::Cut`.
    pub epoch: u8,
}

/// Where an operation stands. Each transition asserts the phase that it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    #[default]
    Free,
    /// In a queue of its socket or, a timer, in the wheel only.
    Queued,
    /// Its result is fixed and its buffer released; it waits to be delivered.
    Finished,
}

/// The worker's half of an operation.
#[derive(Default)]
pub struct Operation {
    pub next: u32,
    pub previous: u32,
    pub node: Node,
    pub socket: u32,
    pub kind: Kind,
    pub phase: Phase,
    pub flags: Flags,
    /// What a cancel, deadline, close or stop decided while the driver still had the operation.
    pub fate: Option<Status>,
    pub buffer: Buffer,
    pub payload: Option<Box<Payload>>,
    /// Bytes sent or received so far.
    pub bytes: usize,
    /// Bytes sent that the socket's count of queued bytes has heard of.
    pub reported: usize,
    /// When a timer is done, or the next attempt of a race begins.
    pub due: Option<u64>,
    pub deadline: Option<u64>,
    pub result: Option<Fault>,
    /// Its end also ends what was begun behind it; see `socket::Cut`.
    pub cuts: bool,
}

impl Operation {
    pub fn new(begin: Begin) -> Operation {
        let buffer = match begin.payload {
            Some(_) if begin.kind == Kind::Send => Buffer::EMPTY,
            _ => begin.buffer,
        };
        let mut operation = Operation {
            next: NONE,
            previous: NONE,
            socket: begin.socket,
            kind: begin.kind,
            phase: Phase::Queued,
            flags: begin.flags,
            buffer,
            payload: begin.payload,
            due: begin.due,
            deadline: begin.deadline,
            ..Operation::default()
        };
        if let Some(Payload::Copy(bytes)) = operation.payload.as_deref_mut() {
            operation.buffer = Buffer::of_box(bytes);
        }
        operation
    }
}

impl Nodes for Arena<Operation> {
    fn node(&mut self, id: u32) -> &mut Node {
        &mut self[id].node
    }
}

/// A queue of operations, linked through the records themselves: it needs no memory of its own,
/// and any member leaves in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u32,
    tail: u32,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            head: NONE,
            tail: NONE,
        }
    }
}

impl Queue {
    pub fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub fn last(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub fn push(&mut self, operations: &mut Arena<Operation>, id: u32) {
        operations[id].next = NONE;
        operations[id].previous = self.tail;
        match self.tail {
            NONE => self.head = id,
            tail => operations[tail].next = id,
        }
        self.tail = id;
    }

    pub fn remove(&mut self, operations: &mut Arena<Operation>, id: u32) {
        let (next, previous) = (operations[id].next, operations[id].previous);
        match previous {
            NONE => self.head = next,
            previous => operations[previous].next = next,
        }
        match next {
            NONE => self.tail = previous,
            next => operations[next].previous = previous,
        }
        operations[id].next = NONE;
        operations[id].previous = NONE;
    }

    pub fn pop(&mut self, operations: &mut Arena<Operation>) -> Option<u32> {
        let id = self.first()?;
        self.remove(operations, id);
        Some(id)
    }
}
