//! A growing array in pieces: a copy shares all of them, a change copies one.

use std::sync::Arc;

use imbl::Vector;

/// Entries of one piece.
const CHUNK: usize = 1024;

/// Entries by index. An entry keeps its index until it is removed; a freed index is given out again only after
/// [`Chunks::settle`], so that within one update no index means two things.
#[derive(Debug, Clone)]
pub struct Chunks<T> {
    pieces: Arc<[Arc<[Option<T>]>]>,
    free: Vector<u32>,
    freed: Vector<u32>,
    /// One past the highest index ever given out.
    end: u32,
}

impl<T: Clone> Default for Chunks<T> {
    fn default() -> Self {
        Self { pieces: Arc::new([]), free: Vector::new(), freed: Vector::new(), end: 0 }
    }
}

impl<T: Clone> Chunks<T> {
    #[inline]
    /// The entry at an index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.pieces.get(index / CHUNK)?[index % CHUNK].as_ref()
    }

    /// Puts an entry at a free index.
    pub(super) fn insert(&mut self, entry: T) -> u32 {
        let index = self.free.pop_back().unwrap_or_else(|| {
            let index = self.end;
            self.end = index.checked_add(1).expect("4 294 967 295 entries do not fit into memory");
            index
        });
        if index as usize == self.pieces.len() * CHUNK {
            self.grow();
        }
        *self.entry(index) = Some(entry);
        index
    }

    /// Puts an entry at an index of somebody else's choice, such as that of another array.
    pub fn put(&mut self, index: u32, entry: T) {
        while index as usize >= self.pieces.len() * CHUNK {
            self.grow();
        }
        self.end = self.end.max(index + 1);
        *self.entry(index) = Some(entry);
    }

    /// Replaces the entry at an index that was given out.
    pub(super) fn set(&mut self, index: u32, entry: T) {
        *self.entry(index) = Some(entry);
    }

    /// Empties an index that somebody else chose.
    pub fn clear(&mut self, index: u32) {
        if self.get(index).is_some() {
            *self.entry(index) = None;
        }
    }

    /// Empties an index that was given out.
    pub(super) fn remove(&mut self, index: u32) {
        if self.entry(index).take().is_some() {
            self.freed.push_back(index);
        }
    }

    /// Ends an update: from now on what it removed may be given out again.
    pub(super) fn settle(&mut self) {
        self.free.append(std::mem::take(&mut self.freed));
    }

    /// One past the highest index ever given out.
    pub(super) fn end(&self) -> usize {
        self.end as usize
    }

    /// Every entry with its index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let entries = self.pieces.iter().flat_map(|piece| piece.iter());
        (0..).zip(entries).filter_map(|(index, entry)| Some((index, entry.as_ref()?)))
    }

    fn grow(&mut self) {
        let empty = std::iter::repeat_with(|| None).take(CHUNK).collect();
        self.pieces = self.pieces.iter().cloned().chain([empty]).collect();
    }

    fn entry(&mut self, index: u32) -> &mut Option<T> {
        let index = index as usize;
        let pieces = Arc::make_mut(&mut self.pieces);
        &mut Arc::make_mut(&mut pieces[index / CHUNK])[index % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map; and copies taken on the way stay what they were.
        #[test]
        fn chunks_are_a_map(edits in proptest::collection::vec((0u8..4, any::<u16>()), 0..60), start in 0usize..2100) {
            let mut chunks = Chunks::default();
            let mut map: BTreeMap<u32, u16> = BTreeMap::new();
            for n in 0..start {
                map.insert(chunks.insert(n as u16), n as u16);
            }
            let mut removed = Vec::new();
            for (edit, value) in edits {
                let (before, map_before) = (chunks.clone(), map.clone());
                let some = map.keys().nth(usize::from(value) % map.len().max(1)).copied();
                match (edit, some) {
                    (0, _) => {
                        let index = chunks.insert(value);
                        prop_assert!(!removed.contains(&index), "given out again before the update ended");
                        prop_assert_eq!(map.insert(index, value), None);
                    }
                    (1, Some(index)) => {
                        chunks.set(index, value);
                        map.insert(index, value);
                    }
                    (2, Some(index)) => {
                        chunks.remove(index);
                        map.remove(&index);
                        removed.push(index);
                    }
                    _ => {
                        chunks.settle();
                        removed.clear();
                    }
                }
                prop_assert!(chunks.iter().map(|(i, v)| (i, *v)).eq(map.clone()));
                prop_assert!(before.iter().map(|(i, v)| (i, *v)).eq(map_before));
                prop_assert!(map.iter().all(|(&i, v)| chunks.get(i) == Some(v) && (i as usize) < chunks.end()));
            }
        }
    }
}
