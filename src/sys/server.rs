//! Sockets that others come to: their local addresses, the files of unix sockets, and whoever connects.

use super::socket::RawDescriptor;
use super::{checked, retried, SysResult};
use crate::address::Address;
use crate::status::OsError;
use std::ffi::CString;
use std::mem::MaybeUninit;

/// Gives a socket its local address.
pub fn bind(socket: RawDescriptor, address: &Address) -> SysResult<()> {
    let bytes = address.as_bytes();
    // SAFETY: the pointer and the length are those of one slice, which the call reads.
    checked(unsafe {
        libc::bind(
            socket.0,
            bytes.as_ptr().cast(),
            bytes.len() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// Lets connections come; so many may wait, or as many as the system allows.
pub fn listen(socket: RawDescriptor, backlog: Option<i32>) -> SysResult<()> {
    let backlog = backlog.unwrap_or(libc::SOMAXCONN);
    // SAFETY: the call takes no pointer.
    checked(unsafe { libc::listen(socket.0, backlog) })?;
    Ok(())
}

/// Accepts a connection that has come: the number of its descriptor, which is like those that `open` makes, and its peer.
pub fn accept(listener: RawDescriptor) -> SysResult<(usize, Address)> {
    let mut caller = Caller::default();
    let (room, length) = caller.places();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: room and length are places in a local, and the length is that of the room.
    let number =
        retried(|| unsafe { libc::accept4(listener.0, room, length, flags) } as libc::ssize_t)?;
    Ok((number, caller.address()))
}

/// The name of the descriptor that an accept has given.
pub fn accepted(number: usize) -> RawDescriptor {
    RawDescriptor(number as libc::c_int)
}

/// Whether a connection was gone before it could be accepted: the next one may be as good as ever. Linux reports here
/// also what the network said of it.
pub fn is_passing(error: OsError) -> bool {
    matches!(
        error.0,
        libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENONET
            | libc::EINTR
    )
}

/// Whether the system has run out of something that an accept needs; the connection waits on.
pub fn is_shortage(error: OsError) -> bool {
    matches!(
        error.0,
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM
    )
}

/// Whether a socket does not listen.
pub fn is_no_listener(error: OsError) -> bool {
    matches!(error.0, libc::EINVAL | libc::EOPNOTSUPP)
}

/// Room for the address of whoever connects, which the system fills in.
pub struct Caller {
    room: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Default for Caller {
    fn default() -> Caller {
        Caller {
            // SAFETY: a struct of integers may be all zero.
            room: unsafe { std::mem::zeroed() },
            length: 0,
        }
    }
}

impl Caller {
    /// Where the system writes the address and its length; they stay good as long as the caller is not moved.
    pub fn places(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        ((&raw mut self.room).cast(), &raw mut self.length)
    }

    /// What was written.
    pub fn address(&self) -> Address {
        let length = (self.length as usize).min(size_of::<libc::sockaddr_storage>());
        let place = (&raw const self.room).cast::<u8>();
        // SAFETY: the room was all zero, so every byte of it is initialized; `length` is at most its size.
        Address::from_bytes(unsafe { std::slice::from_raw_parts(place, length) })
    }
}

/// The file that a bind has made for a unix socket: its name, and what it was then, so that a file that somebody else
/// has put in its place is recognised.
#[derive(Clone, Debug)]
pub struct BoundFile {
    path: CString,
    identity: (libc::dev_t, libc::ino_t),
}

impl BoundFile {
    /// The file of an address that was just bound; none where the address is no path.
    pub fn of(address: &Address) -> Option<BoundFile> {
        let path = CString::new(address.path()?).ok()?;
        let identity = identity_of(&path)?;
        Some(BoundFile { path, identity })
    }

    /// Removes the file, if it is still the one that was made.
    pub fn remove(&self) {
        if identity_of(&self.path) == Some(self.identity) {
            // SAFETY: the path ends with a zero. Where it fails there is nothing to be done.
            unsafe { libc::unlink(self.path.as_ptr()) };
        }
    }
}

/// Which file it is, if it is a socket's.
fn identity_of(path: &CString) -> Option<(libc::dev_t, libc::ino_t)> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path ends with a zero, and the room is that of the struct that the call writes.
    checked(unsafe { libc::lstat(path.as_ptr(), found.as_mut_ptr()) }).ok()?;
    // SAFETY: the room was all zero, which is a value of this struct of integers, and the call has filled it in.
    let found = unsafe { found.assume_init() };
    (found.st_mode & libc::S_IFMT == libc::S_IFSOCK).then_some((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    //! A file is removed by whoever made it, and by nobody else.

    use super::*;
    use crate::address::Family;
    use crate::sys::socket::{open, Kind};
    use std::path::PathBuf;

    fn place(name: &str) -> (PathBuf, Address) {
        let path = std::env::temp_dir().join(format!("asock-{}-{name}", std::process::id()));
        let text = format!("unix:{}", path.display());
        let address = Address::parse(&text, 0, &|_| None).expect("is an address");
        (path, address)
    }

    #[test]
    fn a_file_is_removed_once() {
        let (path, address) = place("once");
        let socket = open(Family::Unix, Kind::Stream, false).expect("opens");
        bind(socket.raw(), &address).expect("binds");
        let file = BoundFile::of(&address).expect("there is a file");
        let other = open(Family::Unix, Kind::Stream, false).expect("opens");
        assert_eq!(
            bind(other.raw(), &address),
            Err(OsError(libc::EADDRINUSE)),
            "a file is in the way"
        );
        file.remove();
        assert!(!path.exists());
        file.remove(); // There is nothing any more.
    }

    #[test]
    fn what_others_put_there_stays() {
        let (path, address) = place("others");
        let socket = open(Family::Unix, Kind::Stream, false).expect("opens");
        bind(socket.raw(), &address).expect("binds");
        let file = BoundFile::of(&address).expect("there is a file");
        // Kept under another name, so that its number cannot be given to the next file.
        let moved = path.with_extension("moved");
        std::fs::rename(&path, &moved).expect("renames");
        std::fs::write(&path, "of somebody else").expect("writes");
        file.remove();
        assert!(path.exists());
        std::fs::remove_file(&path).expect("removes");
        let other = open(Family::Unix, Kind::Stream, false).expect("opens");
        bind(other.raw(), &address).expect("binds");
        file.remove();
        assert!(path.exists());
        for path in [path, moved] {
            std::fs::remove_file(path).expect("removes");
        }
    }

    #[test]
    fn an_abstract_name_has_no_file() {
        let address = Address::parse("unix:@asock-none", 0, &|_| None).expect("is an address");
        assert!(BoundFile::of(&address).is_none());
        let address = Address::parse("127.0.0.1", 0, &|_| None).expect("is an address");
        assert!(BoundFile::of(&address).is_none());
    }
}
