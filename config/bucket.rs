//! Routing key -> bucket -> version: which callers a version gets, and who moves when weights change.

use std::sync::Arc;

use crate::name::VersionId;

/// Which version holds each of the 10 000 buckets, as runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets(Arc<[Run]>);

/// Neighbouring buckets of one version: from the end of the run before (0 for the first) up to `end`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// One past the last bucket, 1..=10 000.
    pub end: u16,
    /// Who holds them.
    pub version: VersionId,
}
