//! What came of an operation: what dashboards count.

use crate::error::Error;

/// A closed set: dashboards are built on these names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Ok,
    /// Redis did not have to be asked.
    Skipped,
    Missing,
    Ended,
    Unreadable,
    UnknownSealKey,
    Unsealed,
    BrokenSeal,
    TooLarge,
    InvalidTtl,
    Unavailable,
    Refused,
    Contended,
    MergePanicked,
    /// A login that may not be: there are too many sessions, or all were ended meanwhile.
    LoginRefused,
    /// Its request was dropped before it was answered.
    Abandoned,
}

impl Outcome {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Unavailable { .. } => Self::Unavailable,
            Error::Refused { .. } | Error::InvalidUrl { .. } | Error::InvalidOption { .. } => {
                Self::Refused
            }
            Error::Unreadable { .. } => Self::Unreadable,
            Error::UnknownSealKey { .. } => Self::UnknownSealKey,
            Error::Unsealed => Self::Unsealed,
            Error::BrokenSeal => Self::BrokenSeal,
            Error::StateTooLarge { .. } => Self::TooLarge,
            Error::MergePanicked { .. } => Self::MergePanicked,
            Error::Contended { .. } => Self::Contended,
            Error::InvalidTtl { .. } | Error::InvalidLifetime { .. } => Self::InvalidTtl,
            Error::SessionLimit { .. } | Error::Overtaken => Self::LoginRefused,
            Error::Gone => Self::Missing,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Missing => "missing",
            Self::Ended => "ended",
            Self::Unreadable => "unreadable",
            Self::UnknownSealKey => "unknown_seal_key",
            Self::Unsealed => "unsealed",
            Self::BrokenSeal => "broken_seal",
            Self::TooLarge => "too_large",
            Self::InvalidTtl => "invalid_ttl",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Contended => "contended",
            Self::MergePanicked => "merge_panicked",
            Self::LoginRefused => "login_refused",
            Self::Abandoned => "abandoned",
        }
    }
}
