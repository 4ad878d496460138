//! The shared half of operations and sockets: what the application's threads may ask and change.
//! It lies behind the seat's lock; the worker's half (`operation`, `socket`) needs none.

use super::operation::{Begin, Fault, Flags, Kind, Payload, NONE};
use crate::abi::{asock_callback, asock_result, ASOCK_RESULT_TRUNCATED};
use crate::address::{Address, Family};
use crate::foreign::{Buffer, UserData};
use crate::status::{OsError, Status};
use crate::sys::{Descriptor, SocketOption};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Where an operation stands, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// Begun, and not finished.
    #[default]
    Pending,
    /// Its result is fixed and waits to be collected, or its callback is running.
    Done,
    /// Nobody can reach it any more; the slot waits for the inbox to let go of it.
    Retired,
}

/// The addresses of a name, or why there are none.
pub type NameAnswer = Result<Vec<Address>, Fault>;

/// The shared half of an operation. There is one for every operation that is pending, so it is
/// kept small.
#[derive(Default)]
pub struct OperationRecord {
    pub stage: Stage,
    pub kind: Kind,
    pub flags: Flags,
    pub epoch: u8,
    /// `asock_end` is to collect it.
    pub collected: bool,
    /// Nobody will: its record goes when it completes.
    pub forgotten: bool,
    /// A thread waits for it.
    pub awaited: bool,
    /// What the inbox holds for the worker, which has not seen it yet.
    pub linked: bool,
    pub begun: bool,
    pub canceled: bool,
    pub deadline_changed: bool,
    /// The next entry of the inbox, or of the list of completions to be polled.
    pub inbox_next: u32,
    pub ready_next: u32,
    /// The socket's slot, and the generation of its handle as the application knows it.
    pub socket: u32,
    pub socket_generation: u32,
    pub callback: asock_callback,
    pub user_data: UserData,
    pub buffer: Buffer,
    /// On its way to the worker.
    pub payload: Option<Box<Payload>>,
    /// What the look-up of its name has brought, on its way too.
    pub answer: Option<Box<NameAnswer>>,
    pub course: Course,
}

/// The times of an operation while it is pending, and its result after that.
#[derive(Clone, Copy)]
pub enum Course {
    /// Ticks: when a timer is done, and when the operation times out; 0 is never.
    Pending {
        due: u64,
        deadline: u64,
    },
    Done(Finished),
}

impl Default for Course {
    fn default() -> Course {
        Course::Pending {
            due: 0,
            deadline: 0,
        }
    }
}

/// The result of an operation, as the engine fixed it.
#[derive(Clone, Copy)]
pub struct Finished {
    pub status: Status,
    pub os_error: OsError,
    /// Bytes moved; for a look-up, the addresses that were found.
    pub bytes: usize,
}

impl OperationRecord {
    /// What the worker has to know of a new operation.
    pub fn begin(&mut self) -> Begin {
        let some = |tick: u64| (tick != 0).then_some(tick);
        let (due, deadline) = match self.course {
            Course::Pending { due, deadline } => (some(due), some(deadline)),
            Course::Done(_) => (None, None),
        };
        Begin {
            kind: self.kind,
            socket: self.socket,
            flags: self.flags,
            buffer: self.buffer,
            payload: self.payload.take(),
            due,
            deadline,
            epoch: self.epoch,
        }
    }

    /// The tick at which it times out.
    pub fn deadline(&self) -> Option<u64> {
        match self.course {
            Course::Pending { deadline, .. } if deadline != 0 => Some(deadline),
            _ => None,
        }
    }

    pub fn set_deadline(&mut self, tick: Option<u64>) {
        if let Course::Pending { deadline, .. } = &mut self.course {
            *deadline = tick.unwrap_or(0);
        }
    }

    /// The completion as the application gets it, but for the handles.
    pub fn completion(&self) -> asock_result {
        let finished = match self.course {
            Course::Done(finished) => finished,
            Course::Pending { .. } => Finished {
                status: Status::Internal,
                os_error: OsError(0),
                bytes: 0,
            },
        };
        let (value, bytes, flags) = match self.kind {
            Kind::Resolve if finished.bytes > self.buffer.len() => {
                (finished.bytes, 0, ASOCK_RESULT_TRUNCATED)
            }
            Kind::Resolve => (finished.bytes, 0, 0),
            _ => (0, finished.bytes, 0),
        };
        asock_result {
            op: 0,
            socket: 0,
            value: value as u64,
            bytes,
            buffer: self.buffer.pointer().cast(),
            user_data: self.user_data.pointer(),
            kind: self.kind as u32,
            status: finished.status.code(),
            os_error: finished.os_error.0,
            flags,
        }
    }
}

/// The peer of a connection, remembered after it is gone. An IPv4 address is kept in place.
#[derive(Default)]
pub enum Remote {
    #[default]
    None,
    Ipv4(Ipv4Addr, u16),
    Other(Box<Payload>),
}

impl Remote {
    pub fn of(payload: Option<Box<Payload>>) -> Remote {
        let Some(payload) = payload else {
            return Remote::None;
        };
        match &*payload {
            Payload::Connect(address) => match address.ipv4() {
                Some((host, port)) => Remote::Ipv4(host, port),
                None => Remote::Other(payload),
            },
            _ => Remote::None,
        }
    }

    pub fn address(&self) -> Address {
        match self {
            Remote::None => Address::NONE,
            Remote::Ipv4(host, port) => Address::of_ipv4(*host, *port),
            Remote::Other(payload) => match &**payload {
                Payload::Connect(address) => *address,
                _ => Address::NONE,
            },
        }
    }
}

/// How many options of the system's there are.
pub const SYSTEM_OPTIONS: usize = 13;

/// What was set on a socket, kept for the descriptors that are still to come.
#[derive(Clone, Default)]
pub struct Settings {
    /// By `SocketOption`.
    pub system: [Option<i64>; SYSTEM_OPTIONS],
    /// Rises with every change of `system`.
    pub version: u32,
    pub connect_timeout_ms: u64,
    pub send_timeout_ms: u64,
    pub receive_timeout_ms: u64,
    pub accept_timeout_ms: u64,
    pub send_queue_limit: u64,
}

impl Settings {
    pub fn kept(&self) -> impl Iterator<Item = (SocketOption, i64)> + '_ {
        let pairs = SocketOption::ALL.iter().zip(&self.system);
        pairs.filter_map(|(&option, value)| Some((option, (*value)?)))
    }
}

/// The shared half of a socket.
#[derive(Default)]
pub struct SocketRecord {
    pub connected: bool,
    pub linked: bool,
    pub epoch: u8,
    /// Connects that are pending.
    pub connecting: u16,
    pub inbox_next: u32,
    pub family: Option<Family>,
    /// Shared with calls on the application's threads, so that a close meanwhile cannot give its
    /// number to another.
    pub descriptor: Option<Arc<Descriptor>>,
    /// Bytes begun and not yet sent.
    pub queued: u64,
    pub remote: Remote,
    pub settings: Option<Box<Settings>>,
}

/// A list of operations through one of their links.
pub struct Chain {
    pub head: u32,
    pub tail: u32,
    pub length: usize,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain {
            head: NONE,
            tail: NONE,
            length: 0,
        }
    }
}
