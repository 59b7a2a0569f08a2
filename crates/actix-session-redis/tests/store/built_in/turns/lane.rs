use std::{
    cell::Cell,
    collections::BTreeMap,
    pin::pin,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_session::{Session, SessionExt, storage::RedisSessionStore as BuiltInStore};
use actix_session_redis::{ConsistentSessions, RedisSessionStore};
use actix_web::{
    Error, HttpMessage, HttpResponse,
    cookie::Cookie,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, fn_service},
    rt::{spawn, task::JoinHandle},
    test::TestRequest,
};
use futures_util::{
    FutureExt,
    future::{Either, LocalBoxFuture, select},
};
use sha1_smol::Sha1;
use tokio::sync::{mpsc, oneshot};

use super::lanes::options;
use crate::support::{
    app::{SessionCookie, Setup},
    proxy::{Command, Fate, Proxy, script_called},
    redis::TestRedis,
    sessions::{State, session_key},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Here,
    There,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Read,
    Set,
    ClearAndSet,
    Renew,
    Purge,
    /// Not a request, but `modify` from outside.
    Modify,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) side: Side,
    pub(super) what: What,
}

impl What {
    fn carry_out(self, number: usize, session: &Session) {
        match self {
            Self::Read => {}
            Self::Set => {
                session.insert("a", number + 1).unwrap();
                session.insert(own_field(number), 1).unwrap();
            }
            Self::ClearAndSet => {
                let anchor = session.get::<u32>(ANCHOR).unwrap();
                session.clear();
                session.insert(own_field(number), 1).unwrap();
                if let Some(anchor) = anchor {
                    session.insert(ANCHOR, anchor).unwrap();
                }
            }
            Self::Renew => {
                session.renew();
                session.insert(own_field(number), 1).unwrap();
            }
            Self::Purge => session.purge(),
            Self::Modify => unreachable!("it is no request"),
        }
    }

    pub(super) fn ends(self) -> bool {
        matches!(self, Self::Renew | Self::Purge)
    }

    pub(super) fn writes_in_place(self) -> bool {
        matches!(self, Self::Set | Self::ClearAndSet | Self::Modify)
    }
}

/// Which is in the session that all requests are about, and in no other one that begins.
pub(super) const ANCHOR: &str = "anchor";

/// Which nobody else sets.
pub(super) fn own_field(number: usize) -> String {
    format!("of {number}")
}

/// What its handler has found in the session, and left there.
#[derive(Clone, Debug)]
pub(super) struct Handled {
    pub(super) loaded: State,
    pub(super) left: State,
}

/// The store may call from any thread.
type Outcome = Arc<Mutex<Option<Handled>>>;

/// The way of one request at a time: its own store and connection, on which every command waits
/// for its turn.
pub(super) struct Lane {
    /// Of ours.
    store: Option<RedisSessionStore>,
    service: BoxService,
    pub(super) outcome: Outcome,
    request: Option<JoinHandle<()>>,
    steps: mpsc::UnboundedReceiver<Step>,
    answers: mpsc::UnboundedSender<Step>,
    _proxy: Proxy,
}

type BoxService = Box<dyn Fn(ServiceRequest) -> LocalBoxFuture<'static, ServiceResponse>>;

pub(super) enum Step {
    /// A command is about to be sent; what becomes of it is to be decided.
    Waits {
        /// The name of a script, or of another command.
        command: String,
        turn: oneshot::Sender<Fate>,
    },
    Ends(SessionCookie),
}

pub(super) const SCRIPTS: [&str; 7] = [
    "create",
    "write",
    "end",
    "replace",
    "sweep",
    "built_in_create",
    "built_in_end",
];

struct Asked {
    what: What,
    number: usize,
    outcome: Outcome,
}

async fn handle(request: ServiceRequest) -> Result<ServiceResponse, Error> {
    let asked = request.extensions_mut().remove::<Asked>().unwrap();
    let session = request.get_session();
    let loaded = session.entries().clone();
    asked.what.carry_out(asked.number, &session);
    let left = session.entries().clone();
    *asked.outcome.lock().unwrap() = Some(Handled { loaded, left });
    Ok(request.into_response(HttpResponse::Ok()))
}

macro_rules! boxed {
    ($middleware:expr) => {{
        let service = $middleware.new_transform(fn_service(handle)).await.unwrap();
        let service = Rc::new(service);
        Box::new(move |request| {
            let response = service.call(request);
            async { response.await.unwrap() }.boxed_local()
        }) as BoxService
    }};
}

impl Lane {
    pub(super) async fn beginning_at(
        redis: &TestRedis,
        setup: &Setup,
        side: Side,
        adopts: bool,
    ) -> Self {
        let (answers, steps) = mpsc::unbounded_channel();
        let proxy = Proxy::before(redis, by_turns(answers.clone())).await;
        let (store, service) = match side {
            Side::Here => {
                // Nobody gives up while he waits for his turn.
                let store = options(&proxy.store_url(), adopts)
                    .deadline(Duration::from_secs(60 * 60))
                    .build();
                let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
                (Some(store), boxed!(sessions))
            }
            Side::There => {
                let store = BuiltInStore::new(proxy.url_as("")).await.unwrap();
                (None, boxed!(setup.sessions(store)))
            }
        };
        Self {
            store,
            service,
            outcome: Outcome::default(),
            request: None,
            steps,
            answers,
            _proxy: proxy,
        }
    }

    /// Returns with the request's first step.
    pub(super) async fn send(
        &mut self,
        setup: &Setup,
        session_key: &str,
        what: What,
        number: usize,
    ) -> Step {
        self.outcome = Outcome::default();
        let ends = match what {
            What::Modify => self.modify(session_key, number),
            _ => self.ask(setup, session_key, what, number),
        };
        let answers = self.answers.clone();
        self.request = Some(spawn(async move {
            let _ = answers.send(Step::Ends(ends.await));
        }));
        self.next_step().await
    }

    fn modify(&self, session_key: &str, number: usize) -> LocalBoxFuture<'static, SessionCookie> {
        let store = self.store.clone().expect("it is one of ours");
        let (key, outcome) = (self::session_key(session_key), Arc::clone(&self.outcome));
        async move {
            let modified = store.modify(&key, |state| {
                let loaded = state.clone();
                state.insert("a".to_owned(), (number + 1).to_string());
                state.insert(own_field(number), "1".to_owned());
                let left = state.clone();
                *outcome.lock().unwrap() = Some(Handled { loaded, left });
            });
            // It may be gone.
            let _ = modified.await;
            SessionCookie::Untouched
        }
        .boxed_local()
    }

    fn ask(
        &self,
        setup: &Setup,
        session_key: &str,
        what: What,
        number: usize,
    ) -> LocalBoxFuture<'static, SessionCookie> {
        let cookie = setup.signed_cookie(session_key);
        let cookie = Cookie::parse_encoded(cookie).unwrap();
        let request = TestRequest::default().cookie(cookie).to_srv_request();
        let outcome = Arc::clone(&self.outcome);
        request.extensions_mut().insert(Asked {
            what,
            number,
            outcome,
        });
        let (response, setup) = ((self.service)(request), setup.clone());
        async move { setup.session_cookie(&response.await) }.boxed_local()
    }

    pub(super) async fn next_step(&mut self) -> Step {
        let request = self.request.as_mut().unwrap();
        match select(pin!(self.steps.recv()), request).await {
            Either::Left((step, _)) => step.unwrap(),
            // One that has panicked takes no further step.
            Either::Right((ended, step)) => {
                ended.unwrap();
                step.await.unwrap()
            }
        }
    }
}

/// Those of which the order makes a difference: of a transaction, the one that carries it out.
fn by_turns(waits: mpsc::UnboundedSender<Step>) -> impl FnMut(&Command) -> Fate + 'static {
    const OURS: [&str; 8] = [
        "HGETALL", "EXISTS", "GET", "PTTL", "HGET", "PEXPIRE", "UNLINK", "EXEC",
    ];
    const OF_BOTH: [&str; 3] = ["SET", "DEL", "EXPIRE"];
    let names: BTreeMap<_, _> = SCRIPTS
        .into_iter()
        .map(|name| (Sha1::from(script_called(name)).digest().to_string(), name))
        .collect();
    let in_transaction = Cell::new(false);
    move |command| {
        match command.name() {
            "MULTI" => in_transaction.set(true),
            "EXEC" => in_transaction.set(false),
            _ => {}
        }
        let name = command.script().and_then(|sha1| names.get(sha1).copied());
        let name = name.unwrap_or(command.name());
        let takes_turns = command.is_script() || OURS.contains(&name) || OF_BOTH.contains(&name);
        if in_transaction.get() || !takes_turns {
            return Fate::Forward;
        }
        let (turn, decision) = oneshot::channel();
        let command = name.to_owned();
        let _ = waits.send(Step::Waits { command, turn });
        Fate::Undecided(async { decision.await.unwrap_or(Fate::Forward) }.boxed_local())
    }
}
