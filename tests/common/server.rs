//! The calls of servers, made in one line, and places for the files of unix sockets.

use super::calls::{local, text};
use super::*;
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
