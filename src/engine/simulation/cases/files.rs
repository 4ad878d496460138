//! Files, step by step: here the test is also the thread that sends their parts. A part has 8
//! bytes at most.

use super::{Desk, RECEIVE, RESET, SEND};
use crate::driver::sim::NO_DISK;
use crate::driver::Outcome;
use crate::engine::file::{FileSend, PART};
use crate::engine::operation::{Flags, Kind, Payload};
use crate::status::Status;
use crate::sys::WOULD_BLOCK;

const NO_ROOM: Outcome = Outcome::Failed(WOULD_BLOCK);
/// Where in the file the first byte to be sent is.
const START: u64 = 100;

impl Desk {
    fn file(&mut self, length: usize) {
        let flags = Flags::FILE;
        let payload = Payload::File(FileSend::new(None, START));
        self.begin(Kind::Send, length, flags, Some(payload));
    }

    /// The part that the thread has: from where, how many bytes, and whether it is the last.
    fn part(&self) -> (u64, usize, bool) {
        match self.script.away.first().map(|payload| &**payload) {
            Some(Payload::File(file)) => (file.offset - START, file.length, file.is_last),
            _ => panic!("no thread has a file"),
        }
    }

    /// The thread gives it back.
    fn back(&mut self, outcome: Outcome) {
        let mut payload = self.script.away.pop().expect("a thread has a file");
        if let Payload::File(file) = &mut *payload {
            file.outcome = outcome;
        }
        self.engine.file_done(payload, &mut self.script);
    }

    /// No thread has anything.
    fn rests(&self) -> bool {
        self.script.away.is_empty()
    }
}

#[test]
fn a_file_goes_part_by_part() {
    assert_eq!(PART, 8);
    let mut desk = Desk::connected();
    desk.file(20);
    desk.send(3);
    assert_eq!(desk.part(), (0, 8, false));
    desk.back(Outcome::Done(8));
    assert_eq!(desk.part(), (8, 8, false));
    desk.back(Outcome::Done(8));
    assert_eq!(desk.part(), (16, 4, true));
    assert_eq!(desk.told(), []);
    assert!(desk.script.has.is_empty(), "the next one overtakes it");
    desk.back(Outcome::Done(4));
    assert_eq!(desk.told(), [(1, Status::Ok, 20)]);
    assert_eq!(desk.script.has, [SEND]);
}

/// The driver tells when there is room: after none was found, and after too little.
#[test]
fn a_file_waits_for_room() {
    let mut desk = Desk::connected();
    desk.file(20);
    desk.back(NO_ROOM);
    assert!(desk.rests() && desk.script.has == [SEND]);
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(desk.part(), (0, 8, false));
    desk.back(Outcome::Done(5));
    assert!(desk.rests() && desk.script.has == [SEND]);
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(desk.part(), (5, 8, false));
    desk.back(NO_ROOM);
    desk.done(SEND, Outcome::Done(0));
    desk.back(Outcome::Done(8));
    assert_eq!(desk.part(), (13, 7, true));
    desk.back(Outcome::Done(7));
    assert_eq!(desk.told(), [(1, Status::Ok, 20)]);
}

#[test]
fn a_cancel_waits_for_the_thread() {
    for (outcome, bytes) in [(Outcome::Done(8), 8), (Outcome::Done(3), 3), (NO_ROOM, 0)] {
        let mut desk = Desk::connected();
        desk.file(20);
        desk.file(5);
        desk.cancel(1);
        assert_eq!(desk.told(), [], "a thread still has it");
        desk.back(outcome);
        let first = desk.tell_one();
        assert_eq!(first, Some((1, Status::Canceled, bytes)));
        match bytes {
            0 => assert_eq!(desk.part(), (0, 5, true)),
            _ => assert_eq!(desk.told(), [(2, Status::Canceled, 0)]),
        }
    }
}

#[test]
fn a_part_that_has_not_begun_comes_back_at_once() {
    let mut desk = Desk::connected();
    desk.script.gives_back = true;
    desk.file(20);
    desk.file(5);
    desk.cancel(1);
    assert_eq!(desk.told(), [(1, Status::Canceled, 0)]);
    assert_eq!(desk.part(), (0, 5, true));
}

#[test]
fn a_file_that_is_canceled_after_its_last_byte_is_sent() {
    let mut desk = Desk::connected();
    desk.file(6);
    desk.cancel(1);
    desk.back(Outcome::Done(6));
    assert_eq!(desk.told(), [(1, Status::Ok, 6)]);
}

/// Canceled while it waits for room: the driver is asked, which may have just found some.
#[test]
fn a_cancel_of_a_file_that_waits_for_room() {
    for outcome in [Outcome::Canceled, Outcome::Done(0)] {
        let mut desk = Desk::connected();
        desk.file(20);
        desk.back(Outcome::Done(2));
        desk.cancel(1);
        assert_eq!(desk.script.canceled, [SEND]);
        assert_eq!(desk.told(), []);
        desk.done(SEND, outcome);
        assert_eq!(desk.told(), [(1, Status::Canceled, 2)]);
        assert!(desk.rests());
    }
}

#[test]
fn a_file_that_is_too_short_is_cut() {
    let mut desk = Desk::connected();
    desk.file(20);
    desk.send(5);
    desk.back(Outcome::Done(8));
    desk.back(Outcome::Done(3));
    desk.done(SEND, Outcome::Done(0));
    desk.back(Outcome::Done(0));
    let short = Status::InvalidArgument;
    assert_eq!(desk.told(), [(1, short, 11), (2, short, 0)]);
    // One that has sent nothing cuts nothing.
    desk.file(20);
    desk.send(5);
    desk.back(Outcome::Done(0));
    assert_eq!(desk.told(), [(3, short, 0)]);
    desk.done(SEND, Outcome::Done(5));
    assert_eq!(desk.told(), [(4, Status::Ok, 5)]);
}

#[test]
fn an_error_of_the_disk_breaks_no_connection() {
    let mut desk = Desk::connected();
    desk.receive(8, false);
    desk.file(20);
    desk.back(NO_DISK);
    assert_eq!(desk.told(), [(2, Status::OsError, 0)]);
    desk.done(RECEIVE, Outcome::Done(8));
    assert_eq!(desk.told(), [(1, Status::Ok, 8)]);
}

/// The reset is told at once to whoever waits, and to the file when the thread gives it back.
#[test]
fn a_reset_while_a_thread_has_a_file() {
    for (outcome, bytes) in [(Outcome::Done(8), 8), (NO_ROOM, 0), (RESET, 0)] {
        let mut desk = Desk::connected();
        desk.receive(8, false);
        desk.file(20);
        desk.send(5);
        desk.done(RECEIVE, RESET);
        let reset = Status::ConnectionReset;
        assert_eq!(desk.told(), [(1, reset, 0)]);
        desk.back(outcome);
        assert_eq!(desk.told(), [(2, reset, bytes), (3, reset, 0)]);
        assert!(desk.rests());
    }
}

#[test]
fn a_close_and_a_stop_wait_for_the_thread() {
    let mut desk = Desk::connected();
    desk.file(20);
    desk.close(false);
    assert_eq!((desk.told(), &desk.script.closed[..]), (vec![], &[][..]));
    desk.back(Outcome::Done(8));
    let ends = [(1, Status::Closed, 8), (2, Status::Ok, 0)];
    assert_eq!(desk.told(), ends);
    assert_eq!(desk.script.closed, [false]);

    let mut desk = Desk::connected();
    desk.file(20);
    let status = Status::Stopped;
    desk.engine.abort_everything(status, &mut desk.script);
    assert!(desk.told().is_empty() && !desk.engine.is_quiet());
    desk.back(NO_ROOM);
    assert_eq!(desk.told(), [(1, Status::Stopped, 0)]);
    assert!(desk.engine.is_quiet());
}

#[test]
fn a_drain_sends_a_file_to_its_end() {
    let mut desk = Desk::connected();
    desk.file(10);
    desk.close(true);
    desk.back(Outcome::Done(8));
    assert_eq!(desk.told(), []);
    desk.back(Outcome::Done(2));
    let ends = [(1, Status::Ok, 10), (2, Status::Ok, 0)];
    assert_eq!(desk.told(), ends);
}
