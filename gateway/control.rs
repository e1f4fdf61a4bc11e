//! The control plane: one queue of commands, one writer, one publisher.
//!
//! ```text
//! command ─ Writer ─ config::edit ─ store.put_if ─┐
//!              ▲                                  ▼
//!              └── revision is live ── Publisher ─ store.watch
//! ```
//! The writer computes and stores; only the publisher makes anything live, and it learns of a change from the store alone,
//! so that one node and a fleet run the same path. A command is answered when its revision is live on this node.

pub mod certificates;
pub mod file;
mod files;
pub mod publish;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use config::edit::{self, Edit};
use config::model::Config;
use config::problem::Problem;
use config::texts;
use tokio::sync::{mpsc, oneshot, watch};

use crate::live::Progress;
use crate::store::{Change, PutError, Revision, Store};

/// What the control plane may read of the world: the environment, for `${NAME}`.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What came of a command.
pub type Outcome = Result<Revision, Refused>;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The result would not be valid.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

/// A request for change, queued for the one writer.
#[derive(Debug)]
enum Command {
    /// These edits, on whatever is current.
    Edits(Vec<Edit>, oneshot::Sender<Outcome>),
    /// What changed in the file since it was last applied.
    File(Box<Config>, oneshot::Sender<Outcome>),
}

/// The way in to the writer: cheap to clone, shared by file, API and rollouts.
#[derive(Debug, Clone)]
pub struct Control(mpsc::Sender<Command>);

impl Control {
    /// Starts the writer on this runtime. It ends when the last `Control` is dropped.
    pub fn start(store: Arc<dyn Store>, live: watch::Receiver<Progress>, environment: Environment) -> Self {
        let (sender, commands) = mpsc::channel(64);
        let writer =
            Writer { store, live, environment, revision: 0, current: Config::default(), file: Config::default() };
        tokio::spawn(writer.run(commands));
        Self(sender)
    }

    /// Applies `edits`; answers when they are live.
    ///
    /// # Errors
    /// Every problem of the result; nothing has changed then.
    pub async fn edit(&self, edits: Vec<Edit>) -> Outcome {
        self.ask(|reply| Command::Edits(edits, reply)).await
    }

    /// Applies what `file` says differently from the file that was applied before; answers when it is live.
    ///
    /// # Errors
    /// Every problem of the result; nothing has changed then.
    pub async fn apply_file(&self, file: Config) -> Outcome {
        self.ask(|reply| Command::File(Box::new(file), reply)).await
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Outcome>) -> Command) -> Outcome {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }
}

/// The only one who writes to the store on this node.
struct Writer {
    store: Arc<dyn Store>,
    live: watch::Receiver<Progress>,
    environment: Environment,
    /// What the store held when the writer last looked.
    revision: Revision,
    current: Config,
    /// The file as last applied.
    file: Config,
}

impl Writer {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            let (outcome, reply) = match command {
                Command::Edits(edits, reply) => (self.write(&edits).await, reply),
                Command::File(file, reply) => {
                    let outcome = self.write(&edit::edits_between(&self.file, &file)).await;
                    if outcome.is_ok() {
                        self.file = *file;
                    }
                    (outcome, reply)
                }
            };
            // An asker that went away does not undo the change.
            let _ = reply.send(outcome);
        }
    }

    async fn write(&mut self, edits: &[Edit]) -> Outcome {
        loop {
            let next = edit::apply(&self.current, edits).map_err(Refused::Problems)?;
            let changes = texts::changes(&self.current, &next)
                .into_iter()
                .map(|(name, text)| Change { name, text: text.map(Arc::from) })
                .collect::<Vec<_>>();
            if changes.is_empty() {
                return Ok(self.revision);
            }
            let unusable = files::unusable(&self.current, &next);
            if !unusable.is_empty() {
                return Err(Refused::Problems(unusable));
            }
            match self.store.put_if(self.revision, changes).await {
                Ok(revision) => {
                    (self.revision, self.current) = (revision, next);
                    let progress = self.live.wait_for(|live| live.seen >= revision).await;
                    let progress = progress.map_err(|_| Refused::Stopping)?.clone();
                    if progress.problems.is_empty() {
                        return Ok(revision);
                    }
                    return Err(Refused::Problems(progress.problems.to_vec()));
                }
                Err(PutError::Conflict { .. }) => self.reload().await?,
            }
        }
    }

    async fn reload(&mut self) -> Result<(), Refused> {
        let image = self.store.load().await;
        let texts = image.texts.iter().map(|(name, text)| (name.as_str(), &**text));
        self.current = texts::from_texts(texts, &*self.environment).map_err(Refused::Problems)?;
        self.revision = image.revision;
        Ok(())
    }
}
