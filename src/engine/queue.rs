//! The lists that operations stand in, linked through the records themselves.

use super::handover::{SeatSide, WorkerSide};
use super::operation::{Fault, Operation, Operations, NONE};
use std::mem::replace;

/// A queue of operations, linked through the records themselves in a ring: it needs no memory of
/// its own but the head, and any member leaves in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u32,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { head: NONE }
    }
}

impl Queue {
    pub fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub fn last(&self, operations: &Operations) -> Option<u32> {
        Some(operations[self.first()?].previous)
    }

    /// The member behind `id`.
    pub fn after(&self, operations: &Operations, id: u32) -> Option<u32> {
        let next = operations[id].next;
        (next != self.head).then_some(next)
    }

    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub fn push(&mut self, operations: &mut Operations, id: u32) {
        let (next, previous) = match self.first() {
            None => {
                self.head = id;
                (id, id)
            }
            Some(head) => {
                let last = replace(&mut operations[head].previous, id);
                operations[last].next = id;
                (head, last)
            }
        };
        let operation = &mut operations[id];
        operation.next = next;
        operation.previous = previous;
    }

    pub fn remove(&mut self, operations: &mut Operations, id: u32) {
        let operation = &mut operations[id];
        let next = replace(&mut operation.next, NONE);
        let previous = replace(&mut operation.previous, NONE);
        if next == id {
            self.head = NONE;
            return;
        }
        operations[previous].next = next;
        operations[next].previous = previous;
        if self.head == id {
            self.head = next;
        }
    }

    /// Puts the first member into an empty queue.
    pub fn push_only(&mut self, id: u32, operation: &mut Operation) {
        debug_assert!(self.is_empty());
        operation.next = id;
        operation.previous = id;
        self.head = id;
    }

    /// Ends a member if it is the only one and no timer runs for it.
    #[inline(always)]
    pub fn end_only(&mut self, id: u32, operation: &mut Operation, fault: Fault) -> bool {
        let simple = operation.next == id && !operation.node.armed();
        if simple {
            operation.next = NONE;
            operation.previous = NONE;
            self.head = NONE;
            operation.finish(fault);
        }
        simple
    }

    pub fn pop(&mut self, operations: &mut Operations) -> Option<u32> {
        let id = self.first()?;
        self.remove(operations, id);
        Some(id)
    }
}

/// A list of operations that leave it in the order in which they came, linked through the records
/// like a `Queue`, but one way only.
pub struct Chain {
    head: u32,
    tail: u32,
}

/// Where the records of a chain are.
pub trait Links {
    fn next(&mut self, id: u32) -> &mut u32;
}

impl Links for WorkerSide<Operation> {
    fn next(&mut self, id: u32) -> &mut u32 {
        &mut self[id].next
    }
}

impl Links for SeatSide<Operation> {
    fn next(&mut self, id: u32) -> &mut u32 {
        &mut self.at(id).next
    }
}

impl Default for Chain {
    fn default() -> Chain {
        Chain {
            head: NONE,
            tail: NONE,
        }
    }
}

impl Chain {
    pub fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// The operation stands in no list, and so it has no successor.
    #[inline(always)]
    pub fn push(&mut self, links: &mut impl Links, id: u32) {
        debug_assert_eq!(*links.next(id), NONE);
        match replace(&mut self.tail, id) {
            NONE => self.head = id,
            tail => *links.next(tail) = id,
        }
    }

    pub fn pop(&mut self, links: &mut impl Links) -> Option<u32> {
        let id = self.first()?;
        self.drop_first(links.next(id));
        Some(id)
    }

    /// Takes the first out, of which this says what is next.
    pub fn drop_first(&mut self, next: &mut u32) {
        self.head = replace(next, NONE);
        if self.head == NONE {
            self.tail = NONE;
        }
    }
}
