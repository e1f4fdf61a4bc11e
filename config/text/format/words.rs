//! The words of the file for choices of the model.

use crate::model::{
    Decision, Dialect, InvokeMode, KeyRole, OnInsufficient, OnMissingKey, OnRestart, OnUnhealthy, Protocol, Selection,
    Shield,
};

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

impl InvokeMode {
    /// Every choice with its word in the file.
    pub(crate) const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("event", Self::Event), ("proxy", Self::Proxy)];

    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Event => "event",
            Self::Proxy => "proxy",
        }
    }
}

impl KeyRole {
    /// Every role with its word in the file.
    pub(crate) const WORDS: [(&'static str, Self); 3] =
        [("viewer", Self::Viewer), ("invoker", Self::Invoker), ("operator", Self::Operator)];

    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Invoker => "invoker",
            Self::Operator => "operator",
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

impl Shield {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Gateway => "gateway",
            Self::AnyServerError => "any-5xx",
        }
    }
}

impl Decision {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

impl OnInsufficient {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

impl OnRestart {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Extend => "extend",
            Self::Hold => "hold",
        }
    }
}
