//! What is known of each number that a driver works with: those of sockets, and behind them those
//! of attempts.

use crate::handle::SLOTS;
use crate::sys::{SysResult, OUT_OF_MEMORY};

pub struct Table<S> {
    sockets: Vec<S>,
    attempts: Vec<S>,
}

impl<S: Default> Table<S> {
    pub const fn new() -> Table<S> {
        Table {
            sockets: Vec::new(),
            attempts: Vec::new(),
        }
    }

    pub fn get(&self, number: u32) -> Option<&S> {
        match number.checked_sub(SLOTS) {
            None => self.sockets.get(number as usize),
            Some(attempt) => self.attempts.get(attempt as usize),
        }
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut S> {
        match number.checked_sub(SLOTS) {
            None => self.sockets.get_mut(number as usize),
            Some(attempt) => self.attempts.get_mut(attempt as usize),
        }
    }

    /// The entry of a number, which is made if there is none yet.
    pub fn entry(&mut self, number: u32) -> SysResult<&mut S> {
        let (list, index) = match number.checked_sub(SLOTS) {
            None => (&mut self.sockets, number as usize),
            Some(attempt) => (&mut self.attempts, attempt as usize),
        };
        if index >= list.len() {
            let more = index + 1 - list.len();
            list.try_reserve(more).map_err(|_| OUT_OF_MEMORY)?;
            list.resize_with(index + 1, S::default);
        }
        Ok(&mut list[index])
    }
}
