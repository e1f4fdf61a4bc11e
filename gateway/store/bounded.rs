//! A store over keys of which one transaction may change few, and none that is large: those of etcd, with 128 operations and 1.5 MiB
//! a transaction (<https://etcd.io/docs/v3.5/dev-guide/limit/>). Not served from yet: tests hold the form that such a store has.
//!
//! | key | value |
//! |---|---|
//! | `head` | the revision, and the pages of its transaction that are not unpacked yet |
//! | `text/config/alias/shop/prod` | the revision at which the text changed, and the text |
//! | `line/00000000000000000007` | the journal line of a revision |
//! | `blob/00000000000000000007/5d41…` | a piece of what is too large for one key, by the revision that it is for and by its hash |
//!
//! A transaction that fits is one of the keys, held against `head`. One that does not is written as blobs first, which nobody reads.
//! Then `head` names them, and with that one operation all of it is there: whoever reads takes texts from the pages before those under
//! their names. Last it is unpacked, in as many transactions as that takes, by whoever wrote it or by the next who writes. Its pages
//! are left for those who watch. Blobs that no text and no line names are collected with the journal, once their revision is over, so that
//! nobody can still name them.

mod keys;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use self::keys::{Keys, NotWritten};
use super::{
    Change, Entry, Image, Order, Page, PutError, Revision, Store, StoreError, Stored, Term, Transaction, Update,
};

/// What one transaction of the keys may hold.
#[derive(Debug, Clone, Copy)]
struct Limits {
    operations: usize,
    /// Of names and values together.
    bytes: usize,
}

const ETCD: Limits = Limits { operations: 128, bytes: 3 << 19 };

/// Texts over keys.
struct Bounded {
    keys: Arc<dyn Keys>,
    limits: Limits,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    revision: Revision,
    /// The blobs of its changes, in their order; none once all of them are under their names.
    pages: Vec<String>,
}

/// Two ways to one store on keys in memory, with the limits of etcd.
pub(crate) fn in_memory() -> [Arc<dyn Store>; 2] {
    let keys = tests::Limited::new(ETCD);
    [(); 2].map(|()| Arc::new(Bounded::new(Arc::clone(&keys) as Arc<dyn Keys>, ETCD)) as Arc<dyn Store>)
}

/// Values by key.
type Values = BTreeMap<String, Arc<str>>;
/// The changes of one transaction by name: the last of each counts.
type Changes = BTreeMap<String, Option<Arc<str>>>;

impl Head {
    const KEY: &str = "head";

    fn of(values: &Values) -> Result<Self, StoreError> {
        let Some(text) = values.get(Self::KEY) else { return Ok(Self::default()) };
        serde_json::from_str(text).map_err(|error| StoreError::new(format!("the key `head` is damaged: {error}")))
    }

    /// The value of its key; `None` where nothing was ever written.
    fn text(&self) -> Option<String> {
        (*self != Self::default()).then(|| serde_json::to_string(self).expect("texts and numbers are JSON"))
    }

    fn change(&self) -> Change {
        Change { name: Self::KEY.to_owned(), text: self.text().map(Into::into) }
    }
}

impl Bounded {
    fn new(keys: Arc<dyn Keys>, limits: Limits) -> Self {
        Self { keys, limits }
    }

    /// The names of blobs that hold this text between them, which are put aside.
    fn pieces(&self, revision: Revision, text: &str, blobs: &mut Changes) -> Vec<String> {
        let (mut names, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let most = rest.len().min(self.limits.bytes / 2);
            let end = (0..=most).rev().find(|end| rest.is_char_boundary(*end)).expect("0 is a boundary");
            let (first, others) = rest.split_at(end);
            let name = format!("{revision:020}/{:x}", Sha256::digest(first));
            blobs.insert(format!("blob/{name}"), Some(first.into()));
            names.push(name);
            rest = others;
        }
        names
    }

    /// The value of a key: the revision with the text itself, or with the names of blobs that hold it, which are put aside.
    fn value(&self, (revision, blobs_of): (Revision, Revision), text: &str, blobs: &mut Changes) -> Arc<str> {
        if text.len() <= self.limits.bytes / 4 {
            return format!("{revision}\n{text}").into();
        }
        format!("{revision}@{}", self.pieces(blobs_of, text, blobs).join(" ")).into()
    }

    /// The texts of these bodies; `None` if a blob is gone, because what named it is too.
    async fn texts(&self, bodies: &[&str]) -> Result<Option<Vec<Arc<str>>>, StoreError> {
        let named = bodies.iter().filter_map(|body| body.strip_prefix('@')).flat_map(|names| names.split(' '));
        let blobs = self.blobs(named).await?;
        let texts = bodies.iter().map(|body| match body.strip_prefix('@') {
            None => Some(body.strip_prefix('\n').unwrap_or(body).into()),
            Some(names) => {
                let pieces = names.split(' ').map(|name| blobs.get(&format!("blob/{name}")).map(|piece| &**piece));
                Some(pieces.collect::<Option<String>>()?.into())
            }
        });
        Ok(texts.collect())
    }

    async fn blobs(&self, names: impl Iterator<Item = &str> + Send) -> Result<Values, StoreError> {
        let names: Vec<String> = names.map(|name| format!("blob/{name}")).collect();
        if names.is_empty() { Ok(Values::new()) } else { self.keys.read(&names).await }
    }

    /// The changes on the pages of a head; `None` if they were unpacked meanwhile.
    async fn pages(&self, head: &Head) -> Result<Option<Changes>, StoreError> {
        if head.pages.is_empty() {
            return Ok(Some(Changes::new()));
        }
        let body = format!("@{}", head.pages.join(" "));
        let Some(texts) = self.texts(&[&body]).await? else { return Ok(None) };
        let damaged = |error| StoreError::new(format!("the pages of revision {} are damaged: {error}", head.revision));
        let changes: BTreeMap<String, Option<String>> = serde_json::from_str(&texts[0]).map_err(damaged)?;
        Ok(Some(changes.into_iter().map(|(name, text)| (name, text.map(Into::into))).collect()))
    }

    /// The changes of keys in as many transactions as they need.
    fn batches(&self, changes: Changes) -> Vec<Vec<Change>> {
        let mut batches: Vec<Vec<Change>> = Vec::new();
        let (mut operations, mut bytes) = (0, 0);
        for (name, text) in changes {
            let size = name.len() + text.as_ref().map_or(0, |text| text.len());
            if batches.is_empty() || operations == self.limits.operations || bytes + size > self.limits.bytes {
                batches.push(Vec::new());
                (operations, bytes) = (0, 0);
            }
            (operations, bytes) = (operations + 1, bytes + size);
            batches.last_mut().expect("one was begun").push(Change { name, text });
        }
        batches
    }

    async fn write_all(&self, head: Option<&Head>, changes: Changes) -> Result<(), NotWritten> {
        for batch in self.batches(changes) {
            self.keys.write(head.map(Head::text), None, batch).await?;
        }
        Ok(())
    }

    /// The keys of these texts at a revision. What is too large for one is put aside.
    fn keys_of(&self, revision: Revision, texts: &Changes, blobs: &mut Changes) -> Changes {
        let keys = texts.iter().map(|(name, text)| {
            let value = text.as_ref().map(|text| self.value((revision, revision), text, blobs));
            (format!("text/{name}"), value)
        });
        keys.collect()
    }

    /// The head with nothing left to unpack.
    async fn unpacked(&self) -> Result<Head, NotWritten> {
        loop {
            let head = Head::of(&self.keys.read(&[Head::KEY.to_owned()]).await?)?;
            if head.pages.is_empty() {
                return Ok(head);
            }
            match self.unpack(&head).await {
                // Somebody else did.
                Ok(()) | Err(NotWritten::OtherHead) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what the pages of this head hold under its own names.
    async fn unpack(&self, head: &Head) -> Result<(), NotWritten> {
        let Some(texts) = self.pages(head).await? else { return Ok(()) };
        let mut blobs = Changes::new();
        let keys = self.keys_of(head.revision, &texts, &mut blobs);
        self.write_all(None, blobs).await?;
        self.write_all(Some(head), keys).await?;
        let after = Head { revision: head.revision, pages: Vec::new() };
        self.keys.write(Some(head.text()), None, vec![after.change()]).await
    }

    /// What became of keys, as a transaction after `told`; `None` if it is none, or cannot be told by itself.
    async fn transaction(&self, written: &[Change], told: Revision) -> Result<Option<Transaction>, StoreError> {
        let values: Values =
            written.iter().filter_map(|change| Some((change.name.clone(), change.text.clone()?))).collect();
        let head = Head::of(&values)?;
        // A head without a line is that of a store which was filled at once, or was unpacked.
        if head.revision != told + 1 || !values.contains_key(&line_key(head.revision)) {
            return Ok(None);
        }
        let changes = if head.pages.is_empty() {
            let texts = written.iter().filter_map(|change| Some((change.name.strip_prefix("text/")?, &change.text)));
            let texts: Vec<_> = texts.collect();
            let bodies = texts.iter().filter_map(|(_, value)| Some(split(value.as_ref()?)?.1)).collect::<Vec<_>>();
            let Some(read) = self.texts(&bodies).await? else { return Ok(None) };
            let mut read = read.into_iter();
            texts
                .into_iter()
                .map(|(name, value)| Change {
                    name: name.to_owned(),
                    text: if value.is_some() { read.next() } else { None },
                })
                .collect()
        } else {
            let Some(pages) = self.pages(&head).await? else { return Ok(None) };
            pages.into_iter().map(|(name, text)| Change { name, text }).collect()
        };
        Ok(Some(Transaction { revision: head.revision, changes }))
    }

    /// Deletes what was left by somebody who began to fill an empty store.
    async fn clear(&self) -> Result<(), NotWritten> {
        let left = self.keys.read(&["text/", "line/"].map(str::to_owned)).await?;
        let left = left.into_keys().map(|key| (key, None));
        self.write_all(Some(&Head::default()), left.collect()).await
    }

    /// Deletes blobs that nothing names, of revisions that are over.
    async fn collect(&self) -> Result<(), NotWritten> {
        let head = self.unpacked().await?;
        let values = self.keys.read(&["text/", "line/", "blob/"].map(str::to_owned)).await?;
        let named: BTreeSet<&str> = values
            .iter()
            .filter(|(key, _)| !key.starts_with("blob/"))
            .filter_map(|(_, value)| split(value)?.1.strip_prefix('@'))
            .flat_map(|names| names.split(' '))
            .collect();
        let over = format!("{:020}0", head.revision);
        let garbage = values
            .keys()
            .filter(|key| key.strip_prefix("blob/").is_some_and(|name| name < over.as_str() && !named.contains(name)));
        self.write_all(None, garbage.map(|key| (key.clone(), None)).collect()).await
    }
}

#[async_trait]
impl Store for Bounded {
    async fn load(&self, prefix: &str) -> Result<Image, StoreError> {
        loop {
            let values = self.keys.read(&[Head::KEY.to_owned(), format!("text/{prefix}")]).await?;
            let head = Head::of(&values)?;
            if head.revision == 0 {
                return Ok(Image::default());
            }
            let kept = values.iter().filter_map(|(key, value)| Some((key.strip_prefix("text/")?, split(value)?)));
            let kept: Vec<_> = kept.collect();
            let bodies: Vec<&str> = kept.iter().map(|(_, (_, body))| *body).collect();
            // What is gone since is read again.
            let (Some(texts), Some(pages)) = (self.texts(&bodies).await?, self.pages(&head).await?) else { continue };
            let kept = kept.into_iter().zip(texts);
            let mut texts: BTreeMap<String, Stored> =
                kept.map(|((name, (revision, _)), text)| (name.to_owned(), Stored { revision, text })).collect();
            for (name, text) in pages.into_iter().filter(|(name, _)| name.starts_with(prefix)) {
                match text {
                    Some(text) => texts.insert(name, Stored { revision: head.revision, text }),
                    None => texts.remove(&name),
                };
            }
            return Ok(Image { revision: head.revision, texts });
        }
    }

    async fn put_if(
        &self,
        revision: Revision,
        term: Option<&Term>,
        changes: Vec<Change>,
        entry: Arc<str>,
    ) -> Result<Revision, PutError> {
        if term.is_some_and(|term| self.keys.is_over(term)) {
            return Err(PutError::Fenced);
        }
        let head = self.unpacked().await.map_err(nothing)?;
        if head.revision != revision {
            return Err(PutError::Conflict { current: head.revision });
        }
        if head.revision == 0 {
            self.clear().await.map_err(nothing)?;
        }
        let mut next = Head { revision: revision + 1, pages: Vec::new() };
        let texts: Changes = changes.into_iter().map(|change| (change.name, change.text)).collect();
        let mut blobs = Changes::new();
        let line = self.value((next.revision, next.revision), &entry, &mut blobs);
        let line = Change { name: line_key(next.revision), text: Some(line) };
        let mut fitting = blobs.clone();
        let mut whole = self.keys_of(next.revision, &texts, &mut fitting);
        whole.extend([next.change(), line.clone()].map(|change| (change.name, change.text)));
        let mut whole = self.batches(whole);
        let last = if whole.len() == 1 {
            blobs = fitting;
            whole.remove(0)
        } else {
            let pages: BTreeMap<&str, Option<&str>> =
                texts.iter().map(|(name, text)| (name.as_str(), text.as_deref())).collect();
            let pages = serde_json::to_string(&pages).expect("texts are JSON");
            next.pages = self.pieces(next.revision, &pages, &mut blobs);
            vec![next.change(), line]
        };
        self.write_all(None, blobs).await.map_err(nothing)?;
        match self.keys.write(Some(head.text()), term, last).await {
            Ok(()) => {}
            Err(NotWritten::OtherHead) => {
                let current = self.unpacked().await.map_err(nothing)?.revision;
                return Err(PutError::Conflict { current });
            }
            Err(NotWritten::Fenced) => return Err(PutError::Fenced),
            Err(NotWritten::Failed(why)) => return Err(PutError::Unknown(why)),
        }
        // Whoever writes next does so otherwise.
        let _ = self.unpacked().await;
        Ok(next.revision)
    }

    async fn lead(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>, StoreError> {
        self.keys.lead(name, holder, ttl).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> mpsc::UnboundedReceiver<Update> {
        let (updates, receiver) = mpsc::unbounded_channel();
        let (store, prefix) = (Self::new(Arc::clone(&self.keys), self.limits), prefix.to_owned());
        let mut written = self.keys.watch().await;
        let mut first = self.load(&prefix).await.ok();
        tokio::spawn(async move {
            let mut told = from;
            if let Some(image) = first.take()
                && image.revision != told
            {
                told = image.revision;
                let _ = updates.send(Update::Image(image));
            }
            while let Some(changes) = written.recv().await {
                let heads = changes.iter().filter(|change| change.name == Head::KEY);
                let values = heads.filter_map(|change| Some((change.name.clone(), change.text.clone()?))).collect();
                let Ok(Head { revision, .. }) = Head::of(&values) else { continue };
                if revision <= told {
                    continue;
                }
                let update = match store.transaction(&changes, told).await {
                    Ok(Some(next)) => Update::Transaction(next.under(&prefix)),
                    // A leap, or what was unpacked and written over before this could read it.
                    _ => match store.load(&prefix).await {
                        Ok(image) => Update::Image(image),
                        Err(_) => continue,
                    },
                };
                told = match &update {
                    Update::Transaction(next) => next.revision,
                    Update::Image(image) => image.revision,
                };
                if updates.send(update).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    async fn journal(&self, page: Page) -> Result<Vec<Entry>, StoreError> {
        loop {
            let values = self.keys.read(&["line/".to_owned()]).await?;
            let lines = values.values().filter_map(|value| split(value));
            let lines =
                lines.filter(|(revision, _)| (page.after..page.before).contains(revision) && *revision != page.after);
            let mut lines: Vec<_> = lines.collect();
            if page.order == Order::NewestFirst {
                lines.reverse();
            }
            lines.truncate(page.limit);
            let bodies: Vec<&str> = lines.iter().map(|(_, body)| *body).collect();
            if let Some(texts) = self.texts(&bodies).await? {
                return Ok(lines
                    .iter()
                    .zip(texts)
                    .map(|((revision, _), text)| Entry { revision: *revision, text })
                    .collect());
            }
        }
    }

    async fn journal_bytes(&self, after: Revision, before: Revision) -> Result<u64, StoreError> {
        let page = Page { after, before, order: Order::OldestFirst, limit: usize::MAX };
        Ok(self.journal(page).await?.iter().map(|entry| entry.text.len() as u64).sum())
    }

    async fn trim(&self, until: Revision) -> Result<u64, StoreError> {
        let values = self.keys.read(&["line/".to_owned()]).await?;
        let lines = values.iter().filter(|(_, value)| split(value).is_some_and(|(revision, _)| revision <= until));
        let lines: Changes = lines.map(|(key, _)| (key.clone(), None)).collect();
        let trimmed = lines.len() as u64;
        let deleted = self.write_all(None, lines).await;
        deleted.and(self.collect().await).map_err(|error| StoreError::new(error.to_string()))?;
        Ok(trimmed)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.keys.read(&[Head::KEY.to_owned()]).await.map(drop)
    }

    async fn restore(&self, image: Image, journal: Vec<Entry>) -> Result<(), PutError> {
        let head = self.unpacked().await.map_err(nothing)?;
        if head.revision != 0 {
            return Err(PutError::Conflict { current: head.revision });
        }
        self.clear().await.map_err(nothing)?;
        let (mut keys, mut blobs) = (Changes::new(), Changes::new());
        for (name, Stored { revision, text }) in &image.texts {
            let value = self.value((*revision, image.revision), text, &mut blobs);
            keys.insert(format!("text/{name}"), Some(value));
        }
        for Entry { revision, text } in &journal {
            let value = self.value((*revision, image.revision), text, &mut blobs);
            keys.insert(line_key(*revision), Some(value));
        }
        self.write_all(None, blobs).await.map_err(nothing)?;
        self.write_all(Some(&head), keys).await.map_err(nothing)?;
        let filled = Head { revision: image.revision, pages: Vec::new() };
        self.keys.write(Some(head.text()), None, vec![filled.change()]).await.map_err(nothing)
    }
}

fn line_key(revision: Revision) -> String {
    format!("line/{revision:020}")
}

/// The revision of a value and its body.
fn split(value: &str) -> Option<(Revision, &str)> {
    let (revision, body) = value.split_at(value.find(|c: char| !c.is_ascii_digit())?);
    Some((revision.parse().ok()?, body))
}

/// Keys that were not written before `head` was: nothing is there of the transaction.
fn nothing(error: NotWritten) -> PutError {
    match error {
        NotWritten::Fenced => PutError::Fenced,
        other => PutError::Unavailable(other.to_string()),
    }
}
