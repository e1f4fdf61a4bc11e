//! The pure core of Weir: what a configuration means and where a request goes.
//!
//! Nothing here does I/O, reads a clock or the environment, draws a random number, logs or awaits: time, draws and
//! environment come in as arguments, so that every rule can be tested without a socket. `gateway` acts on what this
//! crate computes.

pub mod bucket;
pub mod host;
pub mod model;
pub mod name;
pub mod path;
pub mod problem;
pub mod rule;
pub mod template;
pub mod weight;
