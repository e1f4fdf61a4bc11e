//! Access keys: whose requests are answered, and the files that hold secrets, which are read again when they change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use config::model::{AccessKey, KeyRole, KeySecret};
use tokio::time::sleep;

use crate::clock;
use crate::files::{self, Stamp};
use crate::live::{Live, Unusable};
use crate::metrics::{ACCESS_KEY, Metrics};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);
/// Bytes of a file that holds a secret.
const MOST: u64 = 4096;

/// Every key by its id.
pub(super) struct KeyRing(HashMap<String, Arc<Key>>);

/// One key.
pub(super) struct Key {
    /// What clients sign with.
    pub(super) id: String,
    /// What it may do.
    pub(super) role: KeyRole,
    held: RwLock<Held>,
    file: Option<PathBuf>,
}

/// The secret of a key, as far as it is known.
#[derive(Default)]
struct Held {
    secret: Option<Arc<str>>,
    /// Of the file that it was read from.
    stamp: Option<Stamp>,
    /// Why the file cannot be used, since when.
    unusable: Option<(String, Duration)>,
}

impl Key {
    /// The secret; `None` while its file cannot be used and never could.
    pub(super) fn secret(&self) -> Option<Arc<str>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).secret.clone()
    }

    /// The name by which the journal knows who signed with it.
    pub(super) fn author(&self) -> String {
        format!("key:{}", self.id)
    }

    /// Reads the file again, if it may have changed. Blocks on the file system.
    fn look(&self) {
        let Some(path) = &self.file else { return };
        let known = self.held.read().unwrap_or_else(PoisonError::into_inner).stamp;
        let stamp = Stamp::of(path).ok();
        if stamp.is_some() && stamp == known && !stamp.is_some_and(|stamp| stamp.is_fresh(clock::unix())) {
            return;
        }
        let read = read(path);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok((stamp, secret)) => {
                let is_new = held.secret.as_deref().is_some_and(|before| *before != *secret);
                if is_new || held.unusable.is_some() {
                    tracing::info!("the secret of the access key `{}` was read from {}", self.id, path.display());
                }
                *held = Held { secret: Some(secret), stamp: Some(stamp), unusable: None };
            }
            Err(why) if held.unusable.as_ref().is_none_or(|(told, _)| *told != why) => {
                let kept = if held.secret.is_some() { "the last one stays in use" } else { "nobody can sign with it" };
                tracing::error!("the secret of the access key `{}`: {why}; {kept}", self.id);
                held.unusable = Some((format!("{why}; {kept}"), clock::unix()));
                held.stamp = None;
            }
            Err(_) => {}
        }
    }
}

/// Reads the secret in a file, without the space around it.
fn read(path: &Path) -> Result<(Stamp, Arc<str>), String> {
    let place = path.display();
    let (stamp, text) = files::read_text(path, MOST).map_err(|error| format!("{place} {error}"))?;
    if stamp.mode() & 0o077 != 0 {
        return Err(format!("{place} can be read or written by others: `chmod 600 {place}`"));
    }
    let secret = text.trim();
    if secret.len() < KeySecret::LEAST {
        return Err(format!("{place} holds fewer than {} characters", KeySecret::LEAST));
    }
    Ok((stamp, secret.into()))
}

impl KeyRing {
    /// The keys of the settings; `whole` makes whole paths of relative ones. Blocks on the files, each within a time.
    pub(super) fn new(keys: &[AccessKey], whole: impl Fn(&Path) -> PathBuf) -> Arc<Self> {
        let key = |key: &AccessKey| {
            let (secret, file) = match &key.secret {
                KeySecret::Variable(secret) => (secret.fixed().map(Arc::from), None),
                KeySecret::File(path) => (None, Some(whole(path))),
            };
            let held = RwLock::new(Held { secret, ..Held::default() });
            (key.id.clone(), Arc::new(Key { id: key.id.clone(), role: key.role, held, file }))
        };
        let ring = Arc::new(Self(keys.iter().map(key).collect()));
        let looking = Arc::clone(&ring);
        // A file system that does not answer takes down its keys alone.
        files::within(files::PATIENCE, move || looking.look());
        ring
    }

    /// The key with this id.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Key>> {
        self.0.get(id).cloned()
    }

    fn look(&self) {
        self.0.values().for_each(|key| key.look());
    }

    /// Looks at the files again and again, and tells which cannot be used.
    pub(super) async fn follow(self: Arc<Self>, live: Arc<Live>, metrics: Arc<Metrics>) {
        if self.0.values().all(|key| key.file.is_none()) {
            return;
        }
        loop {
            self.tell(&live, &metrics);
            sleep(LOOK).await;
            let looking = Arc::clone(&self);
            // A look that panics is over.
            let _ = tokio::task::spawn_blocking(move || looking.look()).await;
        }
    }

    fn tell(&self, live: &Live, metrics: &Metrics) {
        let unusable = self.0.values().filter_map(|key| {
            let held = key.held.read().unwrap_or_else(PoisonError::into_inner);
            let (reason, since) = held.unusable.clone()?;
            Some(Unusable { name: key.id.clone(), reason, since })
        });
        let unusable: Vec<Unusable> = unusable.collect();
        metrics.set_unusable(ACCESS_KEY, unusable.len());
        live.set_unusable(ACCESS_KEY, unusable);
    }

    /// One key with a secret that is given.
    #[cfg(test)]
    pub(super) fn of(id: &str, secret: &str) -> Self {
        let held = RwLock::new(Held { secret: Some(secret.into()), ..Held::default() });
        let key = Key { id: id.to_owned(), role: KeyRole::Operator, held, file: None };
        Self(HashMap::from([(id.to_owned(), Arc::new(key))]))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_read_again_when_its_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keys = [AccessKey { id: "AKID".into(), secret: KeySecret::File("key".into()), role: KeyRole::Viewer }];
        let ring = KeyRing::new(&keys, |path| folder.path().join(path));
        let key = ring.find("AKID").unwrap();
        assert_eq!(key.secret(), None, "there is no file yet");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            ring.look();
            (key.secret(), key.held.read().unwrap().unusable.as_ref().map(|(why, _)| why.clone()).unwrap_or_default())
        };
        let (secret, why) = write("0123456789abcdef\n", 0o644);
        assert!(secret.is_none() && why.contains("chmod 600"), "{why}");
        assert_eq!(write("0123456789abcdef\n", 0o600), (Some("0123456789abcdef".into()), String::new()));
        assert_eq!(write("fedcba9876543210", 0o600).0.as_deref(), Some("fedcba9876543210"));
        let (secret, why) = write("short", 0o600);
        assert_eq!(secret.as_deref(), Some("fedcba9876543210"), "the last one stays: {why}");
        assert!(why.contains("fewer than 16"), "{why}");
    }
}
