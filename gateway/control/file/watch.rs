//! The watch on the folders of the configuration file.
//!
//! Folders are watched and not files, so that an editor's rename and a swapped symbolic link (as mounted config maps do) are
//! seen. The other files of a folder, such as the store, may change all the time and wake nobody.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::clock;

/// Time after the last write in which a file that was not closed counts as being written: the end of a program that was killed
/// may be missed.
const WRITER_GONE: Duration = Duration::from_secs(60);

/// A watch on a file, and what it saw.
pub(super) struct Watch {
    seen: Arc<Seen>,
    /// `None` where the system gives no watch; then the file is looked at again and again.
    watcher: Option<RecommendedWatcher>,
    /// The folders that are watched, with device and inode: another one may have taken the name.
    folders: Vec<(PathBuf, Option<(u64, u64)>)>,
}

#[derive(Default)]
struct Seen {
    changed: Notify,
    file: Mutex<SeenOfFile>,
}

#[derive(Default)]
struct SeenOfFile {
    /// The file, and what it links to.
    paths: Vec<PathBuf>,
    /// The file came by a rename, and was not written since.
    renamed: bool,
    /// The last write of a program that has not closed the file.
    writing: Option<Instant>,
}

impl Watch {
    pub(super) fn start(path: &Path) -> Self {
        let seen = Arc::<Seen>::default();
        let told = Arc::clone(&seen);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| told.event(event));
        let watcher = watcher.inspect_err(|error| warn(path, error)).ok();
        let mut watch = Self { seen, watcher, folders: Vec::new() };
        watch.follow(path, path);
        watch
    }

    /// Watches the folder of the file, and that of the file that it links to.
    pub(super) fn follow(&mut self, path: &Path, target: &Path) {
        let paths = vec![path.to_owned(), target.to_owned()];
        let mut folders: Vec<_> = paths.iter().map(|path| folder_of(path)).collect();
        folders.dedup();
        if folders != self.folders
            && let Some(watcher) = &mut self.watcher
        {
            for (gone, _) in self.folders.iter().filter(|folder| !folders.contains(folder)) {
                // It fails for a folder that is gone, whose watch went with it.
                let _ = watcher.unwatch(gone);
            }
            for (new, _) in folders.iter().filter(|folder| !self.folders.contains(folder)) {
                if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    warn(new, &error);
                }
            }
            self.folders = folders;
            // What came to an earlier folder says nothing of this one.
            self.seen.file().renamed = false;
        }
        self.seen.file().paths = paths;
    }

    /// Returns when something happened that may concern the file.
    pub(super) async fn changed(&self) {
        self.seen.changed.notified().await;
    }

    /// True if the file came by a rename and was not written since.
    pub(super) fn was_renamed(&self) -> bool {
        self.seen.file().renamed
    }

    /// Forgets the rename of a file that is about to be read.
    pub(super) fn take_rename(&self) {
        self.seen.file().renamed = false;
    }

    /// True if a program that wrote to the file has it open.
    pub(super) fn is_being_written(&self) -> bool {
        self.seen.file().writing.is_some_and(|last| last.elapsed() < WRITER_GONE)
    }
}

impl Seen {
    fn file(&self) -> MutexGuard<'_, SeenOfFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: notify::Result<Event>) {
        let Ok(event) = event else { return };
        if self.file().takes(&event) {
            self.changed.notify_one();
        }
    }
}

impl SeenOfFile {
    /// Takes note of an event; answers whether the file may be another one now.
    fn takes(&mut self, event: &Event) -> bool {
        let name = |path: &PathBuf| path.file_name().map(ToOwned::to_owned);
        let is_ours = event.paths.iter().any(|path| self.paths.iter().any(|own| name(own) == name(path)));
        match event.kind {
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) if is_ours => {
                (self.renamed, self.writing) = (true, None);
            }
            EventKind::Create(_) if is_ours => self.renamed = false,
            EventKind::Modify(ModifyKind::Data(_)) if is_ours => {
                (self.renamed, self.writing) = (false, Some(clock::now()));
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write)) if is_ours => self.writing = None,
            EventKind::Access(_) => return false,
            // Another name may be a link on the way to the file.
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => {}
            _ if event.need_rescan() => (self.renamed, self.writing) = (false, None),
            _ => return is_ours,
        }
        true
    }
}

fn folder_of(path: &Path) -> (PathBuf, Option<(u64, u64)>) {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (folder.to_owned(), fs::metadata(folder).ok().map(|found| (found.dev(), found.ino())))
}

fn warn(path: &Path, error: &notify::Error) {
    tracing::warn!("cannot watch {} ({error}); the file is looked at again and again instead", path.display());
}
