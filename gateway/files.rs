//! Files that operators name: read whole, within bounds.
//!
//! Files other than regular ones are refused, and so are those above 1 MiB: `/dev/zero` or a FIFO is a mistake and
//! holds nothing up. A file system that does not answer blocks the thread that reads.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::libc::O_NONBLOCK;

/// The size of the largest file that is read, in bytes.
const MOST: u64 = 1 << 20;
/// The coarsest step of the times that file systems note.
const STEP: Duration = Duration::from_secs(2);

/// The reason why a file cannot be used, to be read after its name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system's reason.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A thing that is not a regular file.
    #[error("is {0}; expected a regular file")]
    Irregular(&'static str),
    /// A file above the bound.
    #[error("is larger than 1 MiB")]
    TooLarge,
}

/// A mark of a file's content that is known without reading it: it changes with the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The mark of a regular file. Blocks on the file system.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        Self::of_regular(&std::fs::metadata(path)?)
    }

    fn of_regular(metadata: &Metadata) -> Result<Self, FileError> {
        let kind = metadata.file_type();
        if kind.is_file() {
            return Ok(Self {
                file: (metadata.dev(), metadata.ino()),
                size: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            });
        }
        Err(FileError::Irregular(if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a FIFO"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        }))
    }

    /// Tells if the file may change within the same step of its times, `now` (since 1970), and keep this mark.
    #[must_use]
    pub fn is_fresh(&self, now: Duration) -> bool {
        i64::try_from(now.saturating_sub(STEP).as_secs()).is_ok_and(|then| self.changed.0 >= then)
    }
}

/// A file's content and its mark. Blocks on the file system.
///
/// # Errors
/// The reason why the file cannot be used.
pub fn read(path: &Path) -> Result<(Stamp, Vec<u8>), FileError> {
    // To open a device can have effects of its own, so what it is comes first.
    Stamp::of(path)?;
    // Without a wait for the other end, should it have become a FIFO meanwhile.
    let file: File = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let stamp = Stamp::of_regular(&file.metadata()?)?;
    let mut content = Vec::new();
    file.take(MOST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST { Err(FileError::TooLarge) } else { Ok((stamp, content)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let refused = |path: &Path| read(path).unwrap_err().to_string();
        std::fs::write(path("small"), "text").unwrap();
        assert_eq!(read(&path("small")).unwrap().1, b"text");
        std::fs::write(path("most"), vec![b'a'; MOST as usize]).unwrap();
        assert_eq!(read(&path("most")).unwrap().1.len() as u64, MOST);
        std::fs::write(path("large"), vec![b'a'; MOST as usize + 1]).unwrap();
        assert_eq!(refused(&path("large")), "is larger than 1 MiB");
        assert!(std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        assert_eq!(refused(&path("fifo")), "is a FIFO; expected a regular file");
        assert_eq!(refused(folder.path()), "is a directory; expected a regular file");
        assert_eq!(refused(Path::new("/dev/zero")), "is a device; expected a regular file");
        assert!(refused(&path("none")).starts_with("cannot be read: No such file"));
    }
}
