//! Everything that a store holds as one file, and back: JSON lines, closed by a SHA-256 over all lines before.

use std::fmt::Write as _;
use std::sync::Arc;

use config::model::Config;
use config::text::problem::Problem;
use config::text::texts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::journal::Start;
use super::named::below;
use super::{CONFIG, Environment, sha256};
use crate::store::{Entry, Image, Order, Page, PutError, Revision, Store, StoreError, Stored};

/// The form below. A reader of another form refuses it.
const FORMAT: u32 = 1;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The text is no export, or not all of one.
    #[error("this is no whole export: {0}; write one with `weir export --everything`")]
    Damaged(String),
    /// It holds what this version cannot read.
    #[error("this version cannot read it:\n{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// An import has to begin with nothing.
    #[error(
        "the store is at revision {revision}, and an import needs an empty one: name another file in `store: {{path: …}}`"
    )]
    NotEmpty {
        /// Of the store.
        revision: Revision,
    },
    /// It could not be stored.
    #[error(transparent)]
    Store(PutError),
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// The first.
    WeirExport {
        format: u32,
        revision: Revision,
    },
    Text {
        name: String,
        revision: Revision,
        text: String,
    },
    /// The journal's line of one revision, byte by byte: its hash depends on it.
    Entry {
        revision: Revision,
        line: String,
    },
    /// The last.
    Sha256(String),
}

/// The length of a piece of an export from which on it is sent, in bytes.
const PIECE: usize = 64 << 10;
/// The number of lines of the journal that are read at a time: each may be as long as a whole configuration.
const LINES: usize = 16;

/// All of `store` at one revision, piece by piece: no more of the journal is held than a piece and the lines that are read at a
/// time.
pub(super) fn export(store: Arc<dyn Store>) -> mpsc::Receiver<Result<String, StoreError>> {
    let (pieces, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut export = Export { text: String::new(), digest: Sha256::new(), pieces };
        if let Err(Some(error)) = export.all(&*store).await {
            // The client may have gone.
            let _ = export.pieces.send(Err(error)).await;
        }
    });
    receiver
}

/// An export under way.
struct Export {
    /// The text that was not sent yet.
    text: String,
    /// The digest of everything that was sent.
    digest: Sha256,
    pieces: mpsc::Sender<Result<String, StoreError>>,
}

impl Export {
    /// `Err(None)` when whoever asked has gone.
    async fn all(&mut self, store: &dyn Store) -> Result<(), Option<StoreError>> {
        let image = store.load("").await.map_err(Some)?;
        let start = Start::of(&image);
        push(&mut self.text, &Line::WeirExport { format: FORMAT, revision: image.revision });
        for (name, Stored { revision, text }) in image.texts {
            push(&mut self.text, &Line::Text { name, revision, text: text.to_string() });
            self.send(PIECE).await?;
        }
        let mut after = start.revision;
        while after < image.revision {
            let page = Page { after, before: image.revision + 1, order: Order::OldestFirst, limit: LINES };
            let entries = store.journal(page).await.map_err(Some)?;
            // A line that is missing for another reason is named by whoever verifies what is imported.
            if Start::read(store).await.map_err(Some)?.revision > after {
                let why = format!("the journal forgot revision {} while it was exported: ask again", after + 1);
                return Err(Some(StoreError::new(why)));
            }
            if entries.is_empty() {
                break;
            }
            for Entry { revision, text } in entries {
                push(&mut self.text, &Line::Entry { revision, line: text.to_string() });
                self.send(PIECE).await?;
                after = revision;
            }
        }
        self.send(0).await?;
        let digest = format!("{:x}", self.digest.clone().finalize());
        push(&mut self.text, &Line::Sha256(digest));
        self.send(0).await
    }

    /// Sends what there is if it is so long.
    async fn send(&mut self, least: usize) -> Result<(), Option<StoreError>> {
        if self.text.len() < least {
            return Ok(());
        }
        self.digest.update(&self.text);
        self.pieces.send(Ok(std::mem::take(&mut self.text))).await.map_err(|_| None)
    }
}

/// Fills an empty store with what [`export`] wrote; answers the revision that it is at, and the configuration that is live there.
///
/// # Errors
/// When the store holds something, or the text is no whole export that this version can read. Nothing is stored then.
pub async fn import(
    store: &dyn Store,
    text: &str,
    environment: &Environment,
) -> Result<(Revision, Config), ImportError> {
    let damaged = |why: String| ImportError::Damaged(why);
    let (body, last) = text.trim_end().rsplit_once('\n').ok_or_else(|| damaged("it ends early".to_owned()))?;
    let body = format!("{body}\n");
    match serde_json::from_str(last) {
        Ok(Line::Sha256(digest)) if digest == sha256(&body) => {}
        Ok(Line::Sha256(_)) => return Err(damaged("its checksum is another one: it was changed".to_owned())),
        _ => return Err(damaged("its last line is no checksum: it ends early".to_owned())),
    }
    let (mut image, mut journal) = (Image::default(), Vec::new());
    for (index, line) in body.lines().enumerate() {
        let line = serde_json::from_str(line).map_err(|error| damaged(format!("line {}: {error}", index + 1)))?;
        match (index, line) {
            (0, Line::WeirExport { format: FORMAT, revision }) => image.revision = revision,
            (0, Line::WeirExport { format, .. }) => {
                return Err(damaged(format!("its format is {format}, this version reads {FORMAT}")));
            }
            (1.., Line::Text { name, revision, text }) => {
                image.texts.insert(name, Stored { revision, text: text.into() });
            }
            (1.., Line::Entry { revision, line }) => journal.push(Entry { revision, text: line.into() }),
            (index, _) => return Err(damaged(format!("line {} does not belong there", index + 1))),
        }
    }
    // A gateway that begins with an import is whole; a store of its own it would serve as far as that can be read.
    let config = texts::from_texts(below(CONFIG, &image), &**environment).map_err(ImportError::Problems)?;
    let revision = image.revision;
    match store.restore(image, journal).await {
        Ok(()) => Ok((revision, config)),
        Err(PutError::Conflict { current }) => Err(ImportError::NotEmpty { revision: current }),
        Err(error) => Err(ImportError::Store(error)),
    }
}

fn push(file: &mut String, line: &Line) {
    let line = serde_json::to_string(line).expect("texts and numbers are JSON");
    writeln!(file, "{line}").expect("a string takes every text");
}
