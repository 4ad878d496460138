//! Sockets: owned descriptors and the calls on them, none of which ever blocks.

use super::port::may_be_chosen;
use super::{checked, direct, retried, Message, SysResult};
use crate::address::{Address, Family};
use crate::foreign::Buffer;
use crate::status::OsError;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The name of a descriptor. Whoever uses it sees to it that the descriptor is still open: by owning the
/// [`Descriptor`], or by keeping its owner from dropping it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawDescriptor(pub(super) libc::c_int);

impl Default for RawDescriptor {
    fn default() -> RawDescriptor {
        RawDescriptor::NONE
    }
}

impl RawDescriptor {
    /// No descriptor.
    pub const NONE: RawDescriptor = RawDescriptor(-1);

    /// The descriptor, if it is one.
    pub fn get(self) -> Option<RawDescriptor> {
        (self != RawDescriptor::NONE).then_some(self)
    }

    /// The number as the application sees it.
    pub fn number(self) -> i64 {
        i64::from(self.0)
    }
}

/// A descriptor that is ours, and is closed when this is dropped. Linux gives the number free also when the close reports
/// an error or an interruption: it is never tried again, which could close one that another thread just got.
#[derive(Debug)]
pub struct Descriptor(OwnedFd);

impl Descriptor {
    /// Takes over a descriptor that a system call has just given.
    pub(super) fn owning(number: libc::c_int) -> Descriptor {
        debug_assert!(number >= 0);
        // SAFETY: the system has just given it to the caller, so it is open and nobody else's.
        Descriptor(unsafe { OwnedFd::from_raw_fd(number) })
    }

    pub fn raw(&self) -> RawDescriptor {
        RawDescriptor(self.0.as_raw_fd())
    }
}

/// What flows through a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    #[default]
    Stream,
    Datagram,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendFlags {
    /// More follows at once: the system may wait for it to fill a packet.
    pub more: bool,
    pub out_of_band: bool,
}

impl SendFlags {
    /// As the system's calls take them, none of which waits or raises a signal.
    pub fn bits(self) -> libc::c_int {
        let more = if self.more { libc::MSG_MORE } else { 0 };
        let urgent = if self.out_of_band { libc::MSG_OOB } else { 0 };
        libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | more | urgent
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiveFlags {
    /// Leave in the queue what is read.
    pub peek: bool,
    pub out_of_band: bool,
    /// Of a datagram: tell how long it was, also where there is less room.
    pub whole: bool,
}

impl ReceiveFlags {
    /// As the system's calls take them.
    pub fn bits(self) -> libc::c_int {
        let peek = if self.peek { libc::MSG_PEEK } else { 0 };
        let urgent = if self.out_of_band { libc::MSG_OOB } else { 0 };
        let whole = if self.whole { libc::MSG_TRUNC } else { 0 };
        peek | urgent | whole
    }
}

/// Makes a socket.
pub fn open(family: Family, kind: Kind, waits: bool) -> SysResult<Descriptor> {
    let domain = match family {
        Family::None => return Err(OsError(libc::EAFNOSUPPORT)),
        Family::Ipv4 => libc::AF_INET,
        Family::Ipv6 => libc::AF_INET6,
        Family::Unix => libc::AF_UNIX,
    };
    let kind = match kind {
        Kind::Stream => libc::SOCK_STREAM,
        Kind::Datagram => libc::SOCK_DGRAM,
    };
    let waits = if waits { 0 } else { libc::SOCK_NONBLOCK };
    let flags = waits | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes no pointer.
    let number = checked(unsafe { libc::socket(domain, kind | flags, 0) })?;
    Ok(Descriptor::owning(number))
}

/// Begins to connect: true when it is done, false when it goes on (the socket then becomes writable, and
/// [`take_error`] tells how it ended). A unix socket whose listener's queue is full gives [`super::WOULD_BLOCK`]:
/// nothing goes on then, and no event follows.
pub fn connect(socket: RawDescriptor, address: &Address) -> SysResult<bool> {
    let bytes = address.as_bytes();
    // SAFETY: the pointer and the length are those of one slice, which the call reads.
    let answer = checked(unsafe {
        libc::connect(
            socket.0,
            bytes.as_ptr().cast(),
            bytes.len() as libc::socklen_t,
        )
    });
    match answer {
        Ok(_) => Ok(true),
        // An interrupted connect goes on by itself, and another call would find it under way.
        Err(OsError(libc::EINPROGRESS | libc::EINTR)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends what the system takes at once, and says how much that was.
#[inline(always)]
pub fn send(socket: RawDescriptor, buffer: Buffer, flags: SendFlags) -> SysResult<usize> {
    let bits = flags.bits();
    // SAFETY: who begins an operation promises that its buffer is good for its length until the completion.
    retried(|| unsafe { direct::send(socket, buffer.pointer(), buffer.len(), bits) })
}

/// Sends what the system takes at once of a message, and says how much that was.
pub fn send_message(
    socket: RawDescriptor,
    message: &Message,
    flags: SendFlags,
) -> SysResult<usize> {
    let header = message.outgoing()?;
    // SAFETY: the header and what it points to lie in the message, which is borrowed; its pieces are good until the
    // completion, as above.
    retried(|| unsafe { libc::sendmsg(socket.0, header, flags.bits()) })
}

/// Receives what is there into a message, which can then tell who sent it and whether it was cut off.
pub fn receive_message(
    socket: RawDescriptor,
    message: &Message,
    flags: ReceiveFlags,
) -> SysResult<usize> {
    let header = message.incoming()?;
    let bits = flags.bits() | libc::MSG_DONTWAIT;
    // SAFETY: as in `send_message`; what the call writes to in the message itself lies in cells.
    retried(|| unsafe { libc::recvmsg(socket.0, header, bits) })
}

/// Receives what is there; 0 bytes into a buffer with room mean the end of the stream.
#[inline(always)]
pub fn receive(socket: RawDescriptor, buffer: Buffer, flags: ReceiveFlags) -> SysResult<usize> {
    let bits = flags.bits() | libc::MSG_DONTWAIT;
    // SAFETY: who begins an operation promises that its buffer is good for its length until the completion, and
    // that nobody else touches it.
    retried(|| unsafe { direct::receive(socket, buffer.pointer(), buffer.len(), bits) })
}

/// Whether a receive would find something, be it the end of the stream; takes nothing. If not, the error is
/// [`super::WOULD_BLOCK`] or that of the connection.
pub fn readable(socket: RawDescriptor) -> SysResult<()> {
    let mut byte = 0_u8;
    let bits = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the call writes at most one byte, into a local.
    retried(|| unsafe { libc::recv(socket.0, (&raw mut byte).cast(), 1, bits) })?;
    Ok(())
}

/// Whether a send would find room, or an error. If not, the error is [`super::WOULD_BLOCK`], and the socket tells when
/// that changes.
pub fn writable(socket: RawDescriptor) -> SysResult<()> {
    let mut asked = libc::pollfd {
        fd: socket.0,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: the call reads and writes one such structure, a local.
    match retried(|| unsafe { libc::poll(&raw mut asked, 1, 0) } as libc::ssize_t)? {
        0 => Err(super::WOULD_BLOCK),
        _ => Ok(()),
    }
}

/// The error that waits on the socket, which it then no longer has; the default where there is none.
pub fn take_error(socket: RawDescriptor) -> OsError {
    match get_int(socket, libc::SOL_SOCKET, libc::SO_ERROR) {
        Ok(number) => OsError(number),
        Err(error) => error,
    }
}

/// Ends one direction or both.
pub fn shutdown(socket: RawDescriptor, receive: bool, send: bool) -> SysResult<()> {
    let how = match (receive, send) {
        (true, true) => libc::SHUT_RDWR,
        (true, false) => libc::SHUT_RD,
        (false, true) => libc::SHUT_WR,
        (false, false) => return Ok(()),
    };
    // SAFETY: the call takes no pointer.
    checked(unsafe { libc::shutdown(socket.0, how) })?;
    Ok(())
}

/// Whether bytes have arrived that nobody has received.
pub fn unread(socket: RawDescriptor) -> bool {
    let mut count: libc::c_int = 0;
    // SAFETY: this request writes one int, into a local.
    let answer = unsafe { libc::ioctl(socket.0, libc::FIONREAD, &raw mut count) };
    answer == 0 && count > 0
}

/// The address of this end.
pub fn local_name(socket: RawDescriptor) -> SysResult<Address> {
    // SAFETY: `name_of` gives pointers to room and to its length, as the call demands.
    name_of(|room, length| unsafe { libc::getsockname(socket.0, room, length) })
}

/// Whether a connection to that port is one of a socket with itself. The names of both ends tell, not the address that
/// was connected to: 0.0.0.0 and any address of this machine's interfaces lead here too. Mostly the system does not choose
/// such a port by itself, and no call is needed; or our own port differs, and one is enough.
pub fn is_its_own_peer(socket: RawDescriptor, port: u16) -> bool {
    if !may_be_chosen(port) {
        return false;
    }
    let Ok(own) = local_name(socket) else {
        return false;
    };
    if own.port() != port {
        return false;
    }
    if get_int(socket, libc::SOL_SOCKET, libc::SO_TYPE) == Ok(libc::SOCK_DGRAM) {
        return false; // Whoever sends datagrams to himself has meant to.
    }
    peer_name(socket) == Ok(own)
}

/// The address of the other end.
pub fn peer_name(socket: RawDescriptor) -> SysResult<Address> {
    // SAFETY: as in `local_name`.
    name_of(|room, length| unsafe { libc::getpeername(socket.0, room, length) })
}

/// Ends a TCP connection with a reset now, also where a forked child holds a copy of the descriptor.
pub fn disconnect(socket: RawDescriptor) -> SysResult<()> {
    let nowhere = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: the pointer and the length are those of a local, which the call reads.
    checked(unsafe {
        libc::connect(
            socket.0,
            &raw const nowhere,
            size_of_val(&nowhere) as libc::socklen_t,
        )
    })?;
    Ok(())
}

fn name_of(
    call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int,
) -> SysResult<Address> {
    let mut room = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    checked(call(room.as_mut_ptr().cast(), &raw mut length))?;
    let length = (length as usize).min(size_of::<libc::sockaddr_storage>());
    // SAFETY: the room was all zero, so every byte of it is initialized; `length` is at most its size.
    let bytes = unsafe { std::slice::from_raw_parts(room.as_ptr().cast::<u8>(), length) };
    Ok(Address::from_bytes(bytes))
}

/// Sets an option whose value is a plain structure of the system.
pub(super) fn set_value<T: Copy>(
    socket: RawDescriptor,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> SysResult<()> {
    // SAFETY: the pointer and the length are those of one value, which the call reads.
    checked(unsafe {
        libc::setsockopt(
            socket.0,
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// Reads an option that is an int.
pub(super) fn get_int(
    socket: RawDescriptor,
    level: libc::c_int,
    name: libc::c_int,
) -> SysResult<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointers are those of locals; the call writes no more than `length` bytes of the value.
    checked(unsafe {
        libc::getsockopt(
            socket.0,
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

/// Reads how long a close lingers.
pub(super) fn get_linger(socket: RawDescriptor) -> SysResult<libc::linger> {
    let mut value = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    let mut length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the pointers are those of locals; the call writes no more than `length` bytes of the value.
    checked(unsafe {
        libc::getsockopt(
            socket.0,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    //! A pair of connected sockets on loopback, and what each call answers at each stage. Waiting is left to the
    //! standard library's blocking peer and to epoll.

    use super::*;
    use crate::sys::{Epoll, Events, WOULD_BLOCK};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn address_of(listener: &TcpListener) -> Address {
        // The standard library's sockets have the same names.
        use std::os::fd::AsRawFd;
        local_name(RawDescriptor(listener.as_raw_fd())).expect("has a name")
    }

    /// Waits until something happens to the socket.
    fn wait(socket: &Descriptor) {
        let epoll = Epoll::new().expect("makes an epoll");
        let mut events = Events::with_capacity(1).expect("makes room");
        epoll.add(socket.raw(), 1).expect("adds");
        while events.get(0).is_none() {
            epoll.wait(&mut events, -1).expect("waits");
        }
    }

    /// Waits until a receive would find something.
    fn wait_readable(socket: &Descriptor) {
        let epoll = Epoll::new().expect("makes an epoll");
        let mut events = Events::with_capacity(1).expect("makes room");
        epoll.add(socket.raw(), 1).expect("adds");
        while readable(socket.raw()) == Err(WOULD_BLOCK) {
            epoll.wait(&mut events, -1).expect("waits");
        }
    }

    fn pair() -> (Descriptor, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = address_of(&listener);
        let socket = open(Family::Ipv4, Kind::Stream, false).expect("opens");
        if !connect(socket.raw(), &address).expect("connects") {
            wait(&socket);
        }
        assert_eq!(take_error(socket.raw()), OsError(0));
        let (peer, _) = listener.accept().expect("accepts");
        (socket, peer)
    }

    #[test]
    fn bytes_go_both_ways() {
        let (socket, mut peer) = pair();
        let raw = socket.raw();
        let mut room: Box<[u8]> = Box::new([0_u8; 8]);
        assert_eq!(readable(raw), Err(WOULD_BLOCK));
        let none = ReceiveFlags::default();
        assert_eq!(
            receive(raw, Buffer::of_box(&mut room), none),
            Err(WOULD_BLOCK)
        );
        assert!(!unread(raw));

        let mut out: Box<[u8]> = Box::new(*b"over");
        assert_eq!(
            send(raw, Buffer::of_box(&mut out), SendFlags::default()),
            Ok(4)
        );
        let mut got = [0; 4];
        peer.read_exact(&mut got).expect("reads");
        assert_eq!(&got, b"over");

        peer.write_all(b"back").expect("writes");
        wait_readable(&socket);
        assert!(unread(raw));
        let peek = ReceiveFlags { peek: true, ..none };
        assert_eq!(receive(raw, Buffer::of_box(&mut room), peek), Ok(4));
        assert_eq!(receive(raw, Buffer::of_box(&mut room), none), Ok(4));
        assert_eq!(&room[..4], b"back");

        shutdown(raw, false, true).expect("shuts down");
        assert_eq!(peer.read(&mut got).expect("reads the end"), 0);
        let refused = send(raw, Buffer::of_box(&mut out), SendFlags::default());
        assert_eq!(refused, Err(OsError(libc::EPIPE)));

        drop(peer);
        wait_readable(&socket);
        assert_eq!(readable(raw), Ok(()));
        assert_eq!(receive(raw, Buffer::of_box(&mut room), none), Ok(0));
    }

    #[test]
    fn a_reset_is_seen_by_the_peer() {
        let (socket, mut peer) = pair();
        disconnect(socket.raw()).expect("disconnects");
        let error = peer.read(&mut [0]).expect_err("is reset");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    }

    #[test]
    fn nobody_listens() {
        // A port that is taken and does not listen, so that no other test can listen on it meanwhile.
        let silent = open(Family::Ipv4, Kind::Stream, false).expect("opens");
        let any = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
            },
            sin_zero: [0; 8],
        };
        // SAFETY: the pointer and the length are those of a local, which the call reads.
        checked(unsafe {
            let length = size_of_val(&any) as libc::socklen_t;
            libc::bind(silent.raw().0, (&raw const any).cast(), length)
        })
        .expect("binds");
        let address = local_name(silent.raw()).expect("has a name");
        let socket = open(Family::Ipv4, Kind::Stream, false).expect("opens");
        let error = match connect(socket.raw(), &address) {
            Ok(true) => panic!("connected to nobody"),
            Ok(false) => {
                wait(&socket);
                take_error(socket.raw())
            }
            Err(error) => error,
        };
        assert_eq!(error, OsError(libc::ECONNREFUSED));
    }

    #[test]
    fn descriptors_are_close_on_exec_and_no_family_is_no_socket() {
        let socket = open(Family::Unix, Kind::Datagram, false).expect("opens");
        // SAFETY: the call takes no pointer.
        let flags = unsafe { libc::fcntl(socket.raw().0, libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        assert!(socket.raw().number() >= 0);
        let answer = open(Family::None, Kind::Stream, false);
        assert_eq!(answer.err(), Some(OsError(libc::EAFNOSUPPORT)));
    }
}
