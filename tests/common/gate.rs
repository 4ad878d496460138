//! A door that one thread opens and others wait at: how a test holds a callback in its place.

use super::LIMIT;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    entered: bool,
    open: bool,
    overdue: bool,
}

/// Closed until it is opened; a clone is the same door.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0 .0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a condition; false at the limit.
    fn wait_until(&self, condition: impl Fn(&State) -> bool) -> bool {
        let waited = self
            .0
             .1
            .wait_timeout_while(self.lock(), LIMIT, |state| !condition(state));
        let (_state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    pub fn open(&self) {
        self.lock().open = true;
        self.0 .1.notify_all();
    }

    pub fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Waits until it is open. Inside a callback it must not panic, so at the limit it only goes on; the test will find
    /// out by itself.
    pub fn pass(&self) {
        if !self.wait_until(|state| state.open) {
            self.lock().overdue = true;
        }
    }

    /// As `pass`, and lets `wait_entered` know that somebody is there.
    pub fn enter(&self) {
        self.lock().entered = true;
        self.0 .1.notify_all();
        self.pass();
    }

    /// Waits until somebody is inside.
    pub fn wait_entered(&self) {
        assert!(self.wait_until(|state| state.entered), "nobody came");
    }

    /// Whether somebody has given up waiting.
    pub fn is_overdue(&self) -> bool {
        self.lock().overdue
    }
}
