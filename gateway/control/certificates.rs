//! Certificates of domains: read when a domain names others, and again when their files change.
//!
//! A file that cannot be used concerns the domains that name it and no others: they go on with the last content that
//! was usable, they are named in the status, in a metric and in the log, and the file is looked at again every few
//! seconds. A look compares marks of the files (device, inode, size, times) and reads what changed, on a thread of its
//! own. It finds what a watch of directories would miss: links into other directories, and file systems of other
//! machines.

mod pair;
mod pairs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use config::model::{Certificate, Config};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Ground;
use super::named_files::Folder;
use super::readers::{self, Answer, Readers};
use crate::clock;
use crate::edge::tls::{LiveCertificate, LiveCertificates};
use crate::live::Live;
use crate::metrics::{CERTIFICATE, MAX_CERTIFICATES, Metrics};
use pair::{Found, News, Pair, Seen};
use pairs::{Name, Pairs, Told};

pub use pair::read_one;

/// The least and the most time between two looks at all files.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));
/// The time between two looks in lengths of a look, so that looks take 1 % of a core as long as that allows.
const LOOK_SHARE: u32 = 100;

/// The certificates of a running gateway.
pub(super) struct Keeper {
    pairs: Mutex<Pairs>,
    readers: Readers,
    /// Asks for a look now.
    wanted: Notify,
    published: Arc<LiveCertificates>,
    live: Arc<Live>,
    /// Where relative names are.
    folder: Folder,
    metrics: Arc<Metrics>,
}

impl Keeper {
    /// Begins without any certificate; handshakes see what it publishes.
    pub(super) fn new(ground: &Ground) -> Arc<Self> {
        Arc::new(Self {
            pairs: Mutex::default(),
            readers: Readers::default(),
            wanted: Notify::new(),
            published: Arc::clone(&ground.certificates),
            live: Arc::clone(&ground.live),
            folder: ground.folder.clone(),
            metrics: Arc::clone(&ground.metrics),
        })
    }

    /// Serves the domains of `config`, which is about to go live, with what is known of their files. Reads nothing: files
    /// that were not looked at yet are looked at soon. Costs what changed.
    pub(super) fn serve(&self, config: &Config) {
        let mut pairs = self.lock();
        if let Some(told) = pairs.serve(config) {
            self.publish(&pairs, &told);
            if pairs.lacks_any() {
                self.wanted.notify_one();
            }
        }
    }

    /// Looks at these files, and serves what changed. Answers why they cannot be used, in the same order.
    pub(super) async fn look_at(&self, files: &[Certificate]) -> Vec<Option<String>> {
        self.look(files).await;
        let mut pairs = self.lock();
        let reason = |files| {
            let pair = pairs.pair(files);
            let unknown =
                (!pair.is_known()).then(|| format!("{}: {}", self.folder.file(&files.cert).display(), readers::late()));
            pair.wrong().map(|wrong| wrong.reason.clone()).or(unknown)
        };
        files.iter().map(reason).collect()
    }

    async fn look(&self, files: &[Certificate]) {
        let mut jobs = Vec::with_capacity(files.len());
        {
            let mut pairs = self.lock();
            for files in files {
                let pair = pairs.pair(files);
                if !pair.is_late() {
                    jobs.push((files.clone(), pair.seen()));
                }
            }
        }
        let mut news = Vec::new();
        let see = |(files, _): &(Certificate, Option<Seen>), found: Answer<Found>| {
            let is_late = matches!(found, Answer::Late(_));
            if matches!(found, Answer::Skipped) {
                self.wanted.notify_one();
            }
            let mut pairs = self.lock();
            news.extend(pairs.take(files, found));
            // Those that come next may be late too.
            if is_late && !news.is_empty() {
                self.publish(&pairs, &news);
                news.clear();
            }
        };
        let folder = self.folder.clone();
        self.readers.each(jobs, move |(files, seen)| pair::look(&folder.certificate(files), *seen), see).await;
        if !news.is_empty() {
            self.publish(&self.lock(), &news);
        }
    }

    /// Looks at the files of every domain.
    pub(super) async fn look_at_all(&self) {
        let named = {
            let mut pairs = self.lock();
            pairs.forget();
            pairs.named()
        };
        self.look(&named).await;
    }

    /// Shows what is known to handshakes and operators, and logs the news that led to it.
    fn publish(&self, pairs: &Pairs, news: &[Told]) {
        news.iter().for_each(|told| told.log(pairs));
        self.metrics.set_certificates(pairs.ends(MAX_CERTIFICATES));
        self.published.publish(pairs.served().clone());
        let unusable = pairs.unusable();
        self.metrics.set_unusable(CERTIFICATE, unusable.len());
        self.live.set_unusable(CERTIFICATE, unusable);
    }

    fn lock(&self) -> MutexGuard<'_, Pairs> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn log(&self, pairs: &Pairs) {
        const SHOWN: usize = 3;
        let names: Vec<&str> = self.names.iter().take(SHOWN).map(Name::as_str).collect();
        let names = match self.names.len() {
            // A change that may yet be refused names it; its author is told.
            0 => return,
            all if all > SHOWN => format!("{} and {} more", names.join(", "), all - SHOWN),
            _ => names.join(", "),
        };
        let files = &self.files;
        let reason = self.reason.as_deref().unwrap_or_default();
        match self.news {
            News::None => {}
            News::Renewed => tracing::info!("the certificate of {names} was read again: {}", files.cert.display()),
            News::Mended => tracing::info!("the files of the certificate of {names} can be used again"),
            News::Broken => {
                let meanwhile = pairs.shown_meanwhile(&self.names);
                tracing::error!("the certificate of {names} cannot be used, {meanwhile} until it can: {reason}");
            }
        }
    }
}

/// Looks at all files every few seconds, and at once where some are wanted, as long as the keeper is held.
pub(super) async fn follow(keeper: Weak<Keeper>) {
    let mut pause = LOOK_EVERY.0;
    while let Some(keeper) = keeper.upgrade() {
        // Woken or not, a look is due.
        let _ = timeout(pause, keeper.wanted.notified()).await;
        let began = clock::now();
        keeper.look_at_all().await;
        pause = (began.elapsed() * LOOK_SHARE).clamp(LOOK_EVERY.0, LOOK_EVERY.1);
    }
}

/// Follows the files of the one certificate of the admin listener: a file that cannot be used leaves what is served, with
/// a line in the log.
pub async fn follow_one(files: Certificate, certificate: Arc<LiveCertificate>) {
    follow_one_every(LOOK_EVERY.0, files, certificate).await;
}

async fn follow_one_every(pause: Duration, files: Certificate, certificate: Arc<LiveCertificate>) {
    let (readers, mut pair) = (Readers::default(), Pair::of(certificate.current()));
    loop {
        tokio::time::sleep(pause).await;
        if pair.is_late() {
            continue;
        }
        let job = vec![(files.clone(), pair.seen())];
        let Some(found) = readers.all(job, |(files, seen)| pair::look(files, *seen)).await.pop() else { continue };
        match pair.take(&files, found) {
            News::None => {}
            News::Renewed => {
                certificate.publish(Arc::clone(pair.good().expect("a renewed pair has content")));
                tracing::info!("the certificate of the admin API was read again: {}", files.cert.display());
            }
            News::Mended => tracing::info!("the files of the certificate of the admin API can be used again"),
            News::Broken => {
                let reason = pair.wrong().map(|wrong| wrong.reason.as_str()).unwrap_or_default();
                tracing::error!(
                    "the certificate of the admin API cannot be used, the last good one serves on: {reason}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::edge::tls::Certified;

    const PAUSE: Duration = Duration::from_millis(5);

    fn write(files: &Certificate) {
        let made = rcgen::generate_simple_self_signed(["weir.internal".to_owned()]).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    async fn another(live: &LiveCertificate, than: &Arc<Certified>) -> Arc<Certified> {
        loop {
            let now = live.current();
            if !Arc::ptr_eq(&now, than) {
                return now;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    #[tokio::test]
    async fn a_renewed_certificate_of_the_admin_listener_is_served_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = Certificate { cert: folder.path().join("crt"), key: folder.path().join("key") };
        write(&files);
        let live = Arc::new(LiveCertificate::new(read_one(&files).unwrap()));
        let first = live.current();
        let followed = tokio::spawn(follow_one_every(PAUSE, files.clone(), Arc::clone(&live)));
        write(&files);
        let second = another(&live, &first).await;
        fs::write(&files.cert, "-").unwrap();
        // Many looks, none of which takes anything away.
        for _ in 0..20 {
            tokio::time::sleep(PAUSE).await;
            assert!(Arc::ptr_eq(&second, &live.current()), "what cannot be used leaves what is served");
        }
        write(&files);
        another(&live, &second).await;
        followed.abort();
    }
}
