use std::{cell::RefCell, collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use actix_session::{SessionExt, storage::SessionStore as _};
use actix_session_redis::{
    ConsistentSessions, CurrentSession, Error, RedisSessionStore, RedisSessionStoreBuilder,
    SessionId,
};
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
use sha1_smol::Sha1;
use tokio::sync::{mpsc, oneshot};

use super::{
    plan::{How, Plan, User, What, Who},
    record::{Answer, Loaded, Outcome},
};
use crate::support::{
    app::{SessionCookie, Setup},
    proxy::{Command, Fate, Proxy, script_called},
    sealing,
    servers::Servers,
    sessions::{HOUR, Typed as _, session_key, state},
};

/// The way of one request at a time: its own store and connection, on which every command waits
/// for its turn.
pub(super) struct Lane {
    number: usize,
    store: RedisSessionStore,
    request: Option<JoinHandle<()>>,
    service: BoxService,
    steps: mpsc::UnboundedReceiver<Step>,
    answers: mpsc::UnboundedSender<Step>,
    proxies: Vec<Proxy>,
}

type BoxService = Box<dyn Fn(ServiceRequest) -> LocalBoxFuture<'static, ServiceResponse>>;

pub(super) enum Step {
    /// A command is about to be sent; what becomes of it is to be decided.
    Waits {
        /// The name of a script, or of another command.
        command: String,
        turn: oneshot::Sender<Fate>,
    },
    Ends(Answer),
}

/// The sessions that there are at first: their keys.
pub(super) type Keys = BTreeMap<Who, String>;

/// The scripts that a run knows.
pub(super) const SCRIPTS: [&str; 9] = [
    "create", "write", "end", "replace", "sweep", "enter", "leave", "entries", "end_all",
];

/// The longer life of a session that is to be remembered.
pub(super) const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Lane {
    pub(super) async fn beginning_at(
        redis: &Servers,
        setup: &Setup,
        number: usize,
        options: impl Fn(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    ) -> Self {
        let (answers, steps) = mpsc::unbounded_channel();
        let waits = answers.clone();
        let names: BTreeMap<_, _> = SCRIPTS
            .into_iter()
            .map(|name| (Sha1::from(script_called(name)).digest().to_string(), name))
            .collect();
        let decide = move |command: &Command| {
            let name = command.script().and_then(|sha1| names.get(sha1).copied());
            let name = name.unwrap_or(command.name());
            if !takes_turns(command) {
                return Fate::Forward;
            }
            let (turn, decision) = oneshot::channel();
            let command = name.to_owned();
            let _ = waits.send(Step::Waits { command, turn });
            Fate::Undecided(async { decision.await.unwrap_or(Fate::Forward) }.boxed_local())
        };
        let (proxies, builder) = redis.behind_proxies(decide).await;
        // Nobody gives up while he waits for his turn.
        let store = options(builder)
            .deadline(Duration::from_secs(60 * 60))
            .build();
        let of_handler = store.clone();
        let handler = fn_service(move |request| handle(request, number, of_handler.clone()));
        let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
        let service = Rc::new(sessions.new_transform(handler).await.unwrap());
        Self {
            number,
            store,
            request: None,
            service: Box::new(move |request| {
                let response = service.call(request);
                async { response.await.unwrap() }.boxed_local()
            }),
            steps,
            answers,
            proxies,
        }
    }

    /// Returns with the request's first step.
    pub(super) async fn send(&mut self, setup: &Setup, plan: Plan, keys: &Keys) -> Step {
        let answer = match plan.what {
            What::Modify(_) | What::Update(_) | What::List(_) | What::End(..) | What::EndAll(_) => {
                self.call(plan, keys)
            }
            _ => self.ask(setup, plan, keys),
        };
        let answers = self.answers.clone();
        self.request = Some(spawn(async move {
            let _ = answers.send(Step::Ends(answer.await));
        }));
        self.next_step().await
    }

    /// The store, outside of a request.
    fn call(&self, plan: Plan, keys: &Keys) -> LocalBoxFuture<'static, Answer> {
        let (store, number, own) = (
            self.store.clone(),
            self.number,
            keys.get(&plan.who).cloned(),
        );
        let keys = keys.clone();
        let done = async move {
            let mut loaded = None;
            let outcome = match plan.what {
                What::Modify(user) => {
                    let own = own.unwrap_or_else(|| "x".repeat(64));
                    let key = session_key(&own);
                    let modified = store.modify(&key, |state| {
                        loaded = Some(Loaded {
                            id: id_of(&own),
                            user: state
                                .get("user")
                                .map(|json| serde_json::from_str(json).unwrap()),
                        });
                        state.insert("user".to_owned(), json(user));
                        state.insert("m".to_owned(), number.to_string());
                    });
                    match modified.await {
                        Ok(()) => Outcome::Stored(id_of(&own)),
                        Err(error) => refusal(error),
                    }
                }
                What::Update(user) => match own {
                    Some(own) => {
                        // It reads it itself.
                        loaded = Some(Loaded {
                            id: id_of(&own),
                            user: None,
                        });
                        let state = state("user", &json(user));
                        match store.update(session_key(&own), state, &HOUR).await {
                            Ok(_) => Outcome::Done,
                            Err(error) => refusal(error.typed()),
                        }
                    }
                    None => match store.save(state("user", &json(user)), &HOUR).await {
                        Ok(key) => Outcome::Stored(id_of(key.as_ref())),
                        Err(error) => refusal(error.typed()),
                    },
                },
                What::List(user) => {
                    store.sessions_of(user).list().await.unwrap();
                    Outcome::Done
                }
                What::End(user, who) => {
                    let handle = id_of(&keys[&who]).parse().unwrap();
                    store.sessions_of(user).end(&handle).await.unwrap();
                    Outcome::Done
                }
                What::EndAll(user) => {
                    store.sessions_of(user).end_all().await.unwrap();
                    Outcome::Done
                }
                _ => unreachable!("{plan:?} is a request"),
            };
            Answer { loaded, outcome }
        };
        done.boxed_local()
    }

    fn ask(&self, setup: &Setup, plan: Plan, keys: &Keys) -> LocalBoxFuture<'static, Answer> {
        let request = match keys.get(&plan.who) {
            Some(key) => {
                let cookie = Cookie::parse_encoded(setup.signed_cookie(key)).unwrap();
                TestRequest::default().cookie(cookie)
            }
            None => TestRequest::default(),
        };
        let request = request.to_srv_request();
        let notes = Notes::default();
        request.extensions_mut().insert(notes.clone());
        request.extensions_mut().insert(plan);
        let (response, setup) = ((self.service)(request), setup.clone());
        let done = async move {
            let response = response.await;
            let outcome = match (response.status().as_u16(), setup.session_cookie(&response)) {
                (409, _) => Outcome::Refused,
                (200, SessionCookie::Names(key)) => Outcome::Stored(id_of(&key)),
                (200, SessionCookie::TakenAway) => Outcome::TakenAway,
                (200, SessionCookie::Untouched) => Outcome::Untouched,
                (status, cookie) => panic!("{status} and {cookie:?} came of {plan:?}"),
            };
            Answer {
                loaded: notes.take(),
                outcome,
            }
        };
        done.boxed_local()
    }

    /// How many commands came to a node that did not have the slot any more.
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

/// The session that a request came with.
type Notes = Rc<RefCell<Option<Loaded>>>;

async fn handle(
    mut request: ServiceRequest,
    number: usize,
    store: RedisSessionStore,
) -> Result<ServiceResponse, actix_web::Error> {
    let plan = request.extensions_mut().remove::<Plan>().unwrap();
    let notes = request.extensions().get::<Notes>().unwrap().clone();
    let session = request.get_session();
    let current = request.extract::<CurrentSession>().await?;
    *notes.borrow_mut() = current.handle().map(|id| Loaded {
        id: id.to_string(),
        user: session.get("user").unwrap(),
    });
    let (what, mut user, mut how) = (plan.what, None, None);
    match what {
        What::LogIn(whose, by) => (user, how) = (Some(whose), Some(by)),
        What::LogInWithPassword(whose, by) => {
            match store.sessions_of(whose).begin_login().await {
                Ok(login) => current.complete_login(login),
                Err(Error::SessionLimit { .. }) => {
                    return Ok(request.into_response(HttpResponse::Conflict()));
                }
                Err(error) => panic!("{error}"),
            }
            (user, how) = (Some(whose), Some(by));
        }
        What::EndOthers(whose) => {
            store.sessions_of(whose).end_others(&current).await.unwrap();
        }
        What::Lose => drop(session.remove("user")),
        What::WriteSomethingElse => session.insert("n", number)?,
        What::Remember => {
            current.set_lifetime(MONTH).unwrap();
            session.insert("n", number)?;
        }
        What::Renew => session.renew(),
        What::Purge => session.purge(),
        _ => unreachable!("{plan:?} is no request"),
    }
    match how {
        Some(How::Renewing) => session.renew(),
        Some(How::Cleared) => session.clear(),
        Some(How::InPlace) | None => {}
    }
    if let Some(user) = user {
        session.insert("user", user)?;
    }
    Ok(request.into_response(HttpResponse::Ok()))
}

/// Those of which the order makes a difference: of a transaction, the one that carries it out.
fn takes_turns(command: &Command) -> bool {
    const NAMES: [&str; 5] = ["HGETALL", "HMGET", "PEXPIRE", "EXEC", "UNLINK"];
    command.is_script() || NAMES.contains(&command.name())
}

fn refusal(error: Error) -> Outcome {
    match error {
        Error::Gone => Outcome::Untouched,
        Error::SessionLimit { .. } => Outcome::Refused,
        error => panic!("{error}"),
    }
}

fn json(user: User) -> String {
    serde_json::to_string(&user).unwrap()
}

/// Of a session with this key.
pub(super) fn id_of(key: &str) -> String {
    sealing::learn(key);
    SessionId::of(&session_key(key)).to_string()
}
