//! What the contract promises, checked: of each completion as it becomes visible, and of the
//! engine as a whole after a cancel, a close, a stop, and when time has passed.

use super::{lane_of, Place, Simulation, CANARY, MARGIN, PATTERN, POISON};
use crate::driver::sim::{fill, read};
use crate::driver::{Lane, Token};
use crate::engine::connect::FIRST_ATTEMPT;
use crate::engine::operation::{Fault, Flags, Kind};
use crate::foreign::Buffer;
use crate::status::{OsError, Status};

/// The byte that urgent data consists of here.
pub const URGENT: u8 = 0x7e;

impl Simulation {
    /// Settles an operation whose result becomes visible, as the worker does, and judges it.
    pub fn judge(&mut self, number: usize) {
        let record = &self.records[number];
        assert!(record.result.is_none(), "{number} completes twice");
        self.engine.deliver(record.id);
        let operation = self.seat.at(record.id);
        let fault = operation.fault();
        let (bytes, cuts) = (operation.bytes(), operation.flags.has(Flags::CUTS));
        let reported = if operation.flags.has(Flags::AT_ONCE) {
            0
        } else {
            bytes
        };
        let unreported = operation.buffer.len().saturating_sub(reported);
        let again = operation.payload.take();
        let of_use = operation.flags.has(Flags::FILE) || self.records[number].vectored;
        assert_eq!(again.is_some(), of_use, "a file or a message got lost");
        self.say(|| format!("completion of {number}: {fault:?} {bytes} cuts {cuts}"));
        let record = &mut self.records[number];
        record.result = Some((fault, bytes));
        if record.has_socket() {
            let place = &mut self.places[record.socket];
            match record.kind {
                Kind::Connect => place.connecting -= 1,
                Kind::Send => {
                    let queued = &mut self.ports.queued[place.number as usize];
                    *queued = queued.checked_sub(unreported).expect("queued bytes");
                }
                _ => {}
            }
            place.epoch = place.epoch.wrapping_add(u8::from(cuts));
        }
        self.check_memory(number, bytes);
        if fault.status == Status::Ok {
            self.check_success(number, bytes);
        } else {
            self.check_failure(number, fault, bytes);
            self.spread(number, fault, bytes);
        }
    }

    /// The buffer is back: it holds what it should, and from now on nobody may touch it.
    fn check_memory(&mut self, number: usize, bytes: usize) {
        let record = &self.records[number];
        let region = read(&record.region);
        if region.first() == Some(&POISON) {
            return; // It was copied at the begin, and the application has had it since.
        }
        assert!(!self.ports.driver.holds(record.region), "still in use");
        let (front, rest) = region.split_at(MARGIN);
        let in_memory = !record.flags.has(Flags::FILE);
        let (middle, back) = rest.split_at(if in_memory { record.buffer.len() } else { 0 });
        assert_eq!(front, [CANARY; MARGIN]);
        assert_eq!(back, [CANARY; MARGIN]);
        match record.kind {
            Kind::Send => assert_eq!(middle, &PATTERN[record.data..record.data + middle.len()]),
            Kind::Receive => {
                let (got, untouched) = middle.split_at(bytes);
                assert!(untouched.iter().all(|&byte| byte == CANARY));
                if record.flags.has(Flags::OUT_OF_BAND) {
                    assert!(got.iter().all(|&byte| byte == URGENT));
                } else if bytes > 0 {
                    let place = &mut self.places[record.socket];
                    let link = self.ports.link(place.number).expect("it was connected");
                    let from = place.consumed;
                    assert_eq!(got, &link.written[from..from + bytes], "bytes received");
                    place.consumed += if record.flags.has(Flags::PEEK) {
                        0
                    } else {
                        bytes
                    };
                }
            }
            Kind::Resolve => {}
            _ => assert_eq!(bytes, 0),
        }
        fill(&record.region, POISON);
    }

    fn check_success(&mut self, number: usize, bytes: usize) {
        let record = &self.records[number];
        assert_eq!(record.expected, None, "{number} must not succeed");
        assert_eq!(record.cut, None, "{number} stood behind a cut send");
        self.tally.successes += 1;
        self.tally.vectored += usize::from(record.vectored && bytes > 0);
        match record.kind {
            Kind::Timer => assert!(record.due.is_some_and(|due| due <= self.now)),
            Kind::Connect => self.check_connected(number),
            Kind::Send => {
                assert_eq!(bytes, record.buffer.len(), "a send of less");
                self.tally.files += usize::from(record.flags.has(Flags::FILE));
                assert!(bytes > 0 || self.places[record.socket].broken.is_none());
                let mut before = self.records[..number].iter();
                let late = before.any(|other| other.socket == record.socket && other.took_effect);
                assert!(!late, "a send after the shutdown");
                self.check_order(number, Lane::Output);
            }
            Kind::Receive => self.check_received(number, bytes),
            Kind::Close => self.check_last(number),
            Kind::Shutdown => self.check_shut_down(number),
            Kind::Resolve => assert!(bytes == record.found, "addresses got lost"),
            Kind::SendTo | Kind::ReceiveFrom => panic!("datagrams are simulated by themselves"),
            Kind::Accept => panic!("nobody listens"),
        }
    }

    fn check_order(&mut self, number: usize, lane: Lane) {
        let place = &mut self.places[self.records[number].socket];
        let last = place.last[lane as usize].replace(number);
        assert!(last < Some(number), "{number} succeeds after {last:?}");
    }

    fn check_connected(&mut self, number: usize) {
        let socket = self.records[number].socket;
        let place = &mut self.places[socket];
        assert!(!place.connected, "connected twice");
        place.connected = true;
        let link = self.ports.link(place.number).expect("it is connected");
        assert!(link.stands);
        let shut = link.receive_shut || !place.shuts_receive;
        assert!(shut, "the receiving side stayed open");
    }

    fn check_received(&mut self, number: usize, bytes: usize) {
        let record = &self.records[number];
        let length = record.buffer.len();
        if record.flags.has(Flags::OUT_OF_BAND) {
            return assert_eq!(bytes, 1);
        }
        let place = &self.places[record.socket];
        let broken = place.broken.is_some();
        let consumed = place.consumed;
        let link = self.ports.link(place.number).expect("it was connected");
        if bytes == 0 {
            assert!(!broken, "an end of stream after a reset was told");
        }
        let satisfied = match record.flags.has(Flags::ALL) {
            true => bytes == length,
            false => bytes > 0 || length == 0,
        };
        if !satisfied {
            assert!(link.is_at_end(), "too few bytes, and not at the end");
            let whole = link.dead || link.receive_shut || consumed == link.written.len();
            assert!(whole, "an end before the last byte");
        }
        self.tally.filled += usize::from(record.flags.has(Flags::ALL) && bytes > 0);
        self.check_order(number, Lane::Input);
    }

    fn check_shut_down(&mut self, number: usize) {
        let record = &self.records[number];
        let place = &mut self.places[record.socket];
        if !place.connected {
            place.shuts_receive |= record.flags.has(Flags::RECEIVE);
            return;
        }
        let link = self.ports.link(place.number).expect("it is connected");
        assert!(link.receive_shut || !record.flags.has(Flags::RECEIVE));
        let took_effect = link.send_shut && record.flags.has(Flags::SEND);
        self.records[number].took_effect = took_effect;
        self.tally.shutdowns += usize::from(took_effect);
    }

    /// `begin_close` completes after everything else.
    fn check_last(&mut self, number: usize) {
        let socket = self.records[number].socket;
        let others = self.records.iter().enumerate();
        for (other, record) in others {
            let own = record.socket == socket && record.has_socket();
            assert!(!own || record.result.is_some(), "{other} after the close");
        }
        let place = &self.places[socket];
        assert!(place.gone, "closed, and the socket is still there");
        self.tally.drained += usize::from(place.draining);
    }

    fn check_failure(&mut self, number: usize, fault: Fault, bytes: usize) {
        let record = &self.records[number];
        assert!(
            bytes < record.buffer.len() || bytes == 0,
            "whole, and failed"
        );
        if record.kind == Kind::Close {
            assert!(self.places[record.socket].draining, "only a drain is cut");
            self.check_last(number);
            self.tally.drains_cut += 1;
        }
        let record = &self.records[number];
        if let Some(expected) = record.expected {
            assert_eq!(
                (fault, bytes),
                (expected, 0),
                "{number} is told another's end"
            );
            self.tally.told_again += 1;
        } else if let Some(cut) = record.cut {
            let broken = self.places[record.socket].broken == Some(fault);
            assert!(
                (fault == cut || broken) && bytes == 0,
                "{number} behind a cut"
            );
            self.tally.cut_behind += 1;
        } else if fault.os_error != OsError(0) {
            let place = &self.places[record.socket];
            assert_eq!(fault.status, Status::of_os(fault.os_error));
            let told = self
                .ports
                .driver
                .has_told(place.number, FIRST_ATTEMPT, fault.os_error);
            assert!(told, "{number}: nobody said {fault:?}");
        } else {
            self.check_cause(number, fault.status, bytes);
        }
    }

    /// A status of the library's own has its cause.
    fn check_cause(&mut self, number: usize, status: Status, bytes: usize) {
        let record = &self.records[number];
        let place = self.places.get(record.socket);
        let has_cause = match status {
            Status::Canceled => record.canceled,
            Status::TimedOut => record.is_late(self.now),
            Status::Stopped => self.stopped,
            Status::HostNotFound => record.answered && record.found == 0,
            Status::Closed => place.is_some_and(|place| {
                let cut = place.closer.is_some_and(|closer| self.cuts_drain(closer));
                let dropped = !place.draining || cut || record.kind == Kind::Receive;
                place.closing.is_some() && dropped
            }),
            Status::InvalidArgument => record.is_short() && bytes == PATTERN.len() - record.data,
            Status::AlreadyConnected => {
                record.kind == Kind::Connect && place.is_some_and(|place| place.connected)
            }
            Status::ShutDown => {
                let socket = record.socket;
                let from = place.map_or(number, |place| place.afresh.min(number));
                let mut before = self.records[from..number].iter();
                let shuts = before.any(|other| {
                    let shuts = other.kind == Kind::Shutdown && other.flags.has(Flags::SEND);
                    shuts && other.socket == socket
                });
                shuts && record.kind == Kind::Send && bytes == 0
            }
            _ => false,
        };
        assert!(has_cause, "{number}: no cause for {status:?}");
        match status {
            Status::Canceled => self.tally.canceled += 1,
            Status::TimedOut => self.tally.timed_out += 1,
            Status::Stopped => self.tally.stopped += 1,
            Status::InvalidArgument => self.tally.short_files += 1,
            _ => {}
        }
    }

    /// Whether something may have ended a draining close.
    fn cuts_drain(&self, closer: usize) -> bool {
        let record = &self.records[closer];
        record.canceled || record.is_late(self.now) || self.stopped
    }

    /// What an end means for the operations behind it.
    fn spread(&mut self, number: usize, fault: Fault, bytes: usize) {
        let record = &self.records[number];
        let (socket, kind) = (record.socket, record.kind);
        if record.expected.is_some() && kind != Kind::Connect {
            return;
        }
        match kind {
            Kind::Send if bytes > 0 => {
                self.tally.cut_sends += 1;
                let cut = Fault::of(fault.status);
                for other in &mut self.records[number + 1..] {
                    let behind = other.socket == socket && other.kind == Kind::Send;
                    if behind && other.result.is_none() {
                        other.cut.get_or_insert(cut);
                    }
                }
            }
            Kind::Connect if !self.places[socket].connected => {
                let earlier = self.records[..number].iter().any(|other| {
                    let own = other.socket == socket && other.kind == Kind::Connect;
                    own && other.result.is_none()
                });
                if !earlier {
                    self.spread_failed_connect(socket, fault);
                }
            }
            _ => {}
        }
        if matches!(kind, Kind::Send | Kind::Receive) && is_breaking(fault) {
            self.places[socket].broken.get_or_insert(fault);
            self.tally.broken += 1;
            self.check_broken(socket);
        }
    }

    fn spread_failed_connect(&mut self, socket: usize, fault: Fault) {
        self.tally.failed_connects += 1;
        self.places[socket].shuts_receive = false;
        self.places[socket].afresh = self.records.len();
        for other in &mut self.records {
            let waits = matches!(
                other.kind,
                Kind::Connect | Kind::Send | Kind::Receive | Kind::Shutdown
            );
            if waits && other.socket == socket && other.result.is_none() {
                other.expected.get_or_insert(fault);
                self.tally.failed_behind += 1;
            }
        }
    }

    /// Whether the engine has an operation that is not finished.
    fn is_queued(&self, number: usize) -> bool {
        let record = &self.records[number];
        record.result.is_none()
            && self.by_id[record.id as usize] == Some(number)
            && self.engine.is_queued(record.id)
    }

    /// Whether an operation only waits for the driver to let go of it.
    fn is_let_go(&self, number: usize) -> bool {
        let record = &self.records[number];
        let token = Token {
            socket: self.places[record.socket].number,
            lane: lane_of(record.kind),
        };
        let buffer = match record.flags.has(Flags::FILE) || record.vectored {
            true => Buffer::EMPTY,
            false => self.engine.operations[record.id].buffer,
        };
        let alone = (0..number).all(|other| {
            let own = self.records[other].socket == record.socket;
            !own || self.records[other].kind != record.kind || !self.is_queued(other)
        });
        let recalled = record.flags.has(Flags::FILE) && self.ports.is_recalled(token.socket);
        alone && (recalled || self.ports.driver.is_canceling(token, buffer))
    }

    /// The same, or it stands behind one that does, and ends in its turn: after a close or a stop
    /// each queue ends in its order.
    fn is_ending(&self, number: usize) -> bool {
        let record = &self.records[number];
        let place = &self.places[record.socket];
        let token = Token {
            socket: place.number,
            lane: lane_of(record.kind),
        };
        let in_turn = place.closing.is_some() || self.stopped;
        let behind = in_turn && self.is_lane_canceling(token);
        behind || self.is_let_go(number)
    }

    /// Whether what has the head of a lane was asked for it back, and still has it.
    fn is_lane_canceling(&self, token: Token) -> bool {
        let recalled = token.lane == Lane::Output && self.ports.is_recalled(token.socket);
        recalled || self.ports.driver.is_canceling(token, Buffer::EMPTY)
    }

    fn queued_of(&self, socket: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.records.len()).filter(move |&number| {
            let record = &self.records[number];
            record.has_socket() && record.socket == socket && self.is_queued(number)
        })
    }

    pub fn check_aborted(&self, number: usize) {
        let record = &self.records[number];
        if self.is_queued(number) && record.kind != Kind::Close {
            assert!(self.is_ending(number), "{number} goes on after a cancel");
        }
    }

    /// Before the worker sees a close.
    pub fn foretell_closing(&mut self, socket: usize, drain: bool) {
        let waits = self.queued_of(socket).any(|number| {
            let kind = self.records[number].kind;
            matches!(kind, Kind::Send | Kind::Shutdown)
        });
        self.places[socket].draining = drain && waits;
    }

    pub fn check_closing(&self, socket: usize) {
        let place = &self.places[socket];
        for number in self.queued_of(socket) {
            let kind = self.records[number].kind;
            let goes_on = kind == Kind::Close || (place.draining && kind != Kind::Receive);
            let message = "goes on after a close";
            assert!(goes_on || self.is_ending(number), "{number} {message}");
        }
    }

    /// A cancel of a draining close that has something left to send.
    pub fn foretell_cut_drain(&mut self, number: usize, status: Status) {
        let record = &self.records[number];
        if record.kind != Kind::Close || !self.places[record.socket].draining {
            return;
        }
        let socket = record.socket;
        let late = record.is_late(self.now);
        let mut sends = self.queued_of(socket);
        let unsent = sends.any(|other| self.records[other].kind == Kind::Send);
        drop(sends);
        let first = !late && !record.canceled;
        if unsent && first {
            let record = &mut self.records[number];
            record.expected.get_or_insert(Fault::of(status));
        }
    }

    /// After a reset nothing waits for the connection any more.
    fn check_broken(&self, socket: usize) {
        for number in self.queued_of(socket) {
            let kind = self.records[number].kind;
            let token = Token {
                socket: self.places[socket].number,
                lane: lane_of(kind),
            };
            let held = self.is_lane_canceling(token);
            let waits = matches!(kind, Kind::Send | Kind::Receive);
            assert!(held || !waits, "{number} goes on after a reset");
        }
    }

    /// Before a stop: a draining close that has something left to send cannot say OK.
    pub fn foretell_stopped(&mut self) {
        for number in 0..self.records.len() {
            if self.is_queued(number) && self.records[number].kind == Kind::Close {
                self.foretell_cut_drain(number, Status::Stopped);
            }
        }
    }

    pub fn check_stopped(&self) {
        for number in 0..self.records.len() {
            if self.is_queued(number) && self.records[number].kind != Kind::Close {
                assert!(self.records[number].has_socket());
                assert!(self.is_ending(number), "{number} goes on after a stop");
            }
        }
    }

    pub fn check_expired(&self) {
        for (number, record) in self.records.iter().enumerate() {
            let mut expiries = [record.deadline, record.due].into_iter().flatten();
            if record.result.is_none() && expiries.any(|tick| tick <= self.now) {
                let goes_on = self.is_queued(number) && record.kind != Kind::Close;
                let held = record.has_socket() && self.is_ending(number);
                assert!(!goes_on || held, "{number} outlives its time");
            }
        }
    }

    /// The engine has closed a socket: nothing of it goes on.
    pub fn check_closed(&mut self, socket: usize, reset: bool) {
        assert_eq!(self.queued_of(socket).next(), None, "closed under it");
        let place = &mut self.places[socket];
        assert!(!std::mem::replace(&mut place.gone, true), "closed twice");
        let flags = place.closing.expect("only a close closes");
        assert_eq!(reset, flags.has(Flags::RESET));
    }

    /// The number of a socket is free: all is told, and both streams are what was told.
    pub fn check_gone(&mut self, socket: usize) {
        let place: &Place = &self.places[socket];
        assert!(place.gone);
        assert_eq!(self.ports.queued[place.number as usize], 0);
        let link = self.ports.past[place.number as usize].take();
        let mut sent = Vec::new();
        for record in &self.records {
            if record.has_socket() && record.socket == socket {
                let (_, bytes) = record.result.expect("freed before all was told");
                if record.kind == Kind::Send {
                    sent.extend_from_slice(&PATTERN[record.data..record.data + bytes]);
                }
            }
        }
        match link {
            None => assert!(sent.is_empty() && place.consumed == 0),
            Some(link) => {
                assert_eq!(sent, link.received, "what the peer got");
                assert_eq!(place.consumed, link.taken, "bytes taken and never told");
            }
        }
    }
}

/// Whether a connection is of no more use after that.
fn is_breaking(fault: Fault) -> bool {
    let breaking = [
        Status::ConnectionReset,
        Status::ConnectionAborted,
        Status::TimedOut,
    ];
    fault.os_error != OsError(0) && breaking.contains(&fault.status)
}
