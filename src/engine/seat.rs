//! A worker's place in the process: the lock on all that it shares with the application's threads
//! (`shared`), and how the two sides wake and await each other.
//!
//! The lock is held for a few dozen instructions and never over a system call or a call of the
//! application's. The inbox is linked through the records, so that handing over an operation needs
//! no memory; whoever hands over wakes the worker only if it sleeps. The worker announces its sleep
//! under the lock, after it has found the inbox empty, so no hand-over falls between its look and
//! its sleep.

use super::arena::OutOfMemory;
use super::calls::Returns;
use super::inbox::{Event, NameAnswer};
use super::population::Population;
use super::record::Stage;
use super::shared::{Room, Shared};
use super::socket::Engine;
use crate::status::{Answer, Status};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads that wait for different operations mostly sleep on different conditions.
const CONDITIONS: usize = 8;

pub struct Seat {
    /// Its number, which the handles of its records bear.
    pub number: u16,
    /// The number of the process; see `delivery::become_worker`.
    pub process: u32,
    shared: Mutex<Shared>,
    done: [Condvar; CONDITIONS],
    asleep: AtomicBool,
    /// The calls that have returned, so that a call needs no lock.
    pub returns: Returns,
    /// Sockets on this seat, to be read without the lock.
    load: AtomicU32,
}

impl Seat {
    pub fn new(number: u16, process: u32) -> Seat {
        Seat {
            number,
            process,
            load: AtomicU32::new(0),
            shared: Mutex::new(Shared::new(number)),
            done: Default::default(),
            asleep: AtomicBool::new(false),
            returns: Returns::default(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic under the lock is a mistake of ours, and the worker answers for it; the records
        // are still the only truth there is.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn load(&self) -> u32 {
        self.load.load(Ordering::Relaxed)
    }

    /// Frees the slots of the operations whose calls have returned, so that the next ones are begun
    /// in places that are still in the cache.
    #[inline(always)]
    pub fn reclaim(&self, shared: &mut Shared) {
        while let Some(id) = shared.turns.next_returned(&self.returns) {
            shared.records.take_back(id);
            shared.retire(id);
        }
    }

    /// Sees to it that the next operation can be begun.
    #[inline(always)]
    pub fn make_room(&self, shared: &mut Shared) -> Answer<Room> {
        self.reclaim(shared);
        shared.make_room().map_err(|_| Status::OutOfMemory)
    }

    /// A slot for a new socket, with its handle.
    pub fn new_socket(&self, shared: &mut Shared) -> Result<(u32, u64), OutOfMemory> {
        let made = shared.new_socket()?;
        self.show_load(shared);
        Ok(made)
    }

    fn show_load(&self, shared: &Shared) {
        let used = shared.sockets.used() as u32;
        self.load.store(used, Ordering::Relaxed);
    }

    /// Frees a socket's slot, and keeps what may be used again.
    fn free_socket(&self, shared: &mut Shared, slot: u32) {
        let rare = shared.sockets.at(slot).rare.take();
        shared.spares.keep(rare);
        shared.sockets.release(slot);
        self.show_load(shared);
    }

    /// The socket's slot may be used anew.
    pub fn release_socket(&self, shared: &mut Shared, id: u32) {
        self.free_socket(shared, id);
        if let Some(population) = &shared.population {
            population.leave();
        }
    }

    /// A place that was reserved is not needed. The runtime may have been stopped meanwhile, and
    /// its places with it.
    pub fn give_back(&self, population: &Arc<Population>, slot: u32) {
        let mut shared = self.lock();
        if !shared.is_seat_of(population) {
            return;
        }
        self.free_socket(&mut shared, slot);
        shared.reserved -= 1;
    }

    /// The worker is gone, and its runtime.
    pub fn vacate(&self) {
        let mut shared = self.lock();
        shared.vacate();
        shared.turns.settle(&self.returns);
        drop(shared);
        self.returns.forget_longest();
        self.awake();
        self.load.store(0, Ordering::Relaxed);
    }

    /// Ends the hand-over that was made under `shared`: wakes the worker if it sleeps.
    #[inline(always)]
    pub fn hand_over(&self, shared: MutexGuard<'_, Shared>) {
        if self.asleep.load(Ordering::Relaxed) {
            self.wake(shared);
        }
    }

    #[inline(never)]
    fn wake(&self, mut shared: MutexGuard<'_, Shared>) {
        self.asleep.store(false, Ordering::Relaxed);
        shared.counters.wake_ups += 1;
        let waker = shared.waker.clone();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The name of an operation has been looked up; if the operation is over, nobody cares.
    pub fn resolved(&self, slot: u32, generation: u32, answer: NameAnswer) {
        let mut shared = self.lock();
        let Some(state) = shared.operations.get(slot, generation) else {
            return;
        };
        if state.stage == Stage::Pending {
            shared.answer(slot, answer);
            self.hand_over(shared);
        }
    }

    /// Whether an operation has not completed yet.
    pub fn is_pending(&self, slot: u32, generation: u32) -> bool {
        let mut shared = self.lock();
        let record = shared.operations.get(slot, generation);
        record.is_some_and(|record| record.stage == Stage::Pending)
    }

    /// The worker is up again; a hand-over need not wake it.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Takes what has arrived, and, if that is nothing and it sleeps then, announces the worker's
    /// sleep.
    pub fn take(
        &self,
        mut shared: MutexGuard<'_, Shared>,
        engine: &mut Engine,
        events: &mut Vec<Event>,
        sleeps: bool,
    ) -> Taken {
        #[cfg(test)]
        assert!(!shared.mistaken, "the mistake that a test wants");
        shared.take(engine, events);
        // Not before the last of what was begun earlier is known to the engine: it must end too. But
        // what has come later is not waited for, since there may always be more of it.
        let Shared { inbox, drain, .. } = &mut *shared;
        let drain = drain.take_if(|mark| inbox.has_passed(*mark)).is_some();
        let empty = shared.inbox.is_empty() && shared.returned.is_empty();
        let idle = events.is_empty() && !drain && empty;
        if idle && sleeps {
            self.asleep.store(true, Ordering::Relaxed);
        }
        Taken {
            drain,
            idle,
            stop: idle && shared.stopping,
        }
    }

    fn condition(&self, id: u32) -> &Condvar {
        &self.done[id as usize % CONDITIONS]
    }

    /// Sleeps until some operation that shares `id`'s condition is done.
    pub fn wait<'a>(
        &self,
        shared: MutexGuard<'a, Shared>,
        id: u32,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Shared> {
        let condition = self.condition(id);
        match timeout {
            None => condition
                .wait(shared)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let answer = condition.wait_timeout(shared, timeout);
                answer.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    pub fn wake_waiters(&self, id: u32) {
        self.condition(id).notify_all();
    }
}

/// What the worker learns besides the events.
pub struct Taken {
    pub drain: bool,
    /// Nothing has arrived.
    pub idle: bool,
    /// Stop has been asked for and the inbox is empty.
    pub stop: bool,
}
