//! What a handle is made of: a kind, a seat, a slot and a generation, packed into 64 bits.
//!
//! A handle is never a pointer, and its generation rises with every use of its slot, so that a
//! stale, foreign or random number is recognised and answered instead of followed.

/// The bits of a slot number: about four million operations, and as many sockets, per worker.
pub const SLOT_BITS: u32 = 22;
/// The bits of a generation. A slot that has used them all up is retired.
const GENERATION_BITS: u32 = 30;
/// The bits of a seat, which is a worker's place in the process.
const SEAT_BITS: u32 = 10;

/// How many workers all the runtimes of a process, and of the processes it was forked from, have.
pub const SEATS: usize = 1 << SEAT_BITS;
/// The largest generation that a handle can carry.
pub const LAST_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
/// The number of slots that a handle can name.
pub const SLOTS: u32 = 1 << SLOT_BITS;

/// What a handle stands for; a handle of one kind is refused where another is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandleKind {
    Runtime = 1,
    Socket = 2,
    Operation = 3,
}

/// An unpacked handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    pub kind: HandleKind,
    pub seat: u16,
    pub slot: u32,
    pub generation: u32,
}

impl Handle {
    pub fn pack(self) -> u64 {
        debug_assert!((self.seat as usize) < SEATS);
        debug_assert!(self.slot < SLOTS);
        debug_assert!(self.generation <= LAST_GENERATION);
        (self.kind as u64) << (SEAT_BITS + SLOT_BITS + GENERATION_BITS)
            | u64::from(self.seat) << (SLOT_BITS + GENERATION_BITS)
            | u64::from(self.slot) << GENERATION_BITS
            | u64::from(self.generation)
    }

    /// Unpacks a number that the application gave; nothing is known of it yet.
    pub fn unpack(packed: u64) -> Option<Handle> {
        let kind = match packed >> (SEAT_BITS + SLOT_BITS + GENERATION_BITS) {
            1 => HandleKind::Runtime,
            2 => HandleKind::Socket,
            3 => HandleKind::Operation,
            _ => return None,
        };
        Some(Handle {
            kind,
            seat: (packed >> (SLOT_BITS + GENERATION_BITS)) as u16 & (SEATS as u16 - 1),
            slot: (packed >> GENERATION_BITS) as u32 & (SLOTS - 1),
            generation: packed as u32 & LAST_GENERATION,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_survives_packing() {
        for kind in [
            HandleKind::Runtime,
            HandleKind::Socket,
            HandleKind::Operation,
        ] {
            for seat in [0, 1, SEATS as u16 - 1] {
                for slot in [0, 1, SLOTS - 1] {
                    for generation in [1, 77, LAST_GENERATION] {
                        let handle = Handle {
                            kind,
                            seat,
                            slot,
                            generation,
                        };
                        assert_eq!(Handle::unpack(handle.pack()), Some(handle));
                    }
                }
            }
        }
        assert_eq!(Handle::unpack(0), None);
        assert_eq!(Handle::unpack(LAST_GENERATION as u64), None);
    }
}
