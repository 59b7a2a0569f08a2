use std::{fmt, time::Duration};

/// What a contender has to deal with.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// What tells it from the others of its experiment.
    pub(crate) label: String,
    pub(crate) route: Route,
    pub(crate) state_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) workers: usize,
    /// How many server processes, and whether they are behind nginx.
    pub(crate) processes: usize,
    pub(crate) nginx: bool,
    /// How many sessions Redis holds.
    pub(crate) sessions: usize,
    /// What a way to Redis and back takes longer than on loopback.
    pub(crate) delay: Option<Duration>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            label: String::new(),
            route: Route::Counter,
            state_bytes: 100,
            connections: 64,
            workers: 2,
            processes: 1,
            nginx: false,
            sessions: 1_000,
            delay: None,
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The handler reads the session and writes to it.
    Counter,
    /// The handler reads the session.
    Read,
    /// The same, and each request prolongs the session.
    SlidingRead,
}

impl Route {
    pub(crate) const ALL: [Self; 3] = [Self::Counter, Self::Read, Self::SlidingRead];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Counter => "/count",
            Self::Read | Self::SlidingRead => "/read",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Read => "read-only",
            Self::SlidingRead => "read-only, sliding expiry",
        })
    }
}
