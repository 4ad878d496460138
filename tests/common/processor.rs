//! Where threads run.

/// Has this thread, and those that it starts, run on one processor only.
pub fn stay_on_one() {
    // SAFETY: a set of bits may be all zero, and the calls get its size.
    unsafe {
        let (mut set, size) = (std::mem::zeroed(), size_of::<libc::cpu_set_t>());
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut set), 0);
        let first = (0..8 * size).find(|at| libc::CPU_ISSET(*at, &set));
        let first = first.expect("this thread runs somewhere");
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(first, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const set), 0);
    }
}
