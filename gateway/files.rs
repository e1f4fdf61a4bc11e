//! Files that operators name: read whole and written, within bounds.
//!
//! Only regular files are read, up to a bound: `/dev/zero`, a FIFO or a file of 10 GB is a mistake and holds nothing up. A
//! file system that does not answer blocks the thread that reads; [`within`] gives it one of its own. What is written is
//! opened without following a link, for this user alone, in a folder where nobody else can put another file in its place.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::libc::{ELOOP, O_NOFOLLOW, O_NONBLOCK};

/// The size of the largest certificate, key, list of authorities or token, in bytes.
pub const SMALL: u64 = 1 << 20;
/// The size of the largest configuration, in bytes.
pub const CONFIGURATION: u64 = 64 << 20;
/// The time that a file may take to be read.
pub const PATIENCE: Duration = Duration::from_secs(3);
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
    /// A file above this bound, in bytes.
    #[error("is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    /// A file that is no text.
    #[error("is not UTF-8")]
    NotText,
    /// A file system that does not answer.
    #[error("cannot be read: the file system did not answer within {} s", PATIENCE.as_secs())]
    Late,
}

impl FileError {
    /// Tells if there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A mark of a file's content that is known without reading it: it changes with the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    size: u64,
    mode: u32,
    /// Seconds since 1970, and nanoseconds.
    modified: (i64, i64),
    /// The time at which content, owner, mode or name changed last.
    changed: (i64, i64),
}

impl Stamp {
    /// The mark of a regular file. Blocks on the file system.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        Self::of_regular(&fs::metadata(path)?)
    }

    fn of_regular(metadata: &Metadata) -> Result<Self, FileError> {
        if let Some(kind) = irregular(metadata) {
            return Err(FileError::Irregular(kind));
        }
        Ok(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            mode: metadata.mode() & 0o7777,
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// The file's permissions.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Tells if the file may change within the same step of its times, `now` (since 1970), and keep this mark.
    #[must_use]
    pub fn is_fresh(&self, now: Duration) -> bool {
        i64::try_from(now.saturating_sub(STEP).as_secs()).is_ok_and(|then| self.changed.0 >= then)
    }

    /// Tells if nobody wrote to the file between the two.
    #[must_use]
    pub fn is_still(&self, earlier: &Self) -> bool {
        (self.file, self.size, self.modified) == (earlier.file, earlier.size, earlier.modified)
    }

    /// Tells if it is another file than the earlier one.
    #[must_use]
    pub fn is_another(&self, earlier: &Self) -> bool {
        self.file != earlier.file
    }

    /// Tells if the last thing that was done to the file was no write.
    #[must_use]
    pub fn was_touched_after_writing(&self) -> bool {
        self.changed > self.modified
    }

    /// The time since the last write, `now` being the time since 1970. Zero for a time in the future.
    #[must_use]
    pub fn age(&self, now: Duration) -> Duration {
        let (seconds, nanos) = self.modified;
        let modified = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        now.saturating_sub(modified)
    }
}

/// The kind of a thing that is not a regular file.
fn irregular(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

/// The content of a file of at most [`SMALL`] bytes, and its mark. Blocks on the file system.
///
/// # Errors
/// The reason why the file cannot be used.
pub fn read(path: &Path) -> Result<(Stamp, Vec<u8>), FileError> {
    read_up_to(path, SMALL)
}

/// The text of a file of at most `most` bytes, and its mark. Blocks on the file system.
///
/// # Errors
/// The reason why the file cannot be used.
pub fn read_text(path: &Path, most: u64) -> Result<(Stamp, String), FileError> {
    let (stamp, content) = read_up_to(path, most)?;
    String::from_utf8(content).map(|text| (stamp, text)).map_err(|_| FileError::NotText)
}

/// Does the same as [`read_text`], on a thread of its own, within [`PATIENCE`].
///
/// # Errors
/// The reason why the file cannot be used.
pub fn read_text_in_time(path: &Path, most: u64) -> Result<(Stamp, String), FileError> {
    let path = path.to_owned();
    within(PATIENCE, move || read_text(&path, most)).unwrap_or(Err(FileError::Late))
}

/// The result of work on a thread of its own, which is left to itself when it takes longer than `time`.
pub fn within<T: Send + 'static>(time: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::sync_channel(1);
    let begun = thread::Builder::new().name("weir-files".into()).spawn(move || {
        // Nobody may wait any more.
        let _ = tell.send(work());
    });
    begun.ok().and_then(|_| told.recv_timeout(time).ok())
}

fn read_up_to(path: &Path, most: u64) -> Result<(Stamp, Vec<u8>), FileError> {
    // To open a device can have effects of its own, so what it is comes first.
    Stamp::of(path)?;
    // Without a wait for the other end, should it have become a FIFO meanwhile.
    let file: File = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let stamp = Stamp::of_regular(&file.metadata()?)?;
    if stamp.size > most {
        return Err(FileError::TooLarge(most));
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most { Err(FileError::TooLarge(most)) } else { Ok((stamp, content)) }
}

/// Opens a file to write to it: a regular one, by no link, in a folder that [`check_folder`] accepts. One that is made is for
/// this user alone.
///
/// # Errors
/// The reason why it is not written to, without the file's name.
pub fn open_to_write(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    check_folder(path)?;
    // Neither a FIFO without a reader nor a device holds this up.
    let opened = options.mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(ELOOP) => io::Error::other("it is a symbolic link, which is not followed; name the file itself"),
        _ => error,
    })?;
    match irregular(&file.metadata()?) {
        None => Ok(file),
        Some(kind) => Err(io::Error::other(format!("it is {kind}; expected a regular file"))),
    }
}

/// Checks the folder of a file that is to be written.
///
/// # Errors
/// When everybody may replace files there: it is writable by others, and has no sticky bit as `/tmp` has.
pub fn check_folder(path: &Path) -> io::Result<()> {
    const BY_OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = fs::metadata(folder)?.mode();
    if mode & BY_OTHERS == 0 || mode & STICKY != 0 {
        return Ok(());
    }
    let folder = folder.display();
    Err(io::Error::other(format!("everybody can replace files in its folder {folder}; `chmod o-w {folder}` ends that")))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn fifo(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let refused = |path: &Path| read(path).unwrap_err().to_string();
        fs::write(path("small"), "text").unwrap();
        assert_eq!(read(&path("small")).unwrap().1, b"text");
        fs::write(path("most"), vec![b'a'; SMALL as usize]).unwrap();
        assert_eq!(read(&path("most")).unwrap().1.len() as u64, SMALL);
        fs::write(path("large"), vec![b'a'; SMALL as usize + 1]).unwrap();
        assert_eq!(refused(&path("large")), "is larger than 1 MiB");
        File::create(path("sparse")).unwrap().set_len(10 << 30).unwrap();
        let sparse = read_text_in_time(&path("sparse"), CONFIGURATION).unwrap_err();
        assert_eq!(sparse.to_string(), "is larger than 64 MiB");
        fifo(&path("fifo"));
        assert_eq!(refused(&path("fifo")), "is a FIFO; expected a regular file");
        assert_eq!(refused(folder.path()), "is a directory; expected a regular file");
        assert_eq!(refused(Path::new("/dev/zero")), "is a device; expected a regular file");
        assert!(read(&path("none")).unwrap_err().is_missing());
        fs::write(path("bytes"), [0xff]).unwrap();
        assert_eq!(read_text(&path("bytes"), SMALL).unwrap_err().to_string(), "is not UTF-8");
    }

    #[test]
    fn work_that_hangs_is_left_to_its_thread() {
        let (go, gone) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(20), move || gone.recv().is_ok()), None);
        drop(go);
        assert_eq!(within(PATIENCE, || 7), Some(7));
    }

    #[test]
    fn nothing_is_written_through_a_link_or_to_anything_but_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let open = |name: &str| open_to_write(&path(name), OpenOptions::new().append(true).create(true));
        open("new").unwrap();
        assert_eq!(fs::metadata(path("new")).unwrap().mode() & 0o777, 0o600);
        fs::write(path("target"), "kept").unwrap();
        for (name, to) in [("link", "target"), ("dangling", "none")] {
            symlink(to, path(name)).unwrap();
            let refused = open(name).unwrap_err().to_string();
            assert!(refused.contains("a symbolic link"), "{refused}");
        }
        assert!(!path("none").exists());
        fifo(&path("fifo"));
        assert!(open("fifo").is_err());
        assert!(open_to_write(folder.path(), OpenOptions::new().read(true)).is_err());
    }

    #[test]
    fn a_folder_in_which_others_replace_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let check = |mode| {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            check_folder(&file)
        };
        assert!(check(0o700).is_ok() && check(0o775).is_ok() && check(0o1777).is_ok());
        let refused = check(0o777).unwrap_err().to_string();
        assert!(refused.contains("chmod o-w"), "{refused}");
    }
}
