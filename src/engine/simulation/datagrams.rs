//! A datagram socket in a simulated world of its own: seeded schedules, and the promises checked.
//!
//! What was sent with success has left, once, in the order begun, to the peer of its time; what has
//! come is received once, in order, whole or marked as cut off; and nothing stops the rest.

use super::{CANARY, MARGIN};
use crate::address::{Address, Family};
use crate::driver::sim::datagrams::{place, Datagrams, FIRST_PORT, TOO_LONG};
use crate::driver::sim::{fill, first, read, write, Memory, Random, Temper};
use crate::driver::{Lane, Outcome, Request, Token};
use crate::engine::arena::{chunk, Chunk, Growth, CHUNK};
use crate::engine::arrival::Arrival;
use crate::engine::handover::SeatSide;
use crate::engine::operation::{Begin, Fault, Flags, Kind, Operation, Payload, Phase, Tick};
use crate::engine::socket::{Engine, Socket, Steps};
use crate::foreign::Buffer;
use crate::status::Status;
use crate::sys::Message;

/// Seeds of the whole run; every third of them is of one temper.
const SEEDS: u64 = 30_000;
const SEED_VARIABLE: &str = "ASOCK_DATAGRAM_SEED";
const STEPS: usize = 60;
const IDS: u32 = 24;

/// What the engine asks of the world.
struct World {
    system: Datagrams,
    now: u64,
}

impl Steps for World {
    fn open(&mut self, number: u32, socket: u32, family: Family) -> Result<(), Fault> {
        assert_eq!((number, socket, family), (0, 0, Family::Ipv4));
        assert!(
            !std::mem::replace(&mut self.system.is_open, true),
            "opened twice"
        );
        Ok(())
    }

    fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        self.system.start(token, request)
    }

    fn cancel(&mut self, token: Token) -> Option<Outcome> {
        self.system.cancel(token)
    }

    fn shutdown(&mut self, _socket: u32, receive: bool, send: bool) {
        assert!(!send || !self.system.is_busy(Lane::Output));
        assert!(self.system.peer.is_some(), "there is no peer to shut down");
        self.system.send_shut |= send;
        self.system.receive_shut |= receive;
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn connected(&mut self, _socket: u32, remote: Option<Box<Payload>>) -> Result<(), Fault> {
        let Some(Payload::Connect(address)) = remote.as_deref() else {
            panic!("connected to nobody");
        };
        assert_eq!(Some(address.port()), self.system.peer);
        Ok(())
    }

    fn discard(&mut self, _socket: u32) {
        assert!(std::mem::take(&mut self.system.is_open));
        assert_eq!(self.system.peer, None, "a peer is forgotten");
    }

    fn close(&mut self, _socket: u32, _reset: bool) {
        let busy = [Lane::Output, Lane::Input].map(|lane| self.system.is_busy(lane));
        assert_eq!(busy, [false; 2], "closed under a request");
        self.system.is_open = false;
    }

    fn receive_urgent(&mut self, _: u32, _: Request<'_>) -> Outcome {
        panic!("datagrams are never urgent")
    }

    fn send_file(&mut self, _: u32, _: Box<Payload>) -> Option<Box<Payload>> {
        panic!("a file is no datagram")
    }

    fn recall_file(&mut self, _: u32) -> Option<Box<Payload>> {
        panic!("a file is no datagram")
    }

    fn adopt(&mut self, _: u32, _: u32, _: &Address) -> Result<(), Fault> {
        panic!("there are no races")
    }

    fn sent(&mut self, _: u32, _: usize) {
        panic!("a part of a datagram")
    }

    fn arrived(&mut self, _: u32) -> Result<Arrival, Fault> {
        panic!("nothing comes from outside")
    }

    fn accepted(&mut self, _: u32, _: u64, _: usize) -> Result<(), Fault> {
        panic!("nobody listens")
    }

    fn forget(&mut self, _: u32) {
        panic!("nobody releases")
    }

    fn renew(&mut self, _: u32) -> Result<(), Fault> {
        panic!("a datagram socket is never renewed")
    }
}

/// An operation as the test sees it.
struct Record {
    id: u32,
    kind: Kind,
    flags: Flags,
    buffer: Buffer,
    region: Buffer,
    /// What is sent; and to whom, of a connect too.
    bytes: Vec<u8>,
    port: u16,
    status: Option<Status>,
    /// The first operation that was begun when its end was known.
    known: usize,
}

struct Run {
    engine: Engine,
    seat: SeatSide<Operation>,
    world: World,
    random: Random,
    memory: Memory,
    records: Vec<Record>,
    by_id: [Option<usize>; IDS as usize],
    epoch: u8,
    /// What the world has had for us, and how much of it was received.
    written: Vec<(u16, Vec<u8>)>,
    received: usize,
    /// The datagrams that left, by the operations that succeeded.
    left: usize,
    /// Refusals that were told.
    told: usize,
    /// The last success of each direction.
    last: [Option<usize>; 2],
    is_closed: bool,
    statuses: Vec<Status>,
}

impl Run {
    fn new(seed: u64, temper: Temper) -> Run {
        let mut engine = Engine::new(0);
        let mut seat = SeatSide::<Operation>::new();
        for number in 0..IDS / CHUNK {
            seat.grow(number).expect("there is memory");
        }
        engine.operations.accept(&mut seat);
        let mut sockets = Growth::<Chunk<Socket>>::new();
        sockets.give(0, chunk).expect("there is memory");
        engine.sockets.accept(&mut sockets);
        Run {
            engine,
            seat,
            world: World {
                system: Datagrams::new(seed ^ 0x5555, temper),
                now: 0,
            },
            random: Random::new(seed),
            memory: Memory::new(8192),
            records: Vec::new(),
            by_id: [None; IDS as usize],
            epoch: 0,
            written: Vec::new(),
            received: 0,
            left: 0,
            told: 0,
            last: [None; 2],
            is_closed: false,
            statuses: Vec::new(),
        }
    }

    fn begin(&mut self, kind: Kind, flags: Flags, length: usize, port: u16) {
        let free = (0..IDS as usize).find(|&id| self.by_id[id].is_none());
        let Some(id) = free.filter(|_| !self.is_closed) else {
            return;
        };
        let region = self.memory.take(length + 2 * MARGIN);
        fill(&region, CANARY);
        let buffer = match length {
            0 => Buffer::EMPTY,
            _ => first(region.part(MARGIN), length),
        };
        let number = self.records.len();
        let bytes: Vec<u8> = (0..length)
            .map(|at| (number * 7 + at) as u8 & 0x7f)
            .collect();
        if kind.sends() {
            write(&buffer, &bytes);
        }
        let payload = match kind {
            Kind::Connect => Some(Payload::Connect(place(port))),
            Kind::SendTo | Kind::ReceiveFrom => {
                let mut message = Message::new().expect("there is memory");
                assert!(message.reserve(1));
                message.make_whole();
                message.push(buffer);
                if kind == Kind::SendTo {
                    message.send_to(&place(port));
                }
                Some(Payload::Message(message))
            }
            _ => None,
        };
        let deadline = self.random.chance(10) && kind != Kind::Shutdown; // That has none.
        let deadline = deadline.then(|| self.world.now + self.random.below(6) as u64);
        let flags = Flags::DATAGRAM | flags;
        self.by_id[id] = Some(number);
        self.records.push(Record {
            id: id as u32,
            kind,
            flags,
            buffer,
            region,
            bytes,
            port,
            status: None,
            known: 0,
        });
        let begin = Begin {
            socket: 0,
            flags,
            buffer,
            payload: payload.map(Box::new),
            deadline: Tick::of(deadline),
            epoch: self.epoch,
            ..Begin::new(kind)
        };
        self.seat.hand(id as u32, |record| record.begin(begin));
        self.is_closed |= kind == Kind::Close;
        self.engine.begin(id as u32, &mut self.world);
    }

    fn begin_any(&mut self) {
        let length = match self.random.below(12) {
            0 => 0,
            1 => TOO_LONG,
            length => length,
        };
        let port = FIRST_PORT + self.random.below(4) as u16;
        let peek = Flags::PEEK.when(self.random.chance(20));
        let none = Flags::NONE;
        match self.random.below(24) {
            0..=6 => self.begin(Kind::SendTo, none, length, port),
            7..=10 => self.begin(Kind::Send, none, length, 0),
            11..=15 => self.begin(Kind::ReceiveFrom, peek, length, 0),
            16..=18 => self.begin(Kind::Receive, peek, length, 0),
            19..=21 => {
                let port = if self.random.chance(25) { 9 } else { port };
                self.begin(Kind::Connect, none, 0, port);
            }
            22 if self.has_or_expects_a_peer() && self.random.chance(15) => {
                let flags = Flags::RECEIVE.when(self.random.chance(50))
                    | Flags::SEND.when(self.random.chance(50));
                self.begin(Kind::Shutdown, flags, 0, 0);
            }
            23 if self.random.chance(10) => {
                let drain = self.random.chance(50);
                let flags = Flags::DRAIN.when(drain);
                self.begin(Kind::Close, flags, 0, 0);
            }
            _ => {}
        }
    }

    /// It is connected, or a connect is pending.
    fn has_or_expects_a_peer(&self) -> bool {
        let connects = |one: &Record| one.kind == Kind::Connect && one.status.is_none();
        self.world.system.peer.is_some() || self.records.iter().any(connects)
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..=3 => self.begin_any(),
            4 => {
                let count = self.records.len();
                let some = self.random.below(count.max(1));
                if let Some(record) = self.records.get(some) {
                    if record.status.is_none() && record.kind != Kind::Shutdown {
                        self.engine
                            .abort(record.id, Status::Canceled, &mut self.world);
                    }
                }
            }
            5 => {
                let bytes = vec![self.written.len() as u8 & 0x7f; self.random.below(12)];
                let from = 200 + self.random.below(9) as u16;
                self.written.push((from, bytes.clone()));
                self.world.system.waiting.push_back((from, bytes));
            }
            6 => self.world.system.room = self.random.below(4),
            7 => {
                self.world.system.refusal |=
                    self.world.system.peer.is_some() && self.random.chance(30)
            }
            8 => {
                self.world.now += self.random.below(3) as u64;
                self.engine.expire(self.world.now, &mut self.world);
            }
            _ => {
                self.react();
            }
        }
        if self.random.chance(60) {
            self.deliver();
        }
    }

    fn react(&mut self) -> bool {
        let next = self.world.system.next(&self.engine);
        if let Some(done) = next {
            self.engine.done(done.token, done.outcome, &mut self.world);
        }
        next.is_some()
    }

    fn deliver(&mut self) {
        while let Some(id) = self.engine.take_finished() {
            let number = self.by_id[id as usize].take();
            let number = number.expect("an operation finishes once");
            let operation = &mut self.engine.operations[id];
            let (status, bytes) = (operation.status, operation.bytes());
            let flags = operation.flags;
            operation.payload = None;
            operation.phase = Phase::Free;
            self.epoch = self.epoch.wrapping_add(u8::from(flags.has(Flags::CUTS)));
            self.judge(number, status, bytes, flags.has(Flags::TRUNCATED));
            self.engine.operations.give_back(id);
        }
        while self.engine.take_closed().is_some() {}
    }

    /// A shutdown that went with its connect has left nothing behind.
    fn check_shut_down(&self) {
        let shuts = |one: &Record| one.kind == Kind::Shutdown && one.status.is_none();
        let expected = self.world.system.send_shut || self.records.iter().any(shuts);
        let shut = self.engine.sockets[0].send_shut && !self.is_closed;
        assert!(expected || !shut, "sends are refused for no shutdown");
    }

    fn judge(&mut self, number: usize, status: Status, bytes: usize, truncated: bool) {
        let known = self.records.len();
        let record = &mut self.records[number];
        assert_eq!(record.status, None);
        record.status = Some(status);
        record.known = known;
        self.statuses.push(status);
        let (front, rest) = read(&record.region).split_at(MARGIN);
        let (middle, back) = rest.split_at(record.buffer.len());
        assert!(front.iter().chain(back).all(|&byte| byte == CANARY));
        let is_held = self.world.system.holds(record.buffer);
        assert!(
            !is_held,
            "{number} has ended, and the driver has its buffer"
        );
        self.told += usize::from(status == Status::ConnectionRefused);
        if status != Status::Ok {
            assert_eq!((bytes, truncated), (0, false));
        }
        if record.kind.sends() {
            assert_eq!(middle, &record.bytes[..]);
            if status == Status::Ok {
                assert_eq!(bytes, middle.len());
                let (to, sent) = &self.world.system.sent[self.left];
                assert_eq!(sent, middle, "{number} has not left in its turn");
                if record.kind == Kind::SendTo {
                    assert_eq!(*to, record.port);
                }
                self.left += 1;
                let last = self.last[0].replace(number);
                assert!(last < Some(number), "{number} after {last:?}");
            }
        } else if record.kind.receives() {
            let (got, untouched) = middle.split_at(bytes);
            assert!(untouched.iter().all(|&byte| byte == CANARY));
            if status == Status::Ok && !self.world.system.receive_shut {
                let (_, expected) = &self.written[self.received];
                let room = record.buffer.len();
                assert_eq!(got, &expected[..expected.len().min(room)]);
                assert_eq!(truncated, expected.len() > room);
                self.received += usize::from(!record.flags.has(Flags::PEEK) && room > 0);
                let last = self.last[1].replace(number);
                assert!(last < Some(number), "{number} after {last:?}");
            }
        } else {
            assert_eq!(bytes, 0);
        }
    }

    /// What stood behind a connect that failed went nowhere, up to the next connect.
    fn check_behind(&self) {
        for (number, connect) in self.records.iter().enumerate() {
            if connect.kind != Kind::Connect || connect.status == Some(Status::Ok) {
                continue;
            }
            let behind = &self.records[number + 1..connect.known];
            let behind = behind.iter().take_while(|one| one.kind != Kind::Connect);
            for send in behind.filter(|one| one.kind.sends()) {
                assert_ne!(send.status, Some(Status::Ok), "behind {number}");
            }
        }
    }

    /// The sends without an address went to the peer of the last connect before them.
    fn check_peers(&self) {
        let mut sent = self.world.system.sent.iter();
        let mut peer = None;
        for record in &self.records {
            let ok = record.status == Some(Status::Ok);
            match record.kind {
                Kind::Connect if ok => peer = Some(record.port),
                Kind::Send | Kind::SendTo if ok => {
                    let (to, _) = sent.next().expect("it has left");
                    let expected = match record.kind {
                        Kind::Send => peer,
                        _ => Some(record.port),
                    };
                    assert_eq!(Some(*to), expected);
                }
                _ => {}
            }
        }
        assert!(sent.next().is_none(), "something left that did not succeed");
    }

    fn run(mut self) -> Vec<Status> {
        for _ in 0..STEPS {
            self.step();
            self.check_shut_down();
        }
        self.world.system.calm = true;
        self.world.system.room = 1000;
        if self.random.chance(30) {
            self.engine
                .abort_everything(Status::Stopped, &mut self.world);
        } else if !self.is_closed {
            self.deliver();
            let drain = Flags::DRAIN;
            self.is_closed = true;
            self.engine.close(0, drain, None, &mut self.world);
        }
        for _ in 0..1000 {
            while self.react() {}
            self.world.now += 1;
            self.engine.expire(self.world.now, &mut self.world);
            self.deliver();
        }
        assert_eq!(self.engine.pending(), 0, "something never ends");
        assert!(self.records.iter().all(|record| record.status.is_some()));
        assert!(
            self.told <= self.world.system.refusals,
            "a refusal is told twice"
        );
        assert_eq!(self.left, self.world.system.sent.len());
        self.check_peers();
        self.check_behind();
        self.statuses
    }
}

#[test]
fn schedules_of_datagrams() {
    let tempers = [Temper::Readiness, Temper::Completion, Temper::Mixed];
    let temper = |seed: u64| tempers[seed as usize % 3];
    if let Some(seed) = std::env::var(SEED_VARIABLE)
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Run::new(seed, temper(seed)).run();
        return;
    }
    let mut statuses = Vec::new();
    for seed in 0..SEEDS {
        let ran = std::panic::catch_unwind(|| Run::new(seed, temper(seed)).run());
        match ran {
            Ok(met) => statuses.extend(
                met.into_iter()
                    .filter(|one| seed < 1000 || *one != Status::Ok),
            ),
            Err(_) => panic!("{SEED_VARIABLE}={seed}"),
        }
    }
    for expected in [
        Status::Ok,
        Status::Canceled,
        Status::TimedOut,
        Status::Closed,
        Status::Stopped,
        Status::NotConnected,
        Status::InvalidState,
        Status::ShutDown,
        Status::ConnectionRefused,
        Status::HostUnreachable,
        Status::MessageTooLong,
    ] {
        let count = statuses.iter().filter(|one| **one == expected).count();
        assert!(count > 100, "{expected:?}: {count}");
    }
}
