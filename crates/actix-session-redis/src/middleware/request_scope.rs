//! One request, as far as its session goes: what the session middleware has loaded, what has come of
//! what it wrote, and what that means for the response.

use std::{
    future::Future,
    mem::take,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::cookie::time;
use tokio::task::futures::TaskLocalFuture;

use super::current_key::CurrentKey;
use crate::{
    error::Error,
    lock::lock,
    session::{Login, Names, SessionId, Sessions, Snapshot, Terms},
};

tokio::task_local! {
    static CURRENT: Arc<RequestScope>;
}

/// It belongs to one session middleware. What an application does by hand in a handler, on
/// whatever session, neither reads nor writes it.
pub(crate) struct RequestScope {
    /// Another session middleware is around this one.
    pub(crate) is_nested: bool,
    scope: Mutex<Scope>,
}

#[derive(Default)]
struct Scope {
    stage: Stage,
    store: Option<Arc<Sessions>>,
    loaded: Loaded,
    wishes: Wishes,
    /// The session goes on as that of a login, without the lifetime that it has had.
    logs_in: bool,
    verdict: Verdict,
}

/// What the application asks for when its session is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) lifetime: Option<Duration>,
    pub(crate) login: Option<Login>,
}

impl Wishes {
    pub(crate) fn terms<'a>(&'a self, ttl: &'a time::Duration) -> Terms<'a> {
        Terms {
            ttl,
            lifetime: self.lifetime,
            login: self.login.as_ref(),
        }
    }
}

#[derive(Default, PartialEq)]
enum Stage {
    #[default]
    Loading,
    ApplicationRuns,
    /// `renews`: the application wants its session to go on under another key.
    Closing {
        renews: bool,
    },
}

/// The session that the request came with.
#[derive(Clone, Default)]
pub(crate) enum Loaded {
    /// None that is still there.
    #[default]
    Nothing,
    Session(Arc<LoadedSession>),
    /// `late`: when the browser sent the request it did not know of the end yet.
    Ended {
        late: bool,
    },
    /// `is_anonymous`: the application runs all the same.
    Unavailable {
        error: Error,
        is_anonymous: bool,
    },
}

pub(crate) struct LoadedSession {
    pub(crate) session_key: CurrentKey,
    pub(crate) names: Names,
    pub(crate) snapshot: Snapshot,
}

/// What becomes of the session cookie that the session middleware sets.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum CookieFate {
    #[default]
    Goes,
    /// It is the one that came with the request, and is of use only if it prolongs that.
    Repeats,
    /// The browser may have a better one by now.
    Stays,
}

/// What the response needs to know.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Why the response is replaced.
    pub(crate) failure: Option<Error>,
    pub(crate) cookie: CookieFate,
    /// How many cookies the application itself sets.
    pub(crate) application_cookies: usize,
    /// How long the session cookie lives, if the session has a lifetime of its own.
    pub(crate) max_age: Option<Duration>,
}

impl RequestScope {
    pub(crate) fn new(is_nested: bool) -> Arc<Self> {
        let scope = Mutex::default();
        Arc::new(Self { is_nested, scope })
    }

    /// Runs `start`, and the future that it returns, inside this scope.
    pub(crate) fn enter<F: Future>(
        self: &Arc<Self>,
        start: impl FnOnce() -> F,
    ) -> TaskLocalFuture<Arc<Self>, F> {
        let future = CURRENT.sync_scope(Arc::clone(self), start);
        CURRENT.scope(Arc::clone(self), future)
    }

    /// The innermost scope around the caller.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// The scope of the session middleware that asks this store, if it is one that asks.
    pub(crate) fn of_middleware(store: &Arc<Sessions>) -> Option<Arc<Self>> {
        let current = Self::current()?;
        let mut scope = lock(&current.scope);
        if scope.stage == Stage::ApplicationRuns {
            return None;
        }
        let ours = scope.store.get_or_insert_with(|| Arc::clone(store));
        let is_ours = Arc::ptr_eq(ours, store);
        drop(scope);
        is_ours.then_some(current)
    }

    /// That of the request that the caller is in, if it is one of this store.
    pub(crate) fn session_of(store: &Arc<Sessions>) -> Option<Arc<LoadedSession>> {
        let current = Self::current()?;
        let scope = lock(&current.scope);
        let is_ours = scope
            .store
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, store));
        match &scope.loaded {
            Loaded::Session(loaded) if is_ours => Some(Arc::clone(loaded)),
            _ => None,
        }
    }
}

/// For the store.
impl RequestScope {
    /// The first that was loaded is the session of the request.
    pub(crate) fn remember_loaded(&self, loaded: Loaded) {
        let mut scope = lock(&self.scope);
        if matches!(scope.loaded, Loaded::Nothing) {
            scope.loaded = loaded;
        }
    }

    pub(crate) fn loaded(&self) -> Loaded {
        lock(&self.scope).loaded.clone()
    }

    /// What was loaded, unless it is another session that this is about.
    pub(crate) fn loaded_as(&self, id: &SessionId) -> Loaded {
        match self.loaded() {
            Loaded::Session(loaded) if loaded.names.id != *id => Loaded::Nothing,
            loaded => loaded,
        }
    }

    /// Whether the session goes on under another key.
    pub(crate) fn renews(&self) -> bool {
        lock(&self.scope).stage == Stage::Closing { renews: true }
    }

    pub(crate) fn wishes(&self) -> Wishes {
        lock(&self.scope).wishes.clone()
    }

    pub(crate) fn set_cookie(&self, cookie: CookieFate) {
        lock(&self.scope).verdict.cookie = cookie;
    }

    pub(crate) fn note_login(&self) {
        lock(&self.scope).logs_in = true;
    }

    pub(crate) fn fail(&self, error: Error) {
        let verdict = &mut lock(&self.scope).verdict;
        (verdict.failure, verdict.cookie) = (Some(error), CookieFate::Stays);
    }
}

/// For the application.
impl RequestScope {
    pub(crate) fn store(&self) -> Option<Arc<Sessions>> {
        lock(&self.scope).store.clone()
    }

    pub(crate) fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut lock(&self.scope).wishes);
    }
}

/// For the middleware.
impl RequestScope {
    /// # Errors
    ///
    /// It does not begin: its session is unavailable.
    pub(crate) fn application_begins(&self) -> Result<(), Error> {
        let mut scope = lock(&self.scope);
        scope.stage = Stage::ApplicationRuns;
        match &scope.loaded {
            Loaded::Unavailable {
                error,
                is_anonymous: false,
            } => Err(error.clone()),
            _ => Ok(()),
        }
    }

    pub(crate) fn application_ends(&self, renews: bool, cookies: usize) {
        let mut scope = lock(&self.scope);
        scope.stage = Stage::Closing { renews };
        scope.verdict.application_cookies = cookies;
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let mut scope = lock(&self.scope);
        let of_session = match &scope.loaded {
            Loaded::Session(loaded) if !scope.logs_in => loaded.snapshot.details.lifetime(),
            _ => None,
        };
        let max_age = scope.wishes.lifetime.or(of_session);
        Verdict {
            max_age,
            ..take(&mut scope.verdict)
        }
    }
}
