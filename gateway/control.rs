//! The control plane: one queue of commands, one writer, one publisher.
//!
//! ```text
//! command ─ Writer ─ config::text::edit ─ store.put_if ─┐
//!    │         ▲                                        ▼
//!    │         └─ revision is live ─ Guardian ─ Publisher ─ store.watch
//!    └─ abort, rollback ─────────────────┘
//! ```
//! The writer computes and stores; the publisher makes a snapshot of what it learns from the store alone, so that one node and a
//! fleet run the same path; the guardian makes it live. A command is answered when its revision is live on this node.
//!
//! Going back is live before it is stored: the guardian takes the candidate out at once, and the writer hears of it next. If the
//! store cannot take it, it stays live and is written as soon as it can be ([`Done::unsaved`]).
//!
//! - `asked`: what is asked of the control plane, and what comes of it
//! - `file`: the configuration file, watched and applied
//! - `writer`: the queue of commands, and the one writer to the store
//! - `rollback`: earlier states, brought back from the journal
//! - [`authority`]: the right to name programs, names of the environment and hosts
//! - [`named_files`], `readers`: the files that a configuration names, listed, and threads to read them on
//! - [`certificates`]: the keeper of certificates of domains
//! - `authorities`: the keeper of certificate authorities of versions
//! - `publish`, `point`: the one way from the store's watch to a snapshot; the runtime state of aliases
//! - [`guardian`]: makes snapshots live, watches candidates and takes them out, on a thread of its own
//! - [`rollouts`]: rollouts as the writer keeps them
//! - [`conduct`], [`leading`]: the conductor, which carries rollouts out, and the term that lets one gateway do so
//! - [`aside`]: rollouts that went back while the store could take nothing
//! - `named`, `stored`: a configuration as texts with names, and read from those of the store
//! - `past`, `unreadable`: the configuration as it was at a revision; the texts of it that cannot be read, told
//! - [`journal`], `retention`: the record of every change, and its bounds
//! - [`tokens`]: the right to use the admin API
//! - [`backup`]: a whole store as one file

pub mod aside;
mod asked;
mod authorities;
pub mod authority;
pub mod backup;
pub mod certificates;
pub mod conduct;
pub mod file;
pub mod guardian;
pub mod journal;
pub mod leading;
mod migrate;
mod named;
pub mod named_files;
mod past;
mod point;
mod publish;
mod readers;
mod retention;
mod rollback;
pub mod rollouts;
mod stored;
#[cfg(test)]
pub(crate) mod tests;
pub mod tokens;
mod unreadable;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use config::model::{Config, Retention};
use config::release::rollout::{Ask, Event, RolloutId, Speaker, Word};
use config::text::edit::rollback_of;
use config::value::name::NotifierName;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Steady;
use crate::edge::tls::LiveCertificates;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::outcomes::Wake;
use crate::store::{Store, StoreError};
use crate::upstreams::Upstreams;
use aside::Aside;
use authority::Authority;
use conduct::{Ballots, Calls, Conductor, Shared};
use guardian::{Guardian, Shown, Sights};
use leading::Lease;
use named_files::FileKeepers;
use rollouts::Rollouts;
use tokens::{Role, Secret, Tokens};
use writer::{Command, Wanted, What, Writer};

pub(crate) use asked::effective_revision;

pub use crate::store::Revision;
pub use asked::{AllowEmpty, Author, Done, Expected, Guard, Outcome, Refused, Wish};
pub use rollback::RollBack;

/// What the control plane may read of the world: the environment, for `${NAME}`.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Names of texts in the store: what is live is below this.
const CONFIG: &str = "config/";
/// The file as last applied, in the same texts.
const FILE: &str = "file/";
/// Who may use the admin API.
const TOKEN: &str = "token/";

/// The way in to the control plane: cheap to clone, shared by file, API and rollouts.
#[derive(Clone)]
pub struct Control {
    commands: mpsc::Sender<Command>,
    store: Arc<dyn Store>,
    environment: Environment,
    tokens: Arc<Tokens>,
    rollouts: watch::Receiver<Rollouts>,
    shared: Arc<Shared>,
    guardian: Guardian,
    live: Arc<Live>,
}

/// What the control plane stands on.
#[derive(Clone)]
pub struct Ground {
    /// Where changes are stored.
    pub store: Arc<dyn Store>,
    /// Where they go live.
    pub live: Arc<Live>,
    /// The certificates that listeners take.
    pub certificates: Arc<LiveCertificates>,
    /// Where versions and aliases are counted.
    pub metrics: Arc<Metrics>,
    /// For `${NAME}`.
    pub environment: Environment,
    /// The rules of what may be named.
    pub authority: Arc<Authority>,
    /// How much of the journal is kept.
    pub retention: Retention,
    /// The notifiers that are told the newest hash of the journal.
    pub journal_notify: Arc<[NotifierName]>,
    /// The number of newest versions of a function that are kept when one is published, beside those that something names; `None`: all.
    pub keep_versions: Option<usize>,
    /// Threads that serve requests: each counts outcomes for itself.
    pub workers: usize,
    /// Woken by requests that fail.
    pub wake: Arc<Wake>,
    /// How rollouts call out.
    pub calls: Calls,
    /// Where it is noted what the store cannot take.
    pub aside: Aside,
    /// Where relative names of files are.
    pub folder: named_files::Folder,
    /// How this gateway asks to conduct.
    pub lease: Lease,
}

impl Control {
    /// Starts the publisher and the writer on this runtime, and makes live what is stored. The writer ends when the last
    /// `Control` is dropped.
    ///
    /// # Errors
    /// When the store cannot be read, or holds what this version cannot read.
    pub async fn start(ground: Ground, upstreams: Upstreams) -> Result<Self, Refused> {
        let (store, conducted, aside) = (Arc::clone(&ground.store), ground.clone(), ground.aside.clone());
        let live = Arc::clone(&ground.live);
        let environment = Arc::clone(&ground.environment);
        let keepers = FileKeepers::new(&ground);
        let certificates = Arc::clone(&keepers.certificates);
        let (state, rollouts) = watch::channel(Rollouts::default());
        let (moved, moves) = mpsc::unbounded_channel();
        let clock = Steady::start();
        let sights = watch::Sender::default();
        let (guardian, noticed) = guardian::start(ground.clone(), rollouts.clone(), sights.clone(), clock)
            .map_err(|error| Refused::Unavailable(format!("the control plane needs a thread: {error}")))?;
        let ahead = publish::start(ground.clone(), keepers.clone(), upstreams, guardian.clone());
        let tokens = tokens::follow(Arc::clone(&store)).await;
        let leading = leading::start(Arc::clone(&store), ground.lease.clone()).await;
        let is_leading = leading.borrow().is_some();
        let writer = Writer::new(ground, ahead.clone(), Arc::clone(&tokens), state, moved, clock, is_leading).await?;
        // The stored revision is live; so are its authorities, and the first handshake finds its certificates.
        ahead.show(Vec::new()).await?;
        certificates.look_at_all().await;
        tokio::spawn(certificates::follow(Arc::downgrade(&certificates)));
        let (commands, queue) = mpsc::channel(64);
        tokio::spawn(writer.run(queue, commands.downgrade(), keepers));
        let shared = Arc::new(Shared { sights, ballots: Ballots::default(), unstored: watch::Sender::default() });
        let (weak, told) = (commands.downgrade(), rollouts.clone());
        let watched = (guardian.clone(), noticed);
        let conductor = Conductor::new(conducted, weak, leading, (told, moves), Arc::clone(&shared), clock, watched);
        tokio::spawn(conductor.run());
        let live = Arc::clone(&live);
        let control = Self { commands, store, environment, tokens, rollouts, shared, guardian, live };
        control.go_back_again(&aside).await;
        if is_leading {
            control.end_stuck_rollouts().await;
        }
        Ok(control)
    }

    /// Takes rollouts back to stable that cannot go on, before anybody is served.
    async fn end_stuck_rollouts(&self) {
        let stuck = self.rollouts.borrow().stuck.clone();
        for (id, why) in stuck {
            tracing::error!("the rollout {id} goes back to stable: {why}");
            let speaker = Speaker { who: "start".to_owned(), why: Some(why) };
            let event = Event::Said { word: Word::Abort, speaker, step: None };
            if let Err(refused) = self.tell(Author::of("start"), id, event).await {
                tracing::error!("the rollout {id} cannot go back to stable: {refused}");
            }
        }
    }

    /// What went back to stable before a crash, and was not stored, goes back before anybody is served.
    async fn go_back_again(&self, aside: &Aside) {
        let mut is_stored = true;
        let is_running = |id: &RolloutId| self.rollouts.borrow().running().any(|rollout| rollout.id == *id);
        for id in aside.earlier().into_iter().filter(is_running) {
            let why = "it went back to stable before the restart, which could not be stored then";
            let speaker = Speaker { who: "start".to_owned(), why: Some(why.to_owned()) };
            let event = Event::Said { word: Word::Abort, speaker, step: None };
            match self.tell(Author::of("start"), id, event).await {
                Ok(done) => is_stored &= !done.unsaved,
                Err(refused) => {
                    tracing::error!("rollout {id} went back before the restart, and now cannot: {refused}");
                    // It stays noted, for the next start.
                    is_stored = false;
                }
            }
        }
        if is_stored {
            aside.forget_earlier();
            aside.write().await;
        }
    }

    /// Applies edits; answers when they are live.
    ///
    /// # Errors
    /// Why not; nothing has changed then, unless the reason is [`Refused::Unknown`].
    pub async fn edit(&self, wish: Wish) -> Outcome {
        self.ask(wish.author, What::Edits(wish.edits), wish.guard, false).await
    }

    /// What [`edit`](Self::edit) would do.
    ///
    /// # Errors
    /// As `edit` would.
    pub async fn try_out(&self, wish: Wish) -> Outcome {
        self.ask(wish.author, What::Edits(wish.edits), wish.guard, true).await
    }

    /// Applies what `file` says differently from the file that was applied before; answers when it is live.
    ///
    /// # Errors
    /// Why not; nothing has changed then, unless the reason is [`Refused::Unknown`].
    pub async fn apply_file(&self, author: Author, file: Config, empty: AllowEmpty, dry_run: bool) -> Outcome {
        self.ask(author, What::File(Box::new(file), empty), None, dry_run).await
    }

    /// Applies the file of a start, as [`apply_file`](Self::apply_file) does. A certificate, or authorities, that cannot be used
    /// take down alone what names them.
    ///
    /// # Errors
    /// The same as of `apply_file`, but for these files; and what keeps a stored revision from going live.
    pub async fn apply_at_start(&self, file: Config) -> Outcome {
        self.ask(Author::of("start"), What::Start(Box::new(file)), None, false).await
    }

    /// Brings back what was. Goes live even when the store cannot take it, and before it is stored if it ends a rollout or is the
    /// last split of an alias.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn roll_back(&self, author: Author, what: RollBack, guard: Option<Guard>, dry_run: bool) -> Outcome {
        let control = self.clone();
        to_its_end(async move {
            let shown = if dry_run { None } else { control.show_rollback(&what, guard.as_ref()).await };
            let outcome = control.ask(author, What::RollBack(what), guard, dry_run).await;
            drop(shown);
            outcome
        })
        .await
    }

    /// Makes live what can be told from what is live: the writer decides all the same.
    async fn show_rollback(&self, what: &RollBack, guard: Option<&Guard>) -> Option<Shown> {
        let RollBack::Alias { function, alias, to: None } = what else { return None };
        let snapshot = self.live.load_full();
        if guard.is_some_and(|guard| !guard.holds(&snapshot.revisions)) {
            return None;
        }
        let running = what.rollout_in(&self.rollouts.borrow());
        match running {
            Some(id) => {
                let speaker = Speaker { who: String::new(), why: None };
                self.guardian.take_back(id, &Event::Said { word: Word::Abort, speaker, step: None }).await
            }
            None => {
                let edit = rollback_of(snapshot.table.config(), function, alias).ok()?;
                self.guardian.show(vec![edit]).await
            }
        }
    }

    /// Begins a rollout; answers when its first transition is live, with its number.
    ///
    /// # Errors
    /// Why not; nothing has changed then, unless the reason is [`Refused::Unknown`].
    pub async fn release(&self, author: Author, ask: Ask, dry_run: bool) -> Outcome {
        self.ask(author, What::Begin(Box::new(ask)), None, dry_run).await
    }

    /// Tells a rollout something; answers when what it makes of it is live. An abort is live before it is stored, and even when
    /// the store cannot take it.
    ///
    /// # Errors
    /// Why not; nothing has changed then, unless the reason is [`Refused::Unknown`].
    pub async fn tell(&self, author: Author, id: RolloutId, event: Event) -> Outcome {
        let control = self.clone();
        to_its_end(async move {
            let shown = control.guardian.take_back(id, &event).await;
            let outcome = control.ask(author, What::Event(id, Box::new(event)), None, false).await;
            drop(shown);
            outcome
        })
        .await
    }

    /// Holds every rollout for so long, or no longer: nothing but going back happens meanwhile.
    ///
    /// # Errors
    /// When that cannot be stored.
    pub async fn freeze(&self, author: Author, time: Option<Duration>) -> Outcome {
        self.ask(author, What::Freeze(time), None, false).await
    }

    /// Every rollout, told of each change.
    #[must_use]
    pub fn rollouts(&self) -> watch::Receiver<Rollouts> {
        self.rollouts.clone()
    }

    /// What is seen of the rollouts that are watched, told of each change.
    #[must_use]
    pub fn sights(&self) -> watch::Receiver<Sights> {
        self.shared.sights.subscribe()
    }

    /// Links by which somebody approves or rejects.
    #[must_use]
    pub fn ballots(&self) -> &Ballots {
        &self.shared.ballots
    }

    /// Gives out a new token; the secret is nowhere else.
    ///
    /// # Errors
    /// When there is one of this name, or it cannot be stored.
    pub async fn create_token(&self, author: Author, name: &str, role: Role) -> Result<Secret, Refused> {
        let (secret, text) = tokens::create(name, role).map_err(|problem| Refused::Problems(vec![problem]))?;
        let what = What::Token { name: name.to_owned(), text: Some(text), what: format!("create {role} token {name}") };
        let guard = Guard { name: format!("{TOKEN}{name}"), expected: Expected::Absent };
        self.ask(author, what, Some(guard), false).await?;
        Ok(secret)
    }

    /// Takes a token back; it is worth nothing when this answers.
    ///
    /// # Errors
    /// When there is none of this name, or that cannot be stored.
    pub async fn revoke_token(&self, author: Author, name: &str) -> Result<(), Refused> {
        let what = What::Token { name: name.to_owned(), text: None, what: format!("revoke token {name}") };
        let guard = Guard { name: format!("{TOKEN}{name}"), expected: Expected::Present };
        self.ask(author, what, Some(guard), false).await.map(|_| ())
    }

    /// Who may use the admin API.
    #[must_use]
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens)
    }

    /// The file as last applied, and what is live.
    ///
    /// # Errors
    /// When the gateway is stopping.
    pub async fn drift(&self) -> Result<(Config, Config), Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Drift(reply)).await?;
        answer.await.map_err(|_| Refused::Stopping)
    }

    /// A part of the journal.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn journal(&self, query: journal::Query) -> Result<journal::Page, Refused> {
        Ok(journal::read(&*self.store, &query).await?)
    }

    /// Checks the whole journal against its hashes, and the stored texts against it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn verify(&self) -> Result<journal::Checked, Refused> {
        Ok(journal::verify(&*self.store).await?)
    }

    /// Everything that the store holds, as one text in pieces. It ends with an error when the store cannot be read.
    #[must_use]
    pub fn export(&self) -> mpsc::Receiver<Result<String, StoreError>> {
        backup::export(Arc::clone(&self.store))
    }

    async fn ask(&self, author: Author, what: What, guard: Option<Guard>, dry_run: bool) -> Outcome {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Change(Wanted::new(author, what, guard, dry_run), reply)).await?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }

    async fn send(&self, command: Command) -> Result<(), Refused> {
        self.commands.send(command).await.map_err(|_| Refused::Stopping)
    }
}

/// Carries something out to its end, even if nobody waits for it any more: what is live before it is stored stays live until
/// the writer has answered.
async fn to_its_end(outcome: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
    tokio::spawn(outcome).await.unwrap_or(Err(Refused::Stopping))
}

/// SHA-256 in lower-case hexadecimal.
fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}
