//! The timing wheel: which deadline comes next, without a heap and without an allocation.
//!
//! Time is counted in ticks. A deadline is filed by the highest group of six bits in which it differs from
//! the present tick: the group's number is the level, the group's value is the bucket within it. Everything
//! on a lower level is therefore due before anything on a higher one, and a bucket is due before the buckets
//! to its right, so the lowest bit that is set in two bitmaps names the earliest bucket. When time enters a
//! bucket above the lowest level, its nodes are filed anew, each on a lower level than before.
//!
//! Eleven levels of six bits cover every 64-bit tick, so no deadline is too far away to be filed exactly.
//!
//! The nodes live inside the records of whoever is timed; the wheel links them by their ids.

const BITS_PER_LEVEL: u32 = 6;
const BUCKETS_PER_LEVEL: usize = 1 << BITS_PER_LEVEL;
const LEVELS: usize = u64::BITS.div_ceil(BITS_PER_LEVEL) as usize;

/// The list of the nodes that are due, behind the buckets of the wheel itself.
const DUE: u16 = (LEVELS * BUCKETS_PER_LEVEL) as u16;
const LISTS: usize = DUE as usize + 1;

const NO_LIST: u16 = u16::MAX;
const NO_ID: u32 = u32::MAX;

/// The wheel's part of a record that can be timed. The default is a node that is in no wheel.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    next: u32,
    previous: u32,
    bucket: u16,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            next: NO_ID,
            previous: NO_ID,
            bucket: NO_LIST,
        }
    }
}

impl Node {
    /// Whether the node is in the wheel, or due and not yet taken.
    pub fn armed(&self) -> bool {
        self.bucket != NO_LIST
    }
}

/// Where the nodes are kept, with their deadlines. An id that the wheel was given must lead to the same node, and to
/// the same deadline, until it is taken or removed.
pub trait Nodes {
    fn node(&mut self, id: u32) -> &mut Node;
    fn deadline(&self, id: u32) -> u64;
}

/// A hierarchical timing wheel; every list in it is a ring, so that a head is enough to append in constant time.
pub struct Wheel {
    now: u64,
    length: usize,
    /// One bit for each level that has a node.
    levels: u16,
    /// One bit for each bucket of a level that has a node.
    buckets: [u64; LEVELS],
    heads: [u32; LISTS],
}

impl Wheel {
    pub fn new(now_tick: u64) -> Wheel {
        Wheel {
            now: now_tick,
            length: 0,
            levels: 0,
            buckets: [0; LEVELS],
            heads: [NO_ID; LISTS],
        }
    }

    /// How many nodes are armed, those that are due and not yet taken included.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.length
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Arms a node that is not armed. A deadline that has passed counts as the present tick, and is due at the next advance, not before: a timer that arms itself again with no delay
    /// must not keep [`Wheel::take_due`] busy for ever.
    pub fn insert(&mut self, nodes: &mut impl Nodes, id: u32) {
        debug_assert_ne!(id, NO_ID, "the last id stands for none");
        debug_assert!(!nodes.node(id).armed());
        let bucket = self.bucket_of(nodes.deadline(id));
        self.append(nodes, id, bucket);
    }

    /// Disarms a node, also one that is due and not yet taken. Does nothing to a node that is not armed.
    pub fn remove(&mut self, nodes: &mut impl Nodes, id: u32) {
        if nodes.node(id).armed() {
            self.unlink(nodes, id);
        }
    }

    /// A tick at or before the earliest deadline, and nothing when no node is armed. It is the deadline itself when
    /// that is on the lowest level; else it is the tick at which the earliest bucket has to be filed anew.
    pub fn next(&self) -> Option<u64> {
        if self.heads[DUE as usize] != NO_ID {
            return Some(self.now);
        }
        self.earliest_bucket().map(|(_, start)| start)
    }

    /// Moves time forward and every node whose deadline is at or before `now` to the due list, earliest first.
    /// A `now` before the present tick counts as the present tick.
    pub fn advance(&mut self, nodes: &mut impl Nodes, now: u64) {
        let target = now.max(self.now);
        while let Some((bucket, start)) = self.earliest_bucket() {
            if start > target {
                break;
            }
            self.now = self.now.max(start);
            let lowest_level = usize::from(bucket) < BUCKETS_PER_LEVEL;
            while let Some(id) = self.pop(nodes, bucket) {
                let list = if lowest_level {
                    DUE
                } else {
                    self.bucket_of(nodes.deadline(id))
                };
                debug_assert_ne!(list, bucket, "a node is filed anew on a lower level");
                self.append(nodes, id, list);
            }
        }
        // No bucket that has a node was entered since the last one, hence every node is still filed rightly.
        self.now = target;
    }

    /// Takes one node that is due; it is then not armed. Of nodes that were due at different ticks the earlier
    /// comes first, and of nodes that were due at the same tick the one that was armed first.
    pub fn take_due(&mut self, nodes: &mut impl Nodes) -> Option<u32> {
        self.pop(nodes, DUE)
    }

    fn bucket_of(&self, deadline: u64) -> u16 {
        let deadline = deadline.max(self.now);
        let differing = self.now ^ deadline;
        let level = differing.checked_ilog2().unwrap_or(0) / BITS_PER_LEVEL;
        let within = (deadline >> (level * BITS_PER_LEVEL)) as usize % BUCKETS_PER_LEVEL;
        (level as usize * BUCKETS_PER_LEVEL + within) as u16
    }

    /// The bucket that has to be looked at first, with the first tick that it stands for.
    fn earliest_bucket(&self) -> Option<(u16, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let within = self.buckets[level as usize].trailing_zeros();
        let shift = level * BITS_PER_LEVEL;
        // The groups above this level are those of the present tick; the shift is done in two steps, since for the
        // topmost level it is as wide as the number.
        let above = (self.now >> shift >> BITS_PER_LEVEL) << BITS_PER_LEVEL;
        let start = (above | u64::from(within)) << shift;
        let bucket = level as usize * BUCKETS_PER_LEVEL + within as usize;
        Some((bucket as u16, start))
    }

    fn pop(&mut self, nodes: &mut impl Nodes, list: u16) -> Option<u32> {
        let id = self.heads[usize::from(list)];
        if id == NO_ID {
            return None;
        }
        self.unlink(nodes, id);
        Some(id)
    }

    fn append(&mut self, nodes: &mut impl Nodes, id: u32, list: u16) {
        let head = self.heads[usize::from(list)];
        let (next, previous) = if head == NO_ID {
            self.heads[usize::from(list)] = id;
            self.mark(list, true);
            (id, id)
        } else {
            let last = std::mem::replace(&mut nodes.node(head).previous, id);
            nodes.node(last).next = id;
            (head, last)
        };
        let node = nodes.node(id);
        node.next = next;
        node.previous = previous;
        node.bucket = list;
        self.length += 1;
    }

    fn unlink(&mut self, nodes: &mut impl Nodes, id: u32) {
        let Node {
            next,
            previous,
            bucket,
        } = *nodes.node(id);
        if next == id {
            self.heads[usize::from(bucket)] = NO_ID;
            self.mark(bucket, false);
        } else {
            nodes.node(previous).next = next;
            nodes.node(next).previous = previous;
            if self.heads[usize::from(bucket)] == id {
                self.heads[usize::from(bucket)] = next;
            }
        }
        *nodes.node(id) = Node::default();
        self.length -= 1;
    }

    /// Notes in the bitmaps whether a bucket has a node. The due list has no bit.
    fn mark(&mut self, list: u16, occupied: bool) {
        if list == DUE {
            return;
        }
        let level = usize::from(list) / BUCKETS_PER_LEVEL;
        let bit = 1_u64 << (usize::from(list) % BUCKETS_PER_LEVEL);
        if occupied {
            self.buckets[level] |= bit;
        } else {
            self.buckets[level] &= !bit;
        }
        let any = u16::from(self.buckets[level] != 0);
        self.levels = (self.levels & !(1 << level)) | (any << level);
    }
}

#[cfg(test)]
mod tests {
    //! The wheel against a sorted map that does the same slowly, driven by seeded random numbers; no clock.

    use super::*;
    use std::collections::BTreeMap;

    /// Nodes with their deadlines.
    type Timed = Vec<(Node, u64)>;

    impl Nodes for Timed {
        fn node(&mut self, id: u32) -> &mut Node {
            &mut self[id as usize].0
        }

        fn deadline(&self, id: u32) -> u64 {
            self[id as usize].1
        }
    }

    /// Arms a node, also one that is armed already.
    fn arm(wheel: &mut Wheel, nodes: &mut Timed, id: u32, deadline: u64) {
        wheel.remove(nodes, id);
        nodes[id as usize].1 = deadline;
        wheel.insert(nodes, id);
    }

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        fn below(&mut self, limit: u64) -> u64 {
            self.next() % limit
        }
    }

    /// The specification: the armed ids, sorted by when they are due and then by when they were armed.
    struct Model {
        now: u64,
        armed: u64,
        order: BTreeMap<(u64, u64), u32>,
        keys: Vec<Option<(u64, u64)>>,
    }

    impl Model {
        fn remove(&mut self, id: u32) {
            if let Some(key) = self.keys[id as usize].take() {
                self.order.remove(&key);
            }
        }

        fn insert(&mut self, id: u32, deadline: u64) {
            self.remove(id);
            self.armed += 1;
            let key = (deadline.max(self.now), self.armed);
            self.keys[id as usize] = Some(key);
            self.order.insert(key, id);
        }

        fn take_due(&mut self) -> Option<u32> {
            let (&(deadline, _), &id) = self.order.first_key_value()?;
            if deadline > self.now {
                return None;
            }
            self.remove(id);
            Some(id)
        }
    }

    fn random_deadline(random: &mut Random, now: u64) -> u64 {
        match random.below(10) {
            0 => now.saturating_sub(random.below(100)),
            1 => now,
            2..=4 => now.saturating_add(random.below(64)),
            5 => now.saturating_add(random.below(5_000)),
            6 => now.saturating_add(random.below(10_000_000)),
            // Few different deadlines, so that there are ties.
            7 => (now | 0xfff).saturating_add(random.below(3)),
            8 => now.saturating_add(random.next() >> random.below(64)),
            _ => u64::MAX - random.below(2),
        }
    }

    fn random_step(random: &mut Random) -> u64 {
        match random.below(8) {
            0 => 0,
            1..=4 => random.below(10),
            5 => random.below(1_000),
            6 => random.below(12 * 3_600_000),
            _ => random.next() >> (16 + random.below(48)),
        }
    }

    /// One history of a wheel, compared with the model at every step.
    fn run(seed: u64) {
        const IDS: u64 = 48;
        let mut random = Random(seed);
        let now = random.next() >> random.below(64);
        let mut wheel = Wheel::new(now);
        let mut nodes = vec![(Node::default(), 0); IDS as usize];
        let mut model = Model {
            now,
            armed: 0,
            order: BTreeMap::new(),
            keys: vec![None; IDS as usize],
        };
        for _ in 0..400 {
            let id = random.below(IDS) as u32;
            match random.below(8) {
                0..=3 => {
                    let deadline = random_deadline(&mut random, model.now);
                    arm(&mut wheel, &mut nodes, id, deadline);
                    model.insert(id, deadline);
                }
                4 => {
                    wheel.remove(&mut nodes, id);
                    model.remove(id);
                }
                5 if !model.order.is_empty() => {
                    // Sleep as the worker does: exactly as long as the wheel says.
                    let until = wheel.next().expect("something is armed");
                    model.now = model.now.max(until);
                    wheel.advance(&mut nodes, until);
                    compare_due(seed, &mut wheel, &mut nodes, &mut model);
                }
                _ => {
                    model.now = model.now.saturating_add(random_step(&mut random));
                    wheel.advance(&mut nodes, model.now);
                    // Removing what is due and not yet taken must work as well.
                    wheel.remove(&mut nodes, id);
                    model.remove(id);
                    compare_due(seed, &mut wheel, &mut nodes, &mut model);
                }
            }
            assert_eq!(wheel.len(), model.order.len(), "seed {seed}");
            assert_eq!(wheel.is_empty(), model.order.is_empty(), "seed {seed}");
            for (node, key) in nodes.iter().zip(&model.keys) {
                assert_eq!(node.0.armed(), key.is_some(), "seed {seed}");
            }
            match (wheel.next(), model.order.keys().next()) {
                (None, None) => {}
                (Some(next), Some(&(deadline, _))) => {
                    assert!(next <= deadline, "seed {seed}: {next} > {deadline}");
                    let exact = model.now >> BITS_PER_LEVEL == deadline >> BITS_PER_LEVEL;
                    assert!(next == deadline || !exact, "seed {seed}: not exact");
                    assert!(next > model.now || next == deadline, "seed {seed}: no gain");
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        model.now = u64::MAX;
        wheel.advance(&mut nodes, u64::MAX);
        compare_due(seed, &mut wheel, &mut nodes, &mut model);
        assert!(wheel.is_empty(), "seed {seed}");
    }

    fn compare_due(seed: u64, wheel: &mut Wheel, nodes: &mut Timed, model: &mut Model) {
        loop {
            let due = wheel.take_due(nodes);
            assert_eq!(due, model.take_due(), "seed {seed}");
            if due.is_none() {
                break;
            }
        }
    }

    #[test]
    fn it_does_what_the_sorted_map_does() {
        for seed in 0..500 {
            run(seed);
        }
    }

    #[test]
    fn a_passed_deadline_waits_for_the_next_advance() {
        let mut nodes = vec![(Node::default(), 0); 1];
        let mut wheel = Wheel::new(1_000);
        arm(&mut wheel, &mut nodes, 0, 3);
        assert_eq!(wheel.take_due(&mut nodes), None);
        assert_eq!(wheel.next(), Some(1_000));
        wheel.advance(&mut nodes, 1_000);
        assert_eq!(wheel.take_due(&mut nodes), Some(0));
        assert!(!nodes[0].0.armed());
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn time_does_not_go_back() {
        let mut nodes = vec![(Node::default(), 0); 1];
        let mut wheel = Wheel::new(1_000);
        arm(&mut wheel, &mut nodes, 0, 1_001);
        wheel.advance(&mut nodes, 5);
        assert_eq!(wheel.take_due(&mut nodes), None);
        wheel.advance(&mut nodes, 1_001);
        assert_eq!(wheel.take_due(&mut nodes), Some(0));
    }

    #[test]
    fn a_node_that_is_armed_again_moves() {
        let mut nodes = vec![(Node::default(), 0); 2];
        let mut wheel = Wheel::new(0);
        arm(&mut wheel, &mut nodes, 0, 10);
        arm(&mut wheel, &mut nodes, 1, 20);
        arm(&mut wheel, &mut nodes, 0, 30);
        assert_eq!(wheel.len(), 2);
        wheel.advance(&mut nodes, 40);
        assert_eq!(wheel.take_due(&mut nodes), Some(1));
        assert_eq!(wheel.take_due(&mut nodes), Some(0));
        assert_eq!(wheel.take_due(&mut nodes), None);
    }
}
