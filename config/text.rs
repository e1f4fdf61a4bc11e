//! Texts: what an operator writes becomes a model, and a model becomes text, an edit or a difference.
//!
//! - [`problem`]: everything that is wrong with a text, with its place
//! - [`parse`], [`check`], [`format`](mod@format), [`schema`]: text to model and back
//! - [`edit`], [`diff`], [`texts`]: one model to the next, and to the texts of a store
//! - [`unfinished`]: whether a file may still be being written

pub mod check;
pub mod diff;
pub mod edit;
pub mod format;
mod frozen;
pub mod parse;
pub mod problem;
pub mod schema;
pub mod texts;
pub mod unfinished;
pub mod veil;
pub(crate) mod yaml;
