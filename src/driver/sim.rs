//! The simulated driver: a small world of connections in memory, moved by a seed. Tests only.
//!
//! Its temper says whom it takes after. Like epoll, it ends what it can inside `start`, and a
//! cancel at once. Like io_uring, it ends nothing inside a call, may move a request's bytes long
//! before it tells of them, and so lets a cancel come too late. Mixed, it does either.
//!
//! It moves bytes through a `Buffer` while it has the request, and at no other time. It asserts
//! what the engine owes a driver: one request on a lane, nothing but a connect before the
//! connection stands, no send after our shutdown, no second cancel.
#![allow(unsafe_code)] // It stands for the system and the application, which follow pointers.

pub mod datagrams;
mod link;

pub use self::link::Link;

use self::link::{Held, Work};
use super::{Done, Lane, Outcome, Request, Requests, Token};
use crate::foreign::Buffer;
use crate::status::OsError;
use crate::sys::WOULD_BLOCK;

/// Seeded numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 16) as usize % limit
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Memory for buffers, owned by the test. It is reached through the one pointer only, as the
/// application's memory is.
pub struct Memory {
    start: *mut u8,
    size: usize,
    used: usize,
}

impl Memory {
    pub fn new(size: usize) -> Memory {
        let bytes = vec![0; size].into_boxed_slice();
        Memory {
            start: Box::into_raw(bytes).cast(),
            size,
            used: 0,
        }
    }

    /// A buffer that overlaps no other one.
    pub fn take(&mut self, length: usize) -> Buffer {
        assert!(
            self.used + length <= self.size,
            "the test needs more memory"
        );
        // SAFETY: the place lies inside the allocation, which lives as long as `self`; the tests
        // use no buffer longer.
        let buffer = unsafe { Buffer::new(self.start.add(self.used), length) };
        self.used += length;
        buffer
    }

    /// Everything that was taken.
    pub fn all(&self) -> Buffer {
        // SAFETY: as in `take`.
        unsafe { Buffer::new(self.start, self.used) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let bytes = std::ptr::slice_from_raw_parts_mut(self.start, self.size);
        // SAFETY: the pointer and size are those that `new` got from a box.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

/// The first bytes of a buffer.
pub fn first(buffer: Buffer, length: usize) -> Buffer {
    assert!(length <= buffer.len());
    // SAFETY: it is a part of a valid buffer.
    unsafe { Buffer::new(buffer.pointer(), length) }
}

/// What a buffer holds now.
pub fn read(buffer: &Buffer) -> &[u8] {
    if buffer.is_empty() {
        return &[];
    }
    // SAFETY: the simulation follows a buffer only while its memory lives: that of `Memory`, or a
    // copy of the library's own until its operation is finished. It has one thread.
    unsafe { std::slice::from_raw_parts(buffer.pointer(), buffer.len()) }
}

/// Writes the first bytes of a buffer.
pub fn write(buffer: &Buffer, bytes: &[u8]) {
    assert!(bytes.len() <= buffer.len());
    if !bytes.is_empty() {
        // SAFETY: as in `read`; `copy` allows for an overlap.
        unsafe { std::ptr::copy(bytes.as_ptr(), buffer.pointer(), bytes.len()) };
    }
}

/// Fills a buffer with one value.
pub fn fill(buffer: &Buffer, value: u8) {
    if !buffer.is_empty() {
        // SAFETY: as in `read`.
        unsafe { std::ptr::write_bytes(buffer.pointer(), value, buffer.len()) };
    }
}

/// Whom the driver takes after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Temper {
    Readiness,
    Completion,
    Mixed,
}

/// Ends that single cases need.
pub const REFUSED: Outcome = Outcome::Failed(OsError(libc::ECONNREFUSED));
pub const RESET: Outcome = Outcome::Failed(OsError(libc::ECONNRESET));
/// A disk that cannot be read.
pub const NO_DISK: Outcome = Outcome::Failed(OsError(libc::EIO));
/// No descriptor is left for a connection, and how connections may be gone before they are accepted.
pub const NO_DESCRIPTOR: Outcome = Outcome::Failed(OsError(libc::EMFILE));
pub const GONE_AGAIN: [Outcome; 4] = [
    Outcome::Failed(OsError(libc::ECONNABORTED)),
    Outcome::Failed(OsError(libc::EPROTO)),
    Outcome::Failed(OsError(libc::ENETDOWN)),
    Outcome::Failed(OsError(libc::EHOSTUNREACH)),
];
pub const PIPE: Outcome = Outcome::Failed(OsError(libc::EPIPE));

pub struct SimDriver {
    pub random: Random,
    temper: Temper,
    /// The world makes no more trouble: connects stand, everything is taken, nothing is delayed.
    pub calm: bool,
    /// By their numbers: those of sockets and of the attempts of races.
    links: Vec<(u32, Link)>,
    /// The errors that were told, by number.
    told: Vec<(u32, OsError)>,
    /// Cancels that came too late although bytes had moved.
    pub late_cancels: usize,
}

/// How a connect may fail.
const CONNECT_ERRORS: [i32; 4] = [
    libc::ECONNREFUSED,
    libc::ENETUNREACH,
    libc::ETIMEDOUT,
    libc::EACCES,
];
/// How a connection may break.
const BREAKS: [i32; 4] = [
    libc::ECONNRESET,
    libc::EPIPE,
    libc::ETIMEDOUT,
    libc::ECONNABORTED,
];

impl SimDriver {
    pub fn new(seed: u64, temper: Temper) -> SimDriver {
        SimDriver {
            random: Random::new(seed),
            temper,
            calm: false,
            links: Vec::new(),
            told: Vec::new(),
            late_cancels: 0,
        }
    }

    pub fn attach(&mut self, number: u32) {
        assert!(self.link(number).is_none(), "{number} is attached twice");
        let link = Link {
            room: self.random.below(12),
            ..Link::default()
        };
        self.links.push((number, link));
    }

    /// Gives back the link, which nobody may be using.
    pub fn detach(&mut self, number: u32) -> Option<Link> {
        let place = self.links.iter().position(|(own, _)| *own == number)?;
        let (_, link) = self.links.swap_remove(place);
        let free = link.lanes.iter().all(Option::is_none);
        assert!(free, "{number} is closed under a request");
        Some(link)
    }

    /// The link of an attempt becomes a socket's.
    pub fn move_to(&mut self, from: u32, to: u32) {
        let link = self.detach(from).expect("it is attached");
        assert!(self.link(to).is_none(), "{to} has a link already");
        self.links.push((to, link));
    }

    pub fn link(&mut self, number: u32) -> Option<&mut Link> {
        let mut links = self.links.iter_mut();
        let found = links.find(|(own, _)| *own == number);
        found.map(|(_, link)| link)
    }

    /// The number of some link.
    pub fn any_link(&mut self) -> Option<u32> {
        let some = self.random.below(self.links.len().max(1));
        self.links.get(some).map(|(number, _)| *number)
    }

    fn attached(&mut self, socket: u32) -> &mut Link {
        match self.link(socket) {
            Some(link) => link,
            None => panic!("socket {socket} is not attached"),
        }
    }

    fn at_once(&mut self) -> bool {
        match self.temper {
            Temper::Readiness => true,
            Temper::Completion => false,
            Temper::Mixed => self.random.chance(50),
        }
    }

    pub fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        let at_once = self.at_once();
        let decided = at_once && self.random.chance(30);
        let work = Work::of(request);
        let link = self.attached(token.socket);
        assert!(
            link.lanes[token.lane as usize].is_none(),
            "two requests on {token:?}"
        );
        match work {
            Work::Connect => assert!(token.lane == Lane::Output && !link.stands),
            Work::Send(buffer) => {
                assert!(token.lane == Lane::Output && link.stands);
                assert!(!link.send_shut, "a send after our shutdown");
                assert!(!buffer.is_empty(), "a send of nothing");
            }
            Work::Writable => assert!(token.lane == Lane::Output && link.stands),
            Work::Receive(..) | Work::Readable => {
                assert!(token.lane == Lane::Input && link.stands);
            }
        }
        link.lanes[token.lane as usize] = Some(Held {
            work,
            over: None,
            canceled: false,
        });
        if decided && matches!(work, Work::Connect) {
            self.decide(token.socket);
        }
        at_once.then(|| self.finish(token)).flatten()
    }

    /// Does a request, if that can be done now, and lets go of it.
    fn finish(&mut self, token: Token) -> Option<Outcome> {
        self.perform(token);
        let over = self.attached(token.socket).lanes[token.lane as usize]
            .as_ref()
            .and_then(|held| held.over)?;
        Some(self.tell(token, over))
    }

    /// Lets the bytes of a request move, without telling.
    fn perform(&mut self, token: Token) {
        let mut links = self.links.iter_mut();
        let Some((_, link)) = links.find(|(own, _)| *own == token.socket) else {
            return;
        };
        let Some(held) = &link.lanes[token.lane as usize] else {
            return;
        };
        if held.over.is_none() {
            let over = link.attempt(held.work, &mut self.random);
            if let Some(held) = &mut link.lanes[token.lane as usize] {
                held.over = over;
            }
        }
    }

    fn tell(&mut self, token: Token, outcome: Outcome) -> Outcome {
        let held = self.attached(token.socket).lanes[token.lane as usize].take();
        let late = held.is_some_and(|held| held.canceled);
        self.late_cancels += usize::from(late && matches!(outcome, Outcome::Done(1..)));
        if let Outcome::Failed(error) = outcome {
            self.told.push((token.socket, error));
        }
        outcome
    }

    pub fn cancel(&mut self, token: Token) -> Option<Outcome> {
        let at_once = self.at_once();
        let too_late = self.temper == Temper::Mixed && self.random.chance(20);
        let held = self.attached(token.socket).lanes[token.lane as usize].as_mut();
        let held = held.expect("a cancel without a request");
        assert!(!held.canceled, "a second cancel of {token:?}");
        held.canceled = true;
        if !at_once {
            return None;
        }
        let over = held.over;
        if over.is_none() && too_late {
            if let Some(outcome) = self.finish(token) {
                return Some(outcome);
            }
        }
        Some(self.tell(token, over.unwrap_or(Outcome::Canceled)))
    }

    /// The next request that is done. Which of them is a matter of chance, and so is whether it
    /// is told already.
    pub fn next(&mut self, requests: &impl Requests) -> Option<Done> {
        let count = self.links.len() * 2;
        if count == 0 {
            return None;
        }
        let first = self.random.below(count);
        for turn in 0..count {
            let number = (first + turn) % count;
            let lane = [Lane::Output, Lane::Input][number % 2];
            let token = Token {
                socket: self.links[number / 2].0,
                lane,
            };
            let outcome = self.advance(token, requests);
            if let Some(outcome) = outcome {
                return Some(Done { token, outcome });
            }
        }
        None
    }

    fn advance(&mut self, token: Token, requests: &impl Requests) -> Option<Outcome> {
        let held = self.link(token.socket)?.lanes[token.lane as usize].as_ref()?;
        let asked = requests.request(token).map(Work::of);
        assert!(
            asked.is_some_and(|asked| asked.is_same(&held.work)),
            "{token:?}: the engine says another request than it gave"
        );
        let (over, canceled) = (held.over, held.canceled);
        if over.is_none() && canceled && (self.calm || self.random.chance(70)) {
            return Some(self.tell(token, Outcome::Canceled));
        }
        self.perform(token);
        let over = self.link(token.socket)?.lanes[token.lane as usize]
            .as_ref()?
            .over;
        let delayed = self.temper != Temper::Readiness && !self.calm && self.random.chance(40);
        match over {
            Some(outcome) if !delayed => Some(self.tell(token, outcome)),
            None if canceled => Some(self.tell(token, Outcome::Canceled)),
            _ => None,
        }
    }

    /// Whether the driver has been asked for that lane's request back and still has it: the one
    /// with this buffer, if it has any.
    pub fn is_canceling(&self, token: Token, buffer: Buffer) -> bool {
        let link = self.links.iter().find(|(own, _)| *own == token.socket);
        let held = link.and_then(|(_, link)| link.lanes[token.lane as usize].as_ref());
        held.is_some_and(|held| {
            let end = held.work.buffer().pointer() as usize + held.work.buffer().len();
            let of_buffer = buffer.is_empty() || end == buffer.pointer() as usize + buffer.len();
            held.canceled && of_buffer
        })
    }

    /// Whether the driver has a request that sends.
    pub fn has_output(&mut self, socket: u32) -> bool {
        let link = self.attached(socket);
        link.lanes[Lane::Output as usize].is_some()
    }

    /// Whether the driver may still touch a buffer.
    pub fn holds(&self, buffer: Buffer) -> bool {
        let place = |buffer: Buffer| {
            let start = buffer.pointer() as usize;
            start..start + buffer.len()
        };
        let mine = place(buffer);
        let held = self.links.iter().flat_map(|(_, link)| &link.lanes);
        held.flatten().any(|held| {
            let its = place(held.work.buffer());
            its.start < mine.end && mine.start < its.end
        })
    }

    /// Whether an error was told for a socket, or for an attempt from `first` on.
    pub fn has_told(&self, socket: u32, first: u32, error: OsError) -> bool {
        let mut told = self.told.iter();
        told.any(|&(number, its)| its == error && (number == socket || number >= first))
    }

    fn blame(&mut self, socket: u32, error: i32) -> OsError {
        self.told.push((socket, OsError(error)));
        OsError(error)
    }

    /// There is no descriptor for a socket.
    pub fn refuse_open(&mut self, socket: u32) -> OsError {
        self.blame(socket, libc::EMFILE)
    }

    /// The connection turns out to be none.
    pub fn refuse(&mut self, socket: u32) -> OsError {
        self.blame(socket, libc::ECONNREFUSED)
    }

    /// The socket's number is free again.
    pub fn forget(&mut self, socket: u32) {
        self.told.retain(|told| told.0 != socket);
    }

    /// The world decides how the attempt of a socket ends.
    pub fn decide(&mut self, socket: u32) {
        let stands = self.calm || self.random.chance(75);
        let error = CONNECT_ERRORS[self.random.below(CONNECT_ERRORS.len())];
        if let Some(link) = self.link(socket) {
            let plan = if stands { Ok(()) } else { Err(OsError(error)) };
            link.plan.get_or_insert(plan);
        }
    }

    /// The connection breaks; what the peer had written may be lost with it.
    pub fn break_link(&mut self, socket: u32) {
        let error = BREAKS[self.random.below(BREAKS.len())];
        let loses = self.random.chance(50);
        if let Some(link) = self.link(socket) {
            if link.stands && !link.dead {
                link.error = Some(OsError(error));
                link.lost = loses;
            }
        }
    }

    /// The world calms down: what can be done is done, and the peers say their last.
    pub fn settle(&mut self) {
        self.calm = true;
        for (_, link) in &mut self.links {
            link.plan.get_or_insert(Ok(()));
            link.room = 1 << 20;
            link.hiccup = None;
            link.ended |= link.stands;
        }
    }

    /// The next call finds the system short of memory.
    pub fn hiccup(&mut self, socket: u32) {
        if let Some(link) = self.link(socket) {
            link.hiccup = Some(OsError(libc::ENOBUFS));
        }
    }

    /// The peer writes, unless it has said that nothing comes any more.
    pub fn peer_writes(&mut self, socket: u32, bytes: &[u8]) {
        if let Some(link) = self.link(socket) {
            if link.stands && !link.ended && !link.dead && link.error.is_none() {
                link.written.extend_from_slice(bytes);
            }
        }
    }

    /// A thread sends what there is of a part of a file; nothing is the end of the file.
    pub fn send_file(&mut self, socket: u32, bytes: &[u8]) -> Outcome {
        let mut links = self.links.iter_mut();
        let link = links.find(|(own, _)| *own == socket).map(|(_, link)| link);
        let link = link.expect("a file goes to a socket that is closed");
        assert!(link.stands && !link.send_shut);
        if bytes.is_empty() {
            return Outcome::Done(0);
        }
        let outcome = link.send(bytes, &mut self.random);
        if let Some(Outcome::Failed(error)) = outcome {
            self.told.push((socket, error));
        }
        outcome.unwrap_or(Outcome::Failed(WOULD_BLOCK))
    }

    /// Urgent data, which never waits.
    pub fn receive_urgent(&mut self, socket: u32, buffer: Buffer) -> Outcome {
        let link = self.attached(socket);
        assert!(link.stands, "urgent data before the connection stands");
        match (link.error, link.urgent.take()) {
            (Some(_), _) => {
                let outcome = link.fail().unwrap_or(Outcome::Canceled);
                if let Outcome::Failed(error) = outcome {
                    self.told.push((socket, error));
                }
                outcome
            }
            (None, Some(byte)) => {
                write(&buffer, &[byte]);
                Outcome::Done(1)
            }
            (None, None) => Outcome::Failed(self.blame(socket, libc::EINVAL)),
        }
    }
}
