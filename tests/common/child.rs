//! Children of fork. They end with their parent, by themselves, or when a test no longer wants them.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null_mut;

/// A forked child process.
pub struct Child(libc::pid_t);

impl Child {
    /// The child runs `body` and then stays until this is dropped. `body` may make system calls only, unless the C library
    /// is made for more (glibc is: it keeps its allocator usable).
    pub fn fork(body: impl FnOnce()) -> Child {
        // SAFETY: the child goes on as this thread alone, and does not return into the test program.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "forks");
        if child == 0 {
            // SAFETY: system calls without pointers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            body();
            loop {
                // SAFETY: a system call without pointers.
                unsafe { libc::pause() };
            }
        }
        Child(child)
    }

    /// Runs `body`, a test of its own, in a child, and fails as it does; also if it hangs.
    #[track_caller]
    pub fn check(body: impl FnOnce()) {
        const SECONDS: libc::c_uint = 60;
        let child = Child::fork(|| {
            // SAFETY: a system call without pointers; the signal ends the child.
            unsafe { libc::alarm(SECONDS) };
            let code = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => 0,
                Err(panic) => {
                    tell(panic.downcast_ref::<String>().map_or_else(
                        || panic.downcast_ref::<&str>().copied().unwrap_or("a panic"),
                        String::as_str,
                    ));
                    1
                }
            };
            // SAFETY: a system call without pointers.
            unsafe { libc::_exit(code) };
        });
        let mut status = 0;
        // SAFETY: it is our child, and `status` may be written.
        let waited = unsafe { libc::waitpid(child.0, &raw mut status, 0) };
        assert_eq!(waited, child.0);
        std::mem::forget(child); // Its number may be another's by now.
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "the child ended with {status:#x} (0xe: it hung; 0x100: see its message)"
        );
    }
}

/// Past the test harness, whose locks may be held for ever in a child.
fn tell(message: &str) {
    for text in ["in a child: ", message, "\n"] {
        // SAFETY: bytes that are there.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: it is our child, and nobody else waits for it.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, null_mut(), 0);
        }
    }
}
