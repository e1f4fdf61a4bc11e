//! Values: parsed once, and a wrong one does not exist.
//!
//! Buckets are values too: an alias remembers which version holds which of them.

pub mod bucket;
pub mod decimal;
pub mod digest;
pub(crate) mod duration;
pub mod host;
pub(crate) mod line;
pub mod name;
pub mod path;
pub mod pattern;
pub mod rule;
pub(crate) mod size;
pub mod target;
pub mod template;
pub mod weight;
