//! The library's threads, which leave the host's signals alone.

use super::SysResult;
use crate::status::OsError;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

/// What a guest must not take away from the host's threads. No others: garbage collectors suspend threads by
/// signals that are not in this list, and wait until every thread has answered.
const BLOCKED: [libc::c_int; 15] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
    libc::SIGALRM,
    libc::SIGPIPE,
    libc::SIGIO,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Starts a thread that has the listed signals blocked from its first instruction, besides those that its creator
/// blocks. It has the stack that Rust gives to threads (2 MiB, or what RUST_MIN_STACK says), since callbacks of
/// the application run on it.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> SysResult<JoinHandle<T>> {
    if name.contains('\0') {
        return Err(OsError(libc::EINVAL));
    }
    // A thread inherits the mask of its creator. A signal that arrives for this thread meanwhile is not lost: it is
    // delivered when the mask is restored.
    let _mask = BlockedSignals::new()?;
    Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| OsError(error.raw_os_error().unwrap_or(libc::EAGAIN)))
}

/// How many processors the machine has at work, at least one. This process may be bound to fewer, but whoever it talks to
/// need not be.
pub fn cores() -> usize {
    // SAFETY: the call takes no pointer.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).unwrap_or(1).max(1)
}

/// Lets time pass, without using a core.
pub fn sleep_ms(time_ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(time_ms));
}

/// Lets another thread run first.
pub fn yield_now() {
    std::thread::yield_now();
}

/// The listed signals are blocked on this thread while this lives.
struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    fn new() -> SysResult<BlockedSignals> {
        let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `blocked` is a local that the first call initializes, and the signals are valid numbers; `before`
        // is a local that the last call initializes when it gives 0.
        let error = unsafe {
            libc::sigemptyset(blocked.as_mut_ptr());
            for signal in BLOCKED {
                libc::sigaddset(blocked.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr())
        };
        if error != 0 {
            return Err(OsError(error));
        }
        Ok(BlockedSignals {
            // SAFETY: the call has succeeded, see above.
            before: unsafe { before.assume_init() },
        })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that this thread had; the guard cannot leave its thread, since it never
        // leaves `spawn`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    //! The masks of the new thread and of its creator, before and after.

    use super::*;

    fn mask() -> Vec<libc::c_int> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: a null set changes nothing, and the call initializes `set`, which only then is read.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            let set = set.assume_init();
            (1..=libc::SIGRTMAX())
                .filter(|&signal| libc::sigismember(&set, signal) == 1)
                .collect()
        }
    }

    #[test]
    fn the_list_and_the_mask_of_the_creator_are_blocked() {
        std::thread::spawn(|| {
            let mut own = MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: `own` is a local that the first call initializes.
            unsafe {
                libc::sigemptyset(own.as_mut_ptr());
                libc::sigaddset(own.as_mut_ptr(), libc::SIGRTMIN() + 2);
                libc::pthread_sigmask(libc::SIG_BLOCK, own.as_ptr(), std::ptr::null_mut());
            }
            let before = mask();
            let (sender, receiver) = std::sync::mpsc::channel();
            let thread = spawn("a name of more than fifteen bytes", move || {
                sender.send(mask()).expect("the creator listens");
            })
            .expect("starts");
            thread.join().expect("ends");
            assert_eq!(mask(), before);

            let mut expected = before;
            expected.extend(BLOCKED);
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(receiver.recv(), Ok(expected));
        })
        .join()
        .expect("the test's own thread");
    }

    #[test]
    fn a_name_that_c_cannot_hold_is_an_error() {
        let answer = spawn("a\0b", || {});
        assert_eq!(answer.err(), Some(OsError(libc::EINVAL)));
    }
}
