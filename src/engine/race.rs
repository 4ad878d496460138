//! The race between a name's addresses, as RFC 8305 ("Happy Eyeballs") runs it; pure.
//!
//! The families take turns, beginning with that of the address which the system prefers. An
//! attempt that has not ended after 250 ms is left running and the next one joins it; one that
//! fails lets the next begin at once. The first that connects wins; if none does, the last
//! failure counts.

use super::operation::Fault;
use crate::address::{Address, Family};
use crate::status::Status;

/// Ticks between the start of one attempt and that of the next: the "Connection Attempt Delay".
pub const ATTEMPT_DELAY: u64 = 250;

/// Puts addresses into the order in which they are tried.
pub fn interleave(addresses: &[Address]) -> Vec<Address> {
    let first = addresses.first().map_or(Family::None, Address::family);
    let (same, other): (Vec<_>, Vec<_>) = addresses
        .iter()
        .copied()
        .partition(|address| address.family() == first);
    let mut order = Vec::with_capacity(addresses.len());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    loop {
        let before = order.len();
        order.extend(same.next());
        order.extend(other.next());
        if order.len() == before {
            return order;
        }
    }
}

/// A race that is on.
pub struct Race {
    count: usize,
    next: usize,
    running: usize,
    /// The tick at which the next attempt begins.
    due: u64,
    last: Fault,
}

impl Race {
    /// A race between `count` addresses.
    pub fn new(count: usize) -> Race {
        Race {
            count,
            next: 0,
            running: 0,
            due: 0,
            last: Fault::of(Status::HostNotFound),
        }
    }

    /// The number of the address to try now, if one is due; its attempt is running then.
    pub fn step(&mut self, now: u64) -> Option<usize> {
        let due = self.running == 0 || self.due <= now;
        if !due || self.next == self.count {
            return None;
        }
        self.next += 1;
        self.running += 1;
        self.due = now + ATTEMPT_DELAY;
        Some(self.next - 1)
    }

    /// An attempt has failed; the next one need not wait.
    pub fn failed(&mut self, fault: Fault) {
        self.running -= 1;
        self.last = fault;
        self.due = 0;
    }

    /// When `step` is to be asked again though nothing happens.
    pub fn next_due(&self) -> Option<u64> {
        (self.next < self.count).then_some(self.due)
    }

    /// The last failure, if nobody is left who could win.
    pub fn lost(&self) -> Option<Fault> {
        (self.running == 0 && self.next == self.count).then_some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::OsError;

    fn address(host: &str) -> Address {
        let parsed = Address::parse(host, 80, &|_| None);
        parsed.unwrap_or_else(|_| panic!("{host} is an address"))
    }

    #[test]
    fn families_take_turns() {
        let sorted = ["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"].map(address);
        let expected = ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"].map(address);
        assert_eq!(interleave(&sorted), expected);
        let sorted = ["127.0.0.1", "127.0.0.2", "::1"].map(address);
        let expected = ["127.0.0.1", "::1", "127.0.0.2"].map(address);
        assert_eq!(interleave(&sorted), expected);
        assert_eq!(interleave(&[]), []);
    }

    /// A seeded world decides when attempts fail or connect; the race must try all in order,
    /// never early, never leave a gap, and tell the right end.
    #[test]
    fn every_race_is_run_by_the_rules() {
        for seed in 0..20_000u64 {
            run(seed);
        }
    }

    fn run(seed: u64) {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let count = 1 + random(6) as usize;
        // When each attempt ends after its start, and whether it connects.
        let plan: Vec<(u64, bool)> = (0..count).map(|_| (random(700), random(5) == 0)).collect();
        let mut race = Race::new(count);
        let (mut now, mut started) = (1000 + random(50), Vec::new());
        let mut running: Vec<(u64, usize)> = Vec::new();
        let mut free_since = now;
        let mut last = None;
        loop {
            while let Some(index) = race.step(now) {
                assert_eq!(index, started.len(), "in order, each once");
                if let Some(&before) = started.last() {
                    let early = now < before + ATTEMPT_DELAY;
                    assert!(!early || last == Some(now), "early only after a failure");
                }
                started.push(now);
                running.push((now + plan[index].0, index));
            }
            assert!(!running.is_empty() || started.len() == count);
            if running.is_empty() {
                let lost = race.lost().expect("nobody is left");
                assert_eq!(Some(u64::try_from(lost.os_error.0).unwrap()), last);
                return;
            }
            assert!(race.lost().is_none());
            let ends = running.iter().map(|&(at, _)| at).min().unwrap();
            match race.next_due() {
                Some(due) if due < ends => {
                    assert!(due >= now, "a wait that is over was stepped");
                    now = due;
                    continue;
                }
                _ => now = now.max(ends),
            }
            let place = running.iter().position(|&(at, _)| at <= now).unwrap();
            let (_, index) = running.swap_remove(place);
            if plan[index].1 {
                return; // It has won.
            }
            race.failed(Fault {
                status: Status::ConnectionRefused,
                os_error: OsError(now as i32),
            });
            last = Some(now);
            free_since = free_since.max(now);
        }
    }
}
