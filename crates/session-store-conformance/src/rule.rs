use std::fmt;

/// What a check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// The sentence that is true of a store which passes, with underscores for spaces.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// How strongly it is asked for.
    pub level: Level,
    /// Who asks for it.
    pub source: &'static str,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name.replace('_', " "))
    }
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What every application does with its sessions.
    Workflow,
    /// How long sessions live.
    Expiry,
    /// What has got into the storage, and no store has written.
    BadBytes,
    /// What happens at the same time.
    Races,
    /// How sessions end, and stay ended.
    Lifecycle,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Workflow => "workflow",
            Self::Expiry => "expiry",
            Self::BadBytes => "bad bytes",
            Self::Races => "races",
            Self::Lifecycle => "lifecycle",
        })
    }
}

/// How strongly something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// By the trait `SessionStore`, as the session middleware uses it.
    Must,
    /// By guidance on security, which goes further than the trait.
    Should,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::Should => "should",
        })
    }
}
