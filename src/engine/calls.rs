//! The calls of callbacks that a worker makes without a lock: each has a turn, and one counter, which
//! only the worker writes, says how many of them have returned. That retires their handles; their
//! slots are freed by whoever holds the lock next.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// Completions delivered under one look at the lock; divides the number of all turns.
pub const BATCH: usize = if cfg!(test) { 4 } else { 256 };

/// The turns that were given, behind the seat's lock. At most `BATCH` of them are outstanding.
pub struct Turns {
    /// The operations of the last turns, by their turns.
    operations: [u32; BATCH],
    given: u16,
    /// Up to which turn the operations have been named by `next_returned`.
    named: u16,
}

impl Turns {
    pub const fn new() -> Turns {
        Turns {
            operations: [0; BATCH],
            given: 0,
            named: 0,
        }
    }

    /// The turn of an operation's call.
    pub fn give(&mut self, operation: u32) -> u16 {
        self.given = self.given.wrapping_add(1);
        self.operations[usize::from(self.given) % BATCH] = operation;
        self.given
    }

    /// The next operation whose call has returned; each is named once.
    pub fn next_returned(&mut self, returns: &Returns) -> Option<u32> {
        if self.named == returns.count.load(Ordering::Acquire) {
            return None;
        }
        self.named = self.named.wrapping_add(1);
        Some(self.operations[usize::from(self.named) % BATCH])
    }

    /// There is no worker any more, so no call is outstanding.
    pub fn settle(&mut self, returns: &Returns) {
        self.named = self.given;
        returns.count.store(self.given, Ordering::Relaxed);
    }
}

/// The calls that have returned, and the longest of them. Only who makes the calls writes there.
#[derive(Default)]
pub struct Returns {
    count: AtomicU16,
    longest_ns: AtomicU64,
}

impl Returns {
    /// The next call has returned: from now on its operation cannot be reached, and the worker does
    /// not touch its record any more.
    pub fn count_one(&self) {
        let count = self.count.load(Ordering::Relaxed).wrapping_add(1);
        self.count.store(count, Ordering::Release);
    }

    /// Whether the call with that turn has returned. There are fewer than half of all turns between
    /// two that are asked about.
    pub fn has(&self, turn: u16) -> bool {
        let count = self.count.load(Ordering::Acquire);
        count.wrapping_sub(turn) <= u16::MAX / 2
    }

    /// A call has taken so long.
    pub fn note(&self, ns: u64) {
        if ns > self.longest_ns.load(Ordering::Relaxed) {
            self.longest_ns.store(ns, Ordering::Relaxed);
        }
    }

    pub fn longest_ns(&self) -> u64 {
        self.longest_ns.load(Ordering::Relaxed)
    }

    /// Another runtime comes.
    pub fn forget_longest(&self) {
        self.longest_ns.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also when the numbers have begun anew.
    #[test]
    fn each_call_returns_in_its_turn_and_is_named_once() {
        let (mut turns, returns) = (Turns::new(), Returns::default());
        for batch in 0..20_000_u32 {
            let size = batch as usize % (BATCH + 1);
            let operations: Vec<u32> = (0..size as u32).map(|at| batch * 10 + at).collect();
            let given: Vec<u16> = operations.iter().map(|&id| turns.give(id)).collect();
            for (at, &operation) in operations.iter().enumerate() {
                assert_eq!(turns.next_returned(&returns), None);
                returns.count_one();
                for (other, &turn) in given.iter().enumerate() {
                    assert_eq!(returns.has(turn), other <= at);
                }
                assert_eq!(turns.next_returned(&returns), Some(operation));
            }
        }
    }

    #[test]
    fn what_is_settled_is_not_outstanding() {
        let (mut turns, returns) = (Turns::new(), Returns::default());
        let turn = turns.give(7);
        turns.settle(&returns);
        assert!(returns.has(turn));
        assert_eq!(turns.next_returned(&returns), None);
        turns.give(8);
        returns.count_one();
        assert_eq!(turns.next_returned(&returns), Some(8));
    }
}
