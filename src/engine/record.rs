//! The shared half of operations and sockets: what the application's threads may ask and change.
//! It lies behind the seat's lock; the worker's half (`operation`, `socket`) needs none.

use super::operation::{Begin, Flags, Kind, Payload, NONE};
use crate::abi::{asock_callback, asock_result};
use crate::address::{Address, Family};
use crate::foreign::{Buffer, UserData};
use crate::status::{OsError, Status};
use crate::sys::{Descriptor, SocketOption};
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

/// The shared half of an operation.
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
    /// The socket's slot, and its handle as the application knows it.
    pub socket: u32,
    pub socket_handle: u64,
    pub handle: u64,
    pub callback: asock_callback,
    pub user_data: Option<UserData>,
    pub buffer: Buffer,
    pub payload: Option<Box<Payload>>,
    pub due: Option<u64>,
    pub deadline: Option<u64>,
    pub result: Option<Finished>,
}

/// The result of an operation, as the engine fixed it.
#[derive(Clone, Copy)]
pub struct Finished {
    pub status: Status,
    pub os_error: OsError,
    pub bytes: usize,
}

impl OperationRecord {
    /// What the worker has to know of a new operation.
    pub fn begin(&mut self) -> Begin {
        Begin {
            kind: self.kind,
            socket: self.socket,
            flags: self.flags,
            buffer: self.buffer,
            payload: self.payload.take(),
            due: self.due,
            deadline: self.deadline,
            epoch: self.epoch,
        }
    }

    /// The completion as the application gets it.
    pub fn completion(&self) -> asock_result {
        let finished = self.result.unwrap_or(Finished {
            status: Status::Internal,
            os_error: OsError(0),
            bytes: 0,
        });
        asock_result {
            op: self.handle,
            socket: self.socket_handle,
            value: 0,
            bytes: finished.bytes,
            buffer: self.buffer.pointer().cast(),
            user_data: self.user_data().pointer(),
            kind: self.kind as u32,
            status: finished.status.code(),
            os_error: finished.os_error.0,
            flags: 0,
        }
    }

    pub fn user_data(&self) -> UserData {
        self.user_data.unwrap_or(UserData::NONE)
    }
}

/// The peer of a connection, remembered after it is gone. An IPv4 address is kept in place.
#[derive(Default)]
pub enum Remote {
    #[default]
    None,
    Short([u8; 16]),
    Long(Box<Payload>),
}

impl Remote {
    pub fn of(payload: Option<Box<Payload>>) -> Remote {
        let Some(payload) = payload else {
            return Remote::None;
        };
        let short = match &*payload {
            Payload::Connect(address) if address.family() == Family::Ipv4 => {
                address.as_bytes().try_into().ok()
            }
            _ => None,
        };
        short.map_or(Remote::Long(payload), Remote::Short)
    }

    pub fn address(&self) -> Address {
        match self {
            Remote::None => Address::NONE,
            Remote::Short(bytes) => Address::from_bytes(bytes),
            Remote::Long(payload) => match &**payload {
                Payload::Connect(address) => *address,
                Payload::Copy(_) => Address::NONE,
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
