//! Messages: what the system's calls with many pieces of memory, or with an address, are told and tell.
//!
//! A message is made when an operation is begun, lies in a box until it has ended, and is then used for another one. The
//! system writes into it while a call runs or, where requests are handed over, at any time until they are done.

use super::SysResult;
use crate::address::{Address, Family};
use crate::foreign::{self, AddressOut, Buffer};
use crate::status::OsError;
use std::cell::UnsafeCell;
use std::mem::{size_of, MaybeUninit};

/// Pieces that one system call takes.
pub const PIECES: usize = if cfg!(test) {
    4
} else {
    libc::UIO_MAXIOV as usize
};
/// The room for an address.
const ROOM: usize = size_of::<libc::sockaddr_storage>();

pub struct Message {
    header: UnsafeCell<libc::msghdr>,
    /// The address to send to, or the room for that of the sender.
    address: UnsafeCell<[u64; ROOM / 8]>,
    /// How long the address to send to is; 0 where there is none.
    address_length: usize,
    pieces: Vec<libc::iovec>,
    /// The first piece that is not done.
    next: usize,
    /// Bytes of the pieces that are not done.
    left: usize,
    /// It is one datagram: what does not go as a whole does not go at all.
    whole: bool,
    /// Where the address of the sender is to be written.
    sender: AddressOut,
    /// A sender without an address is an unnamed unix socket.
    unix: bool,
    /// The bytes themselves, where the application does not keep them.
    copy: Option<Box<[u8]>>,
}

// SAFETY: its pointers are those of buffers, which promise 6 makes the library's on whichever thread, and pointers into
// itself, which are made anew before every use.
unsafe impl Send for Message {}

impl Message {
    /// A message of nothing; `None` when there is no room for it.
    pub fn new() -> Option<Box<Message>> {
        // SAFETY: the header consists of integers and pointers, which all may be zero.
        let header = unsafe { MaybeUninit::zeroed().assume_init() };
        foreign::try_box(Message {
            header: UnsafeCell::new(header),
            address: UnsafeCell::new([0; ROOM / 8]),
            address_length: 0,
            pieces: Vec::new(),
            next: 0,
            left: 0,
            whole: false,
            sender: AddressOut::NONE,
            unix: false,
            copy: None,
        })
    }

    /// Lets go of everything but the memory that the next use needs again.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.next = 0;
        self.left = 0;
        self.whole = false;
        self.address_length = 0;
        self.sender = AddressOut::NONE;
        self.unix = false;
        self.copy = None;
    }

    /// Makes room for so many pieces; false when there is none.
    pub fn reserve(&mut self, pieces: usize) -> bool {
        let more = pieces.saturating_sub(self.pieces.len());
        self.pieces.try_reserve(more).is_ok()
    }

    /// Adds a piece of memory; without `reserve` it may have to allocate. Empty ones are left out, so that every call asks
    /// for something as long as there is something left.
    pub fn push(&mut self, piece: Buffer) {
        if piece.is_empty() {
            return;
        }
        self.pieces.push(libc::iovec {
            iov_base: piece.pointer().cast(),
            iov_len: piece.len(),
        });
        self.left += piece.len();
    }

    /// Makes it one datagram.
    pub fn make_whole(&mut self) {
        self.whole = true;
    }

    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Adds a piece that is the message's own.
    pub fn push_copy(&mut self, copy: Box<[u8]>) {
        let piece = Buffer::of_box(self.copy.insert(copy));
        self.push(piece);
    }

    /// Sends it to that address.
    pub fn send_to(&mut self, address: &Address) {
        let bytes = address.as_bytes();
        let room = self.address.get_mut();
        *room = [0; ROOM / 8];
        for (word, part) in room.iter_mut().zip(bytes.chunks(8)) {
            let mut copy = [0; 8];
            copy[..part.len()].copy_from_slice(part);
            *word = u64::from_ne_bytes(copy);
        }
        self.address_length = bytes.len();
    }

    /// The address that it goes to.
    pub fn to(&self) -> Address {
        // SAFETY: the system only reads it, and no reference to it is made.
        let room = unsafe { *self.address.get() };
        address_in(room, self.address_length)
    }

    /// Whether the system tells when there is room for it. It does not for a unix socket that this one is not connected
    /// to, and that has not received what it got before.
    pub fn room_is_told(&self) -> bool {
        self.address_length == 0 || self.to().family() != Family::Unix
    }

    /// Writes the address of the sender there, when `write_sender` is called. On a unix socket a sender may have none.
    pub fn receive_from(&mut self, sender: AddressOut, unix: bool) {
        self.sender = sender;
        self.unix = unix;
    }

    /// So many bytes of it have been moved.
    pub fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.left);
        let mut bytes = bytes.min(self.left);
        self.left -= bytes;
        while let Some(piece) = self.pieces.get_mut(self.next) {
            if bytes < piece.iov_len {
                piece.iov_base = piece.iov_base.wrapping_byte_add(bytes);
                piece.iov_len -= bytes;
                return;
            }
            bytes -= piece.iov_len;
            self.next += 1;
        }
    }

    /// Bytes that the next call asks for.
    pub fn asked(&self) -> usize {
        let ahead = self.ahead().iter();
        ahead.fold(0, |sum, piece| sum + piece.iov_len)
    }

    /// The pieces of the next call.
    fn ahead(&self) -> &[libc::iovec] {
        let rest = &self.pieces[self.next..];
        &rest[..rest.len().min(PIECES)]
    }

    /// The first piece that is not done.
    pub fn piece(&self) -> Buffer {
        match self.ahead().first() {
            // SAFETY: it is a buffer that was pushed, or the rest of one.
            Some(piece) => unsafe { Buffer::new(piece.iov_base.cast(), piece.iov_len) },
            None => Buffer::EMPTY,
        }
    }

    /// The header for a send, made anew. It is good until the message is changed or moved.
    pub fn outgoing(&self) -> SysResult<*const libc::msghdr> {
        self.prepare(self.address_length).map(<*mut _>::cast_const)
    }

    /// The header for a receive, made anew. It is good until the message is changed or moved.
    pub fn incoming(&self) -> SysResult<*mut libc::msghdr> {
        self.prepare(if self.sender.wanted() { ROOM } else { 0 })
    }

    fn prepare(&self, address_length: usize) -> SysResult<*mut libc::msghdr> {
        if self.whole && self.pieces.len() > PIECES {
            return Err(OsError(libc::EMSGSIZE));
        }
        let pieces = self.ahead();
        let header = self.header.get();
        // SAFETY: the header is this message's own, and no reference to it is ever made; the system has no call on this
        // message under way when one is prepared. The calls do not write to the array of pieces.
        unsafe {
            (*header).msg_name = match address_length {
                0 => std::ptr::null_mut(),
                _ => self.address.get().cast(),
            };
            (*header).msg_namelen = address_length as libc::socklen_t;
            (*header).msg_iov = pieces.as_ptr().cast_mut();
            (*header).msg_iovlen = pieces.len() as _;
            (*header).msg_control = std::ptr::null_mut();
            (*header).msg_controllen = 0;
            (*header).msg_flags = 0;
        }
        Ok(header)
    }

    /// Who sent what was received last; none on a stream.
    pub fn from(&self) -> Address {
        // SAFETY: the call that wrote here is over, and no reference to it is made.
        let (length, room) = unsafe { ((*self.header.get()).msg_namelen, *self.address.get()) };
        match (length as usize).min(ROOM) {
            0 if self.unix => Address::UNNAMED,
            length => address_in(room, length),
        }
    }

    /// Writes the sender's address to where the application wants it.
    pub fn write_sender(&self) {
        if self.sender.wanted() {
            self.sender.write(&self.from());
        }
    }

    /// Whether there was more in the datagram than there was room for.
    pub fn truncated(&self) -> bool {
        // SAFETY: the call that wrote here is over, and no reference to it is made.
        let flags = unsafe { (*self.header.get()).msg_flags };
        flags & libc::MSG_TRUNC != 0
    }
}

fn address_in(room: [u64; ROOM / 8], length: usize) -> Address {
    let mut bytes = [0; ROOM];
    for (part, word) in bytes.chunks_exact_mut(8).zip(room) {
        part.copy_from_slice(&word.to_ne_bytes());
    }
    Address::from_bytes(&bytes[..length])
}

#[cfg(test)]
impl Message {
    /// Bytes that are still to be moved.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Notes what a system would: who sent it, and whether there was more.
    pub fn received(&self, from: &Address, truncated: bool) {
        let bytes = from.as_bytes();
        // SAFETY: nobody else has it during this call; an address fits into the room.
        unsafe {
            let room = self.address.get().cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len());
            (*self.header.get()).msg_namelen = bytes.len() as libc::socklen_t;
            (*self.header.get()).msg_flags = if truncated { libc::MSG_TRUNC } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    //! What a message asks for as it goes on, and what the system tells in it, over pairs of sockets on loopback.

    use super::*;
    use crate::sys::socket::{self, Kind, RawDescriptor, ReceiveFlags, SendFlags};
    use crate::sys::{Epoll, Events, WOULD_BLOCK};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn message_of(pieces: &mut [Box<[u8]>]) -> Box<Message> {
        let mut message = Message::new().expect("there is memory");
        assert!(message.reserve(pieces.len()));
        for piece in pieces {
            message.push(Buffer::of_box(piece));
        }
        message
    }

    fn raw(socket: &impl AsRawFd) -> RawDescriptor {
        RawDescriptor(socket.as_raw_fd())
    }

    fn address_of(socket: &UdpSocket) -> Address {
        socket::local_name(raw(socket)).expect("has a name")
    }

    /// Receives as soon as there is something.
    fn receive(socket: RawDescriptor, message: &Message, peek: bool) -> SysResult<usize> {
        let flags = ReceiveFlags {
            peek,
            ..ReceiveFlags::default()
        };
        let epoll = Epoll::new().expect("makes an epoll");
        let mut events = Events::with_capacity(1).expect("makes room");
        epoll.add(socket, 1).expect("adds");
        loop {
            match socket::receive_message(socket, message, flags) {
                Err(WOULD_BLOCK) => epoll.wait(&mut events, -1).expect("waits"),
                answer => return answer,
            }
        }
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        let lengths = [3, 0, 2, 0, 0, 0, 0, 0, 5, 1, 4, 0];
        let mut pieces: Vec<Box<[u8]>> = lengths.map(|length| vec![0; length].into()).into();
        for step in [1, 2, 3, 4, 5] {
            let mut message = message_of(&mut pieces);
            let mut moved = 0;
            while message.left() > 0 {
                let ahead = message.ahead().len();
                assert!(ahead <= PIECES && message.asked() <= message.left());
                let bytes = step.min(message.asked());
                assert!(bytes > 0, "it would never end");
                message.advance(bytes);
                moved += bytes;
                assert_eq!(message.left(), 15 - moved);
            }
            assert_eq!(moved, 15);
        }
    }

    #[test]
    fn a_datagram_of_too_many_pieces_is_too_long() {
        let mut pieces: Vec<Box<[u8]>> = vec![Box::new([1]); PIECES + 1];
        let mut message = message_of(&mut pieces);
        assert!(message.outgoing().is_ok());
        message.make_whole();
        assert_eq!(message.outgoing().err(), Some(OsError(libc::EMSGSIZE)));
    }

    #[test]
    fn a_datagram_says_where_it_comes_from_and_whether_it_was_cut() {
        let [one, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("binds"));
        let mut out: [Box<[u8]>; 2] = [Box::new(*b"data"), Box::new(*b"gram")];
        let mut message = message_of(&mut out);
        message.make_whole();
        message.send_to(&address_of(&other));
        assert_eq!(message.to(), address_of(&other));
        let sent = socket::send_message(raw(&one), &message, SendFlags::default());
        assert_eq!(sent, Ok(8));

        let mut from = Address::NONE.to_abi();
        for (room, bytes, cut) in [([3, 2], 5, true), ([4, 5], 8, false)] {
            let mut pieces = room.map(|length| vec![0_u8; length].into_boxed_slice());
            let mut message = message_of(&mut pieces);
            // SAFETY: a local, which outlives the message.
            message.receive_from(unsafe { AddressOut::new(&raw mut from) }, false);
            assert_eq!(receive(raw(&other), &message, cut), Ok(bytes));
            assert_eq!(message.truncated(), cut);
            assert_eq!(&*pieces.concat(), &b"datagram\0"[..room[0] + room[1]]);
            message.write_sender();
            assert_eq!(Address::from_abi(&from), Some(address_of(&one)));
            message.clear();
            assert_eq!((message.left(), message.asked()), (0, 0));
        }
    }

    #[test]
    fn an_unnamed_sender_has_no_path() {
        let [one, other] = std::os::unix::net::UnixDatagram::pair()
            .map(<[_; 2]>::from)
            .expect("makes a pair");
        let mut bytes = [Box::from([7_u8; 1])];
        let sent = socket::send_message(raw(&one), &message_of(&mut bytes), SendFlags::default());
        assert_eq!(sent, Ok(1));
        let mut message = message_of(&mut bytes);
        let mut from = Address::NONE.to_abi();
        // SAFETY: a local, which outlives the message.
        message.receive_from(unsafe { AddressOut::new(&raw mut from) }, true);
        assert_eq!(receive(raw(&other), &message, false), Ok(1));
        message.write_sender();
        let from = Address::from_abi(&from).expect("is an address");
        assert_eq!(from.to_string(), "unix:");
        let stranger = socket::open(crate::address::Family::Unix, Kind::Datagram, false);
        let unbound = stranger.and_then(|socket| socket::local_name(socket.raw()));
        assert_eq!(unbound, Ok(from));
    }
}
