use std::fmt;

use clap::ValueEnum;

/// Who keeps the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// The store of this crate.
    Ours,
    /// The same, and what it does is recorded for Prometheus.
    Metrics,
    /// The store, inside `ConsistentSessions`.
    Consistent,
    /// The same, and the field that counts is declared a counter.
    Counter,
    /// `Consistent`, and what Redis holds is sealed.
    Sealed,
    /// `Counter`, and what Redis holds is sealed.
    SealedCounter,
    /// The built-in store with one connection.
    Single,
    /// The built-in store with a pool.
    Pooled,
    /// The commands by hand, without session middleware.
    Floor,
    /// The cookie store.
    Cookie,
    /// No session at all.
    Nothing,
}

impl Contender {
    pub(crate) const ALL: [Self; 11] = [
        Self::Ours,
        Self::Metrics,
        Self::Consistent,
        Self::Counter,
        Self::Sealed,
        Self::SealedCounter,
        Self::Single,
        Self::Pooled,
        Self::Floor,
        Self::Cookie,
        Self::Nothing,
    ];

    pub(crate) fn uses_redis(self) -> bool {
        !matches!(self, Self::Cookie | Self::Nothing)
    }

    /// Whether the store of this crate keeps the sessions.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Ours
                | Self::Metrics
                | Self::Consistent
                | Self::Counter
                | Self::Sealed
                | Self::SealedCounter
        )
    }

    /// Whether Redis holds nothing that can be read there.
    pub(crate) fn seals(self) -> bool {
        matches!(self, Self::Sealed | Self::SealedCounter)
    }

    /// As the command line has it.
    pub(crate) fn argument(self) -> String {
        let value = self.to_possible_value();
        value.expect("none is hidden").get_name().to_owned()
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Metrics => "ours, with metrics",
            Self::Consistent => "ours, ConsistentSessions",
            Self::Counter => "ours, ConsistentSessions, counter",
            Self::Sealed => "ours, ConsistentSessions, sealed",
            Self::SealedCounter => "ours, ConsistentSessions, sealed counter",
            Self::Single => "built-in, one connection",
            Self::Pooled => "built-in, pooled",
            Self::Floor => "floor: by hand",
            Self::Cookie => "cookie store",
            Self::Nothing => "no session",
        })
    }
}
