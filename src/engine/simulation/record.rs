//! What the test knows of operations and sockets, and counts.

use super::PATTERN;
use crate::driver::Lane;
use crate::engine::inbox::NameAnswer;
use crate::engine::operation::{Begin, Fault, Flags, Kind};
use crate::foreign::Buffer;

/// An operation as the test sees it. They are told apart by their number, in the order begun.
pub struct Record {
    pub socket: usize,
    pub id: u32,
    pub kind: Kind,
    pub flags: Flags,
    /// The application's buffer, with its margins around it, and what is sent from it.
    pub buffer: Buffer,
    pub region: Buffer,
    pub data: usize,
    pub vectored: bool,
    /// What the engine has been told.
    pub deadline: Option<u64>,
    pub due: Option<u64>,
    pub canceled: bool,
    /// An earlier deadline of it has passed.
    pub was_late: bool,
    /// Set when the completion has become visible.
    pub result: Option<(Fault, usize)>,
    /// What it has to say, since another operation's end says so too.
    pub expected: Option<Fault>,
    /// What it may say besides, since it stood behind a cut send.
    pub cut: Option<Fault>,
    /// A shutdown that took effect on a connection.
    pub took_effect: bool,
    /// Of a connect: how many addresses it was given.
    pub addresses: usize,
    /// The name has been looked up, and so many addresses were found.
    pub answered: bool,
    pub found: usize,
}

impl Record {
    pub fn has_socket(&self) -> bool {
        !matches!(self.kind, Kind::Timer | Kind::Resolve)
    }

    /// A file that has fewer bytes than are to be sent of it.
    pub fn is_short(&self) -> bool {
        self.flags.has(Flags::FILE) && self.data + self.buffer.len() > PATTERN.len()
    }

    pub fn is_late(&self, now: u64) -> bool {
        self.was_late || self.deadline.is_some_and(|tick| tick <= now)
    }
}

/// A socket as the test sees it, from open to close.
#[derive(Default)]
pub struct Place {
    pub number: u32,
    /// The shared record, as the seat keeps it.
    pub connected: bool,
    pub connecting: usize,
    pub epoch: u8,
    /// The application has closed it, and so; the worker has seen it.
    pub closed: bool,
    pub closing: Option<Flags>,
    pub closer: Option<usize>,
    /// It was still to send what was queued when it was closed.
    pub draining: bool,
    /// The engine has let go of it.
    pub gone: bool,
    /// What broke the connection, as the first completion told it.
    pub broken: Option<Fault>,
    /// The first operation that the last failed connect did not take with it.
    pub afresh: usize,
    /// The receiving side was shut down before the connection stood.
    pub shuts_receive: bool,
    /// How much of the peer's stream the receives have got.
    pub consumed: usize,
    /// The last success of each direction.
    pub last: [Option<usize>; 2],
}

/// An entry of the inbox.
pub struct Entry {
    /// An operation's id, or a socket's number.
    pub target: u32,
    pub is_socket: bool,
    pub begin: Option<Begin>,
    pub answer: Option<NameAnswer>,
    pub deadline: Option<Option<u64>>,
    pub cancel: bool,
}

/// How often the things happened that are worth simulating.
#[derive(Default, Debug)]
pub struct Tally {
    pub operations: usize,
    pub successes: usize,
    pub cut_sends: usize,
    pub cut_behind: usize,
    pub failed_connects: usize,
    pub failed_behind: usize,
    pub broken: usize,
    pub told_again: usize,
    pub late_cancels: usize,
    pub canceled: usize,
    pub timed_out: usize,
    pub drained: usize,
    pub drains_cut: usize,
    pub stopped: usize,
    pub shutdowns: usize,
    pub filled: usize,
    pub races: usize,
    pub files: usize,
    pub short_files: usize,
    pub vectored: usize,
}

impl Tally {
    pub fn all(&self) -> [(&'static str, usize); 20] {
        [
            ("operations", self.operations),
            ("successes", self.successes),
            ("cut_sends", self.cut_sends),
            ("cut_behind", self.cut_behind),
            ("failed_connects", self.failed_connects),
            ("failed_behind", self.failed_behind),
            ("broken", self.broken),
            ("told_again", self.told_again),
            ("late_cancels", self.late_cancels),
            ("canceled", self.canceled),
            ("timed_out", self.timed_out),
            ("drained", self.drained),
            ("drains_cut", self.drains_cut),
            ("stopped", self.stopped),
            ("shutdowns", self.shutdowns),
            ("filled", self.filled),
            ("races", self.races),
            ("files", self.files),
            ("short_files", self.short_files),
            ("vectored", self.vectored),
        ]
    }

    pub fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.successes += other.successes;
        self.cut_sends += other.cut_sends;
        self.cut_behind += other.cut_behind;
        self.failed_connects += other.failed_connects;
        self.failed_behind += other.failed_behind;
        self.broken += other.broken;
        self.told_again += other.told_again;
        self.late_cancels += other.late_cancels;
        self.canceled += other.canceled;
        self.timed_out += other.timed_out;
        self.drained += other.drained;
        self.drains_cut += other.drains_cut;
        self.stopped += other.stopped;
        self.shutdowns += other.shutdowns;
        self.filled += other.filled;
        self.races += other.races;
        self.files += other.files;
        self.short_files += other.short_files;
        self.vectored += other.vectored;
    }
}

/// What is begun.
#[derive(Clone, Debug)]
pub struct Draft {
    pub kind: Kind,
    pub socket: usize,
    pub flags: Flags,
    pub length: usize,
    pub copy: bool,
    /// In several pieces of memory.
    pub vectored: bool,
    /// Of a connect: how many addresses it tries; 0 when it has a name.
    pub addresses: usize,
    pub due: Option<u64>,
    pub deadline: Option<u64>,
}

impl Draft {
    pub fn new(kind: Kind, socket: usize) -> Draft {
        Draft {
            kind,
            socket,
            flags: Flags::NONE,
            length: 0,
            copy: false,
            vectored: false,
            addresses: 1,
            due: None,
            deadline: None,
        }
    }
}

/// The lane that an operation of that kind uses.
pub fn lane_of(kind: Kind) -> Lane {
    match kind {
        Kind::Receive => Lane::Input,
        _ => Lane::Output,
    }
}
