//! Records that the seat and its worker hand to each other: one copy, and at any time one owner.
//!
//! The seat's side lies behind the seat's lock, the worker's side belongs to its thread. A record
//! begins on the seat's side, where a thread of the application's fills it in and hands it over; the
//! worker hears of it by the inbox, works on it without a lock, and under the lock gives it back
//! with the result. Whoever reaches for a record that the other side has meets a panic, not a race.
#![allow(
    unsafe_code,
    reason = "one record with two possible owners is beyond what the compiler can see; each block says who owns it"
)]

use super::arena::{Directory, Growth, OutOfMemory, CHUNK};
use std::alloc::{alloc, Layout};
use std::cell::UnsafeCell;
use std::ops::{Index, IndexMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A chunk of records, held by both sides.
struct Chunk<T> {
    /// The sides that still hold it: the last one frees it.
    holders: AtomicU32,
    /// Which records the worker has.
    with_worker: [AtomicBool; CHUNK as usize],
    records: [UnsafeCell<T>; CHUNK as usize],
}

/// One side's hold on a chunk. There are two at most: the seat's, and that of its worker.
pub struct Hold<T>(NonNull<Chunk<T>>);

// SAFETY: of a chunk a hold gives out only flags, which are atomic, and, inside this module, records to their owner.
unsafe impl<T: Send> Send for Hold<T> {}

impl<T: Default> Hold<T> {
    fn new() -> Result<Hold<T>, OutOfMemory> {
        // SAFETY: the layout is not empty.
        let place = unsafe { alloc(Layout::new::<Chunk<T>>()) }.cast::<Chunk<T>>();
        let made = NonNull::new(place).ok_or(OutOfMemory)?;
        // SAFETY: the place was just allocated for a chunk, and each of its fields is written
        // before anybody sees it. They are written there, since a chunk is large for a stack.
        unsafe {
            (&raw mut (*place).holders).write(AtomicU32::new(1));
            for at in 0..CHUNK as usize {
                (&raw mut (*place).with_worker[at]).write(AtomicBool::new(false));
                (&raw mut (*place).records[at]).write(UnsafeCell::default());
            }
        }
        Ok(Hold(made))
    }
}

impl<T> Hold<T> {
    fn chunk(&self) -> &Chunk<T> {
        // SAFETY: it is freed by the last of its holders, and this is one.
        unsafe { self.0.as_ref() }
    }

    /// The worker's hold. An earlier worker has let go of its own.
    fn second(&self) -> Hold<T> {
        let before = self.chunk().holders.fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 1, "a record has two sides, not three");
        Hold(self.0)
    }
}

impl<T> Chunk<T> {
    fn is_with_worker(&self, id: u32) -> &AtomicBool {
        &self.with_worker[(id % CHUNK) as usize]
    }

    fn record(&self, id: u32) -> *mut T {
        self.records[(id % CHUNK) as usize].get()
    }
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        if self.chunk().holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: the chunk came from a box, and nobody else holds it any more.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

/// The seat's side.
pub struct SeatSide<T> {
    chunks: Directory<Hold<T>>,
    growth: Growth<Hold<T>>,
}

impl<T: Default> SeatSide<T> {
    pub const fn new() -> SeatSide<T> {
        SeatSide {
            chunks: Vec::new(),
            growth: Growth::new(),
        }
    }

    /// Makes the records of chunk `index`, and has the worker know of them.
    pub fn grow(&mut self, index: u32) -> Result<(), OutOfMemory> {
        let needed = index as usize + 1;
        if needed > self.chunks.len() {
            let more = needed - self.chunks.len();
            self.chunks.try_reserve(more).map_err(|_| OutOfMemory)?;
            self.chunks.resize_with(needed, || None);
        }
        let made = Hold::new()?;
        self.growth.give(index, || Ok(made.second()))?;
        self.chunks[index as usize] = Some(made);
        Ok(())
    }

    /// The worker is gone, and with it its side: what it had is ours again. Frees the chunks that
    /// `keep` does not want.
    pub fn vacate(&mut self, keep: impl Fn(u32) -> bool) {
        self.growth = Growth::new();
        for (index, place) in (0u32..).zip(&mut self.chunks) {
            if !keep(index) {
                *place = None;
            }
            if let Some(hold) = place {
                assert_eq!(hold.chunk().holders.load(Ordering::Acquire), 1);
                for flag in &hold.chunk().with_worker {
                    flag.store(false, Ordering::Relaxed);
                }
            }
        }
    }

    /// Has a new worker know of the chunks that are left.
    pub fn introduce(&mut self) -> Result<(), OutOfMemory> {
        for (index, hold) in (0u32..).zip(&self.chunks) {
            if let Some(hold) = hold {
                self.growth.give(index, || Ok(hold.second()))?;
            }
        }
        Ok(())
    }

    fn chunk(&self, id: u32) -> &Chunk<T> {
        match &self.chunks[(id / CHUNK) as usize] {
            Some(hold) => hold.chunk(),
            None => unreachable!("a slot in use has its chunk"),
        }
    }

    /// The record, which the seat has.
    #[inline(always)]
    pub fn at(&mut self, id: u32) -> &mut T {
        let chunk = self.chunk(id);
        assert!(!chunk.is_with_worker(id).load(Ordering::Acquire));
        // SAFETY: the seat has it, and keeps it at least as long as this borrow of its only side
        // lasts: `hand` needs the same borrow.
        unsafe { &mut *chunk.record(id) }
    }

    /// The seat has the record again, of which the worker has said that it is done with it.
    pub fn take_back(&mut self, id: u32) {
        let flag = self.chunk(id).is_with_worker(id);
        assert!(flag.load(Ordering::Acquire));
        flag.store(false, Ordering::Release);
    }

    /// Fills a record in, and the worker has it from now on.
    #[inline(always)]
    pub fn hand(&mut self, id: u32, fill: impl FnOnce(&mut T)) {
        let chunk = self.chunk(id);
        let with_worker = chunk.is_with_worker(id);
        assert!(!with_worker.load(Ordering::Acquire));
        // SAFETY: the seat has it, and until the last line nobody else can get hold of it.
        fill(unsafe { &mut *chunk.record(id) });
        with_worker.store(true, Ordering::Release);
    }
}

/// The worker's side.
pub struct WorkerSide<T> {
    chunks: Directory<Hold<T>>,
}

impl<T: Default> WorkerSide<T> {
    pub const fn new() -> WorkerSide<T> {
        WorkerSide { chunks: Vec::new() }
    }

    /// Takes over what the application's threads have made since the last call.
    pub fn accept(&mut self, seat: &mut SeatSide<T>) {
        seat.growth.arrive(&mut self.chunks);
    }

    /// One past the largest number that has a record.
    pub fn end(&self) -> u32 {
        self.chunks.len() as u32 * CHUNK
    }

    /// The chunk of a record, if the worker has that.
    #[inline(always)]
    fn chunk(&self, id: u32) -> Option<&Chunk<T>> {
        let chunk = self.chunks.get((id / CHUNK) as usize)?.as_ref()?.chunk();
        let here = chunk.is_with_worker(id).load(Ordering::Acquire);
        here.then_some(chunk)
    }

    /// The record, if the worker has it.
    pub fn get(&self, id: u32) -> Option<&T> {
        // SAFETY: the worker has it, and keeps it at least as long as this borrow of its only side
        // lasts: `give_back` needs a borrow that excludes it.
        Some(unsafe { &*self.chunk(id)?.record(id) })
    }

    /// The seat has the record from now on.
    pub fn give_back(&mut self, id: u32) {
        match self.chunk(id) {
            Some(chunk) => chunk.is_with_worker(id).store(false, Ordering::Release),
            None => unreachable!("only what the worker has is given back"),
        }
    }
}

impl<T: Default> WorkerSide<T> {
    /// The seat has every record from now on.
    pub fn give_back_all(&mut self) {
        for id in 0..self.end() {
            if self.chunk(id).is_some() {
                self.give_back(id);
            }
        }
    }
}

impl<T: Default> Index<u32> for WorkerSide<T> {
    type Output = T;
    fn index(&self, id: u32) -> &T {
        match self.get(id) {
            Some(record) => record,
            None => unreachable!("the worker has this record"),
        }
    }
}

impl<T: Default> IndexMut<u32> for WorkerSide<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        match self.chunk(id) {
            // SAFETY: as in `get`, and this borrow excludes every other.
            Some(chunk) => unsafe { &mut *chunk.record(id) },
            None => unreachable!("the worker has this record"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{catch_unwind, AssertUnwindSafe};

    fn sides() -> (SeatSide<String>, WorkerSide<String>) {
        let (mut seat, mut worker) = (SeatSide::new(), WorkerSide::new());
        seat.grow(0).expect("there is memory");
        seat.grow(1).expect("there is memory");
        worker.accept(&mut seat);
        (seat, worker)
    }

    #[test]
    fn a_record_has_one_owner_at_a_time() {
        let (mut seat, mut worker) = sides();
        let id = CHUNK + 1;
        seat.at(id).push('a');
        assert!(worker.get(id).is_none());
        assert!(catch_unwind(AssertUnwindSafe(|| worker[id].len())).is_err());
        seat.hand(id, |record| record.push('-'));
        worker[id].push('b');
        assert!(catch_unwind(AssertUnwindSafe(|| seat.at(id).len())).is_err());
        worker.give_back(id);
        assert_eq!(seat.at(id), "a-b");
        assert!(worker.get(id).is_none());
    }

    #[test]
    fn chunks_outlive_the_worker_if_they_are_wanted() {
        let (mut seat, mut worker) = sides();
        seat.hand(0, |record| record.push('x'));
        seat.at(CHUNK).push('y');
        worker[0].push('z');
        drop(worker);
        seat.vacate(|index| index == 1);
        assert_eq!(seat.at(CHUNK), "y");
        seat.introduce().expect("there is memory");
        let mut next = WorkerSide::new();
        next.accept(&mut seat);
        seat.hand(CHUNK, |_| ());
        assert_eq!(next[CHUNK], "y");
        assert!(next.get(0).is_none());
    }

    #[test]
    fn the_sides_work_on_two_threads() {
        let (mut seat, mut worker) = sides();
        let (give, take) = std::sync::mpsc::channel::<u32>();
        let (back, home) = std::sync::mpsc::channel::<u32>();
        let thread = std::thread::spawn(move || {
            for id in take {
                worker[id].push('w');
                worker.give_back(id);
                back.send(id).expect("the seat listens");
            }
        });
        for id in 0..2 * CHUNK {
            seat.hand(id, |record| record.push('s'));
            give.send(id).expect("the worker listens");
        }
        for _ in 0..2 * CHUNK {
            let id = home.recv().expect("the worker answers");
            assert_eq!(seat.at(id), "sw");
        }
        drop(give);
        thread.join().expect("it ends");
    }
}
