//! The engine in a simulated world: seeded schedules, and the promises checked at every step.
//!
//! A schedule begins, cancels, closes and times out operations at random on a few sockets, while
//! the world (`driver::sim`) connects, moves, delays, breaks and ends at random. Everything that
//! finishes is judged (`judge`) by what the contract says, and in the end, when the world has
//! calmed down, nothing may be missing. The tests themselves are in `cases` and `schedules`.
//!
//! This module stands for the seat and the worker: the inbox, the epochs, the slots.
//!
//! A failing schedule names its seed; `ASOCK_SIMULATION_SEED=n` runs that one alone, step by step.

mod cases;
mod datagrams;
mod inbox;
mod judge;
mod listeners;
mod ports;
mod record;
mod schedules;

use self::ports::Ports;
use self::record::{lane_of, Draft, Entry, Place, Record, Tally};
use super::arena::{chunk, Chunk, Growth, CHUNK};
use super::file::FileSend;
use super::handover::SeatSide;
use super::operation::{Begin, Fault, Flags, Kind, Operation, Payload, Tick, NONE};
use super::race::Race;
use super::socket::{Engine, Socket};
use crate::address::Address;
use crate::driver::sim::{fill, first, write, Memory, Random, SimDriver, Temper};
use crate::foreign::Buffer;
use crate::status::Status;
use crate::sys::Message;
use std::collections::VecDeque;

/// Operations that may be there at once.
const IDS: u32 = 24;
/// Sockets that may be there at once, and their numbers.
const NUMBERS: u32 = 3;
/// What surrounds the application's buffers, and what receives find in them.
const CANARY: u8 = 0xc3;
/// What the application puts where a buffer was once it has it back.
const POISON: u8 = 0xee;
const MARGIN: usize = 4;
/// The bytes that are sent are stretches of this; none of them is a canary or poison.
static PATTERN: [u8; 4096] = pattern();

const fn pattern() -> [u8; 4096] {
    let mut bytes = [0; 4096];
    let mut index = 0;
    while index < bytes.len() {
        bytes[index] = ((index * 73 + index / 127 * 31) % 127) as u8;
        index += 1;
    }
    bytes
}

pub struct Simulation {
    engine: Engine,
    seat: SeatSide<Operation>,
    ports: Ports,
    memory: Memory,
    random: Random,
    now: u64,
    records: Vec<Record>,
    places: Vec<Place>,
    /// Which record an id stands for, and which ids and numbers are free.
    by_id: [Option<usize>; IDS as usize],
    linked: [bool; IDS as usize],
    by_number: [Option<usize>; NUMBERS as usize],
    inbox: VecDeque<Entry>,
    /// A stop has been asked for; the worker has seen it.
    stopping: bool,
    stopped: bool,
    tally: Tally,
    loud: bool,
}

impl Simulation {
    fn new(seed: u64, temper: Temper) -> Simulation {
        let mut engine = Engine::new(0);
        let mut seat = SeatSide::<Operation>::new();
        for chunk in 0..IDS / CHUNK {
            seat.grow(chunk).expect("there is memory");
        }
        engine.operations.accept(&mut seat);
        let mut sockets = Growth::<Chunk<Socket>>::new();
        sockets.give(0, chunk).expect("there is memory");
        engine.sockets.accept(&mut sockets);
        Simulation {
            engine,
            seat,
            ports: Ports::new(SimDriver::new(seed ^ 0x5555, temper)),
            memory: Memory::new(4096),
            random: Random::new(seed),
            now: 0,
            records: Vec::new(),
            places: Vec::new(),
            by_id: [None; IDS as usize],
            linked: [false; IDS as usize],
            by_number: [None; NUMBERS as usize],
            inbox: VecDeque::new(),
            stopping: false,
            stopped: false,
            tally: Tally::default(),
            loud: false,
        }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.loud {
            #[allow(
                clippy::print_stderr,
                reason = "asked for by name, to look at a failure"
            )]
            {
                eprintln!("[{}] {}", self.now, text());
            }
        }
    }

    // What the application does.

    fn open(&mut self) -> Option<usize> {
        let number = self.by_number.iter().position(Option::is_none)?;
        self.by_number[number] = Some(self.places.len());
        self.places.push(Place {
            number: number as u32,
            ..Place::default()
        });
        Some(self.places.len() - 1)
    }

    /// A buffer with margins; the region is both.
    fn buffer(&mut self, length: usize) -> (Buffer, Buffer) {
        let region = self.memory.take(length + 2 * MARGIN);
        fill(&region, CANARY);
        let buffer = match length {
            0 => Buffer::EMPTY,
            _ => first(region.part(MARGIN), length),
        };
        (buffer, region)
    }

    /// Begins an operation; `None` when the runtime does not take it.
    fn begin(&mut self, draft: Draft) -> Option<usize> {
        let refused = self.stopping && draft.kind != Kind::Shutdown;
        let id = (0..IDS as usize).find(|&id| self.by_id[id].is_none() && !self.linked[id])?;
        if refused || self.records.len() >= 64 {
            return None;
        }
        let memory = if draft.flags.has(Flags::FILE) {
            0
        } else {
            draft.length
        };
        let (mut buffer, region) = self.buffer(memory);
        let mut data = self.random.below(PATTERN.len() - draft.length);
        if draft.flags.has(Flags::FILE) {
            buffer = Buffer::of_file(draft.length);
            if self.random.chance(15) {
                data = PATTERN.len() - self.random.below(draft.length); // It ends too early.
            }
        }
        let number = self.records.len();
        if draft.kind == Kind::Send && !draft.flags.has(Flags::FILE) {
            write(&buffer, &PATTERN[data..data + draft.length]);
        }
        let payload = payload_of(&draft, buffer, data);
        let expected = self.foretold(&draft);
        let epoch = self.note(&draft, number);
        self.by_id[id] = Some(number);
        self.records.push(Record {
            socket: draft.socket,
            id: id as u32,
            kind: draft.kind,
            flags: draft.flags,
            buffer,
            region,
            data,
            vectored: draft.vectored && !draft.copy,
            deadline: None,
            due: draft.due,
            canceled: false,
            was_late: false,
            result: None,
            expected,
            cut: None,
            took_effect: false,
            addresses: draft.addresses,
            answered: false,
            found: 0,
        });
        let begin = Begin {
            socket: match draft.kind {
                Kind::Timer | Kind::Resolve => NONE,
                _ => self.places[draft.socket].number,
            },
            flags: draft.flags,
            buffer,
            payload,
            due: Tick::of(draft.due),
            deadline: Tick::of(draft.deadline),
            epoch,
            ..Begin::new(draft.kind)
        };
        self.say(|| format!("begin {number} {draft:?} epoch {epoch}"));
        self.link(id as u32).begin = Some(begin);
        self.tally.operations += 1;
        Some(number)
    }

    /// What a begin changes on the shared record of its socket, whose epoch it gives.
    fn note(&mut self, draft: &Draft, number: usize) -> u8 {
        if matches!(draft.kind, Kind::Timer | Kind::Resolve) {
            return 0;
        }
        let place = &mut self.places[draft.socket];
        match draft.kind {
            Kind::Connect => place.connecting += 1,
            Kind::Send => self.ports.queued[place.number as usize] += draft.length,
            Kind::Close => {
                place.closed = true;
                place.closer = Some(number);
            }
            _ => {}
        }
        place.epoch
    }

    /// What an operation must come to by what is visible when it is begun.
    fn foretold(&self, draft: &Draft) -> Option<Fault> {
        if !matches!(draft.kind, Kind::Send | Kind::Receive) {
            return None;
        }
        let place = &self.places[draft.socket];
        let never = !place.connected && place.connecting == 0;
        place
            .broken
            .or(never.then_some(Fault::of(Status::NotConnected)))
    }

    /// The inbox's entry of an operation; there is only one.
    fn link(&mut self, id: u32) -> &mut Entry {
        if !std::mem::replace(&mut self.linked[id as usize], true) {
            self.inbox.push_back(Entry {
                target: id,
                is_socket: false,
                begin: None,
                answer: None,
                deadline: None,
                cancel: false,
            });
        }
        let mut entries = self.inbox.iter_mut();
        let own = entries.find(|entry| !entry.is_socket && entry.target == id);
        own.expect("it was linked")
    }

    fn shutdown(&mut self, socket: usize, receive: bool, send: bool) {
        let place = &self.places[socket];
        if place.connected || place.connecting > 0 {
            self.begin(Draft {
                flags: Flags::RECEIVE.when(receive) | Flags::SEND.when(send),
                ..Draft::new(Kind::Shutdown, socket)
            });
        }
    }

    /// `asock_close`, which has no completion.
    fn close(&mut self, socket: usize) {
        let place = &mut self.places[socket];
        place.closed = true;
        let number = place.number;
        self.say(|| format!("close of socket {number}"));
        self.inbox.push_back(Entry {
            target: number,
            is_socket: true,
            begin: None,
            answer: None,
            deadline: None,
            cancel: false,
        });
    }

    fn is_visible(&self, number: usize) -> bool {
        self.records[number].result.is_some()
    }

    fn cancel(&mut self, number: usize) {
        if !self.is_visible(number) {
            self.say(|| format!("cancel {number}"));
            self.link(self.records[number].id).cancel = true;
        }
    }

    fn set_deadline(&mut self, number: usize, deadline: Option<u64>) {
        if !self.is_visible(number) {
            self.say(|| format!("deadline of {number}: {deadline:?}"));
            let entry = self.link(self.records[number].id);
            entry.deadline = Some(deadline);
            if let Some(begin) = &mut entry.begin {
                begin.deadline = Tick::of(deadline);
            }
        }
    }

    /// A name has been looked up.
    fn answer(&mut self, number: usize, found: usize) {
        let record = &mut self.records[number];
        if record.result.is_none() && !std::mem::replace(&mut record.answered, true) {
            record.found = found;
            let answer = match found {
                0 => Err(Fault::of(Status::HostNotFound)),
                some => Ok(vec![Address::NONE; some]),
            };
            self.say(|| format!("answer for {number}: {found}"));
            self.link(self.records[number].id).answer = Some(answer);
        }
    }

    // What the worker does.

    /// Takes up to so many entries of the inbox.
    fn take(&mut self, most: usize) {
        for _ in 0..most {
            let Some(entry) = self.inbox.pop_front() else {
                break;
            };
            if entry.is_socket {
                let number = entry.target;
                let place = self.by_number[number as usize].expect("it is open");
                self.foretell_closing(place, false);
                self.places[place].closing = Some(Flags::NONE);
                let flags = Flags::NONE;
                self.engine.close(number, flags, None, &mut self.ports);
                self.check_closing(place);
                self.look();
            } else {
                self.linked[entry.target as usize] = false;
                if let Some(number) = self.by_id[entry.target as usize] {
                    self.apply(number, entry);
                }
            }
        }
        // As the seat has it: a drain is over all that was begun before it.
        if self.inbox.is_empty() && self.stopping && !std::mem::replace(&mut self.stopped, true) {
            self.say(|| "stop".into());
            self.foretell_stopped();
            let status = Status::Stopped;
            self.engine.abort_everything(status, &mut self.ports);
            self.check_stopped();
            self.look();
        }
    }

    fn apply(&mut self, number: usize, entry: Entry) {
        let (id, socket, kind) = {
            let record = &self.records[number];
            (record.id, record.socket, record.kind)
        };
        if let Some(begin) = entry.begin {
            self.say(|| format!("  engine begins {number}"));
            self.records[number].deadline = begin.deadline.get();
            if kind == Kind::Close {
                self.foretell_closing(socket, begin.flags.has(Flags::DRAIN));
                self.places[socket].closing = Some(begin.flags);
            }
            self.seat.hand(id, |record| record.begin(begin));
            self.engine.begin(id, &mut self.ports);
            if kind == Kind::Close {
                self.check_closing(socket);
            }
            self.look();
        }
        if let Some(answer) = entry.answer {
            self.say(|| format!("  engine hears of {number}"));
            self.engine.resolved(id, answer, &mut self.ports);
            self.look();
        }
        if let Some(deadline) = entry.deadline {
            self.say(|| format!("  engine sets deadline of {number}"));
            if self.engine.is_queued(id) {
                let record = &mut self.records[number];
                record.was_late = record.is_late(self.now);
                record.deadline = deadline;
            }
            self.engine.set_deadline(id, deadline);
        }
        if entry.cancel {
            self.say(|| format!("  engine cancels {number}"));
            if self.engine.is_queued(id) {
                self.foretell_cut_drain(number, Status::Canceled);
                self.records[number].canceled = true;
            }
            let status = Status::Canceled;
            self.engine.abort(id, status, &mut self.ports);
            self.check_aborted(number);
            self.look();
        }
    }

    /// Lets the driver tell of one request.
    fn react(&mut self) -> bool {
        if self.ports.has_files() && self.random.chance(50) {
            let payload = self.ports.advance_file();
            if let Some(payload) = payload {
                self.say(|| "  a thread gives a file back".into());
                self.engine.file_done(payload, &mut self.ports);
                self.look();
            }
            return true;
        }
        let Some(done) = self.ports.driver.next(&self.engine) else {
            return self.ports.has_files();
        };
        self.say(|| format!("  done {done:?}"));
        let (token, outcome) = (done.token, done.outcome);
        self.engine.done(token, outcome, &mut self.ports);
        self.look();
        true
    }

    /// Time passes.
    fn pass(&mut self, ticks: u64) {
        self.now += ticks;
        self.ports.now = self.now;
        self.say(|| "time passes".into());
        // What an expiry sets off may put off another one by a turn, not by a tick.
        while self
            .engine
            .next_expiry()
            .is_some_and(|tick| tick <= self.now)
        {
            self.engine.expire(self.now, &mut self.ports);
            self.look();
        }
        self.check_expired();
    }

    /// Makes up to so many results visible, as the worker publishes and the seat settles them.
    fn deliver(&mut self, most: usize) {
        for _ in 0..most {
            let Some(id) = self.engine.take_finished() else {
                break;
            };
            let number = self.by_id[id as usize].take();
            self.judge(number.expect("an operation finishes once"));
        }
        while !self.engine.has_finished() {
            let Some(socket) = self.engine.take_closed() else {
                break;
            };
            let place = self.by_number[socket as usize].take();
            self.check_gone(place.expect("a socket closes once"));
            self.ports.driver.forget(socket);
        }
    }

    /// After each step: what the engine has asked of the ports since the last one.
    fn look(&mut self) {
        while let Some((number, reset)) = self.ports.closed.pop() {
            let place = self.by_number[number as usize].expect("it is open");
            self.check_closed(place, reset);
        }
    }
}

/// A buffer in pieces, some of them of nothing.
fn message_of(buffer: Buffer) -> Box<Message> {
    let mut message = Message::new().expect("there is memory");
    for (from, to) in [(0, 1), (1, 1), (1, 4), (4, 9), (9, 10), (10, 10), (10, 16)] {
        let length = to.min(buffer.len()).saturating_sub(from);
        message.push(first(buffer.part(from), length));
    }
    message
}

/// What an operation brings along besides its buffer.
fn payload_of(draft: &Draft, buffer: Buffer, data: usize) -> Option<Box<Payload>> {
    let payload = match (draft.kind, draft.addresses) {
        (Kind::Resolve, _) | (Kind::Connect, 0) => Payload::Name(80),
        (Kind::Connect, 1) => Payload::Connect(Address::NONE),
        (Kind::Connect, more) => Payload::Race(vec![Address::NONE; more], Race::new(more)),
        (Kind::Send, _) if draft.flags.has(Flags::FILE) => {
            Payload::File(FileSend::new(None, data as u64))
        }
        (Kind::Send, _) if draft.copy => Payload::Copy {
            bytes: PATTERN[data..data + draft.length].into(),
            given: buffer,
        },
        (Kind::Send | Kind::Receive, _) if draft.vectored => Payload::Message(message_of(buffer)),
        _ => return None,
    };
    Some(Box::new(payload))
}
