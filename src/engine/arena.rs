//! The worker's own half of the records: chunks that never move, addressed by slot number.
//!
//! The slots are handed out by the application's threads (see `slots`), so it is they who make the
//! chunks, fallibly, inside `begin_*`; the worker only takes them over. Nothing here allocates on
//! the worker, so no completion can be lost for want of memory.

use std::ops::{Index, IndexMut};

/// Records per chunk. Small under test, so that every test run crosses the border.
pub const CHUNK: u32 = if cfg!(test) { 4 } else { 128 };

/// There is no room for another chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// As many as there are in a chunk, which is known where one of them is looked up.
pub type Chunk<T> = Box<[T; CHUNK as usize]>;

/// A chunk of default records.
pub fn chunk<T: Default>() -> Result<Chunk<T>, OutOfMemory> {
    let mut records = Vec::new();
    records
        .try_reserve_exact(CHUNK as usize)
        .map_err(|_| OutOfMemory)?;
    records.resize_with(CHUNK as usize, T::default);
    records
        .into_boxed_slice()
        .try_into()
        .map_err(|_| OutOfMemory)
}

/// Chunks by their numbers.
pub type Directory<C> = Vec<Option<C>>;

/// Chunks on their way from the application's threads to the worker.
pub struct Growth<C> {
    gifts: Vec<(u32, C)>,
    directory: Option<Directory<C>>,
    /// How many chunks the worker's directory has room for, once it has taken `directory` over.
    room: usize,
}

impl<C> Growth<C> {
    pub const fn new() -> Growth<C> {
        Growth {
            gifts: Vec::new(),
            directory: None,
            room: 0,
        }
    }

    /// Sends chunk `index` on its way, once it could be made.
    pub fn give(
        &mut self,
        index: u32,
        make: impl FnOnce() -> Result<C, OutOfMemory>,
    ) -> Result<(), OutOfMemory> {
        let needed = index as usize + 1;
        if needed > self.room {
            let room = needed.next_power_of_two().max(16);
            let mut directory = Vec::new();
            directory.try_reserve_exact(room).map_err(|_| OutOfMemory)?;
            self.directory = Some(directory);
            self.room = room;
        }
        self.gifts.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.gifts.push((index, make()?));
        Ok(())
    }

    /// Moves what was given into the worker's directory.
    pub fn arrive(&mut self, chunks: &mut Directory<C>) {
        if let Some(mut directory) = self.directory.take() {
            directory.append(chunks);
            *chunks = directory;
        }
        for (index, chunk) in self.gifts.drain(..) {
            let index = index as usize;
            while chunks.len() <= index {
                chunks.push(None);
            }
            chunks[index] = Some(chunk);
        }
    }
}

/// The worker's records.
pub struct Arena<T> {
    chunks: Directory<Chunk<T>>,
}

impl<T> Arena<T> {
    pub const fn new() -> Arena<T> {
        Arena { chunks: Vec::new() }
    }

    /// Takes over what the application's threads have made since the last call.
    pub fn accept(&mut self, growth: &mut Growth<Chunk<T>>) {
        growth.arrive(&mut self.chunks);
    }

    /// One past the largest number that has a record.
    pub fn end(&self) -> u32 {
        self.chunks.len() as u32 * CHUNK
    }

    pub fn get(&self, index: u32) -> Option<&T> {
        let chunk = self.chunks.get((index / CHUNK) as usize)?.as_ref()?;
        Some(&chunk[(index % CHUNK) as usize])
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;
    fn index(&self, index: u32) -> &T {
        match &self.chunks[(index / CHUNK) as usize] {
            Some(chunk) => &chunk[(index % CHUNK) as usize],
            None => unreachable!("a slot in use has its chunk"),
        }
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        match &mut self.chunks[(index / CHUNK) as usize] {
            Some(chunk) => &mut chunk[(index % CHUNK) as usize],
            None => unreachable!("a slot in use has its chunk"),
        }
    }
}
