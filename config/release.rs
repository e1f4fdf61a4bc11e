//! Releases: what came of requests, whether a candidate is worse, and one run of a plan.
//!
//! - [`outcome`], [`verdict`]: what came of requests, counted; whether it shows that a candidate is worse
//! - [`rollout`], [`simulate`], [`preflight`]: one run of a plan; what it would do; whether it can reach an answer at all

pub mod outcome;
pub mod preflight;
pub mod rollout;
pub mod simulate;
pub mod verdict;
