//! The dialects of the clouds, as far as they are pure: what their clients send becomes edits of the model, and what the model holds
//! becomes the bodies that they read.
//!
//! Clouds have one main version and at most one more; the model has a split over many versions, and `stable`. The main version is
//! [read and written](main_split) as `stable` beside the split, so that nothing is stored twice.

pub mod arn;
pub mod description;
pub mod event;
pub mod failure;
pub mod lambda;
pub mod main_split;
pub mod opaque;
pub mod scf;
pub mod weights;
