//! The driver on Linux's io_uring: one ring for each worker, made and used by its thread alone.
//!
//! Requests become entries of the submission queue, and the call that waits submits all of them.
//! The kernel keeps what it was given until it says so: a cancel only asks, and the outcome comes
//! as a completion like any other.
#![allow(
    unsafe_code,
    reason = "entries of a ring hold raw pointers; each block says why they stay good"
)]

mod cancel;
mod entry;
mod guess;
mod probe;
#[cfg(test)]
mod tests;

use self::entry::{length_of, poll};
use self::guess::Guess;
use super::table::Table;
use super::{Done, Lane, Outcome, Request, Requests, Token, Waker};
use crate::address::Address;
use crate::status::OsError;
use crate::sys::server::Caller;
use crate::sys::socket as system;
use crate::sys::{
    RawDescriptor, ReceiveFlags, SendFlags, SysResult, CANCELED, INTERRUPTED, NOT_SUPPORTED,
    OUT_OF_MEMORY, TIME_IS_OVER, WOULD_BLOCK,
};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue, IoUring};
use std::time::Duration;

/// Entries of the submission queue; when it is full it is submitted. Small under test.
const ENTRIES: u32 = if cfg!(test) { 8 } else { 256 };
/// Completions that the kernel can put down before it has to keep some back.
const COMPLETIONS: u32 = if cfg!(test) { 16 } else { 4096 };

/// User data that is no token.
const WAKER: u64 = u64::MAX;
/// Marks the user data of a request to take back what the rest of it names.
const CANCEL: u64 = 1 << 63;
/// How long a cancel that did not find its target waits before it looks again.
const RETRY: Duration = Duration::from_millis(1);

/// Polls that may be in vain before the driver pauses, and for how long it does.
const FUTILE: u8 = 8;
static PAUSE: Timespec = Timespec::new().nsec(2_000_000);

/// What is known of one socket. There is one for each, so every byte counts.
#[derive(Default)]
struct State {
    descriptor: RawDescriptor,
    /// What the kernel has, by lane.
    lanes: [Held; 2],
    /// Lanes that the engine wants back, a bit for each; and `MISSED` and `EMPTY`.
    marks: u8,
    /// Polls in a row that promised what a call did not find; see `poll_for`.
    futile: u8,
}

impl State {
    /// Another socket, or none, has the number from now on.
    fn replace(&mut self, descriptor: Option<RawDescriptor>) {
        *self = State {
            descriptor: descriptor.unwrap_or_default(),
            ..State::default()
        };
    }

    fn is_canceled(&self, lane: Lane) -> bool {
        self.marks & bit_of(lane) != 0
    }
}

/// A cancel has not found what it was for, because that was between two places.
const MISSED: u8 = 1 << 2;
/// The last receive has left nothing in the socket.
const EMPTY: u8 = 1 << 3;
/// Tells a receive to wait for an event before it looks: the system's `IORING_RECVSEND_POLL_FIRST`.
const POLL_FIRST: u16 = 1;

fn bit_of(lane: Lane) -> u8 {
    1 << lane as u8
}

/// What the kernel has of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Held {
    #[default]
    Nothing,
    /// The request itself.
    Request,
    Connect,
    /// A poll, or a pause: to know when a receive is possible, or a send that found no room.
    Poll,
}

pub struct UringDriver {
    ring: IoUring,
    waker: Waker,
    /// The waker is being watched.
    armed: bool,
    states: Table<State>,
    /// There are missed cancels.
    missed: bool,
    guess: Guess,
    /// Where the kernel writes whose connections it has accepted, by listener.
    callers: Vec<(u32, Box<Caller>)>,
    /// Of the connection that was accepted last.
    peer: Address,
}

impl UringDriver {
    /// Whether this machine has all that is needed; the error says what stood against it. The
    /// waker is that of a worker to come, and is as before afterwards.
    pub fn probe(waker: &Waker) -> SysResult<()> {
        probe::probe(waker)
    }

    /// Makes a ring. It is to be enabled by the thread that will use it.
    pub fn new(waker: &Waker) -> SysResult<UringDriver> {
        Ok(UringDriver {
            ring: make_ring(ENTRIES, COMPLETIONS)?,
            waker: waker.clone(),
            armed: false,
            states: Table::new(),
            missed: false,
            guess: Guess::default(),
            callers: Vec::new(),
            peer: Address::NONE,
        })
    }

    /// Called once, on the worker's thread.
    pub fn enable(&mut self) -> SysResult<()> {
        self.ring.submitter().register_enable_rings().map_err(of_io)
    }

    pub fn attach(&mut self, socket: u32, descriptor: RawDescriptor) -> SysResult<()> {
        self.states.entry(socket)?.replace(Some(descriptor));
        Ok(())
    }

    pub fn detach(&mut self, socket: u32) {
        self.callers.retain(|own| own.0 != socket);
        let parked = self.drop_parked(Token::input(socket));
        debug_assert!(
            !parked,
            "the engine takes requests back before it lets a socket go"
        );
        if let Some(state) = self.states.get_mut(socket) {
            state.replace(None);
        }
    }

    pub fn move_to(&mut self, from: u32, to: u32) -> SysResult<()> {
        let descriptor = self
            .states
            .get_mut(from)
            .and_then(|state| std::mem::take(&mut state.descriptor).get());
        match descriptor {
            Some(descriptor) => self.attach(to, descriptor),
            None => Ok(()),
        }
    }

    pub fn descriptor(&self, socket: u32) -> Option<RawDescriptor> {
        self.states.get(socket)?.descriptor.get()
    }

    pub fn peer(&self) -> Address {
        self.peer
    }

    /// A listener's place for the address of whoever connects.
    fn caller(&mut self, listener: u32) -> Option<&mut Caller> {
        let found = self.callers.iter().position(|own| own.0 == listener);
        let at = match found {
            Some(at) => at,
            None => {
                self.callers.try_reserve(1).ok()?;
                let made = crate::foreign::try_box(Caller::default())?;
                self.callers.push((listener, made));
                self.callers.len() - 1
            }
        };
        Some(&mut self.callers[at].1)
    }

    pub fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        let state = self.states.get_mut(token.socket)?;
        let Some(descriptor) = state.descriptor.get() else {
            return Some(Outcome::Canceled);
        };
        let fd = Fd(descriptor.number() as i32);
        let mut held = Held::Request;
        let entry = match request {
            Request::Connect(address) => {
                held = Held::Connect;
                let bytes = address.as_bytes();
                let (place, length) = (bytes.as_ptr(), bytes.len());
                opcode::Connect::new(fd, place.cast(), length as libc::socklen_t).build()
            }
            Request::Send {
                buffer,
                more,
                out_of_band,
            } => {
                // A send that finds no room comes back and polls. Left to itself the kernel may
                // give it to a thread that sleeps in it, where no cancel finds it.
                let flags = SendFlags { more, out_of_band };
                if let Some(outcome) = self.send_now(token, descriptor, buffer, flags) {
                    return Some(outcome);
                }
                opcode::Send::new(fd, buffer.pointer(), length_of(buffer.len()))
                    .flags(flags.bits())
                    .build()
            }
            Request::Receive {
                buffer,
                peek,
                whole,
                ..
            } => {
                let flags = ReceiveFlags {
                    peek,
                    whole,
                    ..ReceiveFlags::default()
                };
                let poll_first = state.marks & EMPTY != 0 && !whole && !peek;
                let entry = opcode::Recv::new(fd, buffer.pointer(), length_of(buffer.len()))
                    .flags(entry::receive_bits(flags))
                    .ioprio(if poll_first { POLL_FIRST } else { 0 })
                    .build();
                if poll_first && self.park(token, &entry) {
                    return None;
                }
                entry
            }
            Request::Accept => {
                let Some(caller) = self.caller(token.socket) else {
                    return Some(Outcome::Failed(OUT_OF_MEMORY));
                };
                let (room, length) = caller.places();
                opcode::Accept::new(fd, room, length)
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
            }
            Request::Readable | Request::Writable => {
                held = Held::Poll;
                poll(fd, token.lane)
            }
            message => match entry::message(fd, message) {
                Ok(entry) => entry,
                Err(error) => return Some(Outcome::Failed(error)),
            },
        };
        self.hand_over(token, entry, held)
            .err()
            .map(Outcome::Failed)
    }

    fn hand_over(&mut self, token: Token, entry: squeue::Entry, held: Held) -> SysResult<()> {
        self.push(entry.user_data(pack(token)))?;
        if let Some(state) = self.states.get_mut(token.socket) {
            state.lanes[token.lane as usize] = held;
        }
        Ok(())
    }

    /// Puts an entry into the queue; one that is full is submitted first.
    fn push(&mut self, entry: squeue::Entry) -> SysResult<()> {
        loop {
            // SAFETY: what the entry points to stays good until its completion: the buffers by
            // promise 6, addresses in the driver (see `detach`, which comes later), and messages in
            // the boxes of their operations, which are kept until these are finished.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // The kernel wants its completions taken first; it makes room itself.
                    Some(libc::EBUSY | libc::EAGAIN) => self.enter(0, Some(Duration::ZERO))?,
                    _ => return Err(of_io(error)),
                },
            }
        }
    }

    pub fn wait(&mut self, timeout_ms: i32) -> SysResult<()> {
        self.unpark()?;
        self.ask(timeout_ms)
    }

    fn ask(&mut self, timeout_ms: i32) -> SysResult<()> {
        if !self.armed {
            self.push(poll_waker(&self.waker))?;
            self.armed = true;
        }
        let mut limit = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        if self.missed {
            limit = Some(limit.map_or(RETRY, |limit| limit.min(RETRY)));
        }
        let ready = !self.ring.completion().is_empty();
        let queued = !self.ring.submission().is_empty();
        match limit {
            _ if ready && !queued => Ok(()),
            Some(Duration::ZERO) => self.enter(0, limit),
            _ if ready => self.enter(0, Some(Duration::ZERO)),
            limit => self.enter(1, limit),
        }?;
        self.cancel_again();
        Ok(())
    }

    /// Submits what is queued, waits for completions, and has the kernel do what it put off.
    fn enter(&mut self, want: usize, limit: Option<Duration>) -> SysResult<()> {
        let queued = self.ring.submission().len();
        let entered = match (want, limit) {
            (0, _) => {
                // SAFETY: no argument, and nothing that the kernel would keep.
                unsafe {
                    self.ring.submitter().enter::<libc::sigset_t>(
                        queued as u32,
                        0,
                        GET_EVENTS,
                        None,
                    )
                }
            }
            (want, None) => self.ring.submit_and_wait(want),
            (want, Some(limit)) => {
                let limit = Timespec::from(limit);
                let arguments = SubmitArgs::new().timespec(&limit);
                self.ring.submitter().submit_with_args(want, &arguments)
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // The time is over, a signal came, or completions are to be taken first.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(of_io(error)),
            },
        }
    }

    pub fn next(&mut self, requests: &impl Requests) -> Option<Done> {
        if let Some(done) = self.attempt_parked(requests) {
            return Some(done);
        }
        loop {
            let completion = self.ring.completion().next()?;
            let (data, result) = (completion.user_data(), completion.result());
            let flags = completion.flags();
            if data == WAKER {
                self.armed &= cqueue::more(flags);
            } else if data & CANCEL != 0 {
                if result < 0 {
                    self.note_missed(unpack(data & !CANCEL));
                }
            } else if let Some(done) = self.finish(unpack(data), result, flags, requests) {
                return Some(done);
            }
        }
    }

    /// What a completion means; `None` when the kernel has the lane again.
    fn finish(
        &mut self,
        token: Token,
        result: i32,
        flags: u32,
        requests: &impl Requests,
    ) -> Option<Done> {
        let state = self.states.get_mut(token.socket)?;
        let lane = token.lane as usize;
        let held = std::mem::take(&mut state.lanes[lane]);
        let connected = held == Held::Connect;
        let outcome = match usize::try_from(result) {
            Err(_) if OsError(-result) == CANCELED => Outcome::Canceled,
            Err(_) if OsError(-result) == WOULD_BLOCK => {
                let request = requests.request(token);
                if request.is_none_or(|request| request.room_is_told()) {
                    return self.go_on(token, false, requests);
                }
                Outcome::Failed(WOULD_BLOCK)
            }
            // A request that polls too often in vain sleeps in a thread of the kernel's, which a
            // cancel interrupts.
            Err(_) if OsError(-result) == INTERRUPTED => return self.go_on(token, true, requests),
            Err(_) if held == Held::Poll && OsError(-result) == TIME_IS_OVER => {
                state.futile = FUTILE - 1; // A poll comes next, and a pause only if that is in vain.
                return self.go_on(token, true, requests);
            }
            Err(_) => Outcome::Failed(OsError(-result)),
            Ok(_) if connected => Outcome::Done(0),
            Ok(_) if held == Held::Poll => return self.go_on(token, true, requests),
            Ok(bytes) => {
                if token.lane == Lane::Input {
                    let empty = bytes > 0 && !cqueue::sock_nonempty(flags);
                    state.marks = (state.marks & !EMPTY) | (EMPTY * u8::from(empty));
                }
                let mut callers = self.callers.iter();
                if let Some((_, caller)) = callers.find(|own| own.0 == token.socket) {
                    self.peer = caller.address();
                }
                Outcome::Done(bytes)
            }
        };
        self.over(token, outcome)
    }

    /// The kernel has nothing of the lane any more.
    fn over(&mut self, token: Token, outcome: Outcome) -> Option<Done> {
        let state = self.states.get_mut(token.socket)?;
        state.marks &= !bit_of(token.lane);
        state.futile = 0;
        Some(Done { token, outcome })
    }

    /// Makes the request again after a poll, or polls after a request that found nothing; unless
    /// the engine wants the lane back, which may have come between the two.
    fn go_on(&mut self, token: Token, again: bool, requests: &impl Requests) -> Option<Done> {
        let state = self.states.get_mut(token.socket)?;
        let descriptor = state.descriptor.get()?;
        if state.is_canceled(token.lane) {
            return self.over(token, Outcome::Canceled);
        }
        let request = requests.request(token).filter(|_| again);
        let outcome = match request {
            None => self.poll_for(token, descriptor),
            Some(Request::Readable) => match system::readable(descriptor) {
                Ok(()) => Some(Outcome::Done(0)),
                Err(WOULD_BLOCK) => self.poll_for(token, descriptor),
                Err(error) => Some(Outcome::Failed(error)),
            },
            Some(Request::Writable) => match system::writable(descriptor) {
                Ok(()) => Some(Outcome::Done(0)),
                Err(WOULD_BLOCK) => self.poll_for(token, descriptor),
                Err(error) => Some(Outcome::Failed(error)),
            },
            Some(request) => self.start(token, request),
        };
        self.over(token, outcome?)
    }

    /// Has the kernel tell when the lane can go on. When memory is short a poll may promise again
    /// and again what the call does not find; then it is better to pause.
    fn poll_for(&mut self, token: Token, descriptor: RawDescriptor) -> Option<Outcome> {
        let state = self.states.get_mut(token.socket)?;
        state.futile = state.futile.saturating_add(1);
        let entry = if state.futile > FUTILE {
            opcode::Timeout::new(&PAUSE).build()
        } else {
            poll(Fd(descriptor.number() as i32), token.lane)
        };
        let handed = self.hand_over(token, entry, Held::Poll);
        handed.err().map(Outcome::Failed)
    }
}

/// The kernel's flag for "do what you put off, and show what has completed".
const GET_EVENTS: u32 = 1;

/// Has the kernel tell of every signal of a waker.
fn poll_waker(waker: &Waker) -> squeue::Entry {
    let fd = Fd(waker.descriptor().number() as i32);
    let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true);
    entry.build().user_data(WAKER)
}

/// Puts an entry that points nowhere into a queue that has room for it.
fn push_plain(ring: &mut IoUring, entry: squeue::Entry) -> SysResult<()> {
    // SAFETY: as the name says, and both callers keep to it, there is nothing to stay good.
    unsafe { ring.submission().push(&entry) }.map_err(|_| NOT_SUPPORTED)
}

fn pack(token: Token) -> u64 {
    u64::from(token.socket) << 1 | token.lane as u64
}

fn unpack(data: u64) -> Token {
    Token {
        socket: (data >> 1) as u32,
        lane: if data & 1 == Lane::Input as u64 {
            Lane::Input
        } else {
            Lane::Output
        },
    }
}

/// A ring for one thread, which does what the kernel has put off when that thread asks for it.
fn make_ring(entries: u32, completions: u32) -> SysResult<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_clamp()
        .setup_cqsize(completions);
    builder.build(entries).map_err(of_io)
}

fn of_io(error: std::io::Error) -> OsError {
    error.raw_os_error().map_or(NOT_SUPPORTED, OsError)
}
