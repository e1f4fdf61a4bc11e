//! The configuration file as the file system tells of it: enough to see that it is another one, or was changed.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::files::{self, FileError};

/// The file at a path at one moment.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// Its path without symbolic links.
    pub(super) target: PathBuf,
    mark: files::Stamp,
}

impl Stamp {
    /// Looks at the file. Blocks on the file system.
    ///
    /// # Errors
    /// When there is no such file, or it is none to be read.
    pub(super) fn of(path: &Path) -> Result<Self, FileError> {
        let target = fs::canonicalize(path)?;
        let mark = files::Stamp::of(&target)?;
        Ok(Self { target, mark })
    }

    /// True if nobody wrote between the two.
    pub(super) fn is_still(&self, earlier: &Self) -> bool {
        self.target == earlier.target && self.mark.is_still(&earlier.mark)
    }

    /// True if nobody did anything to the file between the two. A copy may keep length and time of the content that it replaces.
    pub(super) fn is_untouched(&self, earlier: &Self) -> bool {
        self.target == earlier.target && self.mark == earlier.mark
    }

    /// True if it is another file than the earlier one, written before it came to its place: a link that points elsewhere, or a
    /// rename, which changes an inode after its last write.
    pub(super) fn replaces(&self, earlier: &Self) -> bool {
        self.target != earlier.target || (self.mark.is_another(&earlier.mark) && self.was_touched_after_writing())
    }
}

impl Deref for Stamp {
    type Target = files::Stamp;

    fn deref(&self) -> &files::Stamp {
        &self.mark
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(stamp.age(modified + Duration::from_secs(5)), Duration::from_secs(5));
    }
}
