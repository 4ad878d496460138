//! A listener in a simulated world of its own: seeded schedules, and the promises checked.
//!
//! Every connection that the system hands over goes to one accept, in the order in which they came,
//! also when a cancel was on its way; those that it keeps wait on. Without descriptors nothing is
//! tried before the pause is over. `ASOCK_LISTENER_SEED=n` runs one schedule alone.

use crate::address::{Address, Family};
use crate::driver::sim::{Random, Temper, GONE_AGAIN, NO_DESCRIPTOR};
use crate::driver::{Done, Lane, Outcome, Request, Token};
use crate::engine::arena::{chunk, Chunk, Growth, CHUNK};
use crate::engine::arrival::{Arrival, Standing};
use crate::engine::handover::SeatSide;
use crate::engine::operation::{Begin, Fault, Flags, Kind, Operation, Payload, Tick};
use crate::engine::socket::{Engine, Socket, Steps};
use crate::foreign::Buffer;
use crate::status::Status;
use std::collections::VecDeque;

const SEEDS: u64 = 20_000;
const SEED_VARIABLE: &str = "ASOCK_LISTENER_SEED";
const STEPS: usize = 60;
const IDS: u32 = 16;
const LISTENER: Token = Token {
    socket: 0,
    lane: Lane::Input,
};
const PAUSE: u64 = 101;
/// Descriptors begin here, so that none is a count of anything.
const FIRST_NUMBER: usize = 1000;

/// What the driver has, and how it ended where nobody has been told yet.
#[derive(Default)]
struct Held {
    over: Option<Outcome>,
    canceled: bool,
}

/// The system and the driver in one.
struct World {
    random: Random,
    temper: Temper,
    now: u64,
    /// Connections that wait; what is gone again is an error that passes.
    backlog: VecDeque<Result<usize, Outcome>>,
    held: Option<Held>,
    /// No descriptor is left, and until when nothing may be tried for that.
    short: bool,
    rests_until: u64,
    /// There are too many sockets.
    crowded: bool,
    /// What was handed over or, in a crowd, closed: the places, and the connections.
    housed: Vec<(u64, usize)>,
    turned_away: Vec<(u64, usize)>,
    closed: bool,
}

impl World {
    /// What the system answers now, if it answers.
    fn attempt(&mut self) -> Option<Outcome> {
        if self.short && !self.backlog.is_empty() {
            self.rests_until = self.now + PAUSE;
            return Some(NO_DESCRIPTOR);
        }
        Some(match self.backlog.pop_front()? {
            Ok(number) => Outcome::Done(number),
            Err(gone) => gone,
        })
    }

    fn at_once(&mut self) -> bool {
        match self.temper {
            Temper::Readiness => true,
            Temper::Completion => false,
            Temper::Mixed => self.random.chance(50),
        }
    }

    /// The next end that is told, which may be long after it happened.
    fn next(&mut self, calm: bool) -> Option<Done> {
        let over = self.held.as_ref()?.over;
        let over = over.or_else(|| self.attempt());
        let late = self.temper != Temper::Readiness && !calm && self.random.chance(40);
        let held = self.held.as_mut()?;
        held.over = over;
        let outcome = match over {
            None if held.canceled => Outcome::Canceled,
            Some(_) if late => return None,
            outcome => outcome?,
        };
        self.held = None;
        Some(Done {
            token: LISTENER,
            outcome,
        })
    }
}

impl Steps for World {
    fn arrived(&mut self, _: u32) -> Result<Arrival, Fault> {
        Ok(Arrival {
            family: Family::Ipv4,
            standing: Standing::Listening,
        })
    }

    fn start(&mut self, token: Token, request: Request<'_>) -> Option<Outcome> {
        assert_eq!(token, LISTENER);
        assert!(matches!(request, Request::Accept));
        assert!(self.held.is_none(), "two requests");
        assert!(self.now >= self.rests_until, "no pause was made");
        if self.at_once() {
            if let Some(outcome) = self.attempt() {
                return Some(outcome);
            }
        }
        self.held = Some(Held::default());
        None
    }

    fn cancel(&mut self, token: Token) -> Option<Outcome> {
        assert_eq!(token, LISTENER);
        let at_once = self.at_once();
        let held = self.held.as_mut().expect("a cancel without a request");
        assert!(
            !std::mem::replace(&mut held.canceled, true),
            "a second cancel"
        );
        if !at_once {
            return None;
        }
        let held = self.held.take()?;
        Some(held.over.unwrap_or(Outcome::Canceled))
    }

    fn accepted(&mut self, listener: u32, place: u64, number: usize) -> Result<(), Fault> {
        assert_eq!(listener, 0);
        if self.crowded {
            self.turned_away.push((place, number));
            return Err(Fault::of(Status::TooManySockets));
        }
        self.housed.push((place, number));
        Ok(())
    }

    fn close(&mut self, _: u32, _: bool) {
        assert!(self.held.is_none(), "closed under a request");
        assert!(!std::mem::replace(&mut self.closed, true), "closed twice");
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn open(&mut self, _: u32, _: u32, _: Family) -> Result<(), Fault> {
        panic!("it has a descriptor")
    }

    fn receive_urgent(&mut self, _: u32, _: Request<'_>) -> Outcome {
        panic!("nothing is received")
    }

    fn shutdown(&mut self, _: u32, _: bool, _: bool) {
        panic!("a listener is not shut down")
    }

    fn send_file(&mut self, _: u32, _: Box<Payload>) -> Option<Box<Payload>> {
        panic!("nothing is sent")
    }

    fn recall_file(&mut self, _: u32) -> Option<Box<Payload>> {
        panic!("nothing is sent")
    }

    fn adopt(&mut self, _: u32, _: u32, _: &Address) -> Result<(), Fault> {
        panic!("nothing connects")
    }

    fn connected(&mut self, _: u32, _: Option<Box<Payload>>) -> Result<(), Fault> {
        panic!("nothing connects")
    }

    fn sent(&mut self, _: u32, _: usize) {
        panic!("nothing is sent")
    }

    fn forget(&mut self, _: u32) {
        panic!("nobody releases")
    }

    fn renew(&mut self, _: u32) -> Result<(), Fault> {
        panic!("nothing connects")
    }

    fn discard(&mut self, _: u32) {
        panic!("nothing connects")
    }
}

/// An accept as the test sees it. Its place is its number in the list.
struct Record {
    id: u32,
    deadline: Option<u64>,
    canceled: bool,
    status: Option<Status>,
}

struct Run {
    engine: Engine,
    seat: SeatSide<Operation>,
    world: World,
    random: Random,
    records: Vec<Record>,
    by_id: [Option<usize>; IDS as usize],
    /// Connections that came, but for those that were gone again.
    came: usize,
    closing: bool,
    stopped: bool,
    statuses: Vec<Status>,
}

impl Run {
    fn new(seed: u64, temper: Temper) -> Run {
        let mut engine = Engine::new(0);
        let mut seat = SeatSide::<Operation>::new();
        for number in 0..IDS.div_ceil(CHUNK) {
            seat.grow(number).expect("there is memory");
        }
        engine.operations.accept(&mut seat);
        let mut sockets = Growth::<Chunk<Socket>>::new();
        sockets.give(0, chunk).expect("there is memory");
        engine.sockets.accept(&mut sockets);
        let mut world = World {
            random: Random::new(seed ^ 0x5555),
            temper,
            now: 0,
            backlog: VecDeque::new(),
            held: None,
            short: false,
            rests_until: 0,
            crowded: false,
            housed: Vec::new(),
            turned_away: Vec::new(),
            closed: false,
        };
        engine.arrived(0, &mut world);
        Run {
            engine,
            seat,
            world,
            random: Random::new(seed),
            records: Vec::new(),
            by_id: [None; IDS as usize],
            came: 0,
            closing: false,
            stopped: false,
            statuses: Vec::new(),
        }
    }

    fn accept(&mut self) {
        let free = (0..IDS as usize).find(|&id| self.by_id[id].is_none());
        let Some(id) = free.filter(|_| !self.closing) else {
            return;
        };
        let deadline = self.random.chance(15);
        let deadline = deadline.then(|| self.world.now + self.random.below(150) as u64);
        self.by_id[id] = Some(self.records.len());
        let place = self.records.len() as u64;
        self.records.push(Record {
            id: id as u32,
            deadline,
            canceled: false,
            status: None,
        });
        let begin = Begin {
            socket: 0,
            buffer: Buffer::of_number(place),
            deadline: Tick::of(deadline),
            ..Begin::new(Kind::Accept)
        };
        self.seat.hand(id as u32, |record| record.begin(begin));
        self.engine.begin(id as u32, &mut self.world);
    }

    fn cancel_any(&mut self) {
        let some = self.random.below(self.records.len().max(1));
        if let Some(record) = self.records.get_mut(some) {
            if record.status.is_none() {
                record.canceled = true;
                let id = record.id;
                self.engine.abort(id, Status::Canceled, &mut self.world);
            }
        }
    }

    fn connection(&mut self) {
        if self.random.chance(20) {
            let gone = GONE_AGAIN[self.random.below(GONE_AGAIN.len())];
            return self.world.backlog.push_back(Err(gone));
        }
        self.world.backlog.push_back(Ok(FIRST_NUMBER + self.came));
        self.came += 1;
    }

    fn pass(&mut self, ticks: usize) {
        self.world.now += ticks as u64;
        self.engine.expire(self.world.now, &mut self.world);
    }

    fn react(&mut self, calm: bool) -> bool {
        let next = self.world.next(calm);
        if let Some(done) = next {
            self.engine.done(done.token, done.outcome, &mut self.world);
        }
        next.is_some()
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..=4 => self.accept(),
            5..=7 => self.connection(),
            8 => self.cancel_any(),
            9 => self.world.short = self.random.chance(40),
            10 => self.world.crowded = self.random.chance(30),
            11..=12 => {
                let ticks = self.random.below(60);
                self.pass(ticks);
            }
            _ => _ = self.react(false),
        }
        if self.random.chance(60) {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        while let Some(id) = self.engine.take_finished() {
            self.engine.deliver(id);
            let Some(number) = self.by_id[id as usize].take() else {
                continue; // The close.
            };
            let operation = self.seat.at(id);
            let (status, brought) = (operation.status, operation.brought());
            self.judge(number, status, brought);
        }
    }

    fn judge(&mut self, number: usize, status: Status, brought: u64) {
        let of = |list: &[(u64, usize)]| list.iter().any(|one| one.0 == number as u64);
        let housed = of(&self.world.housed);
        let record = &mut self.records[number];
        assert_eq!(record.status.replace(status), None, "{number} ends twice");
        self.statuses.push(status);
        assert_eq!(housed, status == Status::Ok, "{number}: {status:?}");
        match status {
            Status::Ok => assert_eq!(brought, number as u64),
            _ => assert_eq!(brought, 0),
        }
        match status {
            Status::Ok => {}
            Status::Canceled => assert!(record.canceled, "{number} was not canceled"),
            Status::TimedOut => {
                assert!(record.deadline.is_some_and(|tick| tick <= self.world.now));
            }
            Status::Closed => assert!(self.closing),
            Status::Stopped => assert!(self.stopped),
            // A crowd, or no descriptor.
            Status::TooManySockets => {}
            other => panic!("{number} says {other:?}"),
        }
    }

    /// The end: a close, a stop, or everything comes to rest by itself.
    fn finish(&mut self) {
        match self.random.below(3) {
            0 => {
                self.closing = true;
                self.engine.close(0, Flags::NONE, None, &mut self.world);
            }
            1 => {
                self.stopped = true;
                self.engine
                    .abort_everything(Status::Stopped, &mut self.world);
            }
            _ => {
                // A connection for each accept that waits.
                self.world.short = false;
                self.world.crowded = false;
                while self.world.backlog.iter().flatten().count() < self.waiting() {
                    self.connection();
                }
            }
        }
        for _ in 0..200 {
            while self.react(true) {}
            self.deliver();
            self.pass(1);
        }
    }

    fn waiting(&self) -> usize {
        let waiting = self.records.iter().filter(|one| one.status.is_none());
        waiting.count()
    }

    fn check(&self) {
        assert_eq!(self.waiting(), 0, "some never end");
        assert_eq!(self.engine.pending(), 0);
        assert!(self.world.held.is_none());
        assert_eq!(self.world.closed, self.closing);
        // The connections went out in the order in which they came, none twice, and the rest waits.
        let housed = self.world.housed.iter();
        let mut handed: Vec<usize> = housed
            .chain(&self.world.turned_away)
            .map(|one| one.1)
            .collect();
        handed.sort_unstable();
        let waits = self.world.backlog.iter().filter_map(|one| one.ok());
        let all: Vec<usize> = handed.iter().copied().chain(waits).collect();
        let expected: Vec<usize> = (0..self.came).map(|one| FIRST_NUMBER + one).collect();
        assert_eq!(all, expected, "a connection got lost");
        let in_order = |list: &[(u64, usize)]| {
            list.windows(2)
                .all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1)
        };
        assert!(in_order(&self.world.housed), "accepts overtake each other");
        assert!(in_order(&self.world.turned_away));
    }
}

fn run(seed: u64) -> Vec<Status> {
    let tempers = [Temper::Readiness, Temper::Completion, Temper::Mixed];
    let mut run = Run::new(seed, tempers[(seed % 3) as usize]);
    for _ in 0..STEPS {
        run.step();
    }
    run.deliver();
    run.finish();
    run.check();
    run.statuses
}

#[test]
fn schedules_of_a_listener() {
    if let Some(seed) = std::env::var_os(SEED_VARIABLE) {
        let seed = seed.to_str().and_then(|seed| seed.parse().ok());
        run(seed.expect("a number"));
        return;
    }
    let mut seen = Vec::new();
    for seed in 0..SEEDS {
        let ran = std::panic::catch_unwind(|| run(seed));
        match ran {
            Ok(statuses) => statuses.into_iter().for_each(|status| {
                if !seen.contains(&status) {
                    seen.push(status);
                }
            }),
            Err(_) => panic!("{SEED_VARIABLE}={seed} fails"),
        }
    }
    for status in [
        Status::Ok,
        Status::Canceled,
        Status::TimedOut,
        Status::Closed,
        Status::Stopped,
        Status::TooManySockets,
    ] {
        assert!(seen.contains(&status), "{status:?} never happens");
    }
}
