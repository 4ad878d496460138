//! Vectored calls: several pieces of memory in one operation.

use super::{begun, record, Completion, Memory, Recorder};
use asock::*;
use std::ptr::null_mut;

/// Bytes cut into pieces of these lengths, again and again, until they are used up. Those of length 0 are NULL.
pub fn cut(bytes: &[u8], lengths: &[usize]) -> Vec<Memory> {
    assert!(lengths.iter().any(|length| *length > 0));
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at((*length).min(rest.len()));
        pieces.push(Memory::of(piece));
        rest = behind;
    }
    pieces
}

/// Room in pieces of these lengths.
pub fn rooms(lengths: &[usize]) -> Vec<Memory> {
    lengths.iter().map(|length| Memory::new(*length)).collect()
}

pub fn total(pieces: &[Memory]) -> usize {
    pieces.iter().map(Memory::len).sum()
}

/// What the pieces hold.
pub fn joined(pieces: &[Memory]) -> Vec<u8> {
    pieces.iter().flat_map(Memory::bytes).collect()
}

/// What the pieces hold while they are the library's.
pub fn peeked(pieces: &[Memory]) -> Vec<u8> {
    pieces.iter().flat_map(Memory::peek).collect()
}

/// The array that the library is given; it is copied.
pub fn array_of(pieces: &[Memory]) -> Vec<asock_buffer> {
    let piece = |memory: &Memory| asock_buffer {
        data: match memory.is_empty() {
            true => null_mut(),
            false => memory.pointer(),
        },
        length: memory.len(),
    };
    pieces.iter().map(piece).collect()
}

/// The call that begins a vectored operation; both have the same arguments.
pub type Begin = unsafe extern "C" fn(
    asock_socket,
    *const asock_buffer,
    usize,
    u32,
    asock_callback,
    *mut std::ffi::c_void,
    *mut asock_op,
) -> asock_status;

impl Recorder {
    fn try_vectored(
        &self,
        begin: Begin,
        socket: asock_socket,
        pieces: &[Memory],
        flags: u32,
    ) -> (asock_status, asock_op) {
        pieces.iter().for_each(|piece| self.keep(piece));
        let mut array = array_of(pieces);
        let (mut op, user_data) = (0, self.user_data());
        // SAFETY: the memory and the recorder outlive the operation; the array is read during the call.
        let status = unsafe {
            begin(
                socket,
                array.as_ptr(),
                array.len(),
                flags,
                Some(record),
                user_data,
                &raw mut op,
            )
        };
        // The array was copied.
        array.fill(asock_buffer {
            data: std::ptr::NonNull::dangling().as_ptr(),
            length: usize::MAX,
        });
        std::hint::black_box(&array);
        (status, op)
    }

    pub fn try_send_pieces(
        &self,
        socket: asock_socket,
        pieces: &[Memory],
        flags: u32,
    ) -> (asock_status, asock_op) {
        self.try_vectored(asock_begin_send_vectored, socket, pieces, flags)
    }

    #[track_caller]
    pub fn send_pieces(&self, socket: asock_socket, pieces: &[Memory], flags: u32) -> asock_op {
        let (status, op) = self.try_send_pieces(socket, pieces, flags);
        assert_eq!(status, ASOCK_OK);
        op
    }

    #[track_caller]
    pub fn receive_pieces(&self, socket: asock_socket, pieces: &[Memory], flags: u32) -> asock_op {
        let (status, op) = self.try_vectored(asock_begin_receive_vectored, socket, pieces, flags);
        assert_eq!(status, ASOCK_OK);
        op
    }

    /// Receives once into pieces of these lengths, and waits for it: the completion, and the bytes that it tells of.
    #[track_caller]
    pub fn take_pieces(
        &self,
        socket: asock_socket,
        lengths: &[usize],
        flags: u32,
    ) -> (Completion, Vec<u8>) {
        let pieces = rooms(lengths);
        let op = self.receive_pieces(socket, &pieces, flags);
        let completion = self.completion_of(op);
        assert_eq!(completion.buffer, array_of(&pieces)[0].data);
        let mut bytes = joined(&pieces);
        assert!(completion.bytes <= bytes.len());
        assert!(
            bytes[completion.bytes..].iter().all(|byte| *byte == 0),
            "bytes were written that the completion does not tell of"
        );
        bytes.truncate(completion.bytes);
        (completion, bytes)
    }
}

/// A vectored call that nobody is told of, whatever it answers. The memory must outlive the operation.
pub fn try_untold_vectored(begin: Begin, socket: asock_socket, pieces: &[Memory]) -> asock_status {
    let (array, none) = (array_of(pieces), null_mut());
    // SAFETY: the caller keeps the memory; the array is read during the call.
    unsafe {
        begin(
            socket,
            array.as_ptr(),
            array.len(),
            0,
            None,
            none,
            null_mut(),
        )
    }
}

/// A vectored call without a callback. The memory must outlive the operation.
pub fn plain_vectored(begin: Begin, socket: asock_socket, pieces: &[Memory]) -> asock_op {
    let array = array_of(pieces);
    // SAFETY: the caller keeps the memory; the array is read during the call.
    begun(|op| unsafe { begin(socket, array.as_ptr(), array.len(), 0, None, null_mut(), op) })
}
