//! What one request has loaded: the snapshot that a later write starts from, or nothing because
//! Redis is away; and whether its session has ended meanwhile.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    sync::Arc,
};

use actix_session::storage::SessionKey;
use tokio::task::futures::TaskLocalFuture;

use crate::{
    error::Error,
    session::{Sessions, Snapshot},
};

tokio::task_local! {
    static CURRENT: Rc<RequestScope>;
}

/// One request, from before its session is loaded until its response is ready.
#[derive(Default)]
pub(crate) struct RequestScope {
    loaded: RefCell<Vec<Loaded>>,
    /// Which stores could not load the session of the request, which goes on as anonymous.
    outages: RefCell<Vec<(Arc<Sessions>, Error)>>,
    application_runs: Cell<bool>,
    session_ended: Cell<bool>,
    renewed: RefCell<Option<Renewed>>,
    leave_cookie: Cell<bool>,
    application_cookies: Cell<usize>,
}

struct Loaded {
    store: Arc<Sessions>,
    session_key: String,
    by_application: bool,
    snapshot: Arc<Snapshot>,
}

/// A session that this request itself has ended, maybe to go on with it under a new key.
pub(crate) struct Renewed {
    pub(crate) snapshot: Arc<Snapshot>,
    /// What others had made of it by then.
    pub(crate) theirs: Vec<u8>,
}

impl RequestScope {
    /// Runs `start`, and the future that it returns, inside this scope.
    pub(crate) fn enter<F: Future>(
        self: &Rc<Self>,
        start: impl FnOnce() -> F,
    ) -> TaskLocalFuture<Rc<Self>, F> {
        let future = CURRENT.sync_scope(Rc::clone(self), start);
        CURRENT.scope(Rc::clone(self), future)
    }

    /// The innermost scope around the caller.
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.try_with(Rc::clone).ok()
    }

    /// The session that the middleware has loaded, whatever else a handler has.
    pub(crate) fn session_key(&self) -> Option<SessionKey> {
        let loaded = self.loaded.borrow();
        let by_middleware = loaded.iter().find(|loaded| !loaded.by_application);
        let session_key = by_middleware?.session_key.clone();
        session_key.try_into().ok()
    }

    /// The session has been loaded, if there is one.
    pub(crate) fn application_begins(&self) {
        self.application_runs.set(true);
    }

    /// What comes now is the middleware's again.
    pub(crate) fn application_ends(&self) {
        self.application_runs.set(false);
    }

    /// How many cookies the application itself sets.
    pub(crate) fn set_application_cookies(&self, count: usize) {
        self.application_cookies.set(count);
    }

    /// How many cookies may go out with the response, if not all of them.
    pub(crate) fn cookie_limit(&self) -> Option<usize> {
        self.leave_cookie
            .get()
            .then(|| self.application_cookies.get())
    }
}

pub(crate) fn is_open() -> bool {
    RequestScope::current().is_some()
}

pub(crate) fn remember(store: &Arc<Sessions>, session_key: &SessionKey, snapshot: Snapshot) {
    if let Some(scope) = RequestScope::current() {
        scope.loaded.borrow_mut().push(Loaded {
            store: Arc::clone(store),
            session_key: session_key.as_ref().to_owned(),
            by_application: scope.application_runs.get(),
            snapshot: Arc::new(snapshot),
        });
    }
}

/// What a write that happens now has started from. The middleware, which writes last, has loaded
/// before the application ran; the application may have loaded the same session since, by itself.
///
/// Session keys of different stores have nothing to do with each other.
pub(crate) fn snapshot(store: &Arc<Sessions>, session_key: &SessionKey) -> Option<Arc<Snapshot>> {
    let scope = RequestScope::current()?;
    let loaded = scope.loaded.borrow();
    let mut loaded = loaded.iter().rev().filter(|loaded| {
        Arc::ptr_eq(&loaded.store, store) && loaded.session_key == session_key.as_ref()
    });
    let by_application = scope.application_runs.get();
    let by_same = loaded
        .clone()
        .find(|loaded| loaded.by_application == by_application);
    let snapshot = &by_same.or_else(|| loaded.next())?.snapshot;
    Some(Arc::clone(snapshot))
}

/// Lets the request go on without its session, writing nothing and leaving the session cookie as it
/// is. `false` if that cannot be: outside of a scope, or when it is the application that asks for
/// a session, which can deal with the error itself.
pub(crate) fn go_on_as_anonymous(store: &Arc<Sessions>, outage: &Error) -> bool {
    let loading = |scope: &Rc<RequestScope>| !scope.application_runs.get();
    let Some(scope) = RequestScope::current().filter(loading) else {
        return false;
    };
    let outage = (Arc::clone(store), outage.clone());
    scope.outages.borrow_mut().push(outage);
    scope.leave_cookie.set(true);
    true
}

/// Why the request goes on as anonymous, if it does.
pub(crate) fn outage(store: &Arc<Sessions>) -> Option<Error> {
    let scope = RequestScope::current()?;
    let outages = scope.outages.borrow();
    outages
        .iter()
        .find(|(of, _)| Arc::ptr_eq(of, store))
        .map(|(_, outage)| outage.clone())
}

/// Another request has ended the session: nothing of it may be stored, and the cookie in the
/// browser may already be that of its successor.
pub(crate) fn end_session() {
    if let Some(scope) = RequestScope::current() {
        scope.session_ended.set(true);
        scope.leave_cookie.set(true);
    }
}

/// This request has ended the session, which held this state at the end.
pub(crate) fn session_ended_with(
    store: &Arc<Sessions>,
    session_key: &SessionKey,
    last_state: Option<Vec<u8>>,
) {
    if let (Some(scope), Some(snapshot), Some(theirs)) = (
        RequestScope::current(),
        snapshot(store, session_key),
        last_state,
    ) {
        *scope.renewed.borrow_mut() = Some(Renewed { snapshot, theirs });
    }
}

pub(crate) fn take_renewed() -> Option<Renewed> {
    RequestScope::current()?.renewed.take()
}

pub(crate) fn session_has_ended() -> bool {
    RequestScope::current().is_some_and(|scope| scope.session_ended.get())
}

/// The response must not touch the session cookie.
pub(crate) fn leave_cookie() {
    if let Some(scope) = RequestScope::current() {
        scope.leave_cookie.set(true);
    }
}
