//! Memory that may be handed to the library while the test looks at it.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;

/// Some bytes on the heap that never move, shared by everybody who holds a clone. The library may write to them at any
/// time, so they are only touched through raw pointers, and no reference to them is ever made.
#[derive(Clone)]
pub struct Memory(Arc<[UnsafeCell<u8>]>);

// SAFETY: the bytes are only touched through raw pointers, and a test looks when it knows that they are its own.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// So many bytes, all `byte`.
    pub fn filled(length: usize, byte: u8) -> Memory {
        Memory::from(vec![byte; length])
    }

    /// So many zeros.
    pub fn new(length: usize) -> Memory {
        Memory::filled(length, 0)
    }

    /// A copy of these bytes.
    pub fn of(bytes: &[u8]) -> Memory {
        Memory::from(bytes.to_vec())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn pointer(&self) -> *mut c_void {
        UnsafeCell::raw_get(self.0.as_ptr()).cast()
    }

    pub fn fill(&self, byte: u8) {
        // SAFETY: the bytes are alive as long as `self`.
        unsafe { self.pointer().cast::<u8>().write_bytes(byte, self.len()) };
        fence(Ordering::SeqCst);
    }

    pub fn bytes(&self) -> Vec<u8> {
        fence(Ordering::SeqCst);
        let mut copy = vec![0; self.len()];
        // SAFETY: the bytes are alive as long as `self`, and the copy is as long.
        unsafe {
            let from = self.pointer().cast::<u8>().cast_const();
            copy.as_mut_ptr().copy_from_nonoverlapping(from, self.len());
        }
        copy
    }

    /// A copy of these bytes while they are the library's, and other threads write to them. The system reads them: a read
    /// of our own would be a data race, and whoever looks for those in the library would find it.
    pub fn peek(&self) -> Vec<u8> {
        let mut copy = vec![0; self.len()];
        let memory = File::open("/proc/self/mem").expect("this is Linux");
        let place = self.pointer() as u64;
        let read = memory.read_exact_at(&mut copy, place);
        read.expect("the bytes are alive as long as `self`");
        copy
    }
}

impl From<Vec<u8>> for Memory {
    fn from(bytes: Vec<u8>) -> Memory {
        let bytes = Box::into_raw(bytes.into_boxed_slice());
        // SAFETY: a cell has the layout of what it holds, and the box is handed on as it is.
        Memory(unsafe { Box::from_raw(bytes as *mut [UnsafeCell<u8>]) }.into())
    }
}

/// Bytes of which each tells its place, so that one that is lost, doubled or misplaced shows.
pub fn pattern(length: usize) -> Vec<u8> {
    // 251 is prime: the pattern does not line up with any power of two.
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(length / 251 + 1);
    bytes.truncate(length);
    bytes
}
