//! The keeper of certificate authorities: the files that versions name by `tls: {ca: FILE}`, read on threads of their own, and again
//! when they change.
//!
//! The publisher takes from here what an upstream trusts, and waits for no file. An upstream whose file was never read well has no
//! endpoint until it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::named_files::Folder;
use super::readers::{self, Answer, Readers};
use crate::clock;
use crate::files::Stamp;
use crate::upstreams::{Authorities, read_authorities};

/// Time for which a file is kept that nothing names.
const FRESH: Duration = Duration::from_secs(60);

/// The authorities of a running gateway, by file.
#[derive(Debug, Default)]
pub(super) struct AuthorityKeeper {
    /// Where relative names are.
    folder: Folder,
    files: Mutex<BTreeMap<PathBuf, AuthorityFile>>,
    readers: Readers,
}

/// Knowledge of one file.
#[derive(Debug, Default)]
struct AuthorityFile {
    /// The last content that could be used.
    authorities: Option<Arc<Authorities>>,
    /// The file that was read last; `None` if it could not be looked at.
    stamp: Option<Stamp>,
    wrong: Option<Wrong>,
    /// The time of the last look.
    looked: Option<Instant>,
}

/// The reason why the present content of a file cannot be used.
#[derive(Debug, Clone)]
pub(super) struct Wrong {
    pub(super) reason: String,
    /// The time since which it cannot, counted from 1970.
    pub(super) since: Duration,
    /// True if earlier content is trusted meanwhile.
    pub(super) has_earlier: bool,
}

/// The outcome of a look at one file.
enum Look {
    Same,
    Read(Option<Stamp>, Result<Arc<Authorities>, String>),
}

impl AuthorityKeeper {
    /// A keeper that has read nothing yet, and takes relative names in this folder.
    pub(super) fn in_folder(folder: Folder) -> Self {
        Self { folder, ..Self::default() }
    }

    /// The authorities of this file, as far as they are known.
    pub(super) fn authorities(&self, path: &Path) -> Option<Arc<Authorities>> {
        self.files().get(path)?.authorities.clone()
    }

    /// The reason why this file cannot be used now.
    pub(super) fn wrong(&self, path: &Path) -> Option<Wrong> {
        self.files().get(path)?.wrong.clone()
    }

    /// Looks at these files and reads those that changed; answers those whose authorities are others than before.
    pub(super) async fn look(&self, paths: Vec<PathBuf>) -> BTreeSet<PathBuf> {
        let seen = |path: PathBuf| {
            let stamp = self.files().get(&path).and_then(|file| file.stamp);
            (path, stamp)
        };
        let jobs = paths.into_iter().map(seen).collect();
        let mut changed = BTreeSet::new();
        let see = |(path, _): &(PathBuf, Option<Stamp>), answer: Answer<Look>| {
            let (stamp, read) = match answer {
                Answer::Done(Look::Same) | Answer::Skipped => return,
                Answer::Done(Look::Read(stamp, read)) => (stamp, read),
                Answer::Late(_) => (None, Err(format!("{}: {}", self.folder.file(path).display(), readers::late()))),
            };
            if self.files().entry(path.clone()).or_default().take(stamp, read) {
                changed.insert(path.clone());
            }
        };
        let folder = self.folder.clone();
        self.readers.each(jobs, move |(path, seen)| look(&folder.file(path), *seen), see).await;
        changed
    }

    /// Forgets all files but these, and those that were looked at a while ago: a change that names them may be on its way.
    pub(super) fn retain(&self, named: &BTreeSet<PathBuf>) {
        let is_fresh = |file: &AuthorityFile| file.looked.is_some_and(|looked| looked.elapsed() < FRESH);
        self.files().retain(|path, file| named.contains(path) || is_fresh(file));
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, AuthorityFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuthorityFile {
    /// Takes what was read; answers whether the authorities are others now.
    fn take(&mut self, stamp: Option<Stamp>, read: Result<Arc<Authorities>, String>) -> bool {
        (self.stamp, self.looked) = (stamp, Some(clock::now()));
        match read {
            Ok(authorities) => {
                self.wrong = None;
                let is_same = self.authorities.as_ref() == Some(&authorities);
                self.authorities = Some(authorities);
                !is_same
            }
            Err(reason) => {
                let since = self.wrong.as_ref().map_or_else(clock::unix, |wrong| wrong.since);
                self.wrong = Some(Wrong { reason, since, has_earlier: self.authorities.is_some() });
                false
            }
        }
    }
}

/// Reads the file unless it is as it was `seen`. Blocks on the file system.
fn look(path: &Path, seen: Option<Stamp>) -> Look {
    // Before the content: what is written in between shows at the next look.
    let stamp = Stamp::of(path).ok();
    if stamp.is_some() && stamp == seen {
        return Look::Same;
    }
    Look::Read(stamp, read_authorities(path).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn the_last_good_authorities_stay_until_others_can_be_read() {
        let authority = || rcgen::generate_simple_self_signed(["authority.test".to_owned()]).unwrap().cert.pem();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.pem");
        let keeper = AuthorityKeeper::default();
        let look = async || keeper.look(vec![path.clone()]).await.contains(&path);
        assert!(!look().await && keeper.authorities(&path).is_none());
        assert!(keeper.wrong(&path).is_some_and(|wrong| !wrong.has_earlier && wrong.reason.contains("No such file")));

        fs::write(&path, authority()).unwrap();
        assert!(look().await && keeper.wrong(&path).is_none());
        let first = keeper.authorities(&path).unwrap();
        assert!(!look().await, "nothing changed");

        fs::write(&path, "rubbish").unwrap();
        assert!(!look().await && keeper.authorities(&path) == Some(first.clone()));
        assert!(keeper.wrong(&path).is_some_and(|wrong| wrong.has_earlier));
        let since = keeper.wrong(&path).unwrap().since;
        fs::remove_file(&path).unwrap();
        assert!(!look().await && keeper.wrong(&path).unwrap().since == since, "it has been wrong all the while");

        fs::write(&path, authority()).unwrap();
        assert!(look().await && keeper.authorities(&path) != Some(first));
        keeper.retain(&BTreeSet::new());
        assert!(keeper.authorities(&path).is_some(), "a change that names it may be on its way");
    }
}
