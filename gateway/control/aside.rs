//! Rollouts that went back to stable while the store could take nothing, noted beside it: a gateway that dies before they are
//! stored does not give the candidate its traffic again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use config::release::rollout::RolloutId;

use crate::files;

/// Taken at the start and written over later, so that it needs no space of a full disk. Enough for some hundred rollouts.
const ROOM: usize = 4096;

/// The file. The default has none, and forgets.
#[derive(Debug, Clone, Default)]
pub struct Aside(Option<Arc<File>>);

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
        Ok(Self(Some(Arc::new(file))))
    }

    /// The rollouts that were noted last.
    pub(super) fn rollouts(&self) -> Vec<RolloutId> {
        let mut bytes = [0; ROOM];
        let Some(Ok(read)) = self.0.as_ref().map(|file| file.read_at(&mut bytes, 0)) else { return Vec::new() };
        let text = String::from_utf8_lossy(&bytes[..read]);
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }

    /// Notes these, and forgets what was there.
    pub(super) async fn note(&self, rollouts: &[RolloutId]) {
        let Some(file) = self.0.clone() else { return };
        let mut text: String = rollouts.iter().map(|id| format!("{id}\n")).collect();
        // A line that is cut off would name another rollout.
        text.truncate(text[..text.len().min(ROOM)].rfind('\n').map_or(0, |end| end + 1));
        text.extend(std::iter::repeat_n('\n', ROOM - text.len()));
        let written = move || file.write_all_at(text.as_bytes(), 0).and_then(|()| file.sync_data());
        if let Err(error) = tokio::task::spawn_blocking(written).await.unwrap_or_else(|error| Err(error.into())) {
            tracing::error!("what is not stored could not be noted beside the store either: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_noted_last_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aside");
        let ids = |numbers: std::ops::Range<u64>| numbers.map(RolloutId).collect::<Vec<_>>();
        assert_eq!(Aside::open(&path).unwrap().rollouts(), []);
        for noted in [ids(7..9), ids(1_000..1_100), ids(12..13), Vec::new()] {
            Aside::open(&path).unwrap().note(&noted).await;
            assert_eq!(Aside::open(&path).unwrap().rollouts(), noted);
        }
        Aside::open(&path).unwrap().note(&ids(1_000_000..1_001_000)).await;
        let fit = Aside::open(&path).unwrap().rollouts();
        assert!(fit.len() > 400 && fit == ids(1_000_000..1_000_000 + fit.len() as u64), "whole lines only");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ROOM as u64, "it takes no more space than at first");
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
