//! Descriptors that are kept open while somebody looks at them, so that a close meanwhile cannot
//! give their numbers to others.

use super::arena::OutOfMemory;
use crate::sys::{Descriptor, RawDescriptor};

struct Pin {
    raw: RawDescriptor,
    /// How many are looking.
    count: u32,
    /// Its socket has been closed; the last look closes it.
    left: Option<Descriptor>,
}

/// The pinned descriptors of a seat. There are few at a time, and mostly none.
pub struct Pins(Vec<Pin>);

impl Pins {
    pub const fn new() -> Pins {
        Pins(Vec::new())
    }

    /// Keeps a descriptor open until `unpin`.
    pub fn pin(&mut self, raw: RawDescriptor) -> Result<RawDescriptor, OutOfMemory> {
        if let Some(pin) = self.0.iter_mut().find(|pin| pin.raw == raw) {
            pin.count += 1;
        } else {
            self.0.try_reserve(1).map_err(|_| OutOfMemory)?;
            self.0.push(Pin {
                raw,
                count: 1,
                left: None,
            });
        }
        Ok(raw)
    }

    /// Whether somebody looks at it.
    pub fn is_pinned(&self, raw: RawDescriptor) -> bool {
        self.0.iter().any(|pin| pin.raw == raw)
    }

    /// Ends a look. What it gives is to be dropped without the lock.
    #[must_use]
    pub fn unpin(&mut self, raw: RawDescriptor) -> Option<Descriptor> {
        let at = self.0.iter().position(|pin| pin.raw == raw)?;
        self.0[at].count -= 1;
        match self.0[at].count {
            0 => self.0.swap_remove(at).left,
            _ => None,
        }
    }

    /// A descriptor that its socket no longer needs. What it gives is to be closed without the
    /// lock; without that, somebody is looking and closes it.
    #[must_use]
    pub fn let_go(&mut self, descriptor: Descriptor) -> Option<Descriptor> {
        let raw = descriptor.raw();
        match self.0.iter_mut().find(|pin| pin.raw == raw) {
            None => Some(descriptor),
            Some(pin) => {
                pin.left = Some(descriptor);
                None
            }
        }
    }
}
