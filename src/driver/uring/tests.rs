//! The driver by itself, on a tiny ring and real connections on loopback: both queues overflow, and the list of missed
//! cancels is kept through all that may happen to a number.

use super::*;
use crate::driver::LOOKS_PER_EVENT;
use crate::foreign::Buffer;
use crate::handle::SLOTS;
use crate::sys::{Descriptor, Kind};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// More than either queue has room for.
const CROWD: u32 = 5 * COMPLETIONS;

/// What the engine would know: every request that the driver has, and memory for each.
#[derive(Default)]
struct Asked {
    rooms: RefCell<BTreeMap<u32, Box<[u8]>>>,
    /// The receives only want to know that there is something.
    take_nothing: Cell<bool>,
}

impl Asked {
    /// A receive into eight bytes of the socket's own.
    fn receive(&self, socket: u32) -> Request<'static> {
        let mut rooms = self.rooms.borrow_mut();
        let room = rooms.entry(socket).or_insert_with(|| vec![0; 8].into());
        Request::Receive {
            buffer: Buffer::of_box(room),
            peek: false,
            whole: false,
            out_of_band: false,
        }
    }
}

impl Requests for Asked {
    fn request(&self, token: Token) -> Option<Request<'_>> {
        (token.lane == Lane::Input).then(|| match self.take_nothing.get() {
            true => Request::Readable,
            false => self.receive(token.socket),
        })
    }
}

struct World {
    driver: UringDriver,
    asked: Asked,
    listener: TcpListener,
    /// Dropped after the driver, which may still wait on them.
    descriptors: Vec<Descriptor>,
}

impl World {
    /// `None` where this machine has no rings for us.
    fn new() -> Option<World> {
        let waker = Waker::new().expect("makes an event");
        UringDriver::probe(&waker).ok()?;
        let mut driver = UringDriver::new(&waker).expect("the probe found nothing against it");
        driver.enable().expect("this is its thread");
        Some(World {
            driver,
            asked: Asked::default(),
            listener: TcpListener::bind("127.0.0.1:0").expect("loopback is there"),
            descriptors: Vec::new(),
        })
    }

    /// Connects that number through the ring, and gives the other end.
    fn connect(&mut self, socket: u32) -> TcpStream {
        let address = Address::parse("127.0.0.1", self.port(), &|_| None).expect("is one");
        let descriptor = system::open(address.family(), Kind::Stream, true).expect("opens");
        self.driver.attach(socket, descriptor.raw()).expect("room");
        self.descriptors.push(descriptor);
        let lane = Lane::Output;
        let token = Token { socket, lane };
        let started = self.driver.start(token, Request::Connect(&address));
        assert_eq!(started, None);
        let outcome = Outcome::Done(0);
        assert_eq!(self.dones(1), [Done { token, outcome }]);
        self.listener.accept().expect("it has come").0
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("has one").port()
    }

    fn receive(&mut self, socket: u32) {
        let request = self.asked.receive(socket);
        assert_eq!(self.driver.start(Token::input(socket), request), None);
    }

    /// Waits for so many outcomes, and looks for one too many.
    fn dones(&mut self, count: usize) -> Vec<Done> {
        let mut dones = Vec::new();
        let mut in_vain = 0;
        while dones.len() < count || in_vain < 3 {
            let limit = if dones.len() < count { 10_000 } else { 2 };
            self.driver.wait(limit).expect("waits");
            let before = dones.len();
            while let Some(done) = self.driver.next(&self.asked) {
                dones.push(done);
            }
            in_vain += usize::from(dones.len() == before);
            assert!(in_vain < 4, "{count} awaited: {dones:?}");
        }
        assert_eq!(dones.len(), count);
        dones
    }
}

/// The sockets of these, each once and all with that outcome.
#[track_caller]
fn assert_all(mut dones: Vec<Done>, outcome: Outcome) {
    dones.sort_by_key(|done| done.token.socket);
    let expected = (0..CROWD).map(|socket| Done {
        token: Token::input(socket),
        outcome,
    });
    assert_eq!(dones, expected.collect::<Vec<_>>());
}

#[test]
fn queues_that_overflow_lose_nothing() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peers: Vec<_> = (0..CROWD).map(|socket| world.connect(socket)).collect();
    (0..CROWD).for_each(|socket| world.receive(socket)); // More than the queue of submissions holds.
    assert_eq!(world.dones(0), []);
    for peer in &mut peers {
        peer.write_all(b"news").expect("writes");
    }
    assert_all(world.dones(CROWD as usize), Outcome::Done(4));
    for socket in 0..CROWD {
        assert_eq!(&world.asked.rooms.borrow()[&socket][..4], b"news");
    }
    // What the kernel kept back goes on being told while more is asked for.
    (0..CROWD).for_each(|socket| world.receive(socket));
    for peer in &mut peers {
        peer.write_all(b"!").expect("writes");
    }
    (0..CROWD).for_each(|socket| assert_eq!(world.driver.cancel(Token::input(socket)), None));
    let dones = world.dones(CROWD as usize);
    for done in dones
        .iter()
        .filter(|done| done.outcome == Outcome::Canceled)
    {
        world.receive(done.token.socket); // The byte must still be there.
    }
    let canceled = dones.iter().filter(|one| one.outcome == Outcome::Canceled);
    let rest = world.dones(canceled.count());
    let taken = dones.into_iter().chain(rest);
    assert_all(
        taken
            .filter(|one| one.outcome != Outcome::Canceled)
            .collect(),
        Outcome::Done(1),
    );
}

#[test]
fn a_crowd_of_cancels_ends_each_once() {
    let Some(mut world) = World::new() else {
        return;
    };
    let peers: Vec<_> = (0..CROWD).map(|socket| world.connect(socket)).collect();
    (0..CROWD).for_each(|socket| world.receive(socket));
    assert_eq!(world.dones(0), []);
    (0..CROWD).for_each(|socket| assert_eq!(world.driver.cancel(Token::input(socket)), None));
    assert_all(world.dones(CROWD as usize), Outcome::Canceled);
    drop(peers);
}

/// A cancel that comes too late finds nothing, and must not find what is asked for next.
#[test]
fn a_late_cancel_leaves_the_next_request_alone() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peer = world.connect(0);
    world.receive(0);
    peer.write_all(b"one").expect("writes");
    while world.driver.ring.completion().is_empty() {
        world.driver.wait(10_000).expect("waits");
    }
    world.driver.cancel(Token::input(0));
    let done = world.driver.next(&world.asked).expect("it was done");
    assert_eq!(done.outcome, Outcome::Done(3));
    world.receive(0);
    assert_eq!(world.dones(0), []);
    peer.write_all(b"four").expect("writes");
    assert_eq!(world.dones(1)[0].outcome, Outcome::Done(4));
    assert!(!world.driver.missed);
}

/// The numbers of the missed cancels.
fn listed(driver: &UringDriver) -> Vec<u32> {
    let (mut list, mut from) = (Vec::new(), 0);
    while let Some(number) = driver.states.find(from, |state| state.marks & MISSED != 0) {
        list.push(number);
        from = number + 1;
    }
    assert_eq!(driver.missed, !list.is_empty());
    list
}

#[test]
fn missed_cancels_are_kept_without_memory_and_made_again() {
    let Some(mut world) = World::new() else {
        return;
    };
    let attempt = SLOTS + 1; // The attempts of races have numbers of their own.
    let peers = [0, 1, 2, attempt].map(|socket| world.connect(socket));
    for socket in [0, 1, 2, attempt] {
        world.receive(socket);
    }
    assert_eq!(world.dones(0), []);

    let driver = &mut world.driver;
    driver.note_missed(Token::input(0));
    assert_eq!(listed(driver), [], "nobody wants that back");
    for socket in [0, 1, attempt] {
        driver.states.get_mut(socket).expect("is there").marks = bit_of(Lane::Input);
        driver.note_missed(Token::input(socket));
        driver.note_missed(Token::input(socket));
    }
    assert_eq!(listed(driver), [0, 1, attempt]);

    // One of the numbers is given up meanwhile, and given to another.
    let descriptor = driver.descriptor(1).expect("has one");
    driver.detach(1);
    driver.attach(1, descriptor).expect("there is room");
    assert_eq!(listed(driver), [0, attempt]);
    driver.wait(0).expect("waits");
    assert_eq!(listed(driver), []);

    let mut dones = world.dones(2);
    dones.sort_by_key(|done| done.token.socket);
    let outcome = Outcome::Canceled;
    let expected = [0, attempt].map(|socket| Done {
        token: Token::input(socket),
        outcome,
    });
    assert_eq!(dones, expected, "and not that of the number's new owner");
    drop(peers);
}

#[test]
fn a_probe_leaves_no_wake_up_behind() {
    let waker = Waker::new().expect("makes an event");
    if UringDriver::probe(&waker).is_err() {
        return;
    }
    let mut driver = UringDriver::new(&waker).expect("the probe found nothing against it");
    driver.enable().expect("this is its thread");
    driver.wait(0).expect("waits");
    assert!(driver.ring.completion().is_empty());
    waker.wake();
    driver.wait(-1).expect("waits");
    assert!(!driver.ring.completion().is_empty());
}

/// A state is there for each socket.
#[test]
fn a_state_is_small() {
    assert!(size_of::<State>() <= 8);
}

/// Where somebody else reads what is promised, the driver pauses; and then it waits for the next promise, and does not
/// look again and again.
#[test]
fn polls_in_vain_end_in_sleep() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peer = world.connect(0);
    let descriptor = world.driver.descriptor(0).expect("has one");
    world.asked.take_nothing.set(true);
    let token = Token::input(0);
    assert_eq!(world.driver.start(token, Request::Readable), None);
    let mut room: Box<[u8]> = vec![0; 8].into();
    for _ in 0..2 * FUTILE {
        peer.write_all(b"x").expect("there is room");
        while world.driver.ring.completion().is_empty() {
            world.driver.wait(10_000).expect("waits");
        }
        let flags = ReceiveFlags::default();
        while system::receive(descriptor, Buffer::of_box(&mut room), flags) != Ok(1) {}
        assert_eq!(world.driver.next(&world.asked), None);
    }
    let sleeps = (0..10).any(|_| {
        world.driver.wait(50).expect("waits");
        let sleeps = world.driver.ring.completion().is_empty();
        assert_eq!(world.driver.next(&world.asked), None);
        sleeps
    });
    assert!(sleeps, "it goes on looking");
    peer.write_all(b"y").expect("there is room");
    let outcome = Outcome::Done(0);
    assert_eq!(world.dones(1), [Done { token, outcome }]);
}

/// A send that finds no room is given back by a cancel, and the bytes before it have left.
#[test]
fn a_send_that_waits_for_room_is_given_back() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peer = world.connect(0);
    let lane = Lane::Output;
    let token = Token { socket: 0, lane };
    let mut bytes: Box<[u8]> = vec![7; 1 << 20].into();
    let buffer = Buffer::of_box(&mut bytes);
    let mut sent = 0;
    loop {
        let request = Request::Send {
            buffer,
            more: false,
            out_of_band: false,
        };
        assert_eq!(world.driver.start(token, request), None);
        world.driver.wait(100).expect("waits");
        let Some(done) = world.driver.next(&world.asked) else {
            break; // It found no room, and polls.
        };
        let Outcome::Done(count) = done.outcome else {
            panic!("{done:?}");
        };
        sent += count;
    }
    world.driver.cancel(token);
    assert_eq!(world.dones(1)[0].outcome, Outcome::Canceled);
    world.driver.detach(0);
    world.descriptors.clear();
    let mut received = Vec::new();
    peer.read_to_end(&mut received).expect("reads");
    assert_eq!(received.len(), sent);
}

/// After a panic nothing begins any more, also not what the kernel has not been given yet.
#[test]
fn what_is_abandoned_in_the_queue_never_begins() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peer = world.connect(0);
    peer.write_all(b"news").expect("writes");
    world.receive(0);
    world.driver.abandon();
    assert_eq!(&world.asked.rooms.borrow()[&0][..4], [0; 4]);
    let mut room: Box<[u8]> = vec![0; 8].into();
    let descriptor = world.driver.descriptor(0).expect("has one");
    let flags = ReceiveFlags::default();
    let received = system::receive(descriptor, Buffer::of_box(&mut room), flags);
    assert_eq!(received, Ok(4));
}

impl World {
    /// Looks until there are so many outcomes.
    fn looked(&mut self, count: usize) -> Vec<Done> {
        let mut dones = Vec::new();
        let start = std::time::Instant::now();
        while dones.len() < count {
            self.driver.look().expect("looks");
            while let Some(done) = self.driver.next(&self.asked) {
                dones.push(done);
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{dones:?}");
        }
        dones
    }

    /// A socket whose next receive the driver tries itself, with its other end.
    fn looking(&mut self, socket: u32) -> TcpStream {
        let mut peer = self.connect(socket);
        self.receive(socket);
        peer.write_all(b"1").expect("there is room");
        assert_eq!(self.looked(1), [received(1)]);
        self.receive(socket);
        peer
    }

    fn byte(&self, socket: u32) -> u8 {
        self.asked.rooms.borrow()[&socket][0]
    }
}

/// So many bytes on the first socket.
fn received(bytes: usize) -> Done {
    let (token, outcome) = (Token::input(0), Outcome::Done(bytes));
    Done { token, outcome }
}

/// While the worker looks, and when it sleeps after that.
#[test]
fn a_receive_that_is_tried_ends_like_any_other() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peer = world.looking(0);
    for round in 0..20 {
        peer.write_all(&[round]).expect("there is room");
        let dones = match round % 2 {
            0 => world.looked(1),
            _ => world.dones(1),
        };
        assert_eq!(dones, [received(1)]);
        assert_eq!(world.byte(0), round);
        world.receive(0);
    }
    drop(peer);
    assert_eq!(world.looked(1), [received(0)]);
}

/// The kernel has never had it, so nothing more comes of it, and the next one gets the bytes.
#[test]
fn a_receive_that_is_tried_can_be_taken_back() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peer = world.looking(0);
    assert_eq!(
        world.driver.cancel(Token::input(0)),
        Some(Outcome::Canceled)
    );
    peer.write_all(b"2").expect("there is room");
    assert!(world.dones(0).is_empty());
    world.receive(0);
    assert_eq!(world.looked(1), [received(1)]);
    assert_eq!(world.byte(0), b'2');
}

/// Whoever is tried again and again must not keep the others waiting.
#[test]
fn looking_sees_every_socket_and_the_waker() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut peer = world.connect(1);
    let _quiet = world.looking(0);
    for round in 0..20 {
        world.receive(1);
        peer.write_all(&[round]).expect("there is room");
        assert_eq!(world.looked(1)[0].token, Token::input(1));
        assert_eq!(world.byte(1), round);
    }
    world.driver.waker.wake();
    for _ in 0..LOOKS_PER_EVENT * 2 {
        world.driver.look().expect("looks");
        assert_eq!(world.driver.next(&world.asked), None);
    }
    world.driver.wait(0).expect("waits");
}

/// Not even when every look has something else to do.
#[test]
fn a_receive_that_is_tried_is_not_forgotten_over_others() {
    let Some(mut world) = World::new() else {
        return;
    };
    let _other = world.connect(1);
    let mut peer = world.looking(0);
    peer.write_all(b"3").expect("there is room");
    let mut byte: Box<[u8]> = b"4"[..].into();
    for _ in 0..LOOKS_PER_EVENT * 4 {
        let send = Request::Send {
            buffer: Buffer::of_box(&mut byte),
            more: false,
            out_of_band: false,
        };
        assert_eq!(world.driver.start(Token::output(1), send), None);
        if world.looked(1).contains(&received(1)) {
            return;
        }
    }
    panic!("the others had every look");
}
