//! Holding callbacks up on purpose, and a limit for calls that must not wait.

use super::{Gate, Recorder, Runtime, LIMIT};
use std::io::Write;
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A runtime whose callbacks are held up: one of them runs, and does not return before `release`. On a runtime that
/// delivers on its worker, that is the worker; else it is a thread in `asock_dispatch`.
pub struct Held {
    gate: Gate,
    recorder: Arc<Recorder>,
    dispatcher: Option<JoinHandle<()>>,
}

impl Held {
    pub fn new(runtime: &Runtime) -> Held {
        let gate = Gate::new();
        let inside = gate.clone();
        let recorder = runtime.recorder_with(move |_| inside.enter());
        recorder.timer(0);
        let dispatcher = runtime.delivers_on_poll().then(|| {
            let recorder = Arc::clone(&recorder);
            std::thread::spawn(move || {
                recorder.wait_for(1);
            })
        });
        gate.wait_entered();
        Held {
            gate,
            recorder,
            dispatcher,
        }
    }

    /// Lets the callback return; it must still be waiting for that.
    pub fn release(self) {
        assert!(!self.gate.is_overdue(), "something waited for a callback");
        self.gate.open();
        self.recorder.wait_for(1);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.open();
        if let Some(dispatcher) = self.dispatcher.take() {
            let _ = dispatcher.join(); // If it failed, so has the test.
        }
    }
}

/// Ends the whole test program with a message if it is not dropped within the limit: a call that waits for ever cannot be
/// ended in any other way.
pub struct Watchdog {
    alive: Option<Sender<()>>,
}

impl Watchdog {
    pub fn new(what: &'static str) -> Watchdog {
        let (alive, watched) = channel::<()>();
        std::thread::spawn(move || {
            if watched.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // Not through the harness, which would keep it for a report that never comes.
                let _ = writeln!(std::io::stderr(), "waited in vain: {what}");
                std::process::abort();
            }
        });
        Watchdog { alive: Some(alive) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // A test that fails stops its runtime next, which may wait for what the test has waited for.
        if std::thread::panicking() {
            std::mem::forget(self.alive.take());
        }
    }
}
