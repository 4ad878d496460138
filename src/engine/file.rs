//! Files that are sent: what such an operation keeps, and the rules of its way.
//!
//! The system's call that sends a part of a file may wait for the disk, so it is made on a thread
//! for files (`files`), never on the worker. The operation's payload itself goes there and comes
//! back, and the descriptor of the file with it; meanwhile the output lane is busy as if a driver
//! had it. When the socket has no room the thread gives the payload back, the driver tells when
//! there is room, and the payload goes out again. Each time it is for a limited part, so that a
//! cancel is heard.

use super::operation::{Flags, Payload, NONE};
use super::socket::{Engine, LaneState, State, Steps};
use crate::driver::{Lane, Outcome, Request, Token};
use crate::status::Status;
use crate::sys::{Descriptor, RawDescriptor, WOULD_BLOCK};

/// Bytes that are asked for at once. Small under test, so that every file has several parts.
pub const PART: usize = if cfg!(test) { 8 } else { 1 << 20 };

/// What an operation that sends a file keeps.
pub struct FileSend {
    /// A duplicate of the application's descriptor, until nothing more is to be read.
    pub file: Option<Descriptor>,
    /// Where in the file the operation's first byte is.
    start: u64,
    /// The part to be sent next: from where, and how many bytes.
    pub offset: u64,
    pub length: usize,
    /// It is the last part.
    pub is_last: bool,
    /// How that went.
    pub outcome: Outcome,
    /// The operation that it belongs to.
    pub operation: u32,
    /// The socket had no room; the driver is to tell when it has.
    pub wants_room: bool,
    /// Times in a row that there was no room after all.
    pub futile: u8,
    /// The socket, which its seat keeps open while a thread has this.
    pub socket: Option<RawDescriptor>,
}

impl FileSend {
    pub fn new(file: Option<Descriptor>, start: u64) -> FileSend {
        FileSend {
            file,
            start,
            offset: start,
            length: 0,
            is_last: false,
            outcome: Outcome::Canceled,
            operation: NONE,
            wants_room: false,
            futile: 0,
            socket: None,
        }
    }

    /// Notes the part that comes after `done` bytes, with `left` more to go.
    fn ask(&mut self, operation: u32, done: usize, left: usize) {
        self.operation = operation;
        self.offset = self.start + done as u64;
        self.length = left.min(PART);
        self.is_last = left <= PART;
    }
}

impl Engine {
    /// Starts what the file at the head of a socket's sends needs next; true when that is over
    /// already.
    pub(super) fn start_file(&mut self, index: u32, id: u32, steps: &mut impl Steps) -> bool {
        let operation = &mut self.operations[id];
        let (done, left) = (
            operation.bytes(),
            operation.buffer.len() - operation.bytes(),
        );
        let Some(mut payload) = operation.payload.take() else {
            debug_assert!(false, "the lane is idle, so its file is here");
            return false;
        };
        let Payload::File(file) = &mut *payload else {
            unreachable!("a file's payload is a file");
        };
        self.sockets[index].lanes[Lane::Output as usize] = LaneState::Busy;
        let token = Token::output(index);
        let outcome = if file.wants_room {
            operation.payload = Some(payload);
            steps.start(token, Request::Writable)
        } else {
            file.ask(id, done, left);
            steps.send_file(index, payload).map(|payload| {
                let outcome = outcome_of(&payload);
                self.operations[id].payload = Some(payload);
                outcome
            })
        };
        match outcome {
            None => false,
            Some(outcome) => {
                self.lane_done(token, outcome, steps);
                true
            }
        }
    }

    /// A thread for files gives a payload back.
    pub fn file_done(&mut self, payload: Box<Payload>, steps: &mut impl Steps) {
        let Payload::File(file) = &*payload else {
            return;
        };
        let id = file.operation;
        let outcome = outcome_of(&payload);
        let index = self.operations[id].socket;
        self.operations[id].payload = Some(payload);
        self.done(Token::output(index), outcome, steps);
    }

    /// What the end of a request means for a send of a file; for any other it is what it was.
    /// `None` when the file goes on.
    pub(super) fn file_outcome(&mut self, id: u32, outcome: Outcome) -> Option<Outcome> {
        let operation = &mut self.operations[id];
        let Some(Payload::File(file)) = operation.payload.as_deref_mut() else {
            return Some(outcome);
        };
        let unless_ended = operation.fate.map(|_| Outcome::Canceled);
        match outcome {
            Outcome::Done(0) if std::mem::take(&mut file.wants_room) => unless_ended,
            Outcome::Failed(WOULD_BLOCK) => {
                file.wants_room = true;
                file.futile = file.futile.saturating_add(1);
                unless_ended
            }
            Outcome::Done(0) => {
                // The file is shorter than what was to be sent of it.
                operation.fate.get_or_insert(Status::InvalidArgument);
                Some(Outcome::Canceled)
            }
            Outcome::Done(bytes) => {
                file.wants_room = bytes < file.length;
                file.futile = 0;
                Some(outcome)
            }
            Outcome::Failed(_) | Outcome::Canceled => Some(outcome),
        }
    }

    /// Takes a lane's request back, from the driver or from the threads for files.
    pub(super) fn take_back(&mut self, token: Token, steps: &mut impl Steps) -> Option<Outcome> {
        let socket = &self.sockets[token.socket];
        if token.lane == Lane::Output && socket.state == State::Connected {
            if let Some(id) = socket.sends.first() {
                let operation = &mut self.operations[id];
                if operation.flags.has(Flags::FILE) && operation.payload.is_none() {
                    operation.payload = Some(steps.recall_file(id)?);
                    return Some(Outcome::Canceled);
                }
            }
        }
        steps.cancel(token)
    }
}

fn outcome_of(payload: &Payload) -> Outcome {
    match payload {
        Payload::File(file) => file.outcome,
        _ => Outcome::Canceled,
    }
}
