//! The words of the file for choices of the model.

use crate::model::{Dialect, OnMissingKey, OnUnhealthy, Protocol, Selection};

impl Dialect {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fc => "fc",
            Self::Aws => "aws",
        }
    }
}

impl Protocol {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::H2 => "h2",
            Self::H2c => "h2c",
        }
    }
}

impl OnMissingKey {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Stable => "stable",
            Self::Refuse => "refuse",
        }
    }
}

impl Selection {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Random => "random",
        }
    }
}

impl OnUnhealthy {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::Fail => "fail",
        }
    }
}
