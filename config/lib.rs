//! The pure core of Weir: what a configuration means and where a request goes.
//!
//! Nothing here does I/O, reads a clock or the environment, draws a random number, logs or awaits: time, draws and
//! environment come in as arguments, so that every rule can be tested without a socket. `gateway` acts on what this
//! crate computes.
//!
//! Reading order:
//! - [`name`], [`host`], [`path`], [`target`], [`weight`], [`decimal`], [`template`], [`rule`]: small values, parsed once, never
//!   wrong
//! - [`model`]: a configuration that cannot be wrong
//! - [`problem`], [`parse`], [`check`], [`format`](mod@format), [`schema`]: text to model and back
//! - [`digest`], [`edit`], [`diff`], [`texts`]: one model to the next, and to a store
//! - [`unfinished`]: whether a file may still be being written
//! - [`bucket`], [`slot`]: how an alias chooses, with and without a routing key
//! - [`outcome`], [`verdict`]: what came of requests, counted; whether it shows that a candidate is worse
//! - [`rollout`], [`simulate`], [`preflight`]: one run of a plan; what it would do; whether it can reach an answer at all
//! - [`table`], [`head`], [`resolve`], [`explain`]: the hot path

pub mod model;
pub mod outcome;
pub mod preflight;
pub mod rollout;
pub mod route;
pub mod simulate;
pub mod text;
pub mod value;
pub mod verdict;
