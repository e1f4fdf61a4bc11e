//! The shell of Weir: everything that touches the world. `config` computes, `gateway` acts.
//!
//! Reading order:
//! - [`cli`], [`serve`], [`demo`]: from the command line to a running gateway
//! - [`live`]: the one snapshot that requests are resolved by
//! - [`edge`], [`relay`], [`proxy`], [`policy`], [`upstreams`]: the way of a request, from the socket to an endpoint and back
//! - [`outcomes`]: what came of requests, version by version
//! - [`control`], [`store`]: the way of a change, from a wish to the next snapshot
//! - [`hook`], [`notify`], [`query`], [`calls`]: who is asked and told outside
//! - [`dialects`]: what the clouds' own clients see
//! - [`admin`], [`metrics`], [`log`]: what operators see
//! - [`clock`], [`files`]: what time it is, and what the files hold that operators name
//!
//! Which of them may know which is a table in `tests/tidy/walls.rs`; ARCHITECTURE.md says why.

pub mod admin;
pub mod calls;
pub mod cli;
pub mod clock;
pub mod control;
pub mod demo;
pub mod dial;
pub mod dialects;
pub mod edge;
pub mod files;
pub mod hook;
pub mod live;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod outcomes;
pub mod policy;
pub mod proxy;
pub mod query;
pub mod relay;
pub mod serve;
pub mod store;
pub mod upstreams;
