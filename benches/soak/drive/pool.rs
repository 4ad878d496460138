//! The books: each operation that is begun has an entry, and the entry sees that it gets one completion, with its own
//! handle and buffer, and that nobody writes into the buffer afterwards.

use super::LIMIT;
use asock::*;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

/// What the buffer of an operation is filled with when it has come back.
const BACK: u8 = 0xEE;

#[derive(Default)]
pub struct Totals {
    pub sessions: AtomicU64,
    pub begun: AtomicU64,
    pub completed: AtomicU64,
    pub succeeded: AtomicU64,
    /// Bytes that were compared.
    pub bytes: AtomicU64,
}

/// The books of one thread. Entries are used again, and never freed before the runtime has stopped: a completion too many
/// would find the entry of another operation, whose handle is not the one it tells.
pub struct Pool {
    shared: &'static Shared,
    entries: Vec<&'static Entry>,
    free: Vec<usize>,
    /// Those of this session.
    used: Vec<usize>,
    /// Those of them whose buffers are marked.
    marked: Vec<usize>,
}

#[derive(Default)]
struct Shared {
    completed: Mutex<u64>,
    changed: Condvar,
    faults: Mutex<Vec<String>>,
}

struct Entry {
    shared: &'static Shared,
    op: UnsafeCell<asock_op>,
    completions: AtomicU32,
    result: Mutex<Option<asock_result>>,
    buffer: UnsafeCell<Vec<u8>>,
    address: UnsafeCell<asock_address>,
}

// SAFETY: who touches what when is the contract's: the application until it begins, the library until it completes, and
// then the application again.
unsafe impl Sync for Entry {}

/// What an operation ended with.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub status: asock_status,
    pub bytes: usize,
    /// Of an accept: the new socket.
    pub value: u64,
}

/// What goes into a call that begins an operation, first: its buffer, how long that is, and the place for an address.
pub type Room = (*mut c_void, usize, *mut asock_address);

/// And last: its callback, the callback's user data, and the place for its handle.
pub type Tell = (asock_callback, *mut c_void, *mut asock_op);

unsafe extern "C" fn completed(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: entries live as long as the process; the record is valid during the call.
    let (entry, result) = unsafe { (&*user_data.cast::<Entry>(), *result) };
    // SAFETY: the library has written it before the callback.
    let op = unsafe { *entry.op.get() };
    // SAFETY: only its address is taken.
    let own = unsafe { (*entry.buffer.get()).as_mut_ptr() };
    // Look-ups have the application's addresses there.
    let right_buffer =
        result.kind == ASOCK_KIND_RESOLVE || result.buffer.is_null() || result.buffer.cast() == own;
    let before = entry.completions.fetch_add(1, Ordering::SeqCst);
    if before != 0 || result.op != op || !right_buffer || result.user_data != user_data {
        let fault = format!("completion {} of {op:#x}: {result:?}", before + 1);
        entry.shared.faults.lock().expect("no panic").push(fault);
    }
    *entry.result.lock().expect("no panic") = Some(result);
    *entry.shared.completed.lock().expect("no panic") += 1;
    entry.shared.changed.notify_all();
}

impl Pool {
    pub fn new() -> Pool {
        Pool {
            shared: Box::leak(Box::default()),
            entries: Vec::new(),
            free: Vec::new(),
            used: Vec::new(),
            marked: Vec::new(),
        }
    }

    fn entry(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(Box::leak(Box::new(Entry {
                shared: self.shared,
                op: UnsafeCell::new(0),
                completions: AtomicU32::new(0),
                result: Mutex::new(None),
                buffer: UnsafeCell::default(),
                // SAFETY: a struct of integers may be all zero.
                address: UnsafeCell::new(unsafe { std::mem::zeroed() }),
            })));
            self.entries.len() - 1
        })
    }

    /// Begins an operation, with these bytes in its buffer, and gives its number in the books.
    #[track_caller]
    pub fn begin(
        &mut self,
        bytes: Vec<u8>,
        begin: impl FnOnce(Room, Tell) -> asock_status,
    ) -> usize {
        let number = self.entry();
        let entry = self.entries[number];
        entry.completions.store(0, Ordering::SeqCst);
        *entry.result.lock().expect("no panic") = None;
        // SAFETY: the entry is free, so nobody else looks at it.
        let buffer = unsafe { &mut *entry.buffer.get() };
        *buffer = bytes;
        let user_data = std::ptr::from_ref(entry).cast_mut().cast();
        let status = begin(
            (
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                entry.address.get(),
            ),
            (Some(completed), user_data, entry.op.get()),
        );
        assert_eq!(status, ASOCK_OK, "nothing here may be refused");
        self.used.push(number);
        number
    }

    pub fn op(&self, number: usize) -> asock_op {
        // SAFETY: written when it was begun.
        unsafe { *self.entries[number].op.get() }
    }

    /// The bytes of an operation that has ended.
    pub fn bytes(&self, number: usize) -> &[u8] {
        assert_eq!(self.entries[number].completions.load(Ordering::SeqCst), 1);
        // SAFETY: it has ended, so the library has let go.
        unsafe { &*self.entries[number].buffer.get() }
    }

    /// The address of an operation that has ended, or that is to be begun.
    pub fn address(&self, number: usize) -> asock_address {
        // SAFETY: as for `bytes`.
        unsafe { *self.entries[number].address.get() }
    }

    /// Waits for an operation's end.
    #[track_caller]
    pub fn end(&self, number: usize) -> End {
        let entry = self.entries[number];
        let until = Instant::now() + LIMIT;
        let mut completed = self.shared.completed.lock().expect("no panic");
        loop {
            if let Some(result) = *entry.result.lock().expect("no panic") {
                return End {
                    status: result.status,
                    bytes: result.bytes,
                    value: result.value,
                };
            }
            let left = until.checked_duration_since(Instant::now());
            let left = left.expect("an operation has no completion");
            completed = self
                .shared
                .changed
                .wait_timeout(completed, left)
                .expect("no panic")
                .0;
        }
    }

    /// Marks the buffer of an operation that has ended: nobody may touch it from now on.
    pub fn give_back(&mut self, number: usize) {
        let _ = self.bytes(number);
        // SAFETY: as for `bytes`, which has checked it.
        unsafe { (*self.entries[number].buffer.get()).fill(BACK) };
        self.marked.push(number);
    }

    /// Ends a session: every operation has one completion and left its buffer alone since.
    #[track_caller]
    pub fn settle(&mut self, totals: &Totals) {
        for &number in &self.used {
            let end = self.end(number);
            totals
                .succeeded
                .fetch_add(u64::from(end.status == ASOCK_OK), Ordering::Relaxed);
        }
        let count = self.used.len() as u64;
        totals.begun.fetch_add(count, Ordering::SeqCst);
        totals.sessions.fetch_add(1, Ordering::Relaxed);
        for number in std::mem::take(&mut self.marked) {
            let untouched = self.bytes(number).iter().all(|byte| *byte == BACK);
            assert!(untouched, "a buffer was touched when it was back");
        }
        self.free.append(&mut self.used);
        let faults = self.shared.faults.lock().expect("no panic");
        assert!(faults.is_empty(), "{faults:#?}");
        totals.completed.fetch_add(
            std::mem::take(&mut *self.shared.completed.lock().expect("no panic")),
            Ordering::SeqCst,
        );
    }
}
