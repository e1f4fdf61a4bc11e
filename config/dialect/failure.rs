//! What is said no to, before a dialect gives it a code and a status of its own.

/// A request that is not carried out, as every dialect can say it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialectFailure {
    /// What is wrong.
    pub kind: FailureKind,
    /// In a sentence for people.
    pub message: String,
}

impl DialectFailure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// It is not signed.
    Unsigned,
    /// It is signed in a form that is not taken: a presigned URL, an older signature.
    UnknownForm,
    /// It is signed by a key that is not known.
    UnknownKey,
    /// The signature does not fit the request.
    WrongSignature,
    /// It was signed too long ago, or is signed for later.
    SkewedTime,
    /// It carries a session token; there are none here.
    SessionToken,
    /// The key's role does not allow it.
    Forbidden,
    /// There is no such function.
    NoFunction,
    /// There is no such version.
    NoVersion,
    /// There is no such alias.
    NoAlias,
    /// There is no such version or alias to invoke.
    NoQualifier,
    /// There is an alias of this name.
    AliasExists,
    /// Something names the version.
    InUse,
    /// A name that things here cannot have.
    WrongName,
    /// A weight, or whom it is given to.
    WrongWeights,
    /// The rules of an alias.
    WrongRouting,
    /// A qualifier that cannot be one.
    WrongQualifier,
    /// Another parameter.
    WrongParameter,
    /// A body that cannot be read.
    WrongBody,
    /// What the caller believed is not so.
    Precondition,
    /// The body is too large.
    TooLarge,
    /// Too much at a time: it may be sent again later.
    TooMany,
    /// The event was not sent to any endpoint: it may be sent again.
    NotSent,
    /// The gateway cannot carry it out now.
    Unavailable,
    /// It is not done here.
    Unsupported,
}
