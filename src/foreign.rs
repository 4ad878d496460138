//! The caller's pointers. They come in through `ffi`, are carried about as plain values, and are
//! followed only here and in `sys`.
#![allow(unsafe_code)] // The one place above `sys` where a pointer of the application is followed.

use crate::abi::{asock_address, asock_buffer, asock_callback, asock_log_callback, asock_result};
use crate::address::Address;
use std::ffi::c_void;

/// Memory of the application that belongs to the library until a completion hands it back
/// (promise 6). The library never looks at it but through a system call.
#[derive(Clone, Copy)]
pub struct Buffer {
    pointer: *mut u8,
    length: usize,
}

// SAFETY: promise 6: from `begin_*` until the completion the memory is the library's, on whichever
// thread; the application keeps it alive and leaves it alone.
unsafe impl Send for Buffer {}
// SAFETY: as above; nothing is read or written through a shared `Buffer`.
unsafe impl Sync for Buffer {}

impl Buffer {
    pub const EMPTY: Buffer = Buffer {
        pointer: std::ptr::null_mut(),
        length: 0,
    };

    /// # Safety
    /// `pointer` is valid for `length` bytes, for as long as the contract's promise 6 says.
    pub const unsafe fn new(pointer: *mut u8, length: usize) -> Buffer {
        Buffer { pointer, length }
    }

    /// Memory of the library's own: the caller keeps it, unmoved, until the operation is over.
    pub fn of_box(bytes: &mut Box<[u8]>) -> Buffer {
        Buffer {
            pointer: bytes.as_mut_ptr(),
            length: bytes.len(),
        }
    }

    /// The bytes of a file: no memory, only how many they are.
    pub fn of_file(length: usize) -> Buffer {
        Buffer {
            length,
            ..Buffer::EMPTY
        }
    }

    /// Where an operation has no memory, a number of the library's own takes its place.
    pub fn of_number(number: u64) -> Buffer {
        let upper = (number >> 32) as usize;
        Buffer {
            pointer: std::ptr::null_mut::<u8>().wrapping_add(upper),
            length: number as u32 as usize,
        }
    }

    /// The number of `of_number`.
    pub fn number(&self) -> u64 {
        (self.pointer as usize as u64) << 32 | self.length as u64
    }

    /// A copy of the bytes, for `ASOCK_SEND_COPY`; `None` when there is no room for it.
    pub fn copy(&self) -> Option<Box<[u8]>> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.length).ok()?;
        if self.length > 0 {
            // SAFETY: `new` was promised a valid buffer, and this runs inside the `begin_*` call.
            copy.extend_from_slice(unsafe {
                std::slice::from_raw_parts(self.pointer, self.length)
            });
        }
        Some(copy.into_boxed_slice())
    }

    pub fn pointer(&self) -> *mut u8 {
        self.pointer
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first `most` bytes, or as many as there are.
    pub fn first(&self, most: usize) -> Buffer {
        Buffer {
            pointer: self.pointer,
            length: self.length.min(most),
        }
    }

    /// What is left after the first `from` bytes.
    pub fn part(&self, from: usize) -> Buffer {
        let from = from.min(self.length);
        Buffer {
            pointer: self.pointer.wrapping_add(from),
            length: self.length - from,
        }
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::EMPTY
    }
}

/// Pieces of memory that one operation sends or fills. The array is the application's and is only
/// looked at during the call; the memory is as that of a `Buffer`.
pub struct Pieces {
    array: *const asock_buffer,
    count: usize,
    total: usize,
}

impl Pieces {
    /// # Safety
    /// The array has `count` pieces, one at least, of `total` bytes together, and is there during
    /// the call; each piece is as `Buffer::new` demands.
    pub const unsafe fn new(array: *const asock_buffer, count: usize, total: usize) -> Pieces {
        Pieces {
            array,
            count,
            total,
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = Buffer> + '_ {
        (0..self.count).map(|at| {
            // SAFETY: within the array that `new` was promised, during the call.
            let piece = unsafe { self.array.add(at).read() };
            Buffer {
                pointer: piece.data.cast(),
                length: piece.length,
            }
        })
    }

    /// Stands for all of them: it begins where the first one does and is as long as they are
    /// together. It is memory only where there is no more than one, or nothing in them.
    pub fn whole(&self) -> Buffer {
        let first = self.iter().next().unwrap_or_default();
        Buffer {
            pointer: first.pointer,
            length: self.total,
        }
    }

    /// Whether `whole` is memory.
    pub fn is_whole(&self) -> bool {
        self.count == 1 || self.total == 0
    }

    /// The bytes of all of them, for `ASOCK_SEND_COPY`; `None` when there is no room for them.
    pub fn copy(&self) -> Option<Box<[u8]>> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.total).ok()?;
        for piece in self.iter().filter(|piece| !piece.is_empty()) {
            // SAFETY: `new` was promised valid memory, and this runs inside the `begin_*` call.
            copy.extend_from_slice(unsafe {
                std::slice::from_raw_parts(piece.pointer, piece.length)
            });
        }
        Some(copy.into_boxed_slice())
    }
}

/// The application's own word, handed back bit for bit and never followed.
#[derive(Clone, Copy)]
pub struct UserData(*mut c_void);

impl Default for UserData {
    fn default() -> UserData {
        UserData::NONE
    }
}

// SAFETY: the value is only carried; what it points to is the application's affair.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub const NONE: UserData = UserData(std::ptr::null_mut());

    pub const fn new(pointer: *mut c_void) -> UserData {
        UserData(pointer)
    }

    pub fn pointer(self) -> *mut c_void {
        self.0
    }
}

/// Where `begin_*` writes the operation's handle, if the application wants it.
pub struct HandleOut(*mut u64);

impl HandleOut {
    pub const NONE: HandleOut = HandleOut(std::ptr::null_mut());

    /// # Safety
    /// `place` is NULL or valid for a write until the `begin_*` call that it was given to returns.
    pub const unsafe fn new(place: *mut u64) -> HandleOut {
        HandleOut(place)
    }

    /// A place of a test's own, which outlives the begin.
    #[cfg(test)]
    pub fn of(place: &mut u64) -> HandleOut {
        HandleOut(place)
    }

    pub fn wanted(&self) -> bool {
        !self.0.is_null()
    }

    pub fn write(&self, handle: u64) {
        if self.wanted() {
            // SAFETY: `new` was promised a place that is valid during the `begin_*` call, and this
            // is only reached inside it.
            unsafe { self.0.write(handle) };
        }
    }
}

/// Where the address of a sender is written, if the application wants it.
#[derive(Clone, Copy)]
pub struct AddressOut(*mut asock_address);

// SAFETY: promise 6: from `begin_*` until the completion the place is the library's, on whichever thread.
unsafe impl Send for AddressOut {}

impl AddressOut {
    pub const NONE: AddressOut = AddressOut(std::ptr::null_mut());

    /// # Safety
    /// `place` is NULL or valid for a write until the operation that it was given to has completed.
    pub const unsafe fn new(place: *mut asock_address) -> AddressOut {
        AddressOut(place)
    }

    pub fn wanted(&self) -> bool {
        !self.0.is_null()
    }

    pub fn write(&self, address: &Address) {
        if self.wanted() {
            // SAFETY: `new` was promised a place that is valid until the completion, which comes after this.
            unsafe { self.0.write_unaligned(address.to_abi()) };
        }
    }
}

// SAFETY: its pointers are the application's own, carried back to it and never followed.
unsafe impl Send for asock_result {}

/// How the application wants to hear of an operation's end.
pub struct Notify {
    pub callback: asock_callback,
    pub user_data: UserData,
    pub op: HandleOut,
}

impl Notify {
    /// Nobody is told: the library's own operations.
    pub const NONE: Notify = Notify {
        callback: None,
        user_data: UserData::NONE,
        op: HandleOut::NONE,
    };
}

/// Calls the application's function. The result is valid during the call only.
pub fn call(callback: asock_callback, result: &asock_result) {
    if let Some(callback) = callback {
        // SAFETY: the application promised, by giving it to `begin_*`, that the function may be
        // called from this thread with its own user data; it must not unwind (see the header).
        unsafe { callback(result, result.user_data) };
    }
}

/// Hands a message, which ends with a zero, to the application's log function.
pub fn log(callback: asock_log_callback, level: u32, message: &[u8], user_data: UserData) {
    debug_assert_eq!(message.last(), Some(&0));
    if let Some(callback) = callback {
        // SAFETY: as for `call`; the message is valid during the call.
        unsafe { callback(level, message.as_ptr().cast(), user_data.pointer()) };
    }
}

/// A value on the heap, or `None` when there is no room for it.
pub fn try_box<T>(value: T) -> Option<Box<T>> {
    let layout = std::alloc::Layout::new::<T>();
    assert_ne!(layout.size(), 0);
    // SAFETY: the layout is not empty.
    let place = unsafe { std::alloc::alloc(layout) }.cast::<T>();
    if place.is_null() {
        return None;
    }
    // SAFETY: the place was just allocated for a `T`, in the way that `Box` frees it.
    unsafe {
        place.write(value);
        Some(Box::from_raw(place))
    }
}

/// Writes addresses into the application's array, whose length the buffer counts in addresses;
/// those for which there is no room are left out.
pub fn write_addresses(array: Buffer, addresses: &[Address]) {
    let first = array.pointer().cast::<asock_address>();
    for (index, address) in addresses.iter().enumerate().take(array.len()) {
        // SAFETY: promise 6: the array has room for as many addresses as its buffer says, and is
        // the library's until the completion.
        unsafe { first.add(index).write_unaligned(address.to_abi()) };
    }
}
