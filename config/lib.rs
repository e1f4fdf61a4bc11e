//! The pure core of Weir: what a configuration means, where a request goes and how a release runs.
//!
//! Nothing here does I/O, reads a clock or the environment, draws a random number, logs or awaits: time, draws and
//! environment come in as arguments, so that every rule can be tested without a socket. `gateway` acts on what this
//! crate computes.
//!
//! Six floors, each of which knows only those above it in this list (`tests/tidy/floors.rs` holds the arrows):
//! - [`value`]: names, hosts, paths, weights, rules: parsed once, and a wrong one does not exist
//! - [`model`]: a configuration that cannot be wrong
//! - [`text`]: text to model and back, one model to the next
//! - [`dialect`]: what the clouds' own clients say, as edits and answers
//! - [`route`]: the hot path
//! - [`release`]: outcomes, verdicts, rollouts

pub mod dialect;
pub mod model;
pub mod release;
pub mod route;
pub mod text;
pub mod value;
