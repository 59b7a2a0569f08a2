use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix_session::{SessionExt, storage::SessionStore};
use actix_session_redis::{ConsistentSessions, RedisSessionStoreBuilder};
use actix_web::{
    HttpMessage, HttpResponse,
    cookie::{Cookie, CookieJar},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, fn_service},
    rt::spawn,
    test::TestRequest,
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::sync::{mpsc, oneshot};

use super::{
    plan::{AT_FIRST, COUNTERS, Change, End, Plan},
    run::{Record, Run, SessionCookie},
};
use crate::support::{
    app::Setup,
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, State},
};

/// The way of one request at a time: its own store and connection, on which every command waits
/// for its turn.
struct Lane {
    service: BoxService,
    steps: mpsc::UnboundedReceiver<Step>,
    ended: mpsc::UnboundedSender<Step>,
    _proxy: Proxy,
}

type BoxService = Box<dyn Fn(ServiceRequest) -> LocalBoxFuture<'static, ServiceResponse>>;

enum Step {
    /// A command is about to be sent; what becomes of it is to be decided.
    Waits {
        is_script: bool,
        turn: oneshot::Sender<Fate>,
    },
    Ends(Box<Record>),
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
            let is_script = command.is_script();
            let _ = waits.send(Step::Waits { is_script, turn });
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
        let sessions = ConsistentSessions::new(setup.sessions(store));
        let service = sessions.new_transform(handler).await.unwrap();
        let service = Rc::new(service);
        Self {
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
    async fn send(&mut self, setup: &Setup, cookie: &str, plan: &Plan) -> Step {
        let cookie = Cookie::parse_encoded(cookie.to_owned()).unwrap();
        let request = TestRequest::default().cookie(cookie).to_srv_request();
        let outcome = Outcome::default();
        request.extensions_mut().insert(Rc::clone(&outcome));
        request.extensions_mut().insert(plan.clone());
        let (response, ended) = ((self.service)(request), self.ended.clone());
        let (setup, end) = (setup.clone(), plan.end);
        spawn(async move {
            let response = response.await;
            let (loaded, left) = outcome.take().unwrap();
            let _ = ended.send(Step::Ends(Box::new(Record {
                loaded,
                left,
                end,
                cookie: session_cookie(&response, &setup),
            })));
        });
        self.next_step().await
    }

    async fn next_step(&mut self) -> Step {
        self.steps.recv().await.unwrap()
    }
}

type Outcome = Rc<RefCell<Option<(State, State)>>>;

/// All but those of which the order makes no difference: setting up the connection, and `PTTL`, which only ever follows a `GET`.
fn takes_turns(command: &Command) -> bool {
    const NAMES: [&str; 5] = ["GET", "SET", "DEL", "EXISTS", "PEXPIRE"];
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
        let mut lanes = Self {
            redis,
            setup,
            lanes,
        };
        // Redis learns the script, so that from now on each run takes the same steps.
        let plan = Plan {
            changes: vec![Change::Set("a")],
            end: End::Answer,
        };
        lanes.run(&[plan], |_| (0, false)).await;
        lanes
    }

    /// Sends a request for each plan. Then, as long as any of them has a command to send, `choose`
    /// says whose turn it is, out of so many, and whether the reply is lost if it can be.
    pub(super) async fn run(
        &mut self,
        plans: &[Plan],
        mut choose: impl FnMut(usize) -> (usize, bool),
    ) -> Run<'_> {
        self.redis.run::<()>("FLUSHALL");
        let at_first = AT_FIRST.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let store = self.redis.store();
        let first = store.save(at_first.into(), &HOUR).await.unwrap();
        let cookie = self.setup.signed_cookie(first.as_ref());

        let mut records = Vec::new();
        let mut waiting = BTreeMap::new();
        for (number, plan) in plans.iter().enumerate() {
            let step = self.lanes[number].send(&self.setup, &cookie, plan).await;
            waiting.insert(number, step);
        }
        let mut replies_were_lost = false;
        while !waiting.is_empty() {
            let (index, lose_reply) = choose(waiting.len());
            let number = *waiting.keys().nth(index).unwrap();
            let step = waiting.remove(&number).unwrap();
            let Step::Waits { is_script, turn } = step else {
                panic!("it ended without a command");
            };
            let lose_reply = lose_reply && is_script;
            replies_were_lost |= lose_reply;
            let fate = if lose_reply {
                Fate::LoseReply
            } else {
                Fate::Forward
            };
            assert!(turn.send(fate).is_ok(), "it waits for its turn");
            match self.lanes[number].next_step().await {
                Step::Ends(record) => records.push(*record),
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
            if let Err(why) = self.run(plans, choose).await.check() {
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
