//! The process: what belongs to this one and not to its parent, and its end.

use super::SysResult;
use crate::status::OsError;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// One value for each process: a child made by `fork` finds none and may make its own, whatever its parent was doing
/// at that moment, since nothing here is ever locked. A value lives as long as its process.
///
/// The pointer to the value lies in a page that the kernel zeroes in a child, so that reading it costs no system
/// call. Where the kernel cannot do that (before Linux 4.14), the pointer is kept together with the process id that
/// it is for; there a descendant that happens to get the very id of an ancestor, which another process-id namespace
/// makes possible, is taken for it.
///
/// The page is settled once, by a compare-exchange, and the children inherit it with the rule that zeroes it; each
/// value is settled by a second one. A thread that loses either race drops what it made and takes what is there.
pub struct PerProcess<T: Send + Sync + 'static> {
    /// Null: not settled. `KEPT`: the other way. Else the page, which is never given back.
    page: AtomicPtr<AtomicPtr<T>>,
    /// The other way: a value and its process. What a child replaces is not freed, a few bytes for each generation.
    kept: AtomicPtr<Kept<T>>,
}

struct Kept<T: 'static> {
    process: u32,
    value: &'static T,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// Stands for a page where there is none. It is not the address of any page.
    const KEPT: *mut AtomicPtr<T> = NonNull::dangling().as_ptr();

    pub const fn new() -> PerProcess<T> {
        PerProcess {
            page: AtomicPtr::new(ptr::null_mut()),
            kept: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The value of this process, if it has one.
    pub fn get(&self) -> Option<&'static T> {
        let page = self.page.load(Ordering::Acquire);
        if page.is_null() {
            return None;
        }
        if page == Self::KEPT {
            return self.get_kept();
        }
        // SAFETY: a page that was published is mapped for ever, is large enough and aligned, and holds a null
        // pointer or one that this process has leaked from a box.
        unsafe { (*page).load(Ordering::Acquire).as_ref() }
    }

    /// The value of this process, made by `init` if there is none. Several threads may make one at the same time;
    /// all get the first that is ready, and the others are dropped.
    pub fn get_or_try_init<E>(&self, init: impl FnOnce() -> Result<T, E>) -> Result<&'static T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let made = Box::new(init()?);
        let page = self.settled_page();
        if page == Self::KEPT {
            return Ok(self.publish_kept(made));
        }
        // SAFETY: as in `get`.
        let place = unsafe { &*page };
        let made = Box::into_raw(made);
        match place.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it came out of a box just now, and belongs to the page for ever.
            Ok(_) => Ok(unsafe { &*made }),
            Err(first) => {
                // SAFETY: it came out of a box just now, and nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: what the page holds was leaked from a box by this process.
                Ok(unsafe { &*first })
            }
        }
    }

    /// The page, or the decision that there is none: the same answer for every thread and every child from then on.
    fn settled_page(&self) -> *mut AtomicPtr<T> {
        let page = self.page.load(Ordering::Acquire);
        if !page.is_null() {
            return page;
        }
        let made = zeroed_in_children().map_or(Self::KEPT, <*mut _>::cast);
        match self
            .page
            .compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => made,
            Err(first) => {
                if made != Self::KEPT {
                    // SAFETY: it was mapped just now, and nobody else has seen it.
                    unsafe { libc::munmap(made.cast(), PAGE_LENGTH) };
                }
                first
            }
        }
    }

    fn get_kept(&self) -> Option<&'static T> {
        // SAFETY: what was published was leaked from a box, and is never freed.
        let kept = unsafe { self.kept.load(Ordering::Acquire).as_ref() }?;
        (kept.process == id()).then_some(kept.value)
    }

    fn publish_kept(&self, made: Box<T>) -> &'static T {
        let made = Box::into_raw(made);
        let entry = Box::into_raw(Box::new(Kept {
            process: id(),
            // SAFETY: it came out of a box just now; it goes back only below, when nobody else has seen it.
            value: unsafe { &*made },
        }));
        loop {
            let seen = self.kept.load(Ordering::Acquire);
            if let Some(first) = self.get_kept() {
                // SAFETY: both came out of boxes just now, and nobody else has seen them.
                unsafe {
                    drop(Box::from_raw(entry));
                    drop(Box::from_raw(made));
                }
                return first;
            }
            // What was seen is none or an ancestor's: this process would not replace its own. It is never freed,
            // so its address cannot come back as something else.
            let exchanged =
                self.kept
                    .compare_exchange(seen, entry, Ordering::AcqRel, Ordering::Acquire);
            if exchanged.is_ok() {
                // SAFETY: it is published, and so for ever.
                return unsafe { &*made };
            }
        }
    }
}

/// The kernel rounds it up to a page.
const PAGE_LENGTH: usize = size_of::<AtomicPtr<u8>>();

/// Maps a page of zeros that is zero again in every child, grandchildren included.
fn zeroed_in_children() -> Option<*mut libc::c_void> {
    // SAFETY: a new private mapping at a place that the kernel chooses touches nothing that exists; the two other
    // calls are on this mapping, which nobody else has seen.
    unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            PAGE_LENGTH,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return None;
        }
        if libc::madvise(page, PAGE_LENGTH, libc::MADV_WIPEONFORK) != 0 {
            libc::munmap(page, PAGE_LENGTH);
            return None;
        }
        Some(page)
    }
}

/// The number of this process.
pub fn id() -> u32 {
    std::process::id()
}

/// Has a function called when the process ends by `exit` or by returning from `main`. It runs in forked children
/// as well, and must not unwind.
pub fn at_exit(function: extern "C" fn()) -> SysResult<()> {
    // SAFETY: the function is safe to call, and stays mapped, since the library is linked never to be unloaded.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(OsError(libc::ENOMEM)),
    }
}

#[cfg(test)]
mod tests {
    //! Real forks. The child calls what is tested, tells by its exit code how that went, and runs no destructor, no
    //! exit function and nothing else of the test program. Each test runs for both ways of keeping the value.

    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::Barrier;

    impl<T: Send + Sync + 'static> PerProcess<T> {
        /// As on a kernel that cannot zero a page in a child.
        const fn without_page() -> PerProcess<T> {
            PerProcess {
                page: AtomicPtr::new(Self::KEPT),
                kept: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    fn both_ways<T: Send + Sync + 'static>() -> [PerProcess<T>; 2] {
        [PerProcess::new(), PerProcess::without_page()]
    }

    fn init<T: Send + Sync>(cell: &PerProcess<T>, value: T) -> &'static T {
        match cell.get_or_try_init(|| Ok::<T, std::convert::Infallible>(value)) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// The exit code of a child that runs `body`, or a negative number if a signal ended it.
    fn in_child(body: impl FnOnce() -> i32) -> i32 {
        // SAFETY: the child runs `body`, which takes no lock but the allocator's (which the C library keeps usable
        // after a fork), and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = body();
            // SAFETY: the call takes no pointer, and does not return.
            unsafe { libc::_exit(code) };
        }
        assert!(child > 0, "forks");
        let mut status = 0;
        loop {
            // SAFETY: `status` is a local that the call writes.
            let answer = unsafe { libc::waitpid(child, &raw mut status, 0) };
            if answer == child {
                break;
            }
        }
        if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            -libc::WTERMSIG(status)
        }
    }

    /// What a process must find that has just been forked; the code says what was wrong.
    fn check_fresh(cell: &PerProcess<u32>) -> i32 {
        if cell.get().is_some() {
            return 1;
        }
        let own = id();
        let made = init(cell, own);
        if *made != own {
            return 2;
        }
        match cell.get() {
            Some(found) if ptr::eq(found, made) => {}
            _ => return 3,
        }
        if !ptr::eq(init(cell, 0), made) {
            return 4;
        }
        0
    }

    #[test]
    fn a_child_makes_its_own_and_so_does_its_child() {
        for cell in both_ways() {
            assert_eq!(cell.get(), None);
            let own = init(&cell, id());
            let code = in_child(|| {
                let code = check_fresh(&cell);
                if code != 0 {
                    return code;
                }
                let of_child = cell.get().copied();
                let code = in_child(|| check_fresh(&cell));
                if code != 0 {
                    return 10 + code;
                }
                if cell.get().copied() != of_child {
                    return 20;
                }
                0
            });
            assert_eq!(code, 0);
            assert_eq!(*own, id());
            assert!(cell.get().is_some_and(|found| ptr::eq(found, own)));
        }
    }

    #[test]
    fn a_child_of_a_process_without_a_value_leaves_its_parent_alone() {
        for cell in both_ways() {
            assert_eq!(in_child(|| check_fresh(&cell)), 0);
            assert_eq!(cell.get(), None);
            assert_eq!(check_fresh(&cell), 0);
        }
    }

    #[test]
    fn an_init_that_fails_leaves_nothing() {
        for cell in both_ways::<u32>() {
            assert_eq!(cell.get_or_try_init(|| Err("no")), Err("no"));
            assert_eq!(cell.get(), None);
            assert_eq!(*init(&cell, 7), 7);
            assert_eq!(cell.get_or_try_init(|| Err("not called")), Ok(&7));
        }
    }

    #[test]
    fn one_of_many_wins_and_the_others_are_dropped() {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        static DROPPED: AtomicUsize = AtomicUsize::new(0);

        struct Counted;

        impl Counted {
            fn new() -> Counted {
                MADE.fetch_add(1, Ordering::Relaxed);
                Counted
            }
        }

        impl Drop for Counted {
            fn drop(&mut self) {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }

        // A value without a size would have no address of its own to compare.
        struct Value(
            Counted,
            #[expect(dead_code, reason = "it gives the value a size")] u64,
        );

        const THREADS: usize = 4;
        for round in 0..100 {
            let [page, kept] = both_ways::<Value>();
            let cell = if round % 2 == 0 { page } else { kept };
            let before = (
                MADE.load(Ordering::Relaxed),
                DROPPED.load(Ordering::Relaxed),
            );
            let barrier = Barrier::new(THREADS);
            let found: Vec<usize> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            ptr::from_ref(init(&cell, Value(Counted::new(), 0))) as usize
                        })
                    })
                    .collect();
                let joined = threads.into_iter().map(|thread| thread.join());
                joined.map(|found| found.expect("ends")).collect()
            });
            assert!(found.iter().all(|address| *address == found[0]));
            // Those that came too late were dropped unused, those that lost were dropped as made: all but one.
            let made = MADE.load(Ordering::Relaxed) - before.0;
            let dropped = DROPPED.load(Ordering::Relaxed) - before.1;
            assert_eq!((made, dropped), (THREADS, THREADS - 1));
            let kept = cell.get().map(|value| ptr::from_ref(value) as usize);
            assert_eq!(kept, Some(found[0]));
        }
    }

    #[test]
    fn the_kernel_of_this_test_zeroes_pages() {
        let cell = PerProcess::new();
        init(&cell, 1_u8);
        // Else the tests above have gone the second way twice; a kernel before 4.14 would be the reason.
        assert_ne!(
            cell.page.load(Ordering::Relaxed),
            PerProcess::<u8>::KEPT,
            "this kernel refuses MADV_WIPEONFORK"
        );
    }

    #[test]
    fn exit_functions_run_at_exit() {
        extern "C" fn end() {
            // SAFETY: the call takes no pointer, and does not return. Functions of the test program that were
            // registered earlier are not reached.
            unsafe { libc::_exit(42) };
        }

        let code = in_child(|| {
            if at_exit(end).is_err() {
                return 1;
            }
            // SAFETY: the first function that this calls is the one above, which ends the process.
            unsafe { libc::exit(2) };
        });
        assert_eq!(code, 42);
    }
}
