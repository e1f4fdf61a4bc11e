//! Some of the hosts: indices by hash, with linear probing in one piece of memory, so that finding one is one cache miss.

use std::sync::Arc;

use super::super::DomainIndex;

/// A slot is 0 when it is empty; else the low half of the hash, then the index plus one. A power of two of them, at most
/// three quarters taken.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    slots: Arc<[u64]>,
    len: usize,
}

impl Shard {
    /// The fewest slots: one cache line.
    const MIN_SLOTS: usize = 8;

    pub(super) fn new() -> Self {
        Self { slots: Arc::new([0; Self::MIN_SLOTS]), len: 0 }
    }

    /// The index with this hash that `is` says yes to.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(DomainIndex) -> bool) -> Option<DomainIndex> {
        self.place(hash, is).map(|place| index(self.slots[place]))
    }

    /// Adds an index that is not there.
    pub(super) fn insert(&mut self, hash: u64, index: DomainIndex) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let mut grown: Arc<[u64]> = std::iter::repeat_n(0, self.slots.len() * 2).collect();
            let slots = Arc::make_mut(&mut grown);
            for &slot in self.slots.iter().filter(|&&slot| slot != 0) {
                put(slots, slot);
            }
            self.slots = grown;
        }
        let tag = u64::from(hash as u32) << 32;
        put(Arc::make_mut(&mut self.slots), tag | (u64::from(index.get()) + 1));
        self.len += 1;
    }

    /// Takes out the index with this hash that `is` says yes to.
    pub(super) fn remove(&mut self, hash: u64, is: impl Fn(DomainIndex) -> bool) {
        let Some(mut hole) = self.place(hash, is) else { return };
        let slots = Arc::make_mut(&mut self.slots);
        let mask = slots.len() - 1;
        let mut at = hole;
        // What follows without a gap moves up, unless it would stand before its home then.
        loop {
            at = (at + 1) & mask;
            let slot = slots[at];
            if slot == 0 {
                break;
            }
            if at.wrapping_sub(home(slot, mask)) & mask >= at.wrapping_sub(hole) & mask {
                slots[hole] = slot;
                hole = at;
            }
        }
        slots[hole] = 0;
        self.len -= 1;
    }

    #[inline]
    fn place(&self, hash: u64, is: impl Fn(DomainIndex) -> bool) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let tag = hash as u32;
        let mut at = tag as usize & mask;
        loop {
            match self.slots[at & mask] {
                0 => return None,
                slot if (slot >> 32) as u32 == tag && is(index(slot)) => return Some(at & mask),
                _ => at += 1,
            }
        }
    }
}

/// Puts a slot into the first empty place from its home on; there is one.
fn put(slots: &mut [u64], slot: u64) {
    let mask = slots.len() - 1;
    let mut at = home(slot, mask);
    while slots[at] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = slot;
}

/// Where a slot would stand if nothing were in its way.
fn home(slot: u64, mask: usize) -> usize {
    (slot >> 32) as usize & mask
}

/// The index of a slot that is not empty.
#[inline]
fn index(slot: u64) -> DomainIndex {
    DomainIndex::new(slot as u32 - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map, with hashes that collide in every way: by home, by tag, as a whole.
        #[test]
        fn a_shard_is_a_map(edits in proptest::collection::vec((any::<bool>(), 0u64..12, 0u64..3, 0u32..4), 0..200)) {
            let mut shard = Shard::new();
            let mut map: BTreeMap<u32, u64> = BTreeMap::new();
            for (insert, home, tag, salt) in edits {
                let hash = (tag << 30) | ((0xfa + home) & 0xff);
                let key = hash as u32 ^ (salt << 16);
                let is = |index: DomainIndex| index.get() == key;
                match map.contains_key(&key) {
                    false if insert => {
                        shard.insert(hash, DomainIndex::new(key));
                        map.insert(key, hash);
                    }
                    true if !insert => {
                        shard.remove(map[&key], is);
                        map.remove(&key);
                    }
                    _ => shard.remove(!hash, is),
                }
                for (&key, &hash) in &map {
                    prop_assert_eq!(shard.find(hash, |index| index.get() == key), Some(DomainIndex::new(key)));
                }
                prop_assert_eq!(shard.find(hash, is).is_some(), map.contains_key(&key));
                prop_assert_eq!(shard.slots.iter().filter(|&&slot| slot != 0).count(), map.len());
                prop_assert_eq!(shard.len, map.len());
                prop_assert!(shard.len * 4 <= shard.slots.len() * 3);
            }
        }
    }
}
