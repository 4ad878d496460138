//! An event that one thread signals and another sees by a descriptor becoming readable.

use super::socket::{Descriptor, RawDescriptor};
use super::{checked, retried, SysResult};

/// A counter in the kernel (eventfd): readable from the first signal until it is cleared.
#[derive(Debug)]
pub struct EventFd {
    descriptor: Descriptor,
}

impl EventFd {
    pub fn new() -> SysResult<EventFd> {
        // SAFETY: the call takes no pointer.
        let number = checked(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        Ok(EventFd {
            descriptor: Descriptor::owning(number),
        })
    }

    pub fn raw(&self) -> RawDescriptor {
        self.descriptor.raw()
    }

    /// Makes the descriptor readable. The one way to fail, a counter that is full, means that it is readable already.
    pub fn signal(&self) {
        let one = 1_u64.to_ne_bytes();
        let number = self.raw().0;
        // SAFETY: `one` is a local of the eight bytes that the call reads.
        let _full = retried(|| unsafe { libc::write(number, one.as_ptr().cast(), one.len()) });
    }

    /// Makes the descriptor unreadable until the next signal. The one way to fail means that it is so already.
    pub fn clear(&self) {
        let mut count = [0_u8; 8];
        let number = self.raw().0;
        // SAFETY: `count` is a local of the eight bytes that the call writes.
        let _none =
            retried(|| unsafe { libc::read(number, count.as_mut_ptr().cast(), count.len()) });
    }
}
