use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix_session::{
    SessionExt,
    storage::{SessionKey, SessionStore},
};
use actix_session_redis::{ConsistentSessions, RedisSessionStore, RedisSessionStoreBuilder};
use actix_web::{
    HttpMessage, HttpResponse,
    cookie::{Cookie, CookieJar},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, fn_service},
    rt::{spawn, task::JoinHandle},
    test::TestRequest,
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::sync::{mpsc, oneshot};

use super::{
    plan::{AT_FIRST, COUNTERS, End, Event, Plan},
    run::{Record, Run, SessionCookie},
};
use crate::support::{
    app::Setup,
    proxy::{Command, Fate, Proxy, script_called},
    redis::TestRedis,
    sessions::{HOUR, State, hash_of, session_key, tombstone_of},
};

/// The way of one request at a time: its own store and connection, on which every command waits
/// for its turn.
struct Lane {
    number: usize,
    store: RedisSessionStore,
    request: Option<JoinHandle<()>>,
    outcome: Outcome,
    service: BoxService,
    steps: mpsc::UnboundedReceiver<Step>,
    ended: mpsc::UnboundedSender<Step>,
    _proxy: Proxy,
}

type BoxService = Box<dyn Fn(ServiceRequest) -> LocalBoxFuture<'static, ServiceResponse>>;

enum Step {
    /// A command is about to be sent; what becomes of it is to be decided.
    Waits {
        kind: Kind,
        turn: oneshot::Sender<Fate>,
    },
    Ends(Box<Record>),
}

/// Of a command.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
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
    async fn beginning_at(redis: &TestRedis, setup: &Setup, number: usize) -> Self {
        let (ended, steps) = mpsc::unbounded_channel();
        let waits = ended.clone();
        let proxy = Proxy::before(redis, move |command| {
            if !takes_turns(command) {
                return Fate::Forward;
            }
            let (turn, decision) = oneshot::channel();
            let kind = Kind::of(command);
            let _ = waits.send(Step::Waits { kind, turn });
            Fate::Undecided(async { decision.await.unwrap_or(Fate::Forward) }.boxed_local())
        })
        .await;
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
        let store = proxy.store_with(patient);
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
            _proxy: proxy,
        }
    }

    /// Returns with the request's first step.
    async fn send(&mut self, setup: &Setup, session_key: &str, plan: &Plan) -> Step {
        self.outcome = Outcome::default();
        self.request = Some(match plan.end {
            End::Modify => self.modify(session_key, plan),
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
            if modified.await.is_err() {
                left = loaded.clone();
            }
            let record = Record::of(&plan, loaded, left, SessionCookie::Untouched);
            let _ = ended.send(Step::Ends(Box::new(record)));
        })
    }

    fn ask(&self, setup: &Setup, session_key: &str, plan: &Plan) -> JoinHandle<()> {
        let cookie = setup.signed_cookie(session_key);
        let cookie = Cookie::parse_encoded(cookie).unwrap();
        let request = TestRequest::default().cookie(cookie).to_srv_request();
        let outcome = Rc::clone(&self.outcome);
        request.extensions_mut().insert(Rc::clone(&outcome));
        request.extensions_mut().insert(plan.clone());
        let (response, ended) = ((self.service)(request), self.ended.clone());
        let (setup, plan) = (setup.clone(), plan.clone());
        spawn(async move {
            let response = response.await;
            let (loaded, left) = outcome.take().unwrap();
            let cookie = session_cookie(&response, &setup);
            let record = Record::of(&plan, loaded, left, cookie);
            let _ = ended.send(Step::Ends(Box::new(record)));
        })
    }

    /// Its write has been sent, and is carried out.
    async fn hang_up(&mut self, plan: &Plan, turn: oneshot::Sender<Fate>) -> Step {
        self.request.take().unwrap().abort();
        assert!(turn.send(Fate::Forward).is_ok());
        // On the same connection, so after the write.
        self.store.ping().await.unwrap();
        let (loaded, left) = self.outcome.take().unwrap();
        Step::Ends(Box::new(Record::of(
            plan,
            loaded,
            left,
            SessionCookie::Untouched,
        )))
    }

    async fn next_step(&mut self) -> Step {
        self.steps.recv().await.unwrap()
    }
}

type Outcome = Rc<RefCell<Option<(State, State)>>>;

/// Those of which the order makes a difference: of a transaction, the one that carries it out.
fn takes_turns(command: &Command) -> bool {
    const NAMES: [&str; 5] = ["HGETALL", "PTTL", "PEXPIRE", "EXEC", "UNLINK"];
    command.is_script() || NAMES.contains(&command.name())
}

/// Nobody gives up while he waits for his turn.
fn patient(options: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    let options = options.deadline(Duration::from_secs(60 * 60));
    COUNTERS
        .into_iter()
        .fold(options, RedisSessionStoreBuilder::counter)
}

fn session_cookie(response: &ServiceResponse, setup: &Setup) -> SessionCookie {
    let Some(cookie) = response.response().cookies().next() else {
        return SessionCookie::Untouched;
    };
    if cookie.value().is_empty() {
        return SessionCookie::TakenAway;
    }
    let cookie = Cookie::parse_encoded(cookie.to_string())
        .unwrap()
        .into_owned();
    let mut jar = CookieJar::new();
    jar.add_original(cookie);
    let cookie = jar.signed(&setup.key).get("id").unwrap();
    SessionCookie::Names(cookie.value().to_owned())
}

/// One Redis, and as many requests at once as there are lanes.
pub(super) struct Lanes {
    redis: TestRedis,
    setup: Setup,
    lanes: Vec<Lane>,
}

impl Lanes {
    pub(super) async fn new(n: usize) -> Self {
        let (redis, setup) = (TestRedis::start().await, Setup::consistent());
        let mut lanes = Vec::new();
        for number in 0..n {
            lanes.push(Lane::beginning_at(&redis, &setup, number).await);
        }
        // From now on each run takes the same steps.
        for script in ["create", "write", "end", "replace", "sweep"] {
            redis.learn(&script_called(script));
        }
        Self {
            redis,
            setup,
            lanes,
        }
    }

    /// Sends a request for each plan. Then, as long as any of them has a command to send, `choose`
    /// says whose turn it is, out of so many, and whether the reply is lost if it can be.
    pub(super) async fn run(
        &mut self,
        plans: &[Plan],
        events: &[Event],
        mut choose: impl FnMut(usize) -> (usize, bool),
    ) -> Run<'_> {
        self.redis.run::<()>("FLUSHALL");
        let at_first = AT_FIRST.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let store = self.redis.store();
        let first = store.save(at_first.into(), &HOUR).await.unwrap();
        let mut events = events.iter().copied();
        let mut next_event = events.next();

        let mut records = Vec::new();
        let mut waiting = BTreeMap::new();
        for (number, plan) in plans.iter().enumerate() {
            let lane = &mut self.lanes[number];
            let step = lane.send(&self.setup, first.as_ref(), plan).await;
            waiting.insert(number, step);
        }
        let mut replies_were_lost = false;
        let (mut wrote_at, mut ended_at) = (BTreeMap::new(), BTreeMap::new());
        let mut read_at = BTreeMap::new();
        for time in 0.. {
            if waiting.is_empty() {
                break;
            }
            // An event waits for its turn like everybody else.
            let (index, lose_reply) = choose(waiting.len() + usize::from(next_event.is_some()));
            let Some(number) = waiting.keys().nth(index).copied() else {
                if let Some(event) = next_event {
                    self.let_happen(event, &first);
                }
                next_event = events.next();
                continue;
            };
            let step = waiting.remove(&number).unwrap();
            let Step::Waits { kind, turn } = step else {
                panic!("it ended without a command");
            };
            match kind {
                // What `modify` has written first may have met something else.
                Kind::Writes if plans[number].end == End::Modify => {
                    wrote_at.insert(number, time);
                }
                Kind::Writes => drop(wrote_at.entry(number).or_insert(time)),
                Kind::Ends => drop(ended_at.entry(number).or_insert(time)),
                Kind::Reads => drop(read_at.insert(number, time)),
                Kind::Other => {}
            }
            let lose_reply = lose_reply && matches!(kind, Kind::Writes | Kind::Ends);
            replies_were_lost |= lose_reply;
            let fate = if lose_reply {
                Fate::LoseReply
            } else {
                Fate::Forward
            };
            let plan = &plans[number];
            let step = if plan.end == End::HangUp && kind == Kind::Writes {
                self.lanes[number].hang_up(plan, turn).await
            } else {
                assert!(turn.send(fate).is_ok(), "it waits for its turn");
                self.lanes[number].next_step().await
            };
            match step {
                Step::Ends(record) => records.push(Record {
                    read_at: read_at.get(&number).copied(),
                    wrote_at: wrote_at.get(&number).copied(),
                    ended_at: ended_at.get(&number).copied(),
                    ..*record
                }),
                waits => drop(waiting.insert(number, waits)),
            }
        }
        Run {
            redis: &self.redis,
            first_session: first.as_ref().to_owned(),
            records,
            replies_were_lost,
        }
    }

    fn let_happen(&self, event: Event, first: &SessionKey) {
        let (session, tombstone) = (hash_of(first), tombstone_of(first));
        self.redis.run::<()>(&match event {
            Event::SessionRemoved => format!("DEL {session}"),
            Event::TombstoneEvicted => format!("DEL {tombstone}"),
            Event::TimePasses => format!("PEXPIRE {tombstone} 280000"),
        });
    }

    /// In every order in which the requests' commands can be carried out.
    pub(super) async fn in_every_order(&mut self, plans: &[Plan]) {
        // The turns taken so far, each one of how many.
        let mut turns: Vec<(usize, usize)> = Vec::new();
        loop {
            let mut number = 0;
            let choose = |waiting| {
                if number == turns.len() {
                    turns.push((0, waiting));
                }
                number += 1;
                (turns[number - 1].0, false)
            };
            if let Err(why) = self.run(plans, &[], choose).await.check() {
                panic!("{why}\nafter {plans:?} in the order {turns:?}");
            }
            while turns.pop_if(|(turn, of)| *turn + 1 == *of).is_some() {}
            match turns.last_mut() {
                Some((turn, _)) => *turn += 1,
                None => break,
            }
        }
    }
}
