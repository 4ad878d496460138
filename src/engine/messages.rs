//! Messages that wait for their next use, so that in the steady state none is made.

use super::arena::OutOfMemory;
use super::operation::Payload;
use crate::foreign;
use crate::sys::Message;

/// The free messages of a seat. It has room for all that were handed out, so giving back never
/// fails and never allocates.
#[derive(Default)]
pub struct Messages {
    #[allow(
        clippy::vec_box,
        reason = "operations keep their payloads in boxes, and so these are kept in them too"
    )]
    free: Vec<Box<Payload>>,
    /// How many are out.
    out: usize,
}

impl Messages {
    /// A message of nothing with room for so many pieces, as the payload of an operation.
    pub fn take(&mut self, pieces: usize) -> Result<Box<Payload>, OutOfMemory> {
        let mut payload = match self.free.pop() {
            Some(payload) => payload,
            None => {
                self.free
                    .try_reserve(self.out + 1)
                    .map_err(|_| OutOfMemory)?;
                let message = Message::new().ok_or(OutOfMemory)?;
                foreign::try_box(Payload::Message(message)).ok_or(OutOfMemory)?
            }
        };
        self.out += 1;
        let roomy = payload.message_mut().is_some_and(|it| it.reserve(pieces));
        if !roomy {
            self.give_back(payload);
            return Err(OutOfMemory);
        }
        Ok(payload)
    }

    /// The operation is over, or was not begun after all.
    pub fn give_back(&mut self, mut payload: Box<Payload>) {
        if let Some(message) = payload.message_mut() {
            message.clear();
            self.out = self.out.saturating_sub(1);
            // One that was taken before another runtime moved in has no room here.
            if self.free.len() < self.free.capacity() {
                self.free.push(payload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given back is used again, and the list has room for all that is out.
    #[test]
    fn messages_come_back() {
        let mut messages = Messages::default();
        let mut out = Vec::new();
        for round in 0..5 {
            for _ in 0..10 {
                out.push(messages.take(round).expect("there is memory"));
            }
            let capacity = messages.free.capacity();
            assert!(capacity >= messages.free.len() + messages.out);
            let mut places: Vec<_> = out.iter().map(|it| &raw const **it).collect();
            for payload in out.drain(..) {
                messages.give_back(payload);
            }
            assert_eq!((messages.out, messages.free.len()), (0, 10));
            assert_eq!(messages.free.capacity(), capacity);
            let mut again: Vec<_> = messages.free.iter().map(|it| &raw const **it).collect();
            places.sort_unstable();
            again.sort_unstable();
            assert_eq!(places, again);
        }
        messages.give_back(Box::new(Payload::Name(1)));
        assert_eq!(messages.free.len(), 10, "only messages are kept");
    }
}
