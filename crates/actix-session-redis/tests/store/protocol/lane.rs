use std::{cell::RefCell, pin::pin, rc::Rc};

use actix_session::{SessionExt, storage::SessionStore};
use actix_session_redis::{ConsistentSessions, RedisSessionStore, RedisSessionStoreBuilder};
use actix_web::{
    HttpMessage, HttpResponse,
    cookie::Cookie,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, fn_service},
    rt::{spawn, task::JoinHandle},
    test::TestRequest,
};
use futures_util::{
    FutureExt,
    future::{Either, LocalBoxFuture, select},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    plan::{COUNTERS, DEADLINE, End, Plan},
    record::Record,
};
use crate::support::{
    app::{SessionCookie, Setup},
    proxy::{Command, Fate, Proxy},
    servers::Servers,
    sessions::{HOUR, State, session_key},
};

/// The way of one request at a time: its own store and connection, on which every command waits
/// for its turn.
pub(super) struct Lane {
    number: usize,
    store: RedisSessionStore,
    request: Option<JoinHandle<()>>,
    outcome: Outcome,
    service: BoxService,
    steps: mpsc::UnboundedReceiver<Step>,
    ended: mpsc::UnboundedSender<Step>,
    proxies: Vec<Proxy>,
}

type BoxService = Box<dyn Fn(ServiceRequest) -> LocalBoxFuture<'static, ServiceResponse>>;

pub(super) enum Step {
    /// A command is about to be sent; what becomes of it is to be decided.
    Waits {
        kind: Kind,
        /// The Redis key of the session that it is to begin.
        begins: Option<String>,
        turn: oneshot::Sender<Fate>,
    },
    Ends(Box<Record>),
}

/// Of a command.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Reads,
    Writes,
    Ends,
    Other,
}

impl Kind {
    fn of(command: &Command) -> Self {
        match command.name() {
            _ if command.is_end() => Self::Ends,
            _ if command.is_write() || command.is_replace() => Self::Writes,
            "HGETALL" => Self::Reads,
            "EXEC" => Self::Writes,
            _ => Self::Other,
        }
    }
}

impl Lane {
    pub(super) async fn beginning_at(redis: &Servers, setup: &Setup, number: usize) -> Self {
        let (ended, steps) = mpsc::unbounded_channel();
        let waits = ended.clone();
        let mut is_queued = false;
        let decide = move |command: &Command| {
            // What a transaction holds is carried out by its last command.
            is_queued = match command.name() {
                "MULTI" => true,
                "EXEC" => false,
                _ => is_queued,
            };
            if is_queued || !takes_turns(command) {
                return Fate::Forward;
            }
            let (turn, decision) = oneshot::channel();
            let _ = waits.send(Step::Waits {
                kind: Kind::of(command),
                begins: command.is_create().then(|| command.key().to_owned()),
                turn,
            });
            Fate::Undecided(async { decision.await.unwrap_or(Fate::Forward) }.boxed_local())
        };
        let (proxies, options) = redis.behind_proxies(decide).await;
        let handler = fn_service(move |request: ServiceRequest| async move {
            let plan = request.extensions_mut().remove::<Plan>().unwrap();
            let record = request.extensions().get::<Outcome>().unwrap().clone();
            let session = request.get_session();
            let loaded = session.entries().clone();
            plan.carry_out(number, &session);
            let left = session.entries().clone();
            record.replace(Some((loaded, left)));
            Ok(request.into_response(HttpResponse::Ok()))
        });
        let store = patient(options).build();
        let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
        let service = sessions.new_transform(handler).await.unwrap();
        let service = Rc::new(service);
        Self {
            number,
            store,
            request: None,
            outcome: Outcome::default(),
            service: Box::new(move |request| {
                let response = service.call(request);
                async { response.await.unwrap() }.boxed_local()
            }),
            steps,
            ended,
            proxies,
        }
    }

    /// Returns with the request's first step.
    pub(super) async fn send(&mut self, setup: &Setup, session_key: &str, plan: &Plan) -> Step {
        self.outcome = Outcome::default();
        self.request = Some(match plan.end {
            End::Modify => self.modify(session_key, plan),
            End::UpdateTtl => self.update_ttl(session_key, plan),
            _ => self.ask(setup, session_key, plan),
        });
        self.next_step().await
    }

    fn modify(&self, session_key: &str, plan: &Plan) -> JoinHandle<()> {
        let (store, key, plan) = (
            self.store.clone(),
            self::session_key(session_key),
            plan.clone(),
        );
        let (ended, number) = (self.ended.clone(), self.number);
        spawn(async move {
            let (mut loaded, mut left) = (State::new(), State::new());
            let modified = store.modify(&key, |state| {
                loaded = state.clone();
                plan.modify(number, state);
                left = state.clone();
            });
            let is_refused = modified.await.is_err();
            let record = Record::of(&plan, loaded, left, SessionCookie::Untouched);
            let _ = ended.send(Step::Ends(Box::new(Record {
                is_refused,
                ..record
            })));
        })
    }

    fn update_ttl(&self, session_key: &str, plan: &Plan) -> JoinHandle<()> {
        let (store, key) = (self.store.clone(), self::session_key(session_key));
        let (ended, plan) = (self.ended.clone(), plan.clone());
        spawn(async move {
            store.update_ttl(&key, &HOUR).await.unwrap();
            let nothing = [(); 2].map(|()| State::new());
            let [loaded, left] = nothing;
            let record = Record::of(&plan, loaded, left, SessionCookie::Untouched);
            let _ = ended.send(Step::Ends(Box::new(record)));
        })
    }

    fn ask(&self, setup: &Setup, session_key: &str, plan: &Plan) -> JoinHandle<()> {
        let mut request = TestRequest::default();
        if plan.end != End::Save {
            let cookie = setup.signed_cookie(session_key);
            request = request.cookie(Cookie::parse_encoded(cookie).unwrap());
        }
        let request = request.to_srv_request();
        let outcome = Rc::clone(&self.outcome);
        request.extensions_mut().insert(Rc::clone(&outcome));
        request.extensions_mut().insert(plan.clone());
        let (response, ended) = ((self.service)(request), self.ended.clone());
        let (setup, plan) = (setup.clone(), plan.clone());
        spawn(async move {
            let response = response.await;
            let (loaded, left) = outcome.take().unwrap();
            let cookie = setup.session_cookie(&response);
            let record = Record::of(&plan, loaded, left, cookie);
            let _ = ended.send(Step::Ends(Box::new(record)));
        })
    }

    /// Its write has been sent, and is carried out.
    pub(super) async fn hang_up(&mut self, plan: &Plan, turn: oneshot::Sender<Fate>) -> Step {
        self.request.take().unwrap().abort();
        let (tell, is_carried_out) = oneshot::channel();
        assert!(turn.send(Fate::ForwardAndTell(tell)).is_ok());
        is_carried_out.await.unwrap();
        let (loaded, left) = self.outcome.take().unwrap();
        Step::Ends(Box::new(Record::of(
            plan,
            loaded,
            left,
            SessionCookie::Untouched,
        )))
    }

    /// Its command is carried out. Returns with the next step.
    pub(super) async fn go_on(&mut self, turn: oneshot::Sender<Fate>, reply_is_lost: bool) -> Step {
        let fate = match reply_is_lost {
            true => Fate::LoseReply,
            false => Fate::Forward,
        };
        assert!(turn.send(fate).is_ok(), "it waits for its turn");
        self.next_step().await
    }

    /// How many commands came to a node that did not have the slot.
    pub(super) fn moved(&self) -> usize {
        self.proxies[0].moved()
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

type Outcome = Rc<RefCell<Option<(State, State)>>>;

/// Those of which the order makes a difference: how long a session has left to live makes none, but how
/// old a tombstone is.
fn takes_turns(command: &Command) -> bool {
    const NAMES: [&str; 4] = ["HGETALL", "PEXPIRE", "EXEC", "UNLINK"];
    match command.name() {
        "PTTL" => command.key().contains("ended:"),
        name => command.is_script() || NAMES.contains(&name),
    }
}

/// Nobody gives up while he waits for his turn.
fn patient(options: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    let options = options.deadline(DEADLINE);
    COUNTERS
        .into_iter()
        .fold(options, RedisSessionStoreBuilder::counter)
}
