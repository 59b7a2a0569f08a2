use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::{
    error::Error,
    middleware::{CurrentSession, RequestScope},
    session::{Details, Login, SessionId, User},
    store::RedisSessionStore,
};

/// What becomes of a login when the user has as many sessions as
/// [allowed](crate::RedisSessionStoreBuilder::session_limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// The session ends that has gone longest without a login or a renewal.
    EndOldest,
    /// The login fails with [`Error::SessionLimit`].
    Refuse,
}

impl RedisSessionStore {
    /// The sessions of a user, whom `user` names as the
    /// [`user_field`](crate::RedisSessionStoreBuilder::user_field) of the state does: what the
    /// application gives to [`Session::insert`](actix_session::Session::insert), or any other value with
    /// the same JSON. Does no I/O.
    ///
    /// ```
    /// # use actix_session_redis::{Error, RedisSessionStore};
    /// # async fn example(store: RedisSessionStore) -> Result<(), Error> {
    /// let ended = store.sessions_of("alice").end_all().await?;
    /// println!("logged out on {ended} devices");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Every operation fails with [`Error::InvalidOption`] when the store has no `user_field`, or when
    /// `user` is `null` or has no JSON.
    pub fn sessions_of(&self, user: impl Serialize) -> UserSessions<'_> {
        let user = match serde_json::to_string(&user) {
            Ok(json) => self.sessions.user(&json),
            Err(error) => Err(Error::InvalidOption {
                option: "sessions_of",
                reason: format!("the user has no JSON: {error}"),
            }),
        };
        UserSessions { store: self, user }
    }
}

/// The sessions of a user: see [`RedisSessionStore::sessions_of`].
///
/// What is under way at the same moment is seen or not, but never brings back what was ended. Of
/// thousands of sessions, 256 are asked for at a time, and each time may take the
/// [`deadline`](crate::RedisSessionStoreBuilder::deadline).
///
/// # Errors
///
/// [`Error::Unavailable`], [`Error::Refused`] and [`Error::InvalidOption`], as for every operation of
/// the store.
#[derive(Debug)]
#[must_use = "nothing is asked before a method is called"]
pub struct UserSessions<'a> {
    store: &'a RedisSessionStore,
    user: Result<User, Error>,
}

impl UserSessions<'_> {
    /// All that are live, the one whose login is longest ago first.
    ///
    /// It costs two commands for each session.
    ///
    /// # Errors
    ///
    /// Those of [the type](Self#errors).
    pub async fn list(&self) -> Result<Vec<UserSession>, Error> {
        let mut live = self.store.sessions.list_of(self.user()?).await?;
        // A renewal is no login, and enters the session anew.
        live.sort_by_key(|(_, details, _)| details.born_ms);
        let now = SystemTime::now();
        let session =
            |(handle, details, ttl_left_ms)| UserSession::new(handle, details, ttl_left_ms, now);
        Ok(live.into_iter().map(session).collect())
    }

    /// How many are live, at the same cost.
    ///
    /// # Errors
    ///
    /// Those of [the type](Self#errors).
    pub async fn count(&self) -> Result<usize, Error> {
        let live = self.store.sessions.list_of(self.user()?).await?;
        Ok(live.len())
    }

    /// Ends one of them. `false` if the user has no such session: then nothing is ended.
    ///
    /// # Errors
    ///
    /// Those of [the type](Self#errors).
    pub async fn end(&self, handle: &SessionId) -> Result<bool, Error> {
        self.store.sessions.end_of(self.user()?, handle).await
    }

    /// Ends all of them, and says how many. When it has returned, no session that began before is
    /// live, and none becomes so: no request that is still running, no renewal inside
    /// [`ConsistentSessions`](crate::ConsistentSessions), and no login that was
    /// [begun](Self::begin_login) before brings one back.
    ///
    /// # Errors
    ///
    /// Those of [the type](Self#errors). Some may have been ended then: call it again.
    pub async fn end_all(&self) -> Result<usize, Error> {
        self.store.sessions.end_all_of(self.user()?, None).await
    }

    /// Ends all but the one of the request, in the same way: all, if it came with none.
    ///
    /// # Errors
    ///
    /// Those of [the type](Self#errors). Some may have been ended then: call it again.
    pub async fn end_others(&self, current: &CurrentSession) -> Result<usize, Error> {
        // Which one is to stay is not known then.
        if let Some(error) = current.unavailable() {
            return Err(error.clone());
        }
        let sessions = &self.store.sessions;
        sessions.end_all_of(self.user()?, current.handle()).await
    }

    /// Begins a login, *before* the password is looked at. Hand what it returns to
    /// [`CurrentSession::complete_login`] when the password was right: if all sessions of the user have
    /// been ended meanwhile, because the password was changed for example, the login is void.
    ///
    /// ```
    /// use actix_session::Session;
    /// use actix_session_redis::{CurrentSession, Error, RedisSessionStore};
    /// use actix_web::{HttpResponse, web};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Credentials {
    ///     user: String,
    ///     password: String,
    /// }
    ///
    /// # async fn is_right(password: &str) -> bool { true }
    /// async fn log_in(
    ///     session: Session,
    ///     current: CurrentSession,
    ///     store: web::Data<RedisSessionStore>,
    ///     form: web::Form<Credentials>,
    /// ) -> actix_web::Result<HttpResponse> {
    ///     let Credentials { user, password } = form.into_inner();
    ///     let begun = store.sessions_of(&user).begin_login().await;
    ///     if !is_right(&password).await {
    ///         return Ok(HttpResponse::Unauthorized().finish());
    ///     }
    ///     // Only now: how many sessions somebody has concerns nobody else.
    ///     let begun = match begun {
    ///         Ok(begun) => begun,
    ///         Err(error @ Error::SessionLimit { .. }) => {
    ///             return Ok(HttpResponse::Conflict().body(error.to_string()));
    ///         }
    ///         Err(_) => return Ok(HttpResponse::ServiceUnavailable().finish()),
    ///     };
    ///     session.renew();
    ///     session.insert("user_id", user)?;
    ///     current.complete_login(begun);
    ///     Ok(HttpResponse::Ok().body("welcome"))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::SessionLimit`] when the user has as many sessions as allowed, and more are
    /// [refused](AtLimit::Refuse), unless the request comes with one of these; and those of [the type](Self#errors).
    pub async fn begin_login(&self) -> Result<Login, Error> {
        let (sessions, user) = (&self.store.sessions, self.user()?);
        let session = RequestScope::session_of(sessions);
        let owner = session
            .as_ref()
            .and_then(|it| it.snapshot.details.owner.as_ref());
        let has_one = owner.is_some_and(|owner| user.is(&owner.user));
        sessions.begin_login(user, has_one).await
    }

    fn user(&self) -> Result<&User, Error> {
        // An option that cannot work is told before all that follows from it.
        let invalid = self.store.client.invalid.as_ref();
        self.user
            .as_ref()
            .map_err(|error| invalid.unwrap_or(error).clone())
    }
}

/// One of the sessions of a user.
#[derive(Clone, Debug)]
pub struct UserSession {
    handle: SessionId,
    began: SystemTime,
    last_seen: SystemTime,
    ends: SystemTime,
    label: Option<String>,
}

impl UserSession {
    pub(crate) fn new(
        handle: SessionId,
        details: Details,
        ttl_left_ms: i64,
        now: SystemTime,
    ) -> Self {
        let milliseconds = |ms: i64| Duration::from_millis(ms.try_into().unwrap_or(0));
        let since = |time: SystemTime, ms| time.checked_add(milliseconds(ms));
        let ends = since(now, ttl_left_ms).unwrap_or(now);
        let born_ms = details.born_ms.unwrap_or_default();
        // Whoever writes to Redis may have set any time. Applications reckon with it.
        let began = since(SystemTime::UNIX_EPOCH, born_ms).map_or(now, |began| began.min(now));
        let ttl = details.ttl_ms.map(milliseconds);
        let last_seen = ttl.and_then(|ttl| ends.checked_sub(ttl));
        Self {
            handle,
            began,
            last_seen: last_seen.unwrap_or(began).clamp(began, now),
            ends,
            label: details.label,
        }
    }

    /// What to [end](UserSessions::end) it by. It is no secret.
    pub fn handle(&self) -> &SessionId {
        &self.handle
    }

    /// When the user has logged in: when the session began, or the one that it has taken the place of.
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// When it was used the last time, as far as that has prolonged it: with sessions that every
    /// request prolongs, that is known to a hundredth of their TTL, and a minute at most.
    pub fn last_seen(&self) -> SystemTime {
        self.last_seen
    }

    /// When it ends, if it is not used.
    pub fn ends(&self) -> SystemTime {
        self.ends
    }

    /// What its [`label_field`](crate::RedisSessionStoreBuilder::label_field) holds.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Whether it is that of the request.
    pub fn is_current(&self, current: &CurrentSession) -> bool {
        current.handle() == Some(&self.handle)
    }
}
