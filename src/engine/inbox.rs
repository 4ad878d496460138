//! What the application's threads have to tell the worker.
//!
//! The inbox is linked through the slots of operations and sockets, so that telling something
//! needs no memory: a slot stands in it once, and marks say what there is to tell of it.

use super::arena::OutOfMemory;
use super::operation::{Fault, Payload, NONE};
use super::record::{Marks, Stage};
use super::shared::Shared;
use super::socket::Engine;
use crate::address::Address;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// Commands that the worker takes at once, so that it never holds the lock for long.
const TAKE: usize = if cfg!(test) { 4 } else { 256 };
/// The most events that one inbox entry turns into.
const EVENTS_PER_ENTRY: usize = 5;
pub const EVENTS: usize = TAKE * EVENTS_PER_ENTRY;

/// Marks an inbox entry that is a socket, not an operation.
const SOCKET_ENTRY: u32 = 1 << 31;

/// The addresses of a name, or why there are none.
pub type NameAnswer = Result<Vec<Address>, Fault>;

/// What few operations have with them, by their slots: in whatever order it was put in and is taken
/// out, there may be very much of it.
type Enclosed<T> = HashMap<u32, T, BuildHasherDefault<DefaultHasher>>;

/// What there is to tell of an operation, and what it belongs to.
struct News {
    marks: Marks,
    stage: Stage,
    socket: u32,
}

/// What the inbox holds for the worker.
pub enum Event {
    Begin(u32),
    Resolved(u32, NameAnswer),
    /// A thread for files gives an operation's payload back.
    File(Box<Payload>),
    Deadline(u32, Option<u64>),
    Cancel(u32),
    /// The socket has a descriptor that did not come from its worker. It is told before whatever
    /// was begun on the socket after that.
    Arrived(u32),
    /// The socket is no more, and its descriptor the application's.
    Released(u32),
    Close(u32),
}

/// The inbox itself.
pub struct Inbox {
    head: u32,
    tail: u32,
    /// Entries ever put in, and ever taken out.
    put: u64,
    taken: u64,
    /// Changed deadlines that the worker has not seen yet, and what look-ups have brought.
    deadlines: Enclosed<Option<u64>>,
    answers: Enclosed<NameAnswer>,
}

impl Inbox {
    pub fn new() -> Inbox {
        Inbox {
            head: NONE,
            tail: NONE,
            put: 0,
            taken: 0,
            deadlines: Enclosed::default(),
            answers: Enclosed::default(),
        }
    }

    /// Room for what one turn of the worker takes of changed deadlines, so that how far it is behind
    /// decides nothing about memory.
    pub fn make_room(&mut self) -> Result<(), OutOfMemory> {
        // Twice as much, since the places of what was taken out are not all free at once.
        let room = self.deadlines.try_reserve(2 * TAKE);
        room.map_err(|_| OutOfMemory)
    }

    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// A mark behind all that stands in it now.
    pub fn end(&self) -> u64 {
        self.put
    }

    /// Whether all that stood before a mark is out of it.
    pub fn has_passed(&self, mark: u64) -> bool {
        self.taken >= mark
    }

    /// What stood first is out of it.
    fn go_on(&mut self, next: u32) {
        self.head = next;
        self.taken += 1;
        if next == NONE {
            self.tail = NONE;
        }
    }
}

impl Shared {
    fn link(&mut self, entry: u32) {
        self.inbox.put += 1;
        match std::mem::replace(&mut self.inbox.tail, entry) {
            NONE => self.inbox.head = entry,
            tail if tail & SOCKET_ENTRY != 0 => self.sockets.link(tail & !SOCKET_ENTRY, entry),
            tail => self.operations.link(tail, entry),
        }
    }

    /// Puts an operation that is just begun into the inbox.
    #[inline(always)]
    pub fn link_begun(&mut self, id: u32, socket: u32, collected: bool) {
        let state = self.operations.at(id);
        state.socket = socket;
        state.marks.set(Marks::BEGUN);
        state.marks.set(Marks::LINKED);
        if collected {
            state.marks.set(Marks::COLLECTED);
        }
        self.link(id);
    }

    /// Puts an operation into the inbox, unless it is there.
    pub fn link_operation(&mut self, id: u32) {
        if !self.operations.at(id).marks.set(Marks::LINKED) {
            self.link(id);
        }
    }

    /// Puts a socket that is to be closed into the inbox.
    pub fn link_socket(&mut self, id: u32) {
        if !self.sockets.at(id).marks.set(Marks::LINKED) {
            self.link(id | SOCKET_ENTRY);
        }
    }

    /// Takes an operation that stands first out of the inbox.
    #[inline(always)]
    fn unlink_operation(&mut self, id: u32) -> News {
        let (state, next) = self.operations.unlink(id);
        state.marks.clear(Marks::LINKED);
        let news = News {
            marks: state.marks.take(Marks::NEWS),
            stage: state.stage,
            socket: state.socket,
        };
        self.inbox.go_on(next);
        news
    }

    /// The same for a socket.
    fn unlink_socket(&mut self, id: u32) {
        let (record, next) = self.sockets.unlink(id);
        record.marks.clear(Marks::LINKED);
        self.inbox.go_on(next);
    }

    /// Takes everything out of the inbox.
    pub(super) fn empty_inbox(&mut self) {
        while !self.inbox.is_empty() {
            match self.inbox.head {
                head if head & SOCKET_ENTRY != 0 => self.unlink_socket(head & !SOCKET_ENTRY),
                head => drop(self.unlink_operation(head)),
            }
        }
    }

    pub(super) fn take(&mut self, engine: &mut Engine, events: &mut Vec<Event>) {
        engine.operations.accept(&mut self.records);
        engine.sockets.accept(&mut self.sockets_growth);
        while events.len() < TAKE {
            match self.returned.pop() {
                Some(payload) => events.push(Event::File(payload)),
                None => break,
            }
        }
        while events.len() + EVENTS_PER_ENTRY <= EVENTS {
            match self.inbox.head {
                NONE => return,
                head if head & SOCKET_ENTRY != 0 => {
                    self.unlink_socket(head & !SOCKET_ENTRY);
                    self.take_socket(head & !SOCKET_ENTRY, events);
                }
                head => {
                    let news = self.unlink_operation(head);
                    self.take_operation(head, news, events);
                }
            }
        }
    }

    /// What there is to tell of a socket.
    fn take_socket(&mut self, socket: u32, events: &mut Vec<Event>) {
        if self.sockets.at(socket).marks.has(Marks::RELEASED) {
            events.push(Event::Released(socket));
        } else {
            self.take_arrival(socket, events);
            events.push(Event::Close(socket));
        }
    }

    fn take_arrival(&mut self, socket: u32, events: &mut Vec<Event>) {
        if self.sockets.at(socket).marks.clear(Marks::ARRIVED) {
            events.push(Event::Arrived(socket));
        }
    }

    /// What there is to tell of an operation, which may be over meanwhile.
    #[inline(always)]
    fn take_operation(&mut self, id: u32, news: News, events: &mut Vec<Event>) {
        if news.marks.has(Marks::BEGUN) {
            if news.socket != NONE {
                self.take_arrival(news.socket, events);
            }
            events.push(Event::Begin(id));
        }
        if news.marks != Marks::BEGUN || news.stage != Stage::Pending {
            self.take_rare(id, news, events);
        }
    }

    /// What there is to tell of an operation besides its begin.
    #[inline(never)]
    fn take_rare(&mut self, id: u32, news: News, events: &mut Vec<Event>) {
        let (answered, changed, canceled) = (
            news.marks.has(Marks::ANSWERED),
            news.marks.has(Marks::DEADLINE),
            news.marks.has(Marks::CANCELED),
        );
        let pending = news.stage == Stage::Pending;
        let answer = answered.then(|| self.inbox.answers.remove(&id));
        if let (Some(answer), true) = (answer.flatten(), pending) {
            events.push(Event::Resolved(id, answer));
        }
        let deadline = changed.then(|| self.inbox.deadlines.remove(&id));
        if let (Some(deadline), true) = (deadline.flatten(), pending) {
            events.push(Event::Deadline(id, deadline));
        }
        if canceled && pending {
            events.push(Event::Cancel(id));
        }
        if news.stage == Stage::Retired {
            self.operations.release(id);
        }
    }

    /// The name of a pending operation has been looked up.
    pub fn answer(&mut self, id: u32, answer: NameAnswer) {
        if !self.operations.at(id).marks.set(Marks::ANSWERED) {
            self.inbox.answers.insert(id, answer);
            self.link_operation(id);
        }
    }

    /// Sets the deadline of a pending operation anew.
    pub fn change_deadline(&mut self, id: u32, deadline: Option<u64>) -> Result<(), OutOfMemory> {
        let deadlines = &mut self.inbox.deadlines;
        deadlines.try_reserve(1).map_err(|_| OutOfMemory)?;
        deadlines.insert(id, deadline);
        self.operations.at(id).marks.set(Marks::DEADLINE);
        self.link_operation(id);
        Ok(())
    }
}
