//! Weights in basis points, and splits that sum to 10 000 or do not exist.

use std::fmt;
use std::sync::Arc;

use crate::name::VersionId;

/// The part of a split that one version gets, in basis points, 0..=10 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// All of the traffic, in basis points.
    pub const WHOLE: u16 = 10_000;

    /// A weight of so many basis points; `None` above 10 000.
    #[must_use]
    pub fn new(basis_points: u16) -> Option<Self> {
        (basis_points <= Self::WHOLE).then_some(Self(basis_points))
    }

    /// Basis points, 0..=10 000.
    #[must_use]
    pub fn basis_points(self) -> u16 {
        self.0
    }
}

/// The weights of an alias: 1 to 16 versions in ascending order, each once, that sum to exactly 10 000 basis points.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Split(Arc<[(VersionId, Weight)]>);

impl Split {
    /// The most versions in one split.
    pub const MAX_VERSIONS: usize = 16;

    /// Everything to one version.
    #[must_use]
    pub fn whole(version: VersionId) -> Self {
        Self(Arc::new([(version, Weight(Weight::WHOLE))]))
    }

    /// Versions and weights, ascending by version; weights of 0 included.
    #[must_use]
    pub fn parts(&self) -> &[(VersionId, Weight)] {
        &self.0
    }
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(v, w)| (v, w.0))).finish()
    }
}
