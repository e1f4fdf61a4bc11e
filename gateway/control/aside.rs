//! Rollouts that went back to stable while the store could take nothing, noted beside it: a gateway that dies before they are
//! stored does not give the candidate its traffic again.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::release::rollout::RolloutId;

use crate::files;

/// Taken at the start and written over later, so that it needs no space of a full disk. Enough for some hundred rollouts.
const ROOM: usize = 4096;

/// The file. The default has none, and forgets.
#[derive(Debug, Clone, Default)]
pub struct Aside(Option<Arc<Noted>>);

#[derive(Debug)]
struct Noted {
    file: File,
    rollouts: Mutex<Listed>,
    /// The rollouts that the file lists, as far as that is known. Held while it is written.
    written: Mutex<Option<BTreeSet<RolloutId>>>,
}

/// The rollouts that are to be noted, by who knows of them.
#[derive(Debug, Default)]
struct Listed {
    /// Noted before the start, and not taken back again.
    earlier: BTreeSet<RolloutId>,
    /// Gone back by the guardian, which the writer has not answered.
    taken: BTreeSet<RolloutId>,
    /// Gone back in what the writer could not store.
    unsaved: BTreeSet<RolloutId>,
}

impl Aside {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = files::open_to_write(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
        if file.metadata()?.len() < ROOM as u64 {
            file.write_all_at(&[b'\n'; ROOM], 0)?;
            file.sync_all()?;
        }
        let earlier = read(&file)?;
        let rollouts = Mutex::new(Listed { earlier: earlier.clone(), ..Listed::default() });
        Ok(Self(Some(Arc::new(Noted { file, rollouts, written: Mutex::new(Some(earlier)) }))))
    }

    /// The rollouts that were noted before the start.
    pub(super) fn earlier(&self) -> BTreeSet<RolloutId> {
        self.0.as_ref().map_or_else(BTreeSet::new, |noted| noted.lock().earlier.clone())
    }

    /// Lists no longer what was noted before the start. Not yet written.
    pub(super) fn forget_earlier(&self) {
        self.list(|listed| listed.earlier.clear());
    }

    /// Lists what the guardian took out, instead of what it did before. Not yet written.
    pub(super) fn set_taken(&self, rollouts: BTreeSet<RolloutId>) {
        self.list(|listed| listed.taken = rollouts);
    }

    /// Lists what the writer could not store, instead of what it could not before. Not yet written.
    pub(super) fn set_unsaved(&self, rollouts: BTreeSet<RolloutId>) {
        self.list(|listed| listed.unsaved = rollouts);
    }

    fn list(&self, change: impl FnOnce(&mut Listed)) {
        if let Some(noted) = &self.0 {
            change(&mut noted.lock());
        }
    }

    /// Writes what is listed by now, if the file says otherwise.
    pub(super) async fn write(&self) {
        let Some(noted) = self.0.clone() else { return };
        let written = tokio::task::spawn_blocking(move || noted.write());
        if let Err(error) = written.await.unwrap_or_else(|error| Err(error.into())) {
            tracing::error!("what is not stored could not be noted beside the store either: {error}");
        }
    }
}

impl Noted {
    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.rollouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let all: BTreeSet<RolloutId> = {
            let listed = self.lock();
            [&listed.earlier, &listed.taken, &listed.unsaved].into_iter().flatten().copied().collect()
        };
        if written.as_ref() == Some(&all) {
            return Ok(());
        }
        // After a write that failed nobody knows what the file lists.
        *written = None;
        let mut text: String = all.iter().map(|id| format!("{id}\n")).collect();
        // A line that is cut off would name another rollout.
        text.truncate(text[..text.len().min(ROOM)].rfind('\n').map_or(0, |end| end + 1));
        text.extend(std::iter::repeat_n('\n', ROOM - text.len()));
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.sync_data()?;
        *written = Some(all);
        Ok(())
    }
}

fn read(file: &File) -> io::Result<BTreeSet<RolloutId>> {
    let mut bytes = [0; ROOM];
    let read = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..read]);
    Ok(text.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: std::ops::Range<u64>) -> BTreeSet<RolloutId> {
        numbers.map(RolloutId).collect()
    }

    #[tokio::test]
    async fn what_is_noted_last_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aside");
        assert_eq!(Aside::open(&path).unwrap().earlier(), ids(0..0));
        for noted in [ids(7..9), ids(1_000..1_100), ids(12..13), ids(0..0)] {
            let aside = Aside::open(&path).unwrap();
            aside.forget_earlier();
            aside.set_unsaved(noted.clone());
            aside.write().await;
            assert_eq!(Aside::open(&path).unwrap().earlier(), noted);
        }
        let aside = Aside::open(&path).unwrap();
        aside.set_unsaved(ids(1_000_000..1_001_000));
        aside.write().await;
        let fit = Aside::open(&path).unwrap().earlier();
        assert!(fit.len() > 400 && fit == ids(1_000_000..1_000_000 + fit.len() as u64), "whole lines only");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ROOM as u64, "it takes no more space than at first");
    }

    #[tokio::test]
    async fn nobody_forgets_what_others_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aside");
        let aside = Aside::open(&path).unwrap();
        aside.set_unsaved(ids(1..2));
        aside.write().await;
        let aside = Aside::open(&path).unwrap();
        aside.set_taken(ids(2..3));
        aside.write().await;
        assert_eq!(Aside::open(&path).unwrap().earlier(), ids(1..3), "the earlier one is not taken back yet");
        aside.forget_earlier();
        aside.set_taken(ids(0..0));
        aside.write().await;
        assert_eq!(Aside::open(&path).unwrap().earlier(), ids(0..0));
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("aside"), folder.path().join("target"));
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(Aside::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
    }
}
