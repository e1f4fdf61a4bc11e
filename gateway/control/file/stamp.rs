//! What the file system says of a file: enough to see that it is another one, or was changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// A time of the file system: seconds since 1970, and nanoseconds.
type Time = (i64, i64);

/// The file at a path at one moment.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// Its path without symbolic links.
    pub(super) target: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    length: u64,
    modified: Time,
    /// When content, owner, mode or name changed last.
    changed: Time,
}

impl Stamp {
    /// # Errors
    /// When there is no such file, or it cannot be looked at.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let target = fs::canonicalize(path)?;
        let found = fs::metadata(&target)?;
        Ok(Self::new(target, &found))
    }

    fn new(target: PathBuf, found: &Metadata) -> Self {
        Self {
            target,
            identity: (found.dev(), found.ino()),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// True if nobody wrote between the two.
    pub(super) fn is_still(&self, earlier: &Self) -> bool {
        let content = |stamp: &Self| (stamp.identity, stamp.length, stamp.modified);
        self.target == earlier.target && content(self) == content(earlier)
    }

    /// True if nobody did anything to the file between the two. A copy may keep length and time of the content that it replaces.
    pub(super) fn is_untouched(&self, earlier: &Self) -> bool {
        self.is_still(earlier) && self.changed == earlier.changed
    }

    /// True if it is another file than the earlier one, written before it came to its place: a link that points elsewhere, or a
    /// rename, which changes an inode after its last write.
    pub(super) fn replaces(&self, earlier: &Self) -> bool {
        self.target != earlier.target || (self.identity != earlier.identity && self.was_touched_after_writing())
    }

    /// True if the last thing that was done to the file was no write.
    pub(super) fn was_touched_after_writing(&self) -> bool {
        self.changed > self.modified
    }

    /// The time since the last write, `now` being the time since 1970. Zero for a time in the future.
    pub(super) fn age(&self, now: Duration) -> Duration {
        let (seconds, nanos) = self.modified;
        let modified = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        now.saturating_sub(modified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_and_a_link_replace_a_file_and_a_write_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.yaml");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("weir.yaml", "a");
        let first = Stamp::of(&path).unwrap();
        assert!(Stamp::of(&path).unwrap().is_still(&first));

        write("weir.yaml", "ab");
        let written = Stamp::of(&path).unwrap();
        assert!(!written.is_still(&first) && !written.replaces(&first));

        write("new", "abc");
        // A rename in the tick of the clock in which the file was written looks like a write.
        let fresh = Stamp::of(&folder.path().join("new")).unwrap();
        while {
            fs::rename(folder.path().join("new"), &path).unwrap();
            !Stamp::of(&path).unwrap().was_touched_after_writing()
        } {
            fs::rename(&path, folder.path().join("new")).unwrap();
        }
        let renamed = Stamp::of(&path).unwrap();
        assert!(!fresh.was_touched_after_writing() && renamed.replaces(&written));

        write("other", "abcd");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("other", &path).unwrap();
        assert!(Stamp::of(&path).unwrap().replaces(&renamed));
    }

    #[test]
    fn a_file_of_the_future_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.yaml");
        fs::write(&path, "a").unwrap();
        let stamp = Stamp::of(&path).unwrap();
        assert_eq!(stamp.age(Duration::ZERO), Duration::ZERO);
        let (seconds, nanos) = stamp.modified;
        let modified = Duration::new(seconds.try_into().unwrap(), nanos.try_into().unwrap());
        assert_eq!(stamp.age(modified + Duration::from_secs(5)), Duration::from_secs(5));
    }
}
