//! The driver on Linux's epoll.
//!
//! A descriptor is registered once, edge-triggered, for everything, and what is known of it is
//! kept: a request is tried at once where it may succeed, and else waits for an edge. A read that
//! gave less than was asked for has mostly emptied the socket, so no call is made only to hear that.

use super::table::Table;
use super::{Done, Lane, Outcome, Registry, Request, Requests, Token, Waker, LOOKS_PER_EVENT};
use crate::address::{Address, Family};
use crate::status::OsError;
use crate::sys::server;
use crate::sys::socket as system;
use crate::sys::{
    Epoll, Event, Events, RawDescriptor, ReceiveFlags, SendFlags, SysResult, WOULD_BLOCK,
};
use std::sync::Arc;

/// The token of the waker, which no socket can have.
const WAKER: u64 = u64::MAX;
/// Events fetched by one system call. Small under test, so that the border is met.
const EVENTS: usize = if cfg!(test) { 4 } else { 512 };

/// What is known of one socket. There are many of them, so it is kept small.
#[derive(Clone, Copy)]
struct State {
    descriptor: RawDescriptor,
    /// Rises with every attach, so that an event of an earlier descriptor is recognised.
    tag: u16,
    known: Known,
}

const _: () = assert!(size_of::<State>() <= 8);

impl Default for State {
    fn default() -> State {
        State {
            descriptor: RawDescriptor::NONE,
            tag: 0,
            known: Known(0),
        }
    }
}

impl State {
    /// So many bytes were received. What has emptied the socket leaves nothing to be read, unless
    /// something else may have stopped it short.
    fn received(&mut self, bytes: usize, emptied: bool) {
        let unsure = self.known.has(Known::ENDED) || self.known.has(Known::STOPS);
        let readable = !emptied || unsure || bytes == 0;
        self.known.set(Known::READABLE, readable);
    }

    /// A request has to wait for the next edge.
    fn found_nothing(&mut self, lane: Lane) {
        self.known.set(Known::ready(lane), false);
        self.known.set(Known::waits(lane), true);
    }
}

/// What is so, a bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known(u8);

impl Known {
    const READABLE: Known = Known(1 << 0);
    const WRITABLE: Known = Known(1 << 1);
    /// The end of the input is known to be there, so a short read proves nothing.
    const ENDED: Known = Known(1 << 2);
    /// Reads may stop before the end of what is there, so a short read proves nothing: where urgent
    /// data has come, also when it has been received itself or has overtaken what stands before it;
    /// and on a unix socket, behind what came with descriptors or from another sender.
    const STOPS: Known = Known(1 << 3);
    const CONNECTING: Known = Known(1 << 4);
    /// A request waits for an edge.
    const OUTPUT_WAITS: Known = Known(1 << 5);
    const INPUT_WAITS: Known = Known(1 << 6);
    /// The descriptor is registered.
    const REGISTERED: Known = Known(1 << 7);

    fn waits(lane: Lane) -> Known {
        match lane {
            Lane::Output => Known::OUTPUT_WAITS,
            Lane::Input => Known::INPUT_WAITS,
        }
    }

    fn ready(lane: Lane) -> Known {
        match lane {
            Lane::Output => Known::WRITABLE,
            Lane::Input => Known::READABLE,
        }
    }

    fn has(self, any: Known) -> bool {
        self.0 & any.0 != 0
    }

    fn set(&mut self, what: Known, so: bool) {
        self.0 = if so {
            self.0 | what.0
        } else {
            self.0 & !what.0
        };
    }

    /// It is so, if that is known from now on.
    fn note(&mut self, what: Known, known: bool) {
        self.0 |= what.0 * u8::from(known);
    }

    /// A request waits for what may be tried now.
    fn is_due(self, lane: Lane) -> bool {
        self.has(Known::ready(lane)) && self.has(Known::waits(lane))
    }
}

/// What is to be done next with the current event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Absorb,
    Output,
    Input,
}

pub struct EpollDriver {
    epoll: Arc<Epoll>,
    /// Keeps the waker's descriptor open as long as it is registered.
    _waker: Waker,
    events: Events,
    cursor: usize,
    stage: Stage,
    states: Table<State>,
    /// Where something was received last, and whether the present look tries there again.
    last: u32,
    guesses: bool,
    looks: u32,
    /// Of the connection that was accepted last.
    peer: Address,
}

impl EpollDriver {
    pub fn new(waker: &Waker) -> SysResult<EpollDriver> {
        let epoll = Arc::new(Epoll::new()?);
        epoll.add_waker(waker.descriptor(), WAKER)?;
        Ok(EpollDriver {
            epoll,
            _waker: waker.clone(),
            events: Events::with_capacity(EVENTS)?,
            cursor: 0,
            stage: Stage::Absorb,
            states: Table::new(),
            last: 0,
            guesses: false,
            looks: 0,
            peer: Address::NONE,
        })
    }

    pub fn attach(&mut self, socket: u32, descriptor: RawDescriptor) -> SysResult<()> {
        let state = self.states.entry(socket)?;
        *state = State {
            descriptor,
            tag: state.tag.wrapping_add(1),
            ..State::default()
        };
        Ok(())
    }

    pub fn registry(&self) -> Registry {
        Registry(Some(self.epoll.clone()))
    }

    pub fn forget(&mut self, socket: u32) {
        if let Some(state) = self.states.get_mut(socket) {
            *state = State {
                tag: state.tag.wrapping_add(1),
                ..State::default()
            };
        }
    }

    pub fn detach(&mut self, socket: u32) {
        let descriptor = self.descriptor(socket);
        self.forget(socket);
        if let Some(descriptor) = descriptor {
            // A child of fork may hold a copy of the descriptor, and then closing ours would
            // leave it registered. It fails only where it was never registered.
            let _ = self.epoll.remove(descriptor);
        }
    }

    pub fn move_to(&mut self, from: u32, to: u32) -> SysResult<()> {
        let Some(state) = self.states.get_mut(from) else {
            return Ok(());
        };
        state.tag = state.tag.wrapping_add(1);
        let stops = state.known.has(Known::STOPS);
        let before = std::mem::replace(&mut state.descriptor, RawDescriptor::NONE);
        let Some(descriptor) = before.get() else {
            return Ok(());
        };
        self.attach(to, descriptor)?;
        if let Some(state) = self.states.get_mut(to) {
            state.known.set(Known::STOPS, stops);
            state.known.set(Known::WRITABLE, true);
            state.known.set(Known::REGISTERED, true);
            let data = data_of(state.tag, to);
            self.epoll.relabel(descriptor, data)?;
        }
        Ok(())
    }

    pub fn descriptor(&self, socket: u32) -> Option<RawDescriptor> {
        self.states.get(socket)?.descriptor.get()
    }

    pub fn peer(&self) -> Address {
        self.peer
    }

    pub fn may_have_input(&self, socket: u32) -> bool {
        let state = self.states.get(socket);
        state.is_some_and(|state| {
            let known = state.known;
            // Of one that was accepted and never used nothing is known.
            let unknown = !known.has(Known::REGISTERED);
            unknown || known.has(Known::READABLE) && !known.has(Known::ENDED)
        })
    }

    pub fn reads_may_stop(&mut self, socket: u32) {
        if let Some(state) = self.states.get_mut(socket) {
            state.known.set(Known::STOPS, true);
        }
    }

    #[inline(always)]
    pub fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        if let Request::Connect(address) = request {
            return self.connect(token, address);
        }
        let state = self.states.get_mut(token.socket)?;
        if !state.known.has(Known::REGISTERED) {
            // It works without being connected, or was not connected here.
            let descriptor = state.descriptor.get()?;
            if let Err(error) = self.epoll.add(descriptor, data_of(state.tag, token.socket)) {
                return Some(Outcome::Failed(error));
            }
            // Whatever may be tried is tried at once.
            for known in [Known::REGISTERED, Known::READABLE, Known::WRITABLE] {
                state.known.set(known, true);
            }
        }
        if !state.known.has(Known::ready(token.lane)) {
            state.known.set(Known::waits(token.lane), true);
            return None;
        }
        attempt(state, &mut self.peer, token.lane, request)
    }

    fn connect(&mut self, token: Token, address: &Address) -> Option<Outcome> {
        let state = self.states.get_mut(token.socket)?;
        let descriptor = state.descriptor.get()?;
        let data = data_of(state.tag, token.socket);
        // Registered after the call: an unconnected descriptor would report a hang-up at once. A datagram socket may be
        // registered already.
        let connected = system::connect(descriptor, address).and_then(|connected| {
            if !state.known.has(Known::REGISTERED) {
                self.epoll.add(descriptor, data)?;
                state.known.set(Known::REGISTERED, true);
            }
            Ok(connected)
        });
        let state = self.states.get_mut(token.socket)?;
        let unix = address.family() == Family::Unix;
        state.known.note(Known::STOPS, unix);
        match connected {
            Err(error) => Some(Outcome::Failed(error)),
            Ok(true) => {
                state.known.set(Known::WRITABLE, true);
                Some(Outcome::Done(0))
            }
            Ok(false) => {
                state.known.set(Known::CONNECTING, true);
                None
            }
        }
    }

    pub fn cancel(&mut self, token: Token) -> Option<Outcome> {
        let state = self.states.get_mut(token.socket)?;
        state.known.set(Known::waits(token.lane), false);
        state.known.set(Known::CONNECTING, false);
        Some(Outcome::Canceled)
    }

    pub fn wait(&mut self, timeout_ms: i32) -> SysResult<()> {
        self.cursor = 0;
        self.stage = Stage::Absorb;
        self.epoll.wait(&mut self.events, timeout_ms)
    }

    /// Mostly tries the receive that waits where something was received last, and only now and then
    /// asks for events.
    pub fn look(&mut self) -> SysResult<()> {
        self.looks = self.looks.wrapping_add(1);
        let state = self.states.get(self.last);
        let waits = state.is_some_and(|state| state.known.has(Known::INPUT_WAITS));
        if !waits || self.looks % LOOKS_PER_EVENT == 0 {
            return self.wait(0);
        }
        self.guesses = true;
        Ok(())
    }

    /// The receive that `look` has to try.
    fn attempt_guess(&mut self, requests: &impl Requests) -> Option<Done> {
        self.guesses = false;
        let state = self.states.get_mut(self.last)?;
        // The call shows whether it is so.
        state.known.set(Known::READABLE, true);
        attempt_due(self.last, state, &mut self.peer, Lane::Input, requests)
    }

    pub fn next(&mut self, requests: &impl Requests) -> Option<Done> {
        if self.guesses {
            return self.attempt_guess(requests);
        }
        while let Some(event) = self.events.get(self.cursor) {
            let done = match self.stage {
                Stage::Absorb => self.absorb(event, requests),
                Stage::Output => {
                    self.stage = Stage::Input;
                    self.attempt_waiting(event, Lane::Output, requests)
                }
                Stage::Input => {
                    self.pass();
                    self.attempt_waiting(event, Lane::Input, requests)
                }
            };
            if let Some(done) = done {
                if done.token.lane == Lane::Input {
                    self.last = done.token.socket;
                }
                return Some(done);
            }
        }
        None
    }

    /// Goes on to the next event.
    fn pass(&mut self) {
        self.stage = Stage::Absorb;
        self.cursor += 1;
    }

    /// Notes what an event says, and does what is due then; a connect ends with it.
    fn absorb(&mut self, event: Event, requests: &impl Requests) -> Option<Done> {
        let EpollDriver { states, peer, .. } = self;
        let Some((socket, state)) = state_of(states, event) else {
            self.pass();
            return None;
        };
        let gone = event.is_gone();
        let known = &mut state.known;
        known.note(Known::READABLE, event.is_readable() || gone);
        known.note(Known::ENDED, event.has_ended() || gone);
        known.note(Known::STOPS, event.is_urgent());
        known.note(Known::WRITABLE, event.is_writable() || gone);
        if known.has(Known::CONNECTING) && known.has(Known::WRITABLE) {
            known.set(Known::CONNECTING, false);
            let error = match state.descriptor.get() {
                Some(descriptor) if gone => system::take_error(descriptor),
                _ => OsError(0),
            };
            let outcome = match error {
                OsError(0) => Outcome::Done(0),
                error => Outcome::Failed(error),
            };
            let lane = Lane::Output;
            self.stage = Stage::Output;
            return Some(Done {
                token: Token { socket, lane },
                outcome,
            });
        }
        if known.is_due(Lane::Output) {
            self.stage = Stage::Output;
            return None;
        }
        // Mostly only the input waits, or nothing.
        let done = attempt_due(socket, state, peer, Lane::Input, requests);
        self.pass();
        done
    }

    fn attempt_waiting(
        &mut self,
        event: Event,
        lane: Lane,
        requests: &impl Requests,
    ) -> Option<Done> {
        let (socket, state) = state_of(&mut self.states, event)?;
        attempt_due(socket, state, &mut self.peer, lane, requests)
    }
}

/// The socket that an event is about. Between two stages the engine may have done anything with it,
/// so each of them asks anew whether it is still the same one.
#[inline(always)]
fn state_of(states: &mut Table<State>, event: Event) -> Option<(u32, &mut State)> {
    let (tag, socket) = ((event.data >> 32) as u16, event.data as u32);
    let state = states.get_mut(socket)?;
    (event.data != WAKER && state.descriptor.get().is_some() && state.tag == tag)
        .then_some((socket, state))
}

/// Makes the call of a lane that waits, if it may be made now.
#[inline(always)]
fn attempt_due(
    socket: u32,
    state: &mut State,
    peer: &mut Address,
    lane: Lane,
    requests: &impl Requests,
) -> Option<Done> {
    if !state.known.is_due(lane) {
        return None;
    }
    state.known.set(Known::waits(lane), false);
    let token = Token { socket, lane };
    let request = requests.request(token)?;
    let outcome = attempt(state, peer, lane, request)?;
    Some(Done { token, outcome })
}

/// Makes the system call of a request; `None` when it has to wait for the next edge. `accepted` is
/// the address of who was accepted.
#[inline(always)]
fn attempt(
    state: &mut State,
    accepted: &mut Address,
    lane: Lane,
    request: Request<'_>,
) -> Option<Outcome> {
    let descriptor = state.descriptor.get()?;
    let answer = match request {
        Request::Send {
            buffer,
            more,
            out_of_band,
        } => system::send(descriptor, buffer, SendFlags { more, out_of_band }).inspect(|&bytes| {
            state.known.set(Known::WRITABLE, bytes == buffer.len());
        }),
        Request::Receive {
            buffer,
            peek,
            out_of_band,
            whole,
        } => {
            let flags = ReceiveFlags {
                peek,
                out_of_band,
                whole,
            };
            system::receive(descriptor, buffer, flags).inspect(|&bytes| {
                // One datagram says nothing of the next.
                let emptied = bytes < buffer.len() && !peek && !whole;
                state.received(bytes, emptied);
            })
        }
        Request::SendMessage { message, more } => {
            let flags = SendFlags {
                more,
                ..SendFlags::default()
            };
            system::send_message(descriptor, message, flags).inspect(|&bytes| {
                state.known.set(Known::WRITABLE, bytes == message.asked());
            })
        }
        Request::ReceiveMessage { message, peek } => {
            let flags = ReceiveFlags {
                peek,
                ..ReceiveFlags::default()
            };
            system::receive_message(descriptor, message, flags).inspect(|&bytes| {
                let emptied = bytes < message.asked() && !peek && !message.is_whole();
                state.received(bytes, emptied);
            })
        }
        Request::Readable => system::readable(descriptor).map(|()| 0),
        Request::Writable => system::writable(descriptor).map(|()| 0),
        Request::Accept => server::accept(descriptor).map(|(number, peer)| {
            *accepted = peer;
            number
        }),
        Request::Connect(_) => Ok(0),
    };
    match answer {
        Ok(bytes) => Some(Outcome::Done(bytes)),
        Err(WOULD_BLOCK) if request.room_is_told() => {
            state.found_nothing(lane);
            None
        }
        Err(error) => Some(Outcome::Failed(error)),
    }
}

/// What the system gives back with the events of a registration.
fn data_of(tag: u16, socket: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(socket)
}
