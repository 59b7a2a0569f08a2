use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    client::{Client, Connector},
    error::Error,
    pool::RedisPool,
    session::{BuiltInNames, KeyRing, Keyspace, Limit, MergeRules, Policy, Seals, Sessions},
    store::RedisSessionStore,
    telemetry::{events, log::Log},
    users::AtLimit,
};

/// Options of a [`RedisSessionStore`], each with a default that suits most.
///
/// ```
/// use std::time::Duration;
/// use actix_session_redis::{RedisSessionStore, deadpool_redis::{Config, Runtime}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Config::from_url("redis://127.0.0.1:6379").create_pool(Some(Runtime::Tokio1))?;
/// let store = RedisSessionStore::builder(pool)
///     .key_prefix("shop:session:")
///     .deadline(Duration::from_millis(500))
///     .build();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RedisSessionStoreBuilder {
    pool: RedisPool,
    key_prefix: String,
    deadline: Duration,
    client_name: Option<String>,
    max_connection_age: Option<Duration>,
    max_state_bytes: usize,
    anonymous_during_outage: bool,
    merge_rules: MergeRules,
    policy: Policy,
    adopted_prefix: Option<String>,
    built_in_prefix: Option<String>,
    seal: Option<KeyRing>,
    accept_unsealed: bool,
}

impl RedisSessionStore {
    /// A store on a connection pool of yours, with every option at its default.
    ///
    /// Does no I/O and cannot fail: connections are made when the first request needs them.
    pub fn new(pool: impl Into<RedisPool>) -> Self {
        Self::builder(pool).build()
    }

    /// A store with a pool of its own, with every option at its default.
    ///
    /// The pool is that of [`RedisPool::from_url`]; `builder(RedisPool::from_url(url)?)` is the
    /// same with options. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] when the URL cannot be understood.
    pub fn from_url(url: impl AsRef<str>) -> Result<Self, Error> {
        RedisPool::from_url(url).map(Self::new)
    }

    /// A store on a connection pool of yours, with options.
    pub fn builder(pool: impl Into<RedisPool>) -> RedisSessionStoreBuilder {
        RedisSessionStoreBuilder::new(pool.into())
    }
}

impl RedisSessionStoreBuilder {
    pub(crate) fn new(pool: RedisPool) -> Self {
        Self {
            pool,
            key_prefix: "session:".to_owned(),
            deadline: Duration::from_secs(2),
            client_name: None,
            max_connection_age: None,
            max_state_bytes: 256 << 10,
            anonymous_during_outage: false,
            merge_rules: MergeRules::default(),
            policy: Policy::default(),
            adopted_prefix: None,
            built_in_prefix: None,
            seal: None,
            accept_unsealed: false,
        }
    }

    /// What every Redis key of the store starts with.
    ///
    /// Default: `session:`, so that sessions can be told from what else is in the database, and
    /// an ACL rule (`~session:*`) can cover them. Applications that share a database need a prefix
    /// each.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// The longest that one operation of the store waits for Redis, reconnecting and trying again
    /// included.
    ///
    /// Default: two seconds, which outlasts a restart of Redis and which people still wait for.
    /// A connection on which nothing is answered for three eighths of it is given up for another one,
    /// and to connect may take half of it (less, if the pool's own connection timeout is shorter);
    /// so a deadline below eight times the round trip to Redis makes requests fail that need not.
    /// Time in which the thread itself was blocked does not count. At most an hour: longer ones are
    /// cut. Less than a millisecond is [invalid](crate::Error::InvalidOption): no answer comes so
    /// soon.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(Duration::from_secs(60 * 60));
        self
    }

    /// What the connections of the store are called in
    /// [`CLIENT LIST`](https://redis.io/docs/latest/commands/client-list/).
    ///
    /// Default: none. Redis takes printable ASCII without spaces; everything else is
    /// [invalid](crate::Error::InvalidOption). A Redis user without the right to
    /// `CLIENT SETNAME` goes without the name, and so do the servers of a cluster that redis-rs
    /// connects to later.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// How old a connection becomes before another one takes its place: for a Redis that moves
    /// behind a name, or a load balancer, without closing connections.
    ///
    /// Default: none, connections stay until they break. Each lives for up to a tenth less than
    /// this, so that they do not all end at once. No request fails: those that are under way are
    /// answered on the old connection. At most a hundred years: more is cut. Less than a second is
    /// [invalid](crate::Error::InvalidOption): connecting would be all that the store does.
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.max_connection_age = Some(age.min(Duration::from_secs(100 * 365 * 24 * 60 * 60)));
        self
    }

    /// The largest session state, in bytes, names and values of its fields together, that the store
    /// writes.
    ///
    /// Default: 256 KiB (262,144 bytes). The whole state is read with every request, so a large one
    /// holds up all that follow it on the same connection, and one field that grows without bound
    /// would fill Redis for all users. A larger state fails the request with
    /// [`Error::StateTooLarge`](crate::Error::StateTooLarge) and leaves what was stored as it was.
    /// What is stored already is read whatever its size. Requests that overlap are each held to the
    /// limit, and may together store more.
    pub fn max_state_bytes(mut self, bytes: usize) -> Self {
        self.max_state_bytes = bytes;
        self
    }

    /// Whether a request that carries a session cookie goes on as that of an anonymous visitor while
    /// Redis is away: for sites whose public pages should stay up. Only inside
    /// [`ConsistentSessions`](crate::ConsistentSessions), which tell which request a later write
    /// belongs to.
    ///
    /// Default: `false`. The request is answered
    /// [as an outage](crate::ConsistentSessions::on_outage) before its handler runs, so nobody is ever
    /// taken for somebody else, or for nobody. Either way, only requests that are there before the
    /// outage is known wait for Redis, for the [`deadline`](Self::deadline) at most.
    ///
    /// With `true`, the handler finds an empty session, and
    /// [`CurrentSession::is_unavailable`](crate::CurrentSession::is_unavailable) says why. If it
    /// changes that, by `renew` and `purge` too, the request is answered as an outage after all, even
    /// if Redis is back by then: the stored session is never overwritten by one that was empty for
    /// want of an answer. The response does not touch the session cookie, so the user is still
    /// logged in afterwards. A [`Refused`](crate::Error::Refused) command is no outage, and a 500
    /// either way. [Read the consequences](crate::promises#while-redis-is-away) first.
    pub fn anonymous_during_outage(mut self, anonymous: bool) -> Self {
        self.anonymous_during_outage = anonymous;
        self
    }

    /// Declares a field to be a counter: what overlapping requests add to it, or take away, adds
    /// up. For [`ConsistentSessions`](crate::ConsistentSessions).
    ///
    /// Default: no field is; when two requests change a field, the later one wins. A field that is
    /// missing counts as 0. To remove a counter is no difference that could be added, so it goes
    /// by the default, and so does a value that is no integer, or a sum that would not be one of 64
    /// bits. Such a write is a script, which also sees whether it was carried out already, when it is
    /// repeated after a lost reply.
    pub fn counter(mut self, field: impl Into<String>) -> Self {
        self.merge_rules.counter(field.into());
        self
    }

    /// Declares how a field is merged that overlapping requests have changed. For
    /// [`ConsistentSessions`](crate::ConsistentSessions).
    ///
    /// `merge` is called with the value that both requests started from, the one that the other
    /// has stored, and the one that is about to be stored (`None`: the field is missing), and
    /// returns what to store. It is not called when only one side has changed the field, nor when
    /// the later request removes it: then it is removed. When others keep writing it may be called
    /// several times for one request. If it panics, that request fails with
    /// [`Error::MergePanicked`](crate::Error::MergePanicked).
    ///
    /// Default: the later request wins. The cost is that of a [`counter`](Self::counter).
    ///
    /// ```
    /// # use actix_session_redis::{RedisSessionStore, deadpool_redis::{Config, Runtime}};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = Config::from_url("redis://127.0.0.1:6379").create_pool(Some(Runtime::Tokio1))?;
    /// // The highest score of the session, whichever request made it.
    /// let store = RedisSessionStore::builder(pool)
    ///     .merge_field("score", |_base, theirs, ours| {
    ///         let theirs = theirs.and_then(|score| score.as_u64());
    ///         theirs.max(ours.as_u64()).into()
    ///     })
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn merge_field(
        mut self,
        field: impl Into<String>,
        merge: impl Fn(Option<&Value>, Option<&Value>, &Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.merge_rules.field(field.into(), Arc::new(merge));
        self
    }

    /// How long a session lives at most, however often it is used: counted from when it began, or from
    /// the last login. OWASP asks for such a limit
    /// ([ASVS 5.0](https://github.com/OWASP/ASVS), 7.3.2).
    ///
    /// A login is a [renewal](actix_session::Session::renew) that makes the session another user's, by the
    /// [`user_field`](Self::user_field), or one that
    /// [completes a login](crate::CurrentSession::complete_login). Inside
    /// [`ConsistentSessions`](crate::ConsistentSessions), every other renewal goes on with the time of the
    /// old session; outside, nobody can tell, and every renewal counts as a login.
    ///
    /// Default: none, sessions that are used live on. It counts for sessions that there are, too. Less
    /// than a millisecond is [invalid](crate::Error::InvalidOption).
    pub fn absolute_lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.absolute_lifetime = Some(lifetime);
        self
    }

    /// Which lifetimes of its own a session may be
    /// [asked to have](crate::CurrentSession::set_lifetime): for a login that is to be remembered for
    /// longer, or for one on a computer that others use, too.
    ///
    /// Default: none, all sessions live as long as the session middleware says. An empty range is
    /// [invalid](crate::Error::InvalidOption).
    pub fn lifetimes(mut self, allowed: RangeInclusive<Duration>) -> Self {
        self.policy.lifetimes = Some(allowed);
        self
    }

    /// The field of the state that says whose a session is: the sessions of a user can then be listed,
    /// ended and limited, by [`sessions_of`](RedisSessionStore::sessions_of). That of actix-identity is
    /// `actix_identity.user_id`.
    ///
    /// Its value may be any JSON but `null`, which is nobody, as if the field was missing. Its SHA-256
    /// names the user in Redis; where sessions are [sealed](Self::seal), a hash that depends on a key.
    ///
    /// Default: none, the store does not know of users. [What it costs](crate::user_sessions#what-it-costs)
    /// is a round trip more when a session becomes somebody's. A session that there was before counts as
    /// its user's from its first write on. Every instance of an application needs the same field.
    /// Together with a rule for the same field it is [invalid](crate::Error::InvalidOption).
    pub fn user_field(mut self, field: impl Into<String>) -> Self {
        self.policy.user_field = Some(field.into());
        self
    }

    /// The field of the state that tells a user's sessions from each other, in a
    /// [list](crate::UserSessions::list) of them: such as the name of a browser, or what the user calls
    /// a device. Of a text, 256 bytes are kept; of other JSON, of its text.
    ///
    /// Default: none. The store itself notes nothing of a browser or its address: that is personal
    /// data, and only the application knows whether it may.
    pub fn label_field(mut self, field: impl Into<String>) -> Self {
        self.policy.label_field = Some(field.into());
        self
    }

    /// How many sessions a user may have at once, and what becomes of a login beyond that. However
    /// many log in at the same moment, exactly so many are left.
    ///
    /// Only a login counts, that is a write by which a session becomes the user's. A session that ends
    /// makes room at once; one whose login was never stored, because its process was killed for
    /// example, is counted for two minutes, and so
    /// is one that expires so soon after its login.
    ///
    /// Default: any number. Zero, or without a [`user_field`](Self::user_field), it is
    /// [invalid](crate::Error::InvalidOption).
    pub fn session_limit(mut self, sessions: usize, at_limit: AtLimit) -> Self {
        let refuses = at_limit == AtLimit::Refuse;
        self.policy.limit = Some(Limit { sessions, refuses });
        self
    }

    /// Sessions of the [store built into actix-session][built-in]
    /// live on as ours: a session that is not there under its name here is looked up under the one
    /// that it has there.
    ///
    /// `prefix` is what that store's Redis keys start with: the empty text, or what the
    /// application's `cache_keygen` puts before the session key. (A `cache_keygen` that does anything
    /// else is not supported.)
    ///
    /// With its first write here a session becomes one of ours. The one there is kept as it is, for
    /// as long as ours lives, and a session that begins here gets a copy there: so nobody is logged
    /// out when the application goes back to that store, or while some instances run it and others
    /// this one. But what is written on one side from then on is not seen on the other. Who is
    /// logged out, or renewed, on one side, is on the other as well.
    ///
    /// It costs one look-up more for every request with a session, and one command more for every
    /// write, but no round trip more. The option can go when no instance has used the built-in store for
    /// as long as sessions live. [How to switch over](crate::migration) is a chapter of its own.
    ///
    /// [built-in]: https://docs.rs/actix-session/0.11/actix_session/storage/struct.RedisSessionStore.html
    ///
    /// Default: none are. Together with [`built_in_layout`](Self::built_in_layout), and with a cluster,
    /// which the built-in store cannot use, it is [invalid](crate::Error::InvalidOption).
    pub fn adopt_built_in_sessions(mut self, prefix: impl Into<String>) -> Self {
        self.adopted_prefix = Some(prefix.into());
        self
    }

    /// Reads and writes exactly what the
    /// [store built into actix-session][built-in] does, for a canary:
    /// some instances run this store, the others that one, and each session is the same on all of
    /// them.
    ///
    /// `prefix` is what that store's Redis keys start with: the empty text, or what the
    /// application's `cache_keygen` puts before the session key. Both formats of the value are read,
    /// that of actix-session 0.11 and the one of the release that follows it; the former is written.
    ///
    /// A session is one text there, so the last write of all of it wins, also inside
    /// [`ConsistentSessions`](crate::ConsistentSessions). Whoever is logged out here stays so, as far
    /// as this store can see; the built-in one saves a session anew under another key when it was
    /// ended while a request was under way. Session keys stand in Redis as they are.
    ///
    /// [built-in]: https://docs.rs/actix-session/0.11/actix_session/storage/struct.RedisSessionStore.html
    ///
    /// Default: the [layout of this store](crate::security#what-is-in-redis). Together with what needs that
    /// ([`counter`](Self::counter), [`merge_field`](Self::merge_field)), and with a cluster, which the
    /// built-in store cannot use, it is [invalid](crate::Error::InvalidOption).
    pub fn built_in_layout(mut self, prefix: impl Into<String>) -> Self {
        self.built_in_prefix = Some(prefix.into());
        self
    }

    /// Seals the values of sessions: whoever reads Redis cannot read them, and whoever writes to Redis can
    /// neither change nor copy them. [What that means](crate::sealing), byte by byte, and what it does not
    /// defend, is a chapter of its own.
    ///
    /// Each value is encrypted and authenticated (AES-256-GCM) for its session and field, with a key that is
    /// derived from one of the ring *and* the session key. So are labels and the names of users, which are
    /// listed without the keys of their sessions, with keys of the ring alone.
    ///
    /// Default: values are there in clear text. Every instance of an application needs the same keys;
    /// [how to change them](crate::sealing#changing-the-keys). A session that cannot be opened is an error
    /// that leaves it as it is: [`UnknownSealKey`](crate::Error::UnknownSealKey),
    /// [`Unsealed`](crate::Error::Unsealed) or [`BrokenSeal`](crate::Error::BrokenSeal). Redis cannot add to
    /// counters that it does not see, so they are compared and written again if another request was first.
    /// Together with [`built_in_layout`](Self::built_in_layout) and
    /// [`adopt_built_in_sessions`](Self::adopt_built_in_sessions), which keep clear text in Redis, it is
    /// [invalid](crate::Error::InvalidOption).
    ///
    /// ```
    /// use actix_session_redis::{KeyRing, RedisSessionStore, RedisPool};
    ///
    /// # fn main() -> Result<(), actix_session_redis::Error> {
    /// # let keys = "uTiXUOmrPgNRfVYlxlc+FpDOLbfHN5FTWfCUexDCYwY=";
    /// // In production: KeyRing::from_env("SEAL_KEYS")?
    /// let ring = KeyRing::from_base64(keys)?;
    /// let store = RedisSessionStore::builder(RedisPool::from_url("redis://127.0.0.1:6379")?)
    ///     .seal(ring)
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "seal")]
    pub fn seal(mut self, keys: KeyRing) -> Self {
        self.seal = Some(keys);
        self
    }

    /// Whether sessions are read that are not [sealed](Self::seal): while those live on that began before.
    /// With its next write, such a session is sealed.
    ///
    /// Default: `false`, they are an [error](crate::Error::Unsealed). Leave it on for as long as sessions live,
    /// and not longer: meanwhile, whoever writes to Redis can make any session say anything, also a sealed one.
    #[cfg(feature = "seal")]
    pub fn accept_unsealed(mut self, accept: bool) -> Self {
        self.accept_unsealed = accept;
        self
    }

    /// The store. Does no I/O.
    ///
    /// With an option that cannot work, or with two that do not go together, the log says so at once
    /// (`ERROR`), and every operation of the store fails with
    /// [`Error::InvalidOption`](crate::Error::InvalidOption): an application that asks
    /// [`ping`](RedisSessionStore::ping) when it starts, and ends at an error, does not run with
    /// it. Or [`try_build`](Self::try_build) says so at once.
    #[must_use]
    pub fn build(mut self) -> RedisSessionStore {
        events::describe();
        let invalid = self.invalid();
        if let Some(error) = &invalid {
            events::cannot_work(error);
        }
        let client = Client::new(
            Connector {
                pool: self.pool,
                deadline: self.deadline,
                client_name: self.client_name,
                max_age: self.max_connection_age,
                log: Log::default(),
            },
            invalid,
        );
        let built_in = match (self.built_in_prefix, self.adopted_prefix) {
            (Some(prefix), _) => BuiltInNames::Used { prefix },
            (None, Some(prefix)) => BuiltInNames::Adopted { prefix },
            (None, None) => BuiltInNames::Ignored,
        };
        let is_sealed = self.seal.is_some();
        let prefix = self.key_prefix.clone();
        self.policy.seals = Arc::new(Seals::new(
            self.seal,
            self.accept_unsealed,
            prefix,
            self.policy.absolute_lifetime.is_some(),
        ));
        if is_sealed {
            self.merge_rules.count_here();
        }
        let keyspace = Keyspace::new(self.key_prefix, built_in, is_sealed);
        let sessions = Sessions::new(
            Arc::clone(&client),
            keyspace,
            self.policy,
            self.merge_rules,
            self.max_state_bytes,
        );
        RedisSessionStore {
            client,
            sessions: Arc::new(sessions),
            anonymous_during_outage: self.anonymous_during_outage,
        }
    }

    /// The same, and fails at once with an option that cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), which says which, and why.
    pub fn try_build(self) -> Result<RedisSessionStore, Error> {
        match self.invalid() {
            Some(invalid) => Err(invalid),
            None => Ok(self.build()),
        }
    }

    fn invalid(&self) -> Option<Error> {
        let invalid = |option, reason: String| Some(Error::InvalidOption { option, reason });
        let deadline = self.deadline;
        if deadline < Duration::from_millis(1) {
            return invalid(
                "deadline",
                format!("{deadline:?} is too short for any answer, at least 1 ms are needed"),
            );
        }
        if let Some(age) = self.max_connection_age
            && age < Duration::from_secs(1)
        {
            return invalid(
                "max_connection_age",
                format!("{age:?} is too short, at least 1 s is needed"),
            );
        }
        if let Some((option, reason)) = self.policy.invalid() {
            return invalid(option, reason.to_owned());
        }
        if let Some(field) = &self.policy.user_field
            && self.merge_rules.has(field)
        {
            return invalid(
                "user_field",
                format!("{field:?} has a rule, too; no rule merges users"),
            );
        }
        if let Some(reason) = self.not_with_built_in_sessions() {
            let option = match self.built_in_prefix {
                Some(_) => "built_in_layout",
                None => "adopt_built_in_sessions",
            };
            return invalid(option, reason.to_owned());
        }
        match &self.client_name {
            Some(name) if !name.bytes().all(|byte| byte.is_ascii_graphic()) => invalid(
                "client_name",
                format!("{name:?} has other characters than printable ASCII without spaces"),
            ),
            _ => None,
        }
    }

    fn not_with_built_in_sessions(&self) -> Option<&'static str> {
        match (&self.built_in_prefix, &self.adopted_prefix) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                Some("adopt_built_in_sessions is for the layout of this store; choose one of them")
            }
            _ if self.pool.is_cluster() => {
                Some("the built-in store cannot use a cluster, so none of its sessions is there")
            }
            _ if self.seal.is_some() => Some(
                "its sessions are there in clear text, which seal is to prevent; leave one of them out",
            ),
            (Some(_), None) if self.policy.needs_details() => Some(
                "nothing can be noted of a session there: leave out user_field, absolute_lifetime and \
                 lifetimes",
            ),
            (Some(_), None) if !self.merge_rules.is_empty() => {
                Some("fields have no rules there: leave out counter and merge_field")
            }
            _ => None,
        }
    }
}
