//! Files that a change names, looked at before it is carried out.
//!
//! The writer waits for no file. A change that names files is set aside while threads of their own look at them, and comes
//! back into the queue with what they found.

use std::collections::HashMap;
use std::path::PathBuf;

use config::model::{Certificate, Config};
use config::text::problem::Problem;
use tokio::sync::{mpsc, oneshot};

use super::{Command, Wanted, What};
use crate::control::named_files::{FileKeepers, NamedFiles};
use crate::control::{Outcome, Refused};

/// The outcome of looks at the files that a change names: the reason why each cannot be used, if it cannot.
#[derive(Default)]
pub(in crate::control) struct Looked {
    certificates: HashMap<Certificate, Option<String>>,
    authorities: HashMap<PathBuf, Option<String>>,
}

/// A reason why a change is not carried out now.
pub(super) enum Halt {
    Refused(Refused),
    /// These files are to be looked at first.
    Look(NamedFiles),
}

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Looked {
    /// Checks that the files that `new` names beside `old` can be used.
    ///
    /// # Errors
    /// The files that were not looked at; else the problems of those that cannot be used. At a start there are none: such a file
    /// takes down what names it alone.
    pub(super) fn admit(&self, what: &What, old: &Config, new: &Config) -> Result<(), Halt> {
        let named = NamedFiles::of_change(old, new);
        let is_known = named.certificates.iter().all(|(_, files)| self.certificates.contains_key(files))
            && named.authorities.iter().all(|(_, path)| self.authorities.contains_key(path));
        if !is_known {
            return Err(Halt::Look(named));
        }
        if matches!(what, What::Start(_)) {
            return Ok(());
        }
        let certificates = named.certificates.into_iter().map(|(path, files)| (path, &self.certificates[&files]));
        let authorities = named.authorities.into_iter().map(|(path, file)| (path, &self.authorities[&file]));
        let reasons = certificates.chain(authorities).filter_map(|(path, reason)| Some((path, reason.as_deref()?)));
        let problems: Vec<Problem> = reasons.map(|(path, reason)| Problem::error(path, reason)).collect();
        if problems.is_empty() { Ok(()) } else { Err(Refused::Problems(problems).into()) }
    }

    async fn at(named: NamedFiles, keepers: &FileKeepers) -> Self {
        let pairs: Vec<Certificate> = named.certificates.into_iter().map(|(_, files)| files).collect();
        let reasons = keepers.certificates.look_at(&pairs).await;
        let paths: Vec<PathBuf> = named.authorities.into_iter().map(|(_, path)| path).collect();
        keepers.authorities.look(paths.clone()).await;
        let authorities = paths.iter().map(|path| Some(keepers.authorities.wrong(path)?.reason)).collect::<Vec<_>>();
        Self {
            certificates: pairs.into_iter().zip(reasons).collect(),
            authorities: paths.into_iter().zip(authorities).collect(),
        }
    }
}

/// Looks at these files and puts the change that names them back into the queue.
pub(super) fn first(
    named: NamedFiles,
    (mut wanted, reply): (Box<Wanted>, oneshot::Sender<Outcome>),
    queue: mpsc::WeakSender<Command>,
    keepers: FileKeepers,
) {
    tokio::spawn(async move {
        wanted.looked = Looked::at(named, &keepers).await;
        if let Some(queue) = queue.upgrade() {
            // The writer is gone when the gateway stops, and with it those that wait for an answer.
            let _ = queue.send(Command::Change(wanted, reply)).await;
        }
    });
}
