//! One certificate with its key: the last good content of its two files, and what is wrong with them now.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::model::Certificate;

use crate::clock;
use crate::control::readers::{self, Answer};
use crate::edge::tls::{CertificateProblem, Certified};
use crate::files::{self, FileError, Stamp};

/// Knowledge of a pair of files.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// The content that was last usable.
    good: Option<Arc<Certified>>,
    wrong: Option<Wrong>,
    seen: Option<Seen>,
    /// The thread that waits for the file system of these files.
    late: Option<Weak<readers::Waiting>>,
}

/// A reason why the present content of the files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The reason, with the name of the file.
    pub(super) reason: String,
    /// The time since which they cannot be used, counted from 1970.
    pub(super) since: Duration,
}

/// The marks of the two files when they were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    stamps: [Stamp; 2],
    /// True when one of them had just changed, and could change again without a new mark.
    fresh: bool,
}

/// The outcome of a look at the two files.
#[derive(Debug)]
pub(super) enum Found {
    /// No change since they were seen before.
    Same,
    /// Their marks, and the certificate in them.
    Content(Seen, Result<Arc<Certified>, CertificateProblem>),
    /// A file that could not be read.
    Nothing(CertificateProblem),
}

/// The change that a look brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// No change.
    None,
    /// The files hold a certificate to serve that was not there before.
    Renewed,
    /// The files hold again what was served all along.
    Mended,
    /// The files cannot be used, for a reason that was not known before.
    Broken,
}

/// Reads both files, unless they are as they were `seen`. Blocks on the file system.
pub(super) fn look(files: &Certificate, seen: Option<Seen>) -> Found {
    let names = [&*files.cert, &*files.key];
    let problem =
        |path: &Path, what: FileError| CertificateProblem { file: path.display().to_string(), what: what.to_string() };
    if let Some(Seen { stamps, fresh: false }) = seen
        && names.iter().zip(stamps).all(|(name, stamp)| Stamp::of(name).is_ok_and(|now| now == stamp))
    {
        return Found::Same;
    }
    let now = clock::unix();
    let read = |path: &Path| files::read(path).map_err(|what| problem(path, what));
    match names.map(read) {
        [Ok((cert_stamp, cert)), Ok((key_stamp, key))] => {
            let stamps = [cert_stamp, key_stamp];
            let seen = Seen { stamps, fresh: stamps.iter().any(|stamp| stamp.is_fresh(now)) };
            let [cert_name, key_name] = names.map(|name| name.display().to_string());
            Found::Content(seen, Certified::parse((&cert_name, &cert), (&key_name, &key)))
        }
        [Err(problem), _] | [_, Err(problem)] => Found::Nothing(problem),
    }
}

/// Reads one certificate and its key. Waits for the file system, within the time that files may take.
///
/// # Errors
/// The first thing that makes them unusable.
pub fn read_one(files: &Certificate) -> Result<Arc<Certified>, CertificateProblem> {
    let named = files.clone();
    match files::within(files::PATIENCE, move || look(&named, None)) {
        Some(Found::Content(_, certified)) => certified,
        Some(Found::Nothing(problem)) => Err(problem),
        Some(Found::Same) => unreachable!("nothing was seen before"),
        None => Err(CertificateProblem { file: files.cert.display().to_string(), what: readers::late() }),
    }
}

impl Pair {
    /// A pair that was read before the first look for changes.
    pub(super) fn of(good: Arc<Certified>) -> Self {
        Self { good: Some(good), ..Self::default() }
    }

    /// The content that was last usable.
    pub(super) fn good(&self) -> Option<&Arc<Certified>> {
        self.good.as_ref()
    }

    /// The reason why the present content cannot be used.
    pub(super) fn wrong(&self) -> Option<&Wrong> {
        self.wrong.as_ref()
    }

    /// Tells if the files were looked at.
    pub(super) fn is_known(&self) -> bool {
        self.good.is_some() || self.wrong.is_some()
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// Tells if a thread still waits for these files.
    pub(super) fn is_late(&self) -> bool {
        self.late.as_ref().is_some_and(|waiting| waiting.strong_count() > 0)
    }

    /// Takes in what a look found.
    pub(super) fn take(&mut self, files: &Certificate, found: Answer<Found>) -> News {
        let problem = match found {
            Answer::Skipped | Answer::Done(Found::Same) => return News::None,
            Answer::Late(waiting) => {
                (self.late, self.seen) = (Some(waiting), None);
                CertificateProblem { file: files.cert.display().to_string(), what: readers::late() }
            }
            Answer::Done(Found::Nothing(problem)) => {
                self.seen = None;
                problem
            }
            Answer::Done(Found::Content(seen, Err(problem))) => {
                self.seen = Some(seen);
                problem
            }
            Answer::Done(Found::Content(seen, Ok(certified))) => {
                self.seen = Some(seen);
                let was_wrong = self.wrong.take().is_some();
                return match &self.good {
                    Some(good) if good.has_same_chain(&certified) => {
                        if was_wrong {
                            News::Mended
                        } else {
                            News::None
                        }
                    }
                    _ => {
                        self.good = Some(certified);
                        News::Renewed
                    }
                };
            }
        };
        let reason = problem.to_string();
        if self.wrong.as_ref().is_some_and(|known| known.reason == reason) {
            return News::None;
        }
        let since = self.wrong.take().map_or_else(clock::unix, |known| known.since);
        self.wrong = Some(Wrong { reason, since });
        News::Broken
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn files(folder: &TempDir) -> Certificate {
        Certificate { cert: folder.path().join("crt"), key: folder.path().join("key") }
    }

    fn write(files: &Certificate) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    fn seen(found: Found) -> Seen {
        match found {
            Found::Content(seen, Ok(_)) => seen,
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn files_are_read_again_only_when_they_changed() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        write(&files);
        let first = seen(look(&files, None));
        assert!(first.fresh, "they were just written");
        let old = Seen { fresh: false, ..first };
        assert!(matches!(look(&files, Some(old)), Found::Same));
        // A file that had just changed may have changed again within a step of the file system's clock.
        seen(look(&files, Some(first)));
        write(&files);
        seen(look(&files, Some(old)));
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(look(&files, Some(old)), Found::Nothing(problem) if problem.file.ends_with("key")));
    }

    #[test]
    fn a_look_is_news_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        write(&files);
        let mut pair = Pair::default();
        let mut looked = |files: &Certificate| pair.take(files, Answer::Done(look(files, pair.seen())));
        assert_eq!([looked(&files), looked(&files)], [News::Renewed, News::None]);
        let key = fs::read(&files.key).unwrap();
        fs::write(&files.key, "rubbish").unwrap();
        assert_eq!([looked(&files), looked(&files)], [News::Broken, News::None]);
        fs::write(&files.key, key).unwrap();
        assert_eq!([looked(&files), looked(&files)], [News::Mended, News::None]);
        write(&files);
        assert_eq!([looked(&files), looked(&files)], [News::Renewed, News::None]);
        assert_eq!(pair.take(&files, Answer::Late(Weak::new())), News::Broken);
        assert!(pair.good().is_some() && pair.wrong().unwrap().reason.ends_with("did not answer within 3 s"));
        assert_eq!(pair.take(&files, Answer::Skipped), News::None);
        assert_eq!(pair.take(&files, Answer::Done(look(&files, pair.seen()))), News::Mended);
    }
}
