//! The shared half of the records: slots behind the seat's lock, checked by generation.
//!
//! Slots come in chunks that never move. When a runtime ends, the chunks that nobody needs are
//! freed; only the generation that their slots had reached is kept, so that the next runtime on
//! the same seat cannot issue a handle that was issued before.

use super::arena::{self, chunk, OutOfMemory, CHUNK};
use crate::handle::{LAST_GENERATION, SLOTS};

/// The end of a list of slots.
pub const NONE: u32 = u32::MAX;

/// Set in a slot's tag while it is in use.
const USED: u32 = 1 << 31;
/// Set in the tag of a slot in use that no handle names any more.
const OUTDATED: u32 = 1 << 30;
/// The rest of the tag.
const GENERATION: u32 = OUTDATED - 1;

const _: () = assert!(LAST_GENERATION <= GENERATION);

/// What a handle's slot and generation say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Issued {
    /// The slot is in use under this generation.
    Now,
    /// It was once, and no longer is.
    Before,
    /// No handle with this slot and generation was ever given out.
    Never,
}

struct Slot<T> {
    /// The generation, and what the bits above it say. 0 in place of a generation: the slot is
    /// used up.
    tag: u32,
    /// The next slot: in the list of the free ones, or in whatever list its user keeps.
    link: u32,
    value: T,
}

impl<T> Slot<T> {
    fn is_used(&self) -> bool {
        self.tag & USED != 0
    }

    fn generation(&self) -> u32 {
        self.tag & GENERATION
    }
}

impl<T: Default> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot {
            tag: 1,
            link: NONE,
            value: T::default(),
        }
    }
}

struct Chunk<T> {
    /// The generation that the chunk's slots begin with when it is made again.
    base: u32,
    slots: Option<arena::Chunk<Slot<T>>>,
}

/// A growing table of slots.
pub struct Slots<T> {
    chunks: Vec<Chunk<T>>,
    free: u32,
    used: usize,
}

impl<T: Default> Slots<T> {
    pub const fn new() -> Slots<T> {
        Slots {
            chunks: Vec::new(),
            free: NONE,
            used: 0,
        }
    }

    /// The number of slots in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether chunk `index` exists at the moment.
    pub fn has_chunk(&self, index: u32) -> bool {
        let chunk = self.chunks.get(index as usize);
        chunk.is_some_and(|chunk| chunk.slots.is_some())
    }

    pub fn has_free(&self) -> bool {
        self.free != NONE
    }

    /// Adds a chunk and says which.
    pub fn grow(&mut self) -> Result<u32, OutOfMemory> {
        let reusable = self
            .chunks
            .iter()
            .position(|chunk| chunk.slots.is_none() && chunk.base < LAST_GENERATION);
        let index = reusable.unwrap_or(self.chunks.len());
        if (index as u64 + 1) * u64::from(CHUNK) > u64::from(SLOTS) {
            return Err(OutOfMemory);
        }
        if index == self.chunks.len() {
            self.chunks.try_reserve(1).map_err(|_| OutOfMemory)?;
            self.chunks.push(Chunk {
                base: 1,
                slots: None,
            });
        }
        let mut slots = chunk::<Slot<T>>()?;
        let first = index as u32 * CHUNK;
        for (offset, slot) in slots.iter_mut().enumerate() {
            slot.tag = self.chunks[index].base;
            slot.link = first + offset as u32 + 1;
        }
        if let Some(last) = slots.last_mut() {
            last.link = self.free;
        }
        self.free = first;
        self.chunks[index].slots = Some(slots);
        Ok(index as u32)
    }

    /// Takes a free slot; its value is as `release` left it, it is in no list, and its generation,
    /// which is given with it, is new.
    pub fn take(&mut self) -> Option<(u32, u32)> {
        let index = self.free;
        if index == NONE {
            return None;
        }
        let slot = self.slot(index)?;
        let generation = slot.generation();
        slot.tag |= USED;
        let next = std::mem::replace(&mut slot.link, NONE);
        self.free = next;
        self.used += 1;
        Some((index, generation))
    }

    /// Retires the slot's handle and frees the slot, unless its generations are used up.
    pub fn release(&mut self, index: u32) {
        self.release_unless(index, |_| false);
    }

    /// Retires the slot's handle, and frees the slot unless it is still needed.
    #[inline(always)]
    pub fn release_unless(&mut self, index: u32, is_needed: impl FnOnce(&mut T) -> bool) {
        let free = self.free;
        let Some(slot) = self.slot(index) else {
            return;
        };
        debug_assert!(slot.is_used());
        if is_needed(&mut slot.value) {
            slot.tag |= OUTDATED;
            return;
        }
        slot.value = T::default();
        if slot.generation() < LAST_GENERATION {
            slot.tag = slot.generation() + 1;
            slot.link = free;
            self.free = index;
        } else {
            slot.tag = 0;
            slot.link = NONE;
        }
        self.used -= 1;
    }

    /// Makes every handle of the slot stale at once, while the slot stays in use.
    pub fn outdate(&mut self, index: u32) {
        if let Some(slot) = self.slot(index) {
            slot.tag |= OUTDATED;
        }
    }

    /// Notes which slot follows in the list of its user's.
    pub fn link(&mut self, index: u32, next: u32) {
        if let Some(slot) = self.slot(index) {
            debug_assert!(slot.is_used());
            slot.link = next;
        }
    }

    /// Takes the first slot out of that list: its record, and the slot that followed.
    pub fn unlink(&mut self, index: u32) -> (&mut T, u32) {
        let slot = self.used_slot(index);
        let next = std::mem::replace(&mut slot.link, NONE);
        (&mut slot.value, next)
    }

    /// Takes `outdate` back.
    pub fn validate(&mut self, index: u32) {
        if let Some(slot) = self.slot(index) {
            debug_assert!(slot.tag & OUTDATED != 0);
            slot.tag &= !OUTDATED;
        }
    }

    fn slot(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let chunk = self.chunks.get_mut((index / CHUNK) as usize)?;
        Some(&mut chunk.slots.as_mut()?[(index % CHUNK) as usize])
    }

    fn used_slot(&mut self, index: u32) -> &mut Slot<T> {
        match self.slot(index) {
            Some(slot) => slot,
            None => unreachable!("a slot in use has its chunk"),
        }
    }

    /// The record in slot `index`, which its caller knows to be in use.
    pub fn at(&mut self, index: u32) -> &mut T {
        &mut self.used_slot(index).value
    }

    /// As `at`, with the generation of its handle.
    pub fn entry(&mut self, index: u32) -> (&mut T, u32) {
        let slot = self.used_slot(index);
        let generation = slot.generation();
        (&mut slot.value, generation)
    }

    /// The record that a handle names, if it is in use under that generation.
    pub fn get(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let slot = self.slot(index)?;
        (slot.tag == USED | generation).then_some(&mut slot.value)
    }

    pub fn issued(&mut self, index: u32, generation: u32) -> Issued {
        if self.get(index, generation).is_some() {
            return Issued::Now;
        }
        let reached = match self.chunks.get((index / CHUNK) as usize) {
            None => 0,
            Some(chunk) => match &chunk.slots {
                None => chunk.base,
                Some(slots) => {
                    let slot = &slots[(index % CHUNK) as usize];
                    match slot.generation() {
                        0 => LAST_GENERATION + 1,
                        now => now + u32::from(slot.tag & OUTDATED != 0),
                    }
                }
            },
        };
        if generation >= 1 && generation < reached {
            Issued::Before
        } else {
            Issued::Never
        }
    }

    /// Calls `visit` with every slot in use.
    pub fn each_used(&mut self, mut visit: impl FnMut(u32, &mut T)) {
        for (index, chunk) in (0u32..).zip(&mut self.chunks) {
            for (offset, slot) in
                (0u32..).zip(chunk.slots.iter_mut().flat_map(|slots| slots.iter_mut()))
            {
                if slot.is_used() {
                    visit(index * CHUNK + offset, &mut slot.value);
                }
            }
        }
    }

    /// Frees the chunks that have no slot in use.
    pub fn vacate(&mut self) {
        self.free = NONE;
        for (index, chunk) in (0u32..).zip(&mut self.chunks) {
            let Some(slots) = &mut chunk.slots else {
                continue;
            };
            if slots.iter().all(|slot| !slot.is_used()) {
                let reached = slots.iter().map(|slot| match slot.generation() {
                    0 => LAST_GENERATION + 1,
                    generation => generation,
                });
                chunk.base = reached.max().unwrap_or(chunk.base);
                chunk.slots = None;
                continue;
            }
            for (offset, slot) in (0u32..).zip(slots.iter_mut()) {
                if !slot.is_used() && slot.generation() != 0 {
                    slot.link = self.free;
                    self.free = index * CHUNK + offset;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_handle_never_comes_back() {
        let mut slots = Slots::<u8>::new();
        let mut seen = HashSet::new();
        let mut held = Vec::new();
        let mut seed = 7u64;
        for round in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            if (seed >> 33) % 3 < 2 || held.is_empty() {
                if !slots.has_free() {
                    slots.grow().unwrap();
                }
                let (index, generation) = slots.take().unwrap();
                assert_eq!(slots.entry(index).1, generation);
                assert!(seen.insert((index, generation)));
                assert_eq!(slots.issued(index, generation), Issued::Now);
                assert_eq!(slots.issued(index, generation + 1), Issued::Never);
                held.push((index, generation));
            } else {
                let (index, generation) = held.swap_remove((seed >> 40) as usize % held.len());
                slots.release(index);
                assert_eq!(slots.issued(index, generation), Issued::Before);
            }
            if round % 1000 == 999 {
                let keep = held.len() / 8;
                for (index, _) in held.drain(keep..) {
                    slots.release(index);
                }
                slots.vacate();
                assert_eq!(slots.used(), held.len());
            }
        }
    }

    #[test]
    fn an_outdated_slot_answers_to_no_generation() {
        let mut slots = Slots::<u8>::new();
        slots.grow().unwrap();
        let (index, generation) = slots.take().unwrap();
        slots.outdate(index);
        assert_eq!(slots.issued(index, generation), Issued::Before);
        for next in generation + 1..generation + 3 {
            assert_eq!(slots.issued(index, next), Issued::Never);
        }
        assert_eq!(slots.used(), 1);
        slots.release(index);
        assert_eq!(slots.take(), Some((index, generation + 1)));
    }

    #[test]
    fn a_used_up_slot_is_retired() {
        let mut slots = Slots::<u8>::new();
        slots.grow().unwrap();
        let (index, _) = slots.take().unwrap();
        slots.slot(index).unwrap().tag = USED | LAST_GENERATION;
        slots.release(index);
        for _ in 0..CHUNK - 1 {
            assert_ne!(slots.take().unwrap().0, index);
        }
        assert_eq!(slots.take(), None);
        assert_eq!(slots.issued(index, LAST_GENERATION), Issued::Before);
    }
}
