//! The journal, checked against its own hashes, and against the texts that are stored.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{CHUNK, Entry, Hash, Start, StorePage, walk};
use crate::control::CONFIG;
use crate::store::{Image, Order, Revision, Store, StoreError};

/// So many texts that differ are named.
const NAMED: usize = 20;

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The fault, if there is one.
    pub verdict: Verdict,
    /// Hash of the newest line: whoever keeps it elsewhere sees a journal that was written anew.
    pub head: Hash,
    /// Texts that changed last before the kept journal begins, so that they are compared with nothing.
    pub unchecked: usize,
}

/// The state of the journal, and of the texts that it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every line stands on the one before, from the first to the last of these revisions, and every text is the one that
    /// the last line about it says.
    Whole {
        /// The oldest line that is kept; 0 when there is none.
        from: Revision,
        /// The newest.
        to: Revision,
    },
    /// A line does not.
    Broken {
        /// The first revision that is wrong.
        at: Revision,
        /// What is wrong with it.
        message: String,
    },
    /// The lines are whole, and texts are other ones.
    Differs {
        /// What is wrong with each, in a sentence; the first [`NAMED`] of them.
        texts: Vec<String>,
        /// How many there are.
        total: usize,
    },
}

/// Checks every line that is kept, and every text that is stored.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::control) async fn verify(store: &dyn Store) -> Result<Checked, StoreError> {
    let image = store.load("").await?;
    let start = Start::read(store).await?;
    let mut said = Said { knows_all: start.revision == 0, ..Said::default() };
    let (first, newest) = (start.revision + 1, image.revision);
    let (mut last, mut hash, mut broken) = (start.revision, start.hash, None);
    let page = StorePage { after: last, before: newest + 1, order: Order::OldestFirst, limit: CHUNK };
    walk(store, page, |revision, line| {
        let expected = last + 1;
        broken = match Entry::parse(revision, line) {
            _ if revision != expected => Some(format!("its line is missing; the next one is of revision {revision}")),
            Err(error) => Some(error.to_string()),
            Ok(entry) if entry.revision != revision || entry.previous.as_ref() != Some(&hash) => {
                Some("it does not stand on the line before: one of the two was changed".to_owned())
            }
            Ok(entry) => {
                said.hear(entry);
                None
            }
        }
        .map(|message| (expected, message));
        (last, hash) = (expected, Hash::of(line));
        Ok(if broken.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })
    .await?;
    if broken.is_none() && last < newest {
        broken = Some((last + 1, format!("its line is missing, and all up to revision {newest}")));
    }
    let (mut differs, unchecked) = said.compare(&image);
    let verdict = match broken {
        Some((at, message)) => Verdict::Broken { at, message },
        None if !differs.is_empty() => {
            let total = differs.len();
            differs.truncate(NAMED);
            Verdict::Differs { texts: differs, total }
        }
        None => Verdict::Whole { from: if newest == 0 { 0 } else { first }, to: newest },
    };
    Ok(Checked { verdict, head: hash, unchecked })
}

/// The last word of the journal on each text, by its name in the store.
#[derive(Default)]
struct Said {
    texts: BTreeMap<String, (Revision, Option<Hash>)>,
    /// True if it begins with the first line, so that it knows every text.
    knows_all: bool,
    /// True if some lines tell nothing of texts beside the configuration.
    is_old: bool,
}

impl Said {
    fn hear(&mut self, entry: Entry) {
        let revision = entry.revision;
        self.is_old |= entry.others.is_none();
        let config = entry.changes.into_iter();
        let config =
            config.map(|changed| (format!("{CONFIG}{}", changed.name), changed.after.as_deref().map(Hash::of)));
        let all = config.chain(entry.others.into_iter().flatten());
        self.texts.extend(all.map(|(name, hash)| (name, (revision, hash))));
    }

    /// The faults of texts, and the number of those that the journal does not tell of.
    fn compare(&self, image: &Image) -> (Vec<String>, usize) {
        let (mut differs, mut unchecked) = (Vec::new(), 0);
        for (name, stored) in &image.texts {
            match self.texts.get(name) {
                Some((_, Some(hash))) if *hash == Hash::of(&stored.text) => {}
                Some((revision, Some(_))) => {
                    differs.push(format!("`{name}` is not what revision {revision} made of it"))
                }
                Some((revision, None)) => {
                    differs.push(format!("`{name}` is there, and revision {revision} removed it"))
                }
                None if self.knows_all && (name.starts_with(CONFIG) || !self.is_old) => {
                    differs.push(format!("`{name}` is there, and no line of the journal tells of it"));
                }
                None => unchecked += 1,
            }
        }
        let gone = self.texts.iter().filter(|(name, (_, hash))| hash.is_some() && !image.texts.contains_key(*name));
        differs
            .extend(gone.map(|(name, (revision, _))| format!("`{name}` is missing, and revision {revision} wrote it")));
        differs.sort();
        (differs, unchecked)
    }
}
