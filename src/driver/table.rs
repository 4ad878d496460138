//! What is known of each number that a driver works with: those of sockets, and behind them those
//! of attempts.

use crate::handle::SLOTS;
use crate::sys::{SysResult, OUT_OF_MEMORY};

/// Entries per chunk. They come in chunks so that a table which grows moves nothing.
const CHUNK: usize = 128;

type Chunk<S> = Box<[S; CHUNK]>;

pub struct Table<S> {
    sockets: Vec<Option<Chunk<S>>>,
    attempts: Vec<Option<Chunk<S>>>,
}

fn place(number: usize) -> (usize, usize) {
    (number / CHUNK, number % CHUNK)
}

impl<S: Default> Table<S> {
    pub const fn new() -> Table<S> {
        Table {
            sockets: Vec::new(),
            attempts: Vec::new(),
        }
    }

    pub fn get(&self, number: u32) -> Option<&S> {
        let (list, (chunk, at)) = match number.checked_sub(SLOTS) {
            None => (&self.sockets, place(number as usize)),
            Some(attempt) => (&self.attempts, place(attempt as usize)),
        };
        Some(&list.get(chunk)?.as_ref()?[at])
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut S> {
        let (list, (chunk, at)) = match number.checked_sub(SLOTS) {
            None => (&mut self.sockets, place(number as usize)),
            Some(attempt) => (&mut self.attempts, place(attempt as usize)),
        };
        Some(&mut list.get_mut(chunk)?.as_mut()?[at])
    }

    /// The first entry from a number on that is as wanted.
    pub fn find(&self, from: u32, wanted: impl Fn(&S) -> bool) -> Option<u32> {
        let ends = [(0, &self.sockets), (SLOTS, &self.attempts)];
        let mut numbers = ends.into_iter().flat_map(|(first, list)| {
            let end = first + (list.len() * CHUNK) as u32;
            from.max(first)..end
        });
        numbers.find(|&number| self.get(number).is_some_and(&wanted))
    }

    /// The entry of a number, which is made if there is none yet.
    pub fn entry(&mut self, number: u32) -> SysResult<&mut S> {
        let (list, (chunk, at)) = match number.checked_sub(SLOTS) {
            None => (&mut self.sockets, place(number as usize)),
            Some(attempt) => (&mut self.attempts, place(attempt as usize)),
        };
        if chunk >= list.len() {
            let more = chunk + 1 - list.len();
            list.try_reserve(more).map_err(|_| OUT_OF_MEMORY)?;
            list.resize_with(chunk + 1, || None);
        }
        let made = match list[chunk].take() {
            Some(made) => made,
            None => {
                let mut entries = Vec::new();
                let room = entries.try_reserve_exact(CHUNK);
                room.map_err(|_| OUT_OF_MEMORY)?;
                entries.resize_with(CHUNK, S::default);
                let entries = entries.into_boxed_slice();
                entries.try_into().map_err(|_| OUT_OF_MEMORY)?
            }
        };
        Ok(&mut list[chunk].insert(made)[at])
    }
}
