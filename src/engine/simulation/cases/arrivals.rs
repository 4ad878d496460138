//! Sockets whose descriptors come from elsewhere, step by step: bound ones that connect, listeners,
//! and what listeners accept.

use super::{Desk, RECEIVE, REFUSED, SEND};
use crate::address::Address;
use crate::driver::sim::{GONE_AGAIN, NO_DESCRIPTOR, RESET};
use crate::driver::{Outcome, Request};
use crate::engine::arrival::Standing;
use crate::engine::operation::{Begin, Fault, Flags, Kind, Payload, Tick};
use crate::foreign::Buffer;
use crate::status::{OsError, Status};
use std::net::Ipv4Addr;

/// The pause of a listener for which there was no room.
const PAUSE: u64 = 101;

impl Desk {
    /// A desk whose socket has got its descriptor from elsewhere.
    fn given(standing: Standing) -> Desk {
        let mut desk = Desk::new();
        desk.script.standing = standing;
        desk.engine.arrived(0, &mut desk.script);
        desk
    }

    /// The accept's place is its number and a hundred, so that it is recognised.
    fn accept(&mut self, deadline: Option<u64>) {
        let id = self.count;
        let begin = Begin {
            socket: 0,
            buffer: Buffer::of_number(place_of(id)),
            deadline: Tick::of(deadline),
            epoch: self.epoch,
            ..Begin::new(Kind::Accept)
        };
        self.seat.hand(id, |record| record.begin(begin));
        self.engine.begin(id, &mut self.script);
        self.count += 1;
    }

    /// Time passes.
    fn pass(&mut self, ticks: u64) {
        self.script.time += ticks;
        self.engine.expire(self.script.time, &mut self.script);
    }
}

/// Larger than half of a number, so that a half that gets lost is missed.
fn place_of(id: u32) -> u64 {
    0x8000_0001_0000_0064 + u64::from(id)
}

#[test]
fn accepts_are_served_in_order_and_name_their_places() {
    let mut desk = Desk::given(Standing::Listening);
    for _ in 0..3 {
        desk.accept(None);
    }
    assert_eq!(desk.script.has, [RECEIVE], "one at a time");
    assert_eq!(desk.engine.request(RECEIVE).map(is_accept), Some(true));
    desk.done(RECEIVE, Outcome::Done(17));
    desk.done(RECEIVE, Outcome::Done(18));
    assert_eq!(desk.script.accepted, [(place_of(0), 17), (place_of(1), 18)]);
    let ends = [(0, Status::Ok, 0), (1, Status::Ok, 0)];
    assert_eq!(desk.told(), ends);
    assert_eq!(desk.seat.at(0).brought(), place_of(0));
    assert_eq!(desk.seat.at(1).brought(), place_of(1));
    assert_eq!(desk.script.has, [RECEIVE], "the third");
}

fn is_accept(request: Request<'_>) -> bool {
    matches!(request, Request::Accept)
}

#[test]
fn a_listener_refuses_all_else_and_others_refuse_accepts() {
    let mut desk = Desk::given(Standing::Listening);
    desk.send(1);
    desk.receive(1, false);
    desk.receive_urgent();
    desk.connect();
    desk.shut_down_sending();
    let nowhere = Status::NotConnected;
    let ends = [
        (0, nowhere, 0),
        (1, nowhere, 0),
        (2, nowhere, 0),
        (3, Status::InvalidState, 0),
        (4, nowhere, 0),
    ];
    assert_eq!(desk.told(), ends);
    for mut desk in [
        Desk::new(),
        Desk::given(Standing::Open),
        Desk::given(Standing::Connected),
    ] {
        desk.accept(None);
        assert_eq!(desk.told(), [(0, Status::InvalidState, 0)]);
        assert!(desk.script.has.is_empty());
    }
    // Nor while it connects: an accept does not wait for that.
    let mut desk = Desk::new();
    desk.connect();
    desk.accept(None);
    assert_eq!(desk.told(), [(1, Status::InvalidState, 0)]);
}

#[test]
fn a_connection_that_came_before_the_cancel_is_handed_over() {
    let mut desk = Desk::given(Standing::Listening);
    desk.accept(None);
    desk.accept(None);
    desk.cancel(0);
    assert_eq!(desk.script.canceled, [RECEIVE]);
    assert_eq!(desk.told(), [], "the driver still has it");
    desk.done(RECEIVE, Outcome::Done(17));
    assert_eq!(desk.script.accepted, [(place_of(0), 17)]);
    assert_eq!(desk.told(), [(0, Status::Ok, 0)]);
    // One that is not with the driver ends at once, and the one that is ends without a connection.
    desk.accept(None);
    desk.cancel(2);
    assert_eq!(desk.told(), [(2, Status::Canceled, 0)]);
    desk.cancel(1);
    desk.done(RECEIVE, Outcome::Canceled);
    assert_eq!(desk.told(), [(1, Status::Canceled, 0)]);
    assert_eq!(desk.seat.at(1).brought(), 0);
}

#[test]
fn a_connection_that_cannot_be_handed_over_says_why() {
    let mut desk = Desk::given(Standing::Listening);
    desk.script.homeless = Some(Fault::of(Status::TooManySockets));
    desk.accept(None);
    desk.accept(None);
    desk.done(RECEIVE, Outcome::Done(17));
    assert_eq!(desk.told(), [(0, Status::TooManySockets, 0)]);
    assert_eq!(desk.seat.at(0).brought(), 0);
    // That is no lack of descriptors: the next one is tried at once.
    assert_eq!(desk.script.has, [RECEIVE]);
}

#[test]
fn a_connection_that_is_gone_again_is_passed_over() {
    let mut desk = Desk::given(Standing::Listening);
    desk.accept(None);
    for gone in GONE_AGAIN {
        desk.done(RECEIVE, gone);
        assert_eq!(desk.told(), []);
        assert_eq!(desk.script.has, [RECEIVE], "it is tried again");
    }
    desk.script.at_once = vec![GONE_AGAIN[1], Outcome::Done(17)];
    desk.done(RECEIVE, GONE_AGAIN[0]);
    assert_eq!(desk.told(), [(0, Status::Ok, 0)]);
    // A cancel that has come meanwhile is not forgotten over it.
    desk.accept(None);
    desk.cancel(1);
    desk.done(RECEIVE, GONE_AGAIN[0]);
    assert_eq!(desk.told(), [(1, Status::Canceled, 0)]);
    assert!(desk.script.has.is_empty());
}

#[test]
fn without_descriptors_the_listener_pauses() {
    let mut desk = Desk::given(Standing::Listening);
    desk.accept(None);
    desk.accept(None);
    desk.done(RECEIVE, NO_DESCRIPTOR);
    assert_eq!(desk.told(), [(0, Status::TooManySockets, 0)]);
    assert_ne!(desk.seat.at(0).os_error, OsError(0));
    desk.accept(None);
    desk.pass(PAUSE - 1);
    assert!(desk.script.has.is_empty(), "nothing is tried");
    // The one that would be next is canceled; the pause goes on for the next.
    desk.cancel(1);
    assert_eq!(desk.told(), [(1, Status::Canceled, 0)]);
    assert!(desk.script.has.is_empty());
    desk.pass(1);
    assert_eq!(desk.script.has, [RECEIVE]);
    desk.done(RECEIVE, Outcome::Done(17));
    assert_eq!(desk.told(), [(2, Status::Ok, 0)]);
    // Nothing is left of it.
    desk.accept(None);
    assert_eq!(desk.script.has, [RECEIVE]);
}

#[test]
fn deadlines_strike_in_a_pause_and_outside() {
    let mut desk = Desk::given(Standing::Listening);
    desk.accept(None);
    desk.done(RECEIVE, NO_DESCRIPTOR);
    desk.told();
    desk.accept(Some(50));
    desk.accept(Some(150));
    desk.pass(50);
    assert_eq!(desk.told(), [(1, Status::TimedOut, 0)]);
    desk.pass(PAUSE - 50);
    assert_eq!(desk.script.has, [RECEIVE]);
    desk.pass(49);
    assert_eq!(desk.script.canceled, [RECEIVE]);
    desk.done(RECEIVE, Outcome::Canceled);
    assert_eq!(desk.told(), [(2, Status::TimedOut, 0)]);
}

#[test]
fn a_close_ends_the_accepts_in_order_and_waits_for_the_driver() {
    let mut desk = Desk::given(Standing::Listening);
    for _ in 0..3 {
        desk.accept(None);
    }
    desk.close(false);
    assert_eq!(desk.told(), []);
    assert!(desk.script.closed.is_empty());
    desk.done(RECEIVE, Outcome::Canceled);
    let closed = Status::Closed;
    let ends = [
        (0, closed, 0),
        (1, closed, 0),
        (2, closed, 0),
        (3, Status::Ok, 0),
    ];
    assert_eq!(desk.told(), ends);
    assert_eq!(desk.script.closed, [false]);
    // In a pause the driver has nothing.
    let mut desk = Desk::given(Standing::Listening);
    desk.accept(None);
    desk.done(RECEIVE, NO_DESCRIPTOR);
    desk.accept(None);
    desk.close(false);
    assert_eq!(desk.told()[1..], [(1, closed, 0), (2, Status::Ok, 0)]);
    // Nor does the pause outlive the socket, whose number is used again.
    assert_eq!(desk.engine.take_closed(), Some(0));
    desk.script.closed.clear();
    desk.engine.arrived(0, &mut desk.script);
    desk.accept(None);
    assert_eq!(desk.script.has, [RECEIVE]);
}

#[test]
fn a_stop_ends_accepts() {
    let mut desk = Desk::given(Standing::Listening);
    desk.accept(None);
    desk.accept(None);
    desk.engine
        .abort_everything(Status::Stopped, &mut desk.script);
    desk.done(RECEIVE, Outcome::Done(17));
    let ends = [(0, Status::Ok, 0), (1, Status::Stopped, 0)];
    assert_eq!(desk.told(), ends);
    assert_eq!(desk.script.accepted, [(place_of(0), 17)]);
}

#[test]
fn a_socket_that_was_to_listen_and_cannot_is_as_before() {
    let mut desk = Desk::given(Standing::Listening);
    desk.script.standing = Standing::Open;
    desk.engine.arrived(0, &mut desk.script);
    desk.accept(None);
    assert_eq!(desk.told(), [(0, Status::InvalidState, 0)]);
    desk.connect();
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(desk.told(), [(1, Status::Ok, 0)]);
}

#[test]
fn an_accepted_socket_is_connected_from_the_start() {
    let mut desk = Desk::given(Standing::Connected);
    desk.connect();
    assert_eq!(desk.told(), [(0, Status::AlreadyConnected, 0)]);
    desk.send(4);
    desk.receive(4, false);
    desk.done(SEND, Outcome::Done(4));
    desk.done(RECEIVE, RESET);
    let ends = [(1, Status::Ok, 4), (2, Status::ConnectionReset, 0)];
    assert_eq!(desk.told(), ends);
}

#[test]
fn a_bound_socket_keeps_its_descriptor_over_a_failed_connect() {
    let mut desk = Desk::given(Standing::Open);
    desk.connect();
    desk.send(4);
    desk.done(SEND, REFUSED);
    let refused = Status::ConnectionRefused;
    assert_eq!(desk.told(), [(0, refused, 0), (1, refused, 0)]);
    assert_eq!((desk.script.renewed, desk.script.discarded), (1, 0));
    desk.connect();
    desk.cancel(2);
    desk.done(SEND, Outcome::Canceled);
    assert_eq!(desk.told(), [(2, Status::Canceled, 0)]);
    assert_eq!((desk.script.renewed, desk.script.discarded), (2, 0));
    desk.connect();
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(desk.told(), [(3, Status::Ok, 0)]);
}

/// Whom the request of the output lane leads to.
fn tried(desk: &Desk) -> String {
    match desk.engine.request(SEND) {
        Some(Request::Connect(address)) => address.to_string(),
        _ => panic!("it does not connect"),
    }
}

#[test]
fn a_bound_socket_tries_the_addresses_of_a_name_in_turn() {
    let mut desk = Desk::given(Standing::Open);
    let found = [1, 2, 3].map(|last| Address::of_ipv4(Ipv4Addr::new(127, 0, 0, last), 0));
    let name = || Some(Payload::Name(80));
    desk.begin(Kind::Connect, 0, Flags::NONE, name());
    desk.engine
        .resolved(0, Ok(found.to_vec()), &mut desk.script);
    // The socket is of both families, so it writes the older one its own way.
    assert_eq!(tried(&desk), "[::ffff:127.0.0.1]:80");
    desk.done(SEND, REFUSED);
    assert_eq!(tried(&desk), "[::ffff:127.0.0.2]:80");
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(desk.told(), [(0, Status::Ok, 0)]);
    assert_eq!((desk.script.renewed, desk.script.discarded), (1, 0));

    let mut desk = Desk::given(Standing::Open);
    desk.begin(Kind::Connect, 0, Flags::NONE, name());
    desk.engine
        .resolved(0, Ok(found.to_vec()), &mut desk.script);
    desk.done(SEND, REFUSED);
    desk.cancel(0);
    desk.done(SEND, REFUSED); // Its own end, and no more addresses are tried.
    assert_eq!(desk.told(), [(0, Status::ConnectionRefused, 0)]);
    assert!(desk.script.has.is_empty());
    desk.connect();
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(desk.told(), [(1, Status::Ok, 0)]);
}

#[test]
fn a_released_socket_is_gone() {
    let mut desk = Desk::given(Standing::Listening);
    desk.accept(None);
    desk.done(RECEIVE, NO_DESCRIPTOR);
    desk.told();
    desk.engine.released(0, &mut desk.script);
    assert_eq!(desk.engine.take_closed(), Some(0));
    assert!(desk.script.closed.is_empty(), "it is the application's");
    // The next one of its number begins anew.
    desk.connect();
    desk.done(SEND, Outcome::Done(0));
    assert_eq!(desk.told(), [(1, Status::Ok, 0)]);
}
