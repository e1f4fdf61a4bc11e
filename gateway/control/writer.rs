//! The only one who writes to the store on this node.

mod announced;
mod command;
mod draft;
mod known;
mod looked;
mod migrated;
mod outdated;
mod paused;
mod unsaved;

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::Config;
use config::release::rollout::{Event, RolloutId, Speaker, Word};
use config::text::check;
use config::text::edit::{self, Edit};
use tokio::sync::{mpsc, watch};
use tokio::time;

use super::journal::{self, Hash, Start, Told};
use super::named::changes;
use super::named_files::{self, FileKeepers};
use super::publish::Ahead;
use super::rollback::Past;
use super::rollouts::{Freeze, Moves, Rollouts};
use super::stored::Stored;
use super::tokens::Tokens;
use super::{AllowEmpty, Author, CONFIG, Done, FILE, Ground, Guard, Refused, TOKEN};
use super::{effective_revision, migrate, retention, unreadable};
use crate::clock::{self, Steady};
use crate::store::{Change, PutError, Revision, Update};

pub(super) use command::{Command, Wanted, What};
use draft::Draft;
use known::Known;
use looked::Halt;
use unsaved::Unsaved;

/// So many revisions lie between two lines in the log that tell the newest hash of the journal.
const ANNOUNCE_EVERY: Revision = 100;
/// The time for a stored revision to go live, which takes seconds for one that changes 100 000 functions.
const LIVE_WITHIN: Duration = Duration::from_secs(60);
/// How often an unsaved rollback is tried again, and the store read that could not be.
const SAVE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    ground: Ground,
    ahead: Ahead,
    tokens: Arc<Tokens>,
    known: Known,
    /// What follows on it; `None` before the store is read.
    updates: Option<mpsc::UnboundedReceiver<Update>>,
    /// Whether the store may hold something else than what is known.
    stale: bool,
    /// True if the store is in the form of this release, and nobody else has written since.
    is_migrated: bool,
    /// A rollback that is live and not stored.
    unsaved: Option<Unsaved>,
    /// True if the store took nothing the last time.
    is_paused: bool,
    journal: retention::Kept,
    /// The revision of the hash of the journal that was announced last, and when.
    announced: Option<(Revision, Instant)>,
    clock: Steady,
    rollouts: watch::Sender<Rollouts>,
    moved: mpsc::UnboundedSender<Moved>,
}

/// What rollouts did, once it is live: whoever carries out the rest of their effects is told.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) moves: Moves,
    /// When it was decided, and nothing of it was stored.
    pub(super) decided: Instant,
    /// How long the store took.
    pub(super) stored: Duration,
    /// From there until it was live.
    pub(super) swapped: Duration,
}

impl Writer {
    /// Reads where things stand. Whoever leads brings what an earlier release left into order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn new(
        ground: Ground,
        ahead: Ahead,
        tokens: Arc<Tokens>,
        rollouts: watch::Sender<Rollouts>,
        moved: mpsc::UnboundedSender<Moved>,
        clock: Steady,
        is_leading: bool,
    ) -> Result<Self, Refused> {
        let start = Start::read(&*ground.store).await?;
        let journal = retention::Kept::new(start);
        let mut writer = Self {
            ground,
            ahead,
            tokens,
            known: Known::default(),
            updates: None,
            stale: true,
            is_migrated: false,
            unsaved: None,
            is_paused: false,
            journal,
            announced: None,
            clock,
            rollouts,
            moved,
        };
        writer.refresh().await?;
        if is_leading {
            writer.migrate().await?;
        }
        if writer.known.stored.revision > 0 {
            writer.known.head(&*writer.ground.store).await?;
            writer.announce_head();
        }
        Ok(writer)
    }

    /// Carries out the commands of the queue, until no sender is left. `again` leads into the queue.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        again: mpsc::WeakSender<Command>,
        keepers: FileKeepers,
    ) {
        let mut look = time::interval(retention::LOOK_EVERY);
        loop {
            let command = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => command,
                    None => return,
                },
                () = time::sleep(SAVE_EVERY), if self.unsaved.is_some() => {
                    self.save().await;
                    continue;
                }
                () = time::sleep(SAVE_EVERY), if self.is_paused && self.unsaved.is_none() => {
                    self.probe().await;
                    continue;
                }
                () = time::sleep(SAVE_EVERY), if self.stale && self.unsaved.is_none() => {
                    if let Err(refused) = self.catch_up().await {
                        tracing::warn!("what is stored cannot be read yet: {refused}");
                    }
                    continue;
                }
                _ = look.tick() => {
                    self.forget().await;
                    self.announce_late();
                    continue;
                }
                update = self.next_update() => {
                    self.follow(update).await;
                    if let Err(refused) = self.catch_up().await {
                        tracing::error!("what another node stored cannot be read: {refused}");
                    }
                    continue;
                }
            };
            match command {
                Command::Change(wanted, reply) => {
                    let outcome = match self.carry_out(&wanted).await {
                        Ok(done) => Ok(done),
                        Err(Halt::Refused(refused)) => Err(refused),
                        Err(Halt::Look(named)) => {
                            looked::first(named, (wanted, reply), again.clone(), keepers.clone());
                            continue;
                        }
                    };
                    // An asker that went away does not undo the change.
                    let _ = reply.send(outcome);
                }
                Command::TakeOver(reply) => {
                    // The gateway that conducted before may have been of an earlier release. The rollouts are those that are known, if the
                    // store cannot be read.
                    let caught_up = self.catch_up().await;
                    let is_done = self.is_migrated || self.unsaved.is_some();
                    let ready = if is_done { caught_up } else { self.migrate().await };
                    if let Err(refused) = ready {
                        tracing::error!("the store cannot be brought into the form of this release: {refused}");
                    }
                    let _ = reply.send(self.known.rollouts.clone());
                }
                Command::Drift(reply) => {
                    // As far as it is known, if the store cannot be read.
                    let _ = self.catch_up().await;
                    let _ = reply.send((self.known.file.clone(), self.known.stored.config.clone()));
                }
            }
        }
    }

    async fn carry_out(&mut self, wanted: &Wanted) -> Result<Done, Halt> {
        let Wanted { author, what, guard, dry_run, looked, term } = wanted;
        let is_unsaved = self.unsaved.is_some() && !self.save().await;
        loop {
            if let Err(refused) = self.catch_up().await {
                // Going back waits for no store: it stands on what was known last.
                if !matches!(what, What::RollBack(_) | What::Event(..)) || !matches!(refused, Refused::Unavailable(_)) {
                    return Err(refused.into());
                }
                self.stale = false;
            }
            self.check(guard.as_ref())?;
            let draft = Draft { term: term.clone(), ..self.draft(author, what).await? };
            let begun = if let What::Begin(ask) = what { Some(&*ask.plan) } else { None };
            self.ground.authority.admit(author, &self.known.stored.config, &draft.config, begun)?;
            if author.is_remote && matches!(what, What::Edits(_) | What::File(..) | What::Begin(_)) {
                let relative =
                    named_files::relative(&self.known.stored.config, &draft.config, begun, &self.ground.folder);
                if !relative.is_empty() {
                    return Err(Refused::Problems(relative).into());
                }
            }
            looked.admit(what, &self.known.stored.config, &draft.config)?;
            let back = draft.back.clone().map(|edits| (edits, draft.moves.clone(), draft.ended.clone()));
            if is_unsaved && !*dry_run {
                // What is live is not what is stored: a change is one against what is live.
                if let Some(back) = back.filter(|(edits, ..)| !edits.is_empty()) {
                    let error = PutError::Unavailable("the rollback before this one is not stored yet".to_owned());
                    return Ok(self.show_unsaved((author, term.as_ref()), back, error).await?);
                }
                if draft.changes.is_empty() {
                    let live = self.live_config();
                    return Ok(Done { unsaved: true, ..self.done(live.clone(), live, draft.ended) });
                }
                let why =
                    "a rollback is live that the store could not take yet; nothing else changes before it is stored";
                return Err(Refused::Unavailable(why.to_owned()).into());
            }
            if *dry_run || draft.changes.is_empty() {
                if !*dry_run {
                    // What is stored may not have gone live, and then this promises what is not so.
                    self.live(self.known.stored.revision).await?;
                }
                return Ok(self.done(self.known.stored.config.clone(), draft.config, draft.ended));
            }
            let (before, ended) = (self.known.stored.config.clone(), draft.ended.clone());
            match self.write(author, draft).await {
                Ok(()) => return Ok(self.done(before, self.known.stored.config.clone(), ended)),
                Err(Failed::Conflict) => {}
                Err(Failed::Refused(refused)) => return Err(refused.into()),
                Err(Failed::Store(error)) => {
                    self.stale = matches!(error, PutError::Unknown(_));
                    return match back {
                        Some(back) => Ok(self.show_unsaved((author, term.as_ref()), back, error).await?),
                        None => Err(Refused::from(error).into()),
                    };
                }
            }
        }
    }

    /// What requests see: what is stored, and what is live before that.
    fn live_config(&self) -> Config {
        let (stored, unsaved) = (&self.known.stored.config, self.unsaved.as_ref().map_or(&[][..], Unsaved::edits));
        edit::apply(stored, unsaved).unwrap_or_else(|_| stored.clone())
    }

    fn done(&self, before: Config, after: Config, ended: Vec<RolloutId>) -> Done {
        Done { revision: self.known.stored.revision, before, after, ended, unsaved: false }
    }

    fn check(&self, guard: Option<&Guard>) -> Result<(), Refused> {
        let Some(Guard { name, expected }) = guard else { return Ok(()) };
        let current = match name.strip_prefix(TOKEN) {
            // Tokens are made and revoked, never changed: that they are there is all there is to know.
            Some(token) => self.tokens.has(token).then_some(0),
            None => self.known.stored.revisions.get(&**name).copied(),
        };
        let effective = effective_revision(&self.known.stored.revisions, name);
        if expected.holds(current, effective) {
            Ok(())
        } else {
            Err(Refused::Precondition { name: name.clone(), current })
        }
    }

    async fn draft(&self, author: &Author, what: &What) -> Result<Draft, Refused> {
        let (known, time) = (&self.known, self.clock.time());
        match what {
            What::Edits(edits) => self.of_edits(author, edits.clone(), &known.file).map(|(draft, _)| draft),
            What::RollBack(what) => {
                if let Some(rollout) = what.rollout_in(&known.rollouts) {
                    let speaker = Speaker { who: author.who.clone(), why: author.why.clone() };
                    let event = Event::Said { word: Word::Abort, speaker, step: None };
                    return self.of_moves(known.rollouts.event(rollout, &event, time)?, None);
                }
                // What is live and not stored went back already.
                let live = self.live_config();
                let edits = self.past(&live).edits(what, &known.rollouts).await?;
                let (draft, edits) = self.of_edits(author, edits, &known.file)?;
                Ok(Draft { back: Some(edits), ..draft })
            }
            What::File(file, _) | What::Start(file) => {
                if !matches!(what, What::File(_, AllowEmpty(true))) {
                    check::check_emptied(&known.file, file).map_err(|problem| Refused::Problems(vec![problem]))?;
                }
                // A start is no wish to replace what cannot be read.
                let repair = matches!(what, What::File(..));
                let edits = edit::edits_of_file(&known.stored.config, &known.file, file, repair);
                let (mut draft, _) = self.of_edits(author, edits, file)?;
                draft.changes.extend(changes(FILE, &known.file, file));
                // Process settings are not stored, so they are no part of what is compared.
                draft.file = Some(Config { process: Arc::clone(&known.stored.config.process), ..Config::clone(file) });
                Ok(draft)
            }
            What::Token { name, text, what } => {
                let text = text.as_deref().map(Arc::from);
                let changes = vec![Change { name: format!("{TOKEN}{name}"), text }];
                Ok(Draft { changes, told: Some(what.clone()), ..Draft::of(&known.stored.config) })
            }
            What::Begin(ask) => {
                let id = RolloutId(known.stored.revision + 1);
                self.of_moves(known.rollouts.begin(id, ask, &known.stored.config, time)?, Some(id))
            }
            What::Event(id, event) => self.of_moves(known.rollouts.event(*id, event, time)?, Some(*id)),
            What::Freeze(length) => {
                let Author { who, why, .. } = author.clone();
                let freeze = length.map(|length| Freeze { by: who, why, since: time, until: time + length });
                self.of_moves(known.rollouts.frozen(freeze, time), None)
            }
        }
    }

    /// Edits that no rollout wants: a split that they set ends the rollout that moves it, whose own edits are added; so are those by
    /// which versions go that are too many. `file` is the one that is applied last after it.
    fn of_edits(&self, author: &Author, mut edits: Vec<Edit>, file: &Config) -> Result<(Draft, Vec<Edit>), Refused> {
        let before = &self.known.stored.config;
        let set = edit::apply(before, &edits).map_err(Refused::Problems)?;
        let rollouts = &self.known.rollouts;
        let moves = rollouts.overruled(&edits, (before, &set), author, self.clock.time());
        let mut ends = moves.edits(&set);
        ends.extend(rollouts.without_set_fields(&edits, (before, &set), &moves));
        let mut config = edit::apply(&set, &ends).map_err(Refused::Problems)?;
        edits.extend(ends);
        let outdated = self.outdated(before, &config, file);
        if !outdated.is_empty() {
            config = edit::apply(&config, &outdated).map_err(Refused::Problems)?;
            edits.extend(outdated);
        }
        let moved = rollouts.still_moved(before, &config, &moves);
        if !moved.is_empty() {
            return Err(Refused::Problems(moved));
        }
        let mut changes = changes(CONFIG, before, &config);
        changes.extend(moves.changes());
        let ended = moves.ended().collect();
        Ok((Draft { config, changes, moves, ended, is_edit: true, ..Draft::of(before) }, edits))
    }

    /// Moves of rollouts, which are `about` one of them.
    fn of_moves(&self, moves: Moves, about: Option<RolloutId>) -> Result<Draft, Refused> {
        let before = &self.known.stored.config;
        let edits = moves.edits(before);
        let config = edit::apply(before, &edits).map_err(Refused::Problems)?;
        let mut changes = changes(CONFIG, before, &config);
        changes.extend(moves.changes());
        let back = moves.goes_back().then_some(edits);
        let ended = moves.ended().filter(|ended| about != Some(*ended)).collect();
        Ok(Draft { config, changes, moves, back, ended, ..Draft::of(before) })
    }

    /// The past of a configuration that is live.
    fn past<'p>(&'p self, config: &'p Config) -> Past<'p> {
        let revision = self.known.stored.revision;
        Past { store: &*self.ground.store, environment: &self.ground.environment, config, revision }
    }

    /// Stores the draft; answers when it is live.
    async fn write(&mut self, author: &Author, mut draft: Draft) -> Result<(), Failed> {
        let store = Arc::clone(&self.ground.store);
        let previous = self.known.head(&*store).await.map_err(|error| {
            // Nothing was written either.
            Failed::Store(PutError::Unavailable(error.to_string()))
        })?;
        let known = &self.known.stored;
        let revision = known.revision + 1;
        if known.revision == 0 {
            draft.changes.push(migrate::note());
        }
        let others = journal::others(&draft.changes);
        let told = Told { what: draft.told(), is_edit: draft.is_edit, news: draft.moves.news(), others };
        let line = {
            let sides = (&known.config, &draft.config, &*draft.changes);
            journal::line(revision, clock::unix(), author, sides, told, &previous)
        };
        let head = Hash::of(&line);
        let mut stored = Stored { revision, config: draft.config, revisions: known.revisions.clone() };
        stored.note(&draft.changes);
        let began = clock::now();
        let put = store.put_if(known.revision, draft.term.as_ref(), draft.changes, line).await;
        self.store_took(put.as_ref().map(|_| ()));
        match put {
            Ok(_) => self.ground.live.stored(revision, clock::now()),
            Err(PutError::Conflict { current }) => {
                self.reach(current).await;
                return Err(Failed::Conflict);
            }
            Err(PutError::Fenced) => return Err(Failed::Refused(Refused::TermOver)),
            Err(error) => return Err(Failed::Store(error)),
        }
        (self.known.stored, self.known.head) = (stored, Some(head));
        if revision.is_multiple_of(ANNOUNCE_EVERY) {
            self.announce_head();
        }
        if let Some(file) = draft.file {
            self.known.file = file;
            unreadable::tell_of_file(&self.ground, &self.known.file);
        }
        self.known.rollouts.moved(&draft.moves);
        let stored = began.elapsed();
        self.tokens.reached(revision).await;
        let live = self.live(revision).await;
        if !draft.is_shown {
            self.announce(draft.moves, began, stored);
        }
        live.map_err(Failed::Refused)
    }

    /// Tells what rollouts did, and how they stand. It was `decided` then, took so long to be `stored`, and is live now.
    fn announce(&self, moves: Moves, decided: Instant, stored: Duration) {
        if !moves.is_nothing() {
            self.rollouts.send_replace(self.known.rollouts.clone());
            // Nobody is told when the gateway stops.
            let swapped = decided.elapsed() - stored;
            let _ = self.moved.send(Moved { moves, decided, stored, swapped });
        }
    }

    /// Returns once this revision is live.
    async fn live(&self, revision: Revision) -> Result<(), Refused> {
        let mut progress = self.ground.live.progress();
        match time::timeout(LIVE_WITHIN, progress.wait_for(|live| *live >= revision)).await {
            Ok(reached) => reached.map(drop).map_err(|_| Refused::Stopping),
            Err(_) => Err(Refused::Unknown(format!(
                "revision {revision} is stored, and not live after {} s; `weir status` says how far the gateway is",
                LIVE_WITHIN.as_secs()
            ))),
        }
    }

    /// Forgets what retention no longer keeps of the journal.
    async fn forget(&mut self) {
        if let Err(refused) = self.catch_up().await {
            return tracing::warn!("the journal keeps more than it should: {refused}");
        }
        let (store, retention) = (Arc::clone(&self.ground.store), self.ground.retention);
        match self.journal.due(&*store, retention, self.known.stored.revision, clock::unix()).await {
            Ok(None) => {}
            Ok(Some(start)) => {
                let text = serde_json::to_string(&start).expect("texts and numbers are JSON");
                let draft = Draft {
                    changes: vec![Change { name: journal::START.to_owned(), text: Some(text.into()) }],
                    told: Some(format!("forget the journal up to revision {}", start.revision)),
                    ..Draft::of(&self.known.stored.config)
                };
                // The text first: a journal that is longer than it says can be verified, a shorter one cannot.
                match self.write(&Author::of("retention"), draft).await {
                    Ok(()) => self.journal.trimmed(&*store, start).await,
                    // The next look begins with what is stored by then.
                    Err(Failed::Conflict) => {}
                    Err(Failed::Store(error)) => {
                        self.stale |= matches!(error, PutError::Unknown(_));
                        tracing::warn!("the journal keeps more than it should: {error}");
                    }
                    Err(Failed::Refused(refused)) => tracing::warn!("the journal keeps more than it should: {refused}"),
                }
            }
            Err(error) => tracing::warn!("the journal keeps more than it should: {error}"),
        }
    }
}

/// Why a transaction did not become live.
enum Failed {
    /// Somebody else wrote first.
    Conflict,
    Store(PutError),
    Refused(Refused),
}
