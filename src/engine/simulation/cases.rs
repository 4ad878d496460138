//! Single cases, step by step: those in which the schedules found mistakes, and those that are
//! easily got wrong. Here the test itself is the driver, and says when and how a request ends.

mod arrivals;
mod files;

use crate::address::{Address, Family};
use crate::driver::sim::{fill, read, Memory, PIPE, REFUSED, RESET};
use crate::driver::{Lane, Outcome, Request, Token};
use crate::engine::arena::{chunk, Growth};
use crate::engine::arrival::{Arrival, Standing};
use crate::engine::handover::SeatSide;
use crate::engine::operation::{Begin, Fault, Flags, Kind, Operation, Payload};
use crate::engine::socket::{Engine, Steps};
use crate::status::Status;

const SEND: Token = Token {
    socket: 0,
    lane: Lane::Output,
};
const RECEIVE: Token = Token {
    socket: 0,
    lane: Lane::Input,
};

/// A driver that has what it was given until the test says otherwise.
#[derive(Default)]
struct Script {
    has: Vec<Token>,
    canceled: Vec<Token>,
    /// What the next starts answer; after that, nothing.
    at_once: Vec<Outcome>,
    shut: Vec<(bool, bool)>,
    urgent: Option<Outcome>,
    closed: Vec<bool>,
    /// Descriptors that were made anew for another attempt, or given up.
    renewed: usize,
    /// What arrives, and what was accepted: the place and the descriptor's number.
    standing: Standing,
    accepted: Vec<(u64, usize)>,
    /// Why an accepted connection is not handed over.
    homeless: Option<Fault>,
    discarded: usize,
    /// The present tick.
    time: u64,
    /// Payloads that threads for files have, and whether they give them back unbegun.
    #[allow(clippy::vec_box, reason = "as they travel")]
    away: Vec<Box<Payload>>,
    gives_back: bool,
}

impl Steps for Script {
    fn open(&mut self, _number: u32, _socket: u32, _family: Family) -> Result<(), Fault> {
        Ok(())
    }

    fn start(&mut self, token: Token, _request: Request<'_>) -> Option<Outcome> {
        if !self.at_once.is_empty() {
            return Some(self.at_once.remove(0));
        }
        assert!(!self.has.contains(&token));
        self.has.push(token);
        None
    }

    fn cancel(&mut self, token: Token) -> Option<Outcome> {
        assert!(self.has.contains(&token));
        self.canceled.push(token);
        None
    }

    fn send_file(&mut self, _socket: u32, payload: Box<Payload>) -> Option<Box<Payload>> {
        assert!(!self.has.contains(&SEND));
        self.away.push(payload);
        None
    }

    fn recall_file(&mut self, _operation: u32) -> Option<Box<Payload>> {
        match self.gives_back {
            true => self.away.pop(),
            false => None,
        }
    }

    fn receive_urgent(&mut self, _socket: u32, _request: Request<'_>) -> Outcome {
        self.urgent.unwrap_or(Outcome::Done(1))
    }

    fn shutdown(&mut self, _socket: u32, receive: bool, send: bool) {
        self.shut.push((receive, send));
    }

    fn now(&self) -> u64 {
        self.time
    }

    fn adopt(&mut self, _socket: u32, _attempt: u32, _remote: &Address) -> Result<(), Fault> {
        Ok(())
    }

    fn connected(&mut self, _socket: u32, _remote: Option<Box<Payload>>) -> Result<(), Fault> {
        Ok(())
    }

    fn sent(&mut self, _socket: u32, _bytes: usize) {}

    fn arrived(&mut self, _socket: u32) -> Result<Arrival, Fault> {
        Ok(Arrival {
            family: Family::Ipv6,
            standing: self.standing,
        })
    }

    fn accepted(&mut self, _listener: u32, place: u64, number: usize) -> Result<(), Fault> {
        self.accepted.push((place, number));
        self.homeless.map_or(Ok(()), Err)
    }

    fn forget(&mut self, _socket: u32) {
        assert!(self.has.is_empty(), "released under a request");
    }

    fn renew(&mut self, _socket: u32) -> Result<(), Fault> {
        self.renewed += 1;
        Ok(())
    }

    fn discard(&mut self, _number: u32) {
        self.discarded += 1;
    }

    fn close(&mut self, _socket: u32, reset: bool) {
        let none = self.has.is_empty() && self.away.is_empty();
        assert!(none, "closed under a request");
        self.closed.push(reset);
    }
}

/// One socket, and the operations in the order in which they are begun: the first is number 0.
struct Desk {
    engine: Engine,
    seat: SeatSide<Operation>,
    script: Script,
    memory: Memory,
    count: u32,
    epoch: u8,
}

impl Desk {
    fn new() -> Desk {
        let mut engine = Engine::new(0);
        let (mut seat, mut sockets) = (SeatSide::new(), Growth::new());
        for chunk in 0..4 {
            seat.grow(chunk).expect("there is memory");
        }
        sockets.give(0, chunk).expect("there is memory");
        engine.operations.accept(&mut seat);
        engine.sockets.accept(&mut sockets);
        Desk {
            engine,
            seat,
            script: Script::default(),
            memory: Memory::new(256),
            count: 0,
            epoch: 0,
        }
    }

    /// A desk whose socket is connected; its connect was number 0.
    fn connected() -> Desk {
        let mut desk = Desk::new();
        desk.connect();
        desk.done(SEND, Outcome::Done(0));
        assert_eq!(desk.told(), [(0, Status::Ok, 0)]);
        desk
    }

    fn begin(&mut self, kind: Kind, length: usize, flags: Flags, payload: Option<Payload>) {
        let buffer = self.memory.take(length);
        fill(&buffer, b'x');
        let begin = Begin {
            socket: 0,
            flags,
            buffer,
            payload: payload.map(Box::new),
            epoch: self.epoch,
            ..Begin::new(kind)
        };
        self.seat.hand(self.count, |record| record.begin(begin));
        self.engine.begin(self.count, &mut self.script);
        self.count += 1;
    }

    fn connect(&mut self) {
        let payload = Some(Payload::Connect(Address::NONE));
        self.begin(Kind::Connect, 0, Flags::NONE, payload);
    }

    fn send(&mut self, length: usize) {
        self.begin(Kind::Send, length, Flags::NONE, None);
    }

    fn receive(&mut self, length: usize, all: bool) {
        let flags = Flags::ALL.when(all);
        self.begin(Kind::Receive, length, flags, None);
    }

    fn receive_urgent(&mut self) {
        let flags = Flags::OUT_OF_BAND;
        self.begin(Kind::Receive, 1, flags, None);
    }

    fn shut_down_sending(&mut self) {
        let flags = Flags::SEND;
        self.begin(Kind::Shutdown, 0, flags, None);
    }

    fn close(&mut self, drain: bool) {
        let flags = Flags::DRAIN.when(drain);
        self.begin(Kind::Close, 0, flags, None);
    }

    fn cancel(&mut self, id: u32) {
        let status = Status::Canceled;
        self.engine.abort(id, status, &mut self.script);
    }

    fn done(&mut self, token: Token, outcome: Outcome) {
        let had = self.script.has.len();
        self.script.has.retain(|&own| own != token);
        assert_eq!(self.script.has.len() + 1, had, "it was with the driver");
        self.engine.done(token, outcome, &mut self.script);
    }

    /// Makes the next result visible.
    fn tell_one(&mut self) -> Option<(u32, Status, usize)> {
        let id = self.engine.take_finished()?;
        self.engine.deliver(id);
        let operation = self.seat.at(id);
        self.epoch += u8::from(operation.flags.has(Flags::CUTS));
        Some((id, operation.status, operation.bytes()))
    }

    /// Makes all results visible.
    fn told(&mut self) -> Vec<(u32, Status, usize)> {
        std::iter::from_fn(|| self.tell_one()).collect()
    }
}

#[test]
fn a_send_that_is_canceled_too_late_tells_all_its_bytes_and_cuts() {
    let mut desk = Desk::connected();
    desk.send(10);
    desk.send(5);
    desk.shut_down_sending();
    desk.done(SEND, Outcome::Done(4));
    desk.cancel(1);
    assert_eq!(desk.told(), [], "the driver still has its buffer");
    desk.done(SEND, Outcome::Done(3));
    let ends = [
        (1, Status::Canceled, 7),
        (2, Status::Canceled, 0),
        (3, Status::Ok, 0),
    ];
    assert_eq!(desk.told(), ends);
    assert_eq!(desk.script.shut, [(false, true)]);
}

#[test]
fn a_send_that_is_canceled_after_its_last_byte_is_sent() {
    let mut desk = Desk::connected();
    desk.send(10);
    desk.send(5);
    desk.cancel(1);
    desk.done(SEND, Outcome::Done(10));
    assert_eq!(desk.told(), [(1, Status::Ok, 10)]);
    assert_eq!(desk.script.has, [SEND], "the next one goes on");
}

#[test]
fn a_cut_takes_the_sends_on_their_way_and_spares_those_begun_later() {
    let mut desk = Desk::connected();
    desk.send(10);
    desk.done(SEND, Outcome::Done(4));
    desk.cancel(1);
    desk.done(SEND, Outcome::Canceled);
    desk.send(5); // Begun before anybody could know.
    let ends = [(1, Status::Canceled, 4), (2, Status::Canceled, 0)];
    assert_eq!(desk.told(), ends);
    desk.send(6);
    desk.done(SEND, Outcome::Done(6));
    assert_eq!(desk.told(), [(3, Status::Ok, 6)]);
}

#[test]
fn a_receive_that_is_canceled_too_late_keeps_its_bytes() {
    let mut desk = Desk::connected();
    desk.receive(8, false);
    desk.receive(8, true);
    desk.cancel(1);
    desk.done(RECEIVE, Outcome::Done(3));
    assert_eq!(desk.told(), [(1, Status::Ok, 3)]);
    desk.done(RECEIVE, Outcome::Done(5));
    desk.cancel(2);
    desk.done(RECEIVE, Outcome::Done(2));
    assert_eq!(desk.told(), [(2, Status::Canceled, 7)]);
}

#[test]
fn receive_all_goes_on_until_it_is_full_or_the_stream_ends() {
    let mut desk = Desk::connected();
    desk.receive(8, true);
    desk.receive(8, true);
    desk.done(RECEIVE, Outcome::Done(5));
    assert_eq!(desk.told(), []);
    desk.done(RECEIVE, Outcome::Done(3));
    desk.done(RECEIVE, Outcome::Done(2));
    desk.done(RECEIVE, Outcome::Done(0));
    assert_eq!(desk.told(), [(1, Status::Ok, 8), (2, Status::Ok, 2)]);
}

#[test]
fn a_reset_during_a_cancel() {
    let mut desk = Desk::connected();
    desk.receive(8, false);
    desk.receive(8, false);
    desk.send(10);
    desk.cancel(1);
    desk.done(SEND, RESET);
    assert_eq!(desk.told(), [(3, Status::ConnectionReset, 0)]);
    desk.done(RECEIVE, Outcome::Canceled);
    let ends = [(1, Status::Canceled, 0), (2, Status::ConnectionReset, 0)];
    assert_eq!(desk.told(), ends);
    desk.send(1);
    desk.receive(1, false);
    let sticky = Status::ConnectionReset;
    assert_eq!(desk.told(), [(4, sticky, 0), (5, sticky, 0)]);
}

/// The reset was told; a send that is cut later must not make those behind it say another thing.
#[test]
fn a_reset_outdoes_a_cut() {
    let mut desk = Desk::connected();
    desk.send(10);
    desk.receive(8, false);
    desk.done(SEND, Outcome::Done(4));
    desk.cancel(1);
    desk.done(RECEIVE, RESET);
    assert_eq!(desk.told(), [(2, Status::ConnectionReset, 0)]);
    desk.done(SEND, Outcome::Canceled);
    desk.send(5);
    let ends = [(1, Status::Canceled, 4), (3, Status::ConnectionReset, 0)];
    assert_eq!(desk.told(), ends);
}

/// The shutdown waits for the sends before it, so it cannot be what broke the pipe.
#[test]
fn a_broken_pipe_before_the_shutdown_is_a_reset() {
    let mut desk = Desk::connected();
    desk.receive(8, false);
    desk.send(10);
    desk.shut_down_sending();
    desk.done(SEND, PIPE);
    let told = desk.told();
    assert_eq!(told[0], (2, Status::ConnectionReset, 0));
    desk.done(RECEIVE, Outcome::Done(0));
    assert_eq!(desk.told(), [(1, Status::ConnectionReset, 0)]);
}

#[test]
fn a_reset_that_urgent_data_hears_of_is_told_ever_after() {
    let mut desk = Desk::connected();
    desk.script.urgent = Some(RESET);
    desk.receive_urgent();
    desk.receive(8, false);
    let sticky = Status::ConnectionReset;
    assert_eq!(desk.told(), [(1, sticky, 0), (2, sticky, 0)]);
}

#[test]
fn a_drain_during_a_connect_sends_what_waits_for_it() {
    let mut desk = Desk::new();
    desk.connect();
    desk.send(10);
    desk.receive(8, false);
    desk.close(true);
    assert_eq!(desk.told(), [(2, Status::Closed, 0)]);
    desk.done(SEND, Outcome::Done(0));
    desk.done(SEND, Outcome::Done(6));
    assert_eq!(desk.script.closed, []);
    desk.done(SEND, Outcome::Done(4));
    let ends = [(0, Status::Ok, 0), (1, Status::Ok, 10), (3, Status::Ok, 0)];
    assert_eq!(desk.told(), ends);
    assert_eq!(desk.script.closed, [false]);
}

#[test]
fn a_drain_during_a_connect_that_fails() {
    let mut desk = Desk::new();
    desk.connect();
    desk.send(10);
    desk.close(true);
    desk.done(SEND, REFUSED);
    let refused = Status::ConnectionRefused;
    let ends = [(0, refused, 0), (1, refused, 0), (2, Status::Ok, 0)];
    assert_eq!(desk.told(), ends);
}

#[test]
fn a_stop_ends_a_drain_with_its_own_status() {
    let mut desk = Desk::connected();
    desk.send(10);
    desk.close(true);
    let status = Status::Stopped;
    desk.engine.abort_everything(status, &mut desk.script);
    desk.done(SEND, Outcome::Done(2));
    let ends = [(1, Status::Stopped, 2), (2, Status::Stopped, 0)];
    assert_eq!(desk.told(), ends);
}

#[test]
fn a_close_waits_for_the_driver_to_let_go() {
    let mut desk = Desk::connected();
    desk.send(10);
    desk.receive(8, false);
    desk.close(false);
    assert_eq!(desk.script.canceled, [SEND, RECEIVE]);
    desk.done(RECEIVE, Outcome::Done(8));
    assert_eq!(desk.script.closed, []);
    desk.done(SEND, Outcome::Canceled);
    let ends = [
        (2, Status::Ok, 8),
        (1, Status::Closed, 0),
        (3, Status::Ok, 0),
    ];
    assert_eq!(desk.told(), ends);
    assert_eq!(desk.engine.take_closed(), Some(0));
    assert_eq!(desk.engine.take_closed(), None);
}

/// A second connect was on its way when the first failed; what is begun after that is visible,
/// but while the second is pending, waits for the second.
#[test]
fn what_waits_for_a_connect_on_its_way_fails_with_it() {
    let refused = Status::ConnectionRefused;
    let mut desk = Desk::new();
    desk.connect();
    desk.done(SEND, REFUSED);
    let before = desk.epoch;
    assert_eq!(desk.told(), [(0, refused, 0)]);
    let after = std::mem::replace(&mut desk.epoch, before);
    desk.connect();
    desk.epoch = after;
    desk.send(5);
    assert_eq!(desk.told(), [(1, refused, 0), (2, refused, 0)]);
    desk.send(5);
    desk.connect();
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(
        desk.told(),
        [(3, Status::NotConnected, 0), (4, Status::Ok, 0)]
    );
}

/// The same where the first is visible before the second, both having failed together.
#[test]
fn what_waits_for_the_last_of_several_connects_fails_with_it() {
    let refused = Status::ConnectionRefused;
    let mut desk = Desk::new();
    desk.connect();
    desk.connect();
    desk.done(SEND, REFUSED);
    assert_eq!(desk.tell_one(), Some((0, refused, 0)));
    desk.send(5);
    assert_eq!(desk.told(), [(1, refused, 0), (2, refused, 0)]);
}

#[test]
fn a_shutdown_dies_with_its_connect() {
    let mut desk = Desk::new();
    desk.connect();
    desk.shut_down_sending();
    desk.done(SEND, REFUSED);
    desk.told();
    desk.connect();
    desk.done(SEND, Outcome::Done(0));
    desk.send(3);
    desk.done(SEND, Outcome::Done(3));
    assert_eq!(desk.told(), [(2, Status::Ok, 0), (3, Status::Ok, 3)]);
}

/// The winner of a race may be known inside its start; what waits must not wait for more.
#[test]
fn a_race_that_is_won_at_once_starts_what_waits() {
    let mut desk = Desk::new();
    let name = Some(Payload::Name(80));
    desk.begin(Kind::Connect, 0, Flags::NONE, name);
    desk.send(3);
    desk.script.at_once = vec![REFUSED, Outcome::Done(0)];
    let found = Ok(vec![Address::NONE; 2]);
    desk.engine.resolved(0, found, &mut desk.script);
    assert_eq!(desk.script.has, [SEND]);
    desk.done(SEND, Outcome::Done(3));
    assert_eq!(desk.told(), [(0, Status::Ok, 0), (1, Status::Ok, 3)]);
}

/// A second connect shares the end of the first, whatever becomes of its own name meanwhile.
#[test]
fn a_second_name_that_is_not_found_waits_for_the_first_connect() {
    let mut desk = Desk::new();
    desk.connect();
    let name = Some(Payload::Name(80));
    desk.begin(Kind::Connect, 0, Flags::NONE, name);
    let unknown = Err(Fault::of(Status::HostNotFound));
    desk.engine.resolved(1, unknown, &mut desk.script);
    assert_eq!(desk.told(), []);
    desk.done(SEND, Outcome::Done(0));
    let expected = [(0, Status::Ok, 0), (1, Status::AlreadyConnected, 0)];
    assert_eq!(desk.told(), expected);
}

#[test]
fn a_send_of_nothing_keeps_its_turn() {
    let mut desk = Desk::connected();
    desk.send(5);
    desk.send(0);
    desk.send(5);
    assert_eq!(desk.told(), []);
    desk.done(SEND, Outcome::Done(5));
    assert_eq!(desk.told(), [(1, Status::Ok, 5), (2, Status::Ok, 0)]);
    assert_eq!(read(&desk.memory.all()), [b'x'; 10]);
}
