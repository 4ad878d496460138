//! The calls of servers, made in one line, and places for the files of unix sockets.

use super::calls::{local, text};
use super::*;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub fn bind(socket: asock_socket, host: &str, port: u16) -> asock_status {
    let host = CString::new(host).expect("a host has no zero inside");
    // SAFETY: the host ends with a zero.
    unsafe { asock_bind(socket, host.as_ptr(), port) }
}

pub fn bind_any(socket: asock_socket, port: u16) -> asock_status {
    // SAFETY: NULL stands for any address.
    unsafe { asock_bind(socket, std::ptr::null(), port) }
}

pub fn open_datagram(runtime: &Runtime) -> asock_socket {
    let mut socket = 0;
    // SAFETY: `socket` may be written.
    let status = unsafe { asock_open(runtime.handle(), ASOCK_DATAGRAM, &raw mut socket) };
    assert_eq!(status, ASOCK_OK);
    socket
}

/// The port that a socket is bound to.
#[track_caller]
pub fn port(socket: asock_socket) -> u16 {
    let address = local(socket).expect("it has a local address");
    // SAFETY: the address is a live value.
    unsafe { asock_address_port(&raw const address) }
}

/// The local address as a text.
#[track_caller]
pub fn local_text(socket: asock_socket) -> String {
    text(&local(socket).expect("it answers"))
}

/// A name for the file of a unix socket that nothing has; what is there in the end is removed.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("asock-test-{}-{number}", std::process::id());
        Place(std::env::temp_dir().join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The host that leads there.
    pub fn host(&self) -> String {
        format!("unix:{}", self.0.display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // Mostly it is gone.
    }
}

pub fn listen(socket: asock_socket, backlog: i32) -> asock_status {
    asock_listen(socket, backlog)
}

/// A socket that listens on a port of loopback that the system has chosen.
#[track_caller]
pub fn listener(runtime: &Runtime) -> asock_socket {
    listener_on(runtime, "127.0.0.1")
}

/// A socket that listens on an address, at a port that the system has chosen.
#[track_caller]
pub fn listener_on(runtime: &Runtime, host: &str) -> asock_socket {
    let socket = runtime.open();
    assert_eq!(bind(socket, host, 0), ASOCK_OK);
    assert_eq!(listen(socket, 0), ASOCK_OK);
    socket
}

/// A plain client that is connected to a listener of ours.
pub fn client(listener: asock_socket) -> TcpStream {
    client_of("127.0.0.1", listener)
}

/// The same of one that listens on another address.
pub fn client_of(host: &str, listener: asock_socket) -> TcpStream {
    let stream = TcpStream::connect((host, port(listener))).expect("it listens");
    stream
        .set_read_timeout(Some(LIMIT))
        .expect("it is a socket");
    stream
}

/// Begins an accept without a callback.
#[track_caller]
pub fn plain_accept(listener: asock_socket) -> asock_op {
    // SAFETY: there is nothing that would have to outlive it.
    begun(|op| unsafe { asock_begin_accept(listener, None, null_mut(), op) })
}

impl Recorder {
    #[track_caller]
    pub fn accept(&self, listener: asock_socket) -> asock_op {
        // SAFETY: the recorder outlives the operation.
        begun(|op| unsafe { asock_begin_accept(listener, Some(record), self.user_data(), op) })
    }

    /// Accepts, and gives the new socket.
    #[track_caller]
    pub fn accepted(&self, listener: asock_socket) -> asock_socket {
        let op = self.accept(listener);
        new_socket(&self.completion_of(op))
    }

    /// Closes a socket, and waits until all is over.
    #[track_caller]
    pub fn close_now(&self, socket: asock_socket) {
        let op = self.close(socket, 0);
        self.completion_of(op).expect(ASOCK_KIND_CLOSE, ASOCK_OK);
    }
}

/// The socket that a successful accept has brought.
#[track_caller]
pub fn new_socket(completion: &Completion) -> asock_socket {
    completion.expect(ASOCK_KIND_ACCEPT, ASOCK_OK);
    assert_ne!(completion.value, 0, "{completion:?}");
    assert_eq!((completion.bytes, completion.flags), (0, 0));
    assert!(completion.buffer.is_null());
    completion.value
}

/// The other end has ended the connection, one way or the other.
#[track_caller]
pub fn assert_gone(client: &mut TcpStream) {
    match std::io::Read::read(client, &mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        answer => panic!("the connection stands: {answer:?}"),
    }
}
