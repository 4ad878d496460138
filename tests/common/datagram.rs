//! Datagram sockets: the calls with an address, wrapped once, and the two ends of a line.

use super::calls::{address, local};
use super::{begun, record, Completion, Memory, Recorder, Runtime, LIMIT};
use asock::*;
use std::ffi::CString;
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;

/// The place for the address of a sender, which the library may write at any time.
#[derive(Clone)]
pub struct Sender(Memory);

impl Default for Sender {
    fn default() -> Sender {
        Sender(Memory::filled(2 * size_of::<asock_address>(), 0x77))
    }
}

impl Sender {
    pub fn pointer(&self) -> *mut asock_address {
        let start = self.0.pointer().cast::<u8>();
        start
            .wrapping_add(start.align_offset(align_of::<asock_address>()))
            .cast()
    }

    pub fn address(&self) -> asock_address {
        // SAFETY: it lies within the memory, all bytes of which are set.
        unsafe { self.pointer().read() }
    }

    /// Nobody has written there, be it the library's still or not.
    pub fn is_untouched(&self) -> bool {
        self.0.peek().iter().all(|byte| *byte == 0x77)
    }

    pub fn memory(&self) -> &Memory {
        &self.0
    }
}

/// A new datagram socket.
pub fn open(runtime: &Runtime) -> asock_socket {
    let mut socket = 0;
    // SAFETY: `socket` may be written.
    let status = unsafe { asock_open(runtime.handle(), ASOCK_DATAGRAM, &raw mut socket) };
    assert_eq!(status, ASOCK_OK);
    socket
}

pub fn try_bind(socket: asock_socket, host: Option<&str>, port: u16) -> asock_status {
    let host = host.map(|host| CString::new(host).expect("a host has no zero inside"));
    let text = host.as_ref().map_or(std::ptr::null(), |host| host.as_ptr());
    // SAFETY: it is NULL or ends with a zero.
    unsafe { asock_bind(socket, text, port) }
}

/// A datagram socket that is bound to a port of the system's choice, and its address.
pub fn bound(runtime: &Runtime, host: &str) -> (asock_socket, asock_address) {
    let socket = open(runtime);
    assert_eq!(try_bind(socket, Some(host), 0), ASOCK_OK);
    (socket, local(socket).expect("it is bound"))
}

/// A plain socket at the other end.
pub fn plain(host: &str) -> (UdpSocket, asock_address) {
    let socket = UdpSocket::bind((host, 0)).expect("binds");
    socket
        .set_read_timeout(Some(LIMIT))
        .expect("it is a socket");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, address(host, port))
}

/// A unix socket that does not receive, with its queue filled up: what is sent to its address has to wait. The name is its own
/// in this process.
pub fn full(name: &str) -> (UnixDatagram, asock_address) {
    let name = format!("asock-test-{}-{name}", std::process::id());
    let own = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&own).expect("binds");
    let filler = UnixDatagram::unbound().expect("opens");
    filler.set_nonblocking(true).expect("it is a socket");
    while filler.send_to_addr(b"filler", &own).is_ok() {}
    (socket, address(&format!("unix:@{name}"), 0))
}

/// A socket of ours and a plain one, each connected to the other.
pub fn pair(runtime: &Runtime) -> (asock_socket, UdpSocket) {
    let (peer, peer_address) = plain("127.0.0.1");
    let (socket, own) = bound(runtime, "127.0.0.1");
    let recorder = runtime.recorder();
    let op = recorder.connect_address(socket, &peer_address);
    recorder
        .completion_of(op)
        .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    peer.connect(("127.0.0.1", asock_address_port_of(&own)))
        .expect("connects");
    (socket, peer)
}

pub fn asock_address_port_of(address: &asock_address) -> u16 {
    // SAFETY: it is an address.
    unsafe { asock_address_port(address) }
}

impl Recorder {
    pub fn try_send_to(
        &self,
        socket: asock_socket,
        memory: &Memory,
        flags: u32,
        to: &asock_address,
    ) -> (asock_status, asock_op) {
        self.keep(memory);
        let (data, length) = (memory.pointer().cast_const(), memory.len());
        let (mut op, user_data) = (0, self.user_data());
        // SAFETY: memory and recorder outlive the operation; the address is read during the call.
        let status = unsafe {
            asock_begin_send_to(
                socket,
                data,
                length,
                flags,
                to,
                Some(record),
                user_data,
                &raw mut op,
            )
        };
        (status, op)
    }

    #[track_caller]
    pub fn send_to(
        &self,
        socket: asock_socket,
        memory: &Memory,
        flags: u32,
        to: &asock_address,
    ) -> asock_op {
        let (status, op) = self.try_send_to(socket, memory, flags, to);
        assert_eq!(status, ASOCK_OK);
        op
    }

    pub fn try_receive_from(
        &self,
        socket: asock_socket,
        room: &Memory,
        flags: u32,
        from: &Sender,
    ) -> (asock_status, asock_op) {
        self.keep(room);
        self.keep(from.memory());
        let (buffer, length) = (room.pointer(), room.len());
        let (mut op, user_data) = (0, self.user_data());
        // SAFETY: room, place and recorder outlive the operation.
        let status = unsafe {
            asock_begin_receive_from(
                socket,
                buffer,
                length,
                flags,
                from.pointer(),
                Some(record),
                user_data,
                &raw mut op,
            )
        };
        (status, op)
    }

    #[track_caller]
    pub fn receive_from(
        &self,
        socket: asock_socket,
        room: &Memory,
        flags: u32,
        from: &Sender,
    ) -> asock_op {
        let (status, op) = self.try_receive_from(socket, room, flags, from);
        assert_eq!(status, ASOCK_OK);
        op
    }

    /// Sends to an address, and waits until it has succeeded.
    #[track_caller]
    pub fn put_to(&self, socket: asock_socket, bytes: &[u8], to: &asock_address) {
        let op = self.send_to(socket, &Memory::of(bytes), 0, to);
        let completion = self.completion_of(op);
        completion.expect(ASOCK_KIND_SEND_TO, ASOCK_OK);
        assert_eq!(completion.bytes, bytes.len());
    }

    /// Receives once, and waits for it: the completion, the bytes that it tells of, and the sender.
    #[track_caller]
    pub fn take_from(
        &self,
        socket: asock_socket,
        length: usize,
        flags: u32,
    ) -> (Completion, Vec<u8>, Sender) {
        let (room, from) = (Memory::new(length), Sender::default());
        let op = self.receive_from(socket, &room, flags, &from);
        let completion = self.completion_of(op);
        assert_eq!(completion.buffer, room.pointer());
        let mut bytes = room.bytes();
        assert!(completion.bytes <= bytes.len());
        assert!(bytes[completion.bytes..].iter().all(|byte| *byte == 0));
        bytes.truncate(completion.bytes);
        (completion, bytes, from)
    }

    /// Receives a datagram, which must come from there.
    #[track_caller]
    pub fn expect_from(&self, socket: asock_socket, bytes: &[u8], from: &asock_address) {
        let (completion, got, sender) = self.take_from(socket, bytes.len() + 10, 0);
        completion.expect(ASOCK_KIND_RECEIVE_FROM, ASOCK_OK);
        assert_eq!((&got[..], completion.flags), (bytes, 0));
        assert_eq!(sender.address(), *from);
    }
}

/// Receives without a callback. The places must outlive it.
pub fn plain_receive_from(
    socket: asock_socket,
    room: &Memory,
    flags: u32,
    from: &Sender,
) -> asock_op {
    let (buffer, length, none) = (room.pointer(), room.len(), std::ptr::null_mut());
    // SAFETY: the caller keeps the places.
    begun(|op| unsafe {
        asock_begin_receive_from(
            socket,
            buffer,
            length,
            flags,
            from.pointer(),
            None,
            none,
            op,
        )
    })
}
