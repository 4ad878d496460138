//! Files whose bytes go to a socket without passing through the process's memory.

use super::{checked, retried, Descriptor, RawDescriptor, SysResult};
use crate::status::OsError;
use std::mem::MaybeUninit;

/// What the application gave is no regular file that can be read.
const NO_FILE: OsError = OsError(libc::EINVAL);

/// A descriptor of our own for a file of the application's, which may close its own at once.
pub fn duplicate(number: i64) -> SysResult<Descriptor> {
    let number = libc::c_int::try_from(number).map_err(|_| NO_FILE)?;
    // SAFETY: the call takes no pointer.
    let copied = checked(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) });
    let file = Descriptor::owning(copied.map_err(|error| match error {
        OsError(libc::EBADF) => NO_FILE,
        error => error,
    })?);
    let mut about = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the call writes one such structure, into a local, which is read only when it has.
    let about = unsafe {
        checked(libc::fstat(file.raw().0, about.as_mut_ptr()))?;
        about.assume_init()
    };
    // SAFETY: the call takes no pointer.
    let flags = checked(unsafe { libc::fcntl(file.raw().0, libc::F_GETFL) })?;
    let reads = flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_WRONLY;
    match about.st_mode & libc::S_IFMT {
        libc::S_IFREG if reads => Ok(file),
        _ => Err(NO_FILE),
    }
}

/// Sends a part of a file: as much as the socket takes at once, and says how much that was; 0 at the end of the file.
/// It waits for the disk, but not for the peer. The file's own position stays where it is.
///
/// A broken connection raises SIGPIPE, which only the library's threads have blocked: call it on one of them.
pub fn send(
    socket: RawDescriptor,
    file: RawDescriptor,
    offset: u64,
    length: usize,
) -> SysResult<usize> {
    // The call has no flag that keeps it from waiting for room, so the socket has to be non-blocking. On a ring it is
    // not, until its first file: from then on a receive that finds nothing comes back there and is polled for.
    // SAFETY: the calls take no pointer.
    let flags = checked(unsafe { libc::fcntl(socket.0, libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK == 0 {
        // SAFETY: as above.
        checked(unsafe { libc::fcntl(socket.0, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    }
    let offset = libc::off64_t::try_from(offset).map_err(|_| OsError(libc::EOVERFLOW))?;
    retried(|| {
        let mut from = offset;
        // SAFETY: the call reads and writes one offset, a local.
        unsafe { libc::sendfile64(socket.0, file.0, &raw mut from, length) }
    })
}

/// The number of a file that a test has opened.
#[cfg(test)]
pub fn number_of(file: &std::fs::File) -> i64 {
    i64::from(std::os::fd::AsRawFd::as_raw_fd(file))
}

#[cfg(test)]
mod tests {
    //! What is a file, and what is not.

    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn only_a_regular_file_that_can_be_read_is_one() {
        let duplicate = |what: &dyn AsRawFd| duplicate(i64::from(what.as_raw_fd()));
        let program = std::env::current_exe().expect("this program has a path");
        let file = std::fs::File::open(&program).expect("it can be read");
        let copy = duplicate(&file).expect("it is a file");
        // SAFETY: the call takes no pointer.
        let flags = unsafe { libc::fcntl(copy.raw().0, libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);

        let folder = std::fs::File::open(program.parent().expect("a folder")).expect("opens");
        let device = std::fs::File::open("/dev/null").expect("opens");
        let (end, _other) = std::os::unix::net::UnixStream::pair().expect("makes a pair");
        assert_eq!(duplicate(&folder).err(), Some(NO_FILE));
        assert_eq!(duplicate(&device).err(), Some(NO_FILE));
        assert_eq!(duplicate(&end).err(), Some(NO_FILE));
        for number in [-1, i64::from(i32::MAX), i64::MAX] {
            assert_eq!(super::duplicate(number).err(), Some(NO_FILE));
        }
    }
}
