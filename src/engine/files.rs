//! Files are read on threads of their own, since a disk may take its time.
//!
//! What is handed to a thread is the operation's payload itself, so nothing that the thread uses
//! can be closed meanwhile: the descriptor of the file lies in it, and a hold on the socket's.
//! Whoever no longer wants it waits until the thread gives it back. Payloads are used again, and
//! there is room for all of them wherever one may be put, so that only `admit` asks for memory.
//!
//! Threads are started only when all are busy, and end when no file has been sent for a while.

use super::file::FileSend;
use super::operation::Payload;
use super::population::Leftover;
use super::seat::Seat;
use super::shared::{Service, Shared};
use crate::driver::Outcome;
use crate::foreign;
use crate::log;
use crate::status::{Answer, Status};
use crate::sys::{file, thread, Descriptor, OUT_OF_MEMORY};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads at most: so many files may wait for a slow disk before others wait for them.
const THREADS: usize = 16;
/// How long a thread waits for something to do before it may end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Times in a row that a socket which is said to have room may have none before a thread pauses,
/// and for how long it does. When memory is short it would go round and round otherwise.
const FUTILE: u8 = 8;
const PAUSE_MS: u64 = 2;

/// What a thread is to do with a payload.
enum Errand {
    /// Send the part that it asks for, and give it back to the seat.
    Send(&'static Seat, Box<Payload>),
    /// Close the file: that may take long, too, when nobody else has it open.
    Close(Box<Payload>),
}

#[derive(Default)]
struct State {
    errands: VecDeque<Errand>,
    /// Payloads without a file.
    #[allow(
        clippy::vec_box,
        reason = "the boxes go to and fro, and none is made on the way"
    )]
    spare: Vec<Box<Payload>>,
    /// Payloads that there are, wherever they may be.
    made: usize,
    threads: Vec<JoinHandle<()>>,
    running: usize,
    /// Threads that wait, or are about to look for the next errand.
    free: usize,
    stopping: bool,
}

/// The threads for files of one runtime.
#[derive(Default)]
pub struct Files {
    state: Mutex<State>,
    changed: Condvar,
}

impl Files {
    pub fn new() -> Arc<Files> {
        Arc::new(Files::default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A payload for an operation that sends a file, and how many payloads there are. From here
    /// on there is a thread.
    pub fn admit(
        self: &Arc<Self>,
        descriptor: Descriptor,
        start: u64,
    ) -> Answer<(Box<Payload>, usize)> {
        let mut state = self.lock();
        if state.stopping {
            return Err(Status::Stopped);
        }
        let content = Payload::File(FileSend::new(Some(descriptor), start));
        let payload = match state.spare.pop() {
            Some(mut payload) => {
                *payload = content;
                payload
            }
            None => state.make(content).ok_or(Status::OutOfMemory)?,
        };
        if state.running == 0 {
            if let Err(status) = self.start_thread(&mut state) {
                state.spare.push(emptied(payload));
                return Err(status);
            }
        }
        Ok((payload, state.made))
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> Answer<()> {
        state.threads.retain(|thread| !thread.is_finished());
        state
            .threads
            .try_reserve(1)
            .map_err(|_| Status::OutOfMemory)?;
        let files = self.clone();
        let started = thread::spawn("asock-files", move || files.help());
        state.threads.push(started.map_err(Status::of_os)?);
        state.running += 1;
        state.free += 1;
        Ok(())
    }

    /// Nobody needs a payload any more.
    pub fn release(self: &Arc<Self>, payload: Box<Payload>) {
        match &*payload {
            Payload::File(file) if file.file.is_some() => self.give(Errand::Close(payload)),
            _ => self.lock().spare.push(payload),
        }
    }

    fn give(self: &Arc<Self>, errand: Errand) {
        let mut state = self.lock();
        if state.stopping {
            debug_assert!(matches!(errand, Errand::Close(_)), "the workers have left");
            return; // The threads may have gone; what comes now was refused at its begin.
        }
        state.errands.push_back(errand);
        if state.errands.len() > state.free && state.running < THREADS {
            let _ = self.start_thread(&mut state); // There is one at least, which does it in time.
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Takes back a payload that no thread has begun with.
    fn recall(&self, seat: &Seat, operation: u32) -> Option<Box<Payload>> {
        let mut state = self.lock();
        let place = state.errands.iter().position(|errand| match errand {
            Errand::Send(its, payload) => {
                its.number == seat.number
                    && matches!(&**payload, Payload::File(file) if file.operation == operation)
            }
            Errand::Close(_) => false,
        });
        match state.errands.remove(place?)? {
            Errand::Send(_, payload) => Some(payload),
            Errand::Close(_) => None,
        }
    }

    /// The body of a thread.
    fn help(&self) {
        log::inside(|| {
            let mut state = self.lock();
            loop {
                if let Some(mut errand) = state.errands.pop_front() {
                    state.free -= 1;
                    drop(state);
                    run(&mut errand);
                    // Before it is given back: the next part may come at once.
                    self.lock().free += 1;
                    let left = conclude(errand);
                    state = self.lock();
                    state.spare.extend(left);
                    continue;
                }
                if state.stopping {
                    return; // Whoever stops joins us.
                }
                let answer = self.changed.wait_timeout(state, PATIENCE);
                let (back, limit) = answer.unwrap_or_else(PoisonError::into_inner);
                state = back;
                let nothing = state.errands.is_empty() && state.spare.len() == state.made;
                if limit.timed_out() && nothing && !state.stopping {
                    state.running -= 1;
                    state.free -= 1;
                    return;
                }
            }
        });
    }

    /// Waits for the threads, which do first what they were given.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.changed.notify_all();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl State {
    /// Another payload, with room for it wherever it may be put.
    fn make(&mut self, content: Payload) -> Option<Box<Payload>> {
        let most = self.made + 1;
        let (spare, errands) = (self.spare.len(), self.errands.len());
        self.spare.try_reserve(most - spare).ok()?;
        self.errands.try_reserve(most - errands).ok()?;
        let payload = foreign::try_box(content)?;
        self.made = most;
        Some(payload)
    }
}

/// For the worker: has the part sent that a payload asks for. Given back, that cannot be.
pub fn send(seat: &'static Seat, socket: u32, mut payload: Box<Payload>) -> Option<Box<Payload>> {
    let mut shared = seat.lock();
    let pinned = shared.pin(socket);
    let files = shared.files.clone();
    drop(shared);
    let (Payload::File(file), Some(files)) = (&mut *payload, files) else {
        return Some(payload);
    };
    let Ok(descriptor) = pinned else {
        file.outcome = Outcome::Failed(OUT_OF_MEMORY);
        return Some(payload);
    };
    file.socket = descriptor;
    files.give(Errand::Send(seat, payload));
    None
}

/// For the worker: takes back a payload that no thread has begun with.
pub fn recall(seat: &Seat, operation: u32) -> Option<Box<Payload>> {
    let files = seat.lock().files.clone()?;
    let mut payload = files.recall(seat, operation)?;
    let unpinned = let_go(&mut seat.lock(), &mut payload);
    drop(unpinned);
    Some(payload)
}

/// For whoever begins an operation: makes room for so many payloads that are given back.
pub fn make_room(shared: &mut Shared, most: usize) -> Answer<()> {
    let more = most.saturating_sub(shared.returned.len());
    let room = shared.returned.try_reserve(more);
    room.map_err(|_| Status::OutOfMemory)
}

/// An operation is over, and with it the use of its payload, be it a file or a message. A file is
/// given back: it is still to be released, which may start a thread, and so not under the lock.
pub fn use_again(shared: &mut Shared, payload: Box<Payload>) -> Option<Leftover> {
    match (&*payload, &shared.files) {
        (Payload::File(_), Some(files)) => Some(Leftover::File(files.clone(), payload)),
        _ => {
            shared.messages.give_back(payload);
            None
        }
    }
}

/// Does what may take long.
fn run(errand: &mut Errand) {
    let (sends, payload) = match errand {
        Errand::Send(_, payload) => (true, payload),
        Errand::Close(payload) => (false, payload),
    };
    match &mut **payload {
        Payload::File(file) if sends => send_part(file),
        Payload::File(file) => file.file = None,
        _ => {}
    }
}

/// Tells what was done. Gives the payload if nobody needs it any more.
fn conclude(errand: Errand) -> Option<Box<Payload>> {
    match errand {
        Errand::Close(payload) => Some(payload),
        Errand::Send(seat, payload) => give_back(seat, payload).map(emptied),
    }
}

/// Gives a payload back to the worker. One that nobody takes any more, since the worker is gone,
/// stays with the thread.
fn give_back(seat: &Seat, mut payload: Box<Payload>) -> Option<Box<Payload>> {
    let mut shared = seat.lock();
    let unpinned = let_go(&mut shared, &mut payload);
    if unpinned.is_some() {
        drop(shared);
        drop(unpinned); // Not under the lock: it is a system call.
        shared = seat.lock();
    }
    if !matches!(shared.service, Service::Open | Service::Draining) {
        return Some(payload);
    }
    shared.returned.push(payload);
    seat.hand_over(shared);
    None
}

/// The socket need no longer be kept open for a thread. What it gives is to be dropped without the
/// lock.
fn let_go(shared: &mut Shared, payload: &mut Payload) -> Option<Descriptor> {
    match payload {
        Payload::File(file) => shared.pins.unpin(file.socket.take()?),
        _ => None,
    }
}

fn emptied(mut payload: Box<Payload>) -> Box<Payload> {
    if let Payload::File(file) = &mut *payload {
        file.file = None;
    }
    payload
}

fn send_part(file: &mut FileSend) {
    if file.futile > FUTILE {
        thread::sleep_ms(PAUSE_MS);
    }
    file.outcome = match (file.socket, &file.file) {
        (Some(socket), Some(own)) => {
            match file::send(socket, own.raw(), file.offset, file.length) {
                Ok(bytes) => Outcome::Done(bytes),
                Err(error) => Outcome::Failed(error),
            }
        }
        _ => Outcome::Canceled,
    };
    if file.is_last && file.outcome == Outcome::Done(file.length) {
        file.file = None; // Here and not on the worker: if nobody else has it open, it may take long.
    }
}
