use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix_session::{Session, SessionExt, storage::SessionStore};
use actix_session_redis::{ConsistentSessions, RedisSessionStoreBuilder};
use actix_web::{
    HttpMessage, HttpResponse,
    cookie::{Cookie, CookieJar},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, fn_service},
    rt::{System, spawn},
    test::TestRequest,
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use tokio::sync::{mpsc, oneshot};

use crate::support::{
    app::Setup,
    proxy::{Command, Fate, Proxy},
    redis::TestRedis,
    sessions::{HOUR, State, marker_of, session_key, state_of},
};

// What requests do.

/// The first two are no more than fields, the others are counters.
const FIELDS: [&str; 4] = ["a", "b", "m", "n"];
const COUNTERS: [&str; 2] = ["m", "n"];

/// Of these, `m` is missing; nobody changes the last one.
const AT_FIRST: [(&str, &str); 4] = [("a", "0"), ("b", "0"), ("n", "100"), ("anchor", "0")];

#[derive(Clone, Debug)]
struct Plan {
    changes: Vec<Change>,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// To a value that no other request sets.
    Set(&'static str),
    Remove(&'static str),
    Add(&'static str, i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Updates the session, if there is a change.
    Answer,
    Renew,
    Purge,
}

impl Plan {
    fn carry_out(&self, lane: usize, session: &Session) {
        for change in &self.changes {
            match *change {
                Change::Set(field) => session.insert(field, lane + 1).unwrap(),
                Change::Remove(field) => drop(session.remove(field)),
                Change::Add(field, n) => {
                    let value: i64 = session.get(field).unwrap().unwrap_or(0);
                    session.insert(field, value + n).unwrap();
                }
            }
        }
        match self.end {
            End::Answer => {}
            End::Renew => session.renew(),
            End::Purge => session.purge(),
        }
    }
}

// How they run.

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

/// What came of a request.
#[derive(Debug)]
struct Record {
    loaded: State,
    left: State,
    end: End,
    cookie: SessionCookie,
}

#[derive(Debug, PartialEq)]
enum SessionCookie {
    Untouched,
    TakenAway,
    Names(String),
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
struct Lanes {
    redis: TestRedis,
    setup: Setup,
    lanes: Vec<Lane>,
}

/// What has come of all requests, in the order in which they ended.
struct Run<'a> {
    redis: &'a TestRedis,
    first_session: String,
    records: Vec<Record>,
    replies_were_lost: bool,
}

impl Lanes {
    async fn new(n: usize) -> Self {
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
        let [plan, ..] = some_changes(End::Answer);
        lanes.run(&[plan], |_| (0, false)).await;
        lanes
    }

    /// Sends a request for each plan. Then, as long as any of them has a command to send, `choose`
    /// says whose turn it is, out of so many, and whether the reply is lost if it can be.
    async fn run(
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
    async fn in_every_order(&mut self, plans: &[Plan]) {
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

// What must hold afterwards.

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

impl Run<'_> {
    fn check(&self) -> Result<(), String> {
        self.check_invariants()
            .map_err(|why| format!("{why}: {:?}", self.records))
    }

    fn check_invariants(&self) -> Result<(), String> {
        let newcomers: Vec<_> = self
            .records
            .iter()
            .filter(|r| !r.has_loaded_first())
            .collect();
        let visitors: Vec<_> = self
            .records
            .iter()
            .filter(|r| r.has_loaded_first())
            .collect();
        let enders: Vec<_> = visitors.iter().filter(|r| r.end != End::Answer).collect();

        if enders.is_empty() {
            ensure!(newcomers.is_empty(), "a session ended by itself");
            let stored = self.stored(&self.first_session);
            let Some(stored) = stored else {
                return Err("the session is gone".to_owned());
            };
            for field in FIELDS {
                self.check_field(field, stored.get(field), &visitors)?;
            }
        } else {
            ensure!(
                self.stored(&self.first_session).is_none(),
                "the session is back"
            );
            let winners: Vec<_> = enders
                .iter()
                .filter(|r| r.cookie != SessionCookie::Untouched)
                .collect();
            ensure!(
                winners.len() == 1,
                "{} have ended the session",
                winners.len()
            );
            match (winners[0].end, &winners[0].cookie) {
                (End::Purge, SessionCookie::TakenAway) => {}
                (End::Renew, SessionCookie::Names(successor)) => {
                    self.check_renewed(winners[0], successor, &visitors)?;
                }
                (end, cookie) => return Err(format!("{end:?} gave {cookie:?}")),
            }
        }
        for newcomer in newcomers {
            let stored = match &newcomer.cookie {
                SessionCookie::Names(own) => self.stored(own),
                _ => Some(State::new()),
            };
            ensure!(
                stored.as_ref() == Some(&newcomer.left),
                "a newcomer lost his session"
            );
        }
        self.check_keys(!enders.is_empty())
    }

    /// The new session holds what the request that renewed it made of it, and what had been
    /// answered before.
    fn check_renewed(
        &self,
        renewal: &Record,
        successor: &str,
        visitors: &[&Record],
    ) -> Result<(), String> {
        ensure!(
            *successor != self.first_session,
            "the session key is the same"
        );
        let stored = self.stored(successor).ok_or("the new session is missing")?;
        let stays = SessionCookie::Names(self.first_session.clone());
        let mut in_time: Vec<_> = visitors
            .iter()
            .copied()
            .filter(|r| r.cookie == stays)
            .collect();
        in_time.push(renewal);
        FIELDS
            .into_iter()
            .try_for_each(|field| self.check_field(field, stored.get(field), &in_time))
    }

    /// A plain model: one change after the other.
    fn check_field(
        &self,
        field: &str,
        stored: Option<&String>,
        requests: &[&Record],
    ) -> Result<(), String> {
        let changes: Vec<_> = requests
            .iter()
            .map(|request| (request.loaded.get(field), request.left.get(field)))
            .filter(|(loaded, left)| loaded != left)
            .collect();
        if COUNTERS.contains(&field) {
            let number = |value: Option<&String>| value.map_or(0, |n| n.parse::<i64>().unwrap());
            let at_first = if field == "n" { 100 } else { 0 };
            let sum = changes
                .iter()
                .map(|&(loaded, left)| number(left) - number(loaded));
            let expected = at_first + sum.sum::<i64>();
            ensure!(
                number(stored) == expected,
                "{field} is {stored:?}, not {expected}"
            );
        } else if changes.len() < 2 || !self.replies_were_lost {
            // Which of several was the later one is not known if a reply was lost.
            let at_first = "0".to_owned();
            let expected = changes.last().map_or(Some(&at_first), |&(_, left)| left);
            ensure!(
                stored == expected,
                "{field} is {stored:?}, not {expected:?}"
            );
        }
        Ok(())
    }

    /// Every session key expires, and there is no Redis key but the documented ones.
    fn check_keys(&self, has_ended: bool) -> Result<(), String> {
        let first = session_key(&self.first_session);
        let mut expected: Vec<_> = self.records.iter().filter_map(Record::names).collect();
        expected.push(if has_ended {
            marker_of(&first)
        } else {
            state_of(&first)
        });
        if has_ended {
            expected.retain(|key| *key != state_of(&first));
        }
        let receipt = format!("session:written:{{{}}}:", state_of(&first));
        for key in self.redis.keys() {
            let pttl = self.redis.pttl(&key);
            ensure!(pttl > 0, "{key} has {pttl} ms left");
            let is_documented = expected.contains(&key) || key.starts_with(&receipt);
            ensure!(is_documented, "{key} is an orphan");
        }
        Ok(())
    }

    fn stored(&self, session_key: &str) -> Option<State> {
        let body = self.redis.value(&format!("session:{session_key}"))?;
        Some(serde_json::from_slice(&body).unwrap())
    }
}

impl Record {
    fn has_loaded_first(&self) -> bool {
        self.loaded.contains_key("anchor")
    }

    /// The Redis key of the session that the cookie names.
    fn names(&self) -> Option<String> {
        match &self.cookie {
            SessionCookie::Names(key) => Some(format!("session:{key}")),
            _ => None,
        }
    }
}

// The tests.

const ENDS: [End; 3] = [End::Answer, End::Renew, End::Purge];

fn some_changes(end: End) -> [Plan; 3] {
    [
        vec![Change::Add("n", 1), Change::Set("a")],
        vec![
            Change::Add("n", 20),
            Change::Add("m", 1),
            Change::Remove("a"),
        ],
        vec![Change::Add("m", -3), Change::Set("b")],
    ]
    .map(|changes| Plan { changes, end })
}

#[actix_web::test]
async fn every_order_of_two_requests_keeps_what_must_be_kept() {
    let mut lanes = Lanes::new(2).await;
    for (one, other) in ENDS
        .into_iter()
        .flat_map(|one| ENDS.map(|other| (one, other)))
    {
        let ([one, ..], [_, other, _]) = (some_changes(one), some_changes(other));
        lanes.in_every_order(&[one, other]).await;
    }
}

#[actix_web::test]
async fn every_order_of_three_changes_keeps_what_must_be_kept() {
    let mut lanes = Lanes::new(3).await;
    lanes.in_every_order(&some_changes(End::Answer)).await;
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        prop::sample::select(&["a", "b"][..]).prop_map(Change::Set),
        prop::sample::select(&["a", "b"][..]).prop_map(Change::Remove),
        (prop::sample::select(&COUNTERS[..]), -5_i64..=5)
            .prop_map(|(field, n)| Change::Add(field, n)),
    ]
}

fn any_plans(
    ends: &'static [(u32, End)],
    n: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<Plan>> {
    let ends = ends
        .iter()
        .map(|&(weight, end)| (weight, Just(end)))
        .collect();
    let end = prop::strategy::Union::new_weighted(ends);
    let plan = (vec(any_change(), 0..4), end).prop_map(|(changes, end)| Plan { changes, end });
    vec(plan, n)
}

/// Requests at once.
const MOST: usize = 6;

/// Random plans, in a random order of their commands.
fn check_at_random(ends: &'static [(u32, End)], turns: impl Strategy<Value = Vec<(usize, bool)>>) {
    let system = System::new();
    let lanes = RefCell::new(system.block_on(Lanes::new(MOST)));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let checked = runner.run(&(any_plans(ends, 2..=MOST), turns), |(plans, turns)| {
        let mut turns = turns.into_iter();
        let choose = |waiting| {
            let turn = turns.next();
            turn.map_or((0, false), |(turn, lose_reply)| {
                (turn % waiting, lose_reply)
            })
        };
        let mut lanes = lanes.borrow_mut();
        let run = system.block_on(lanes.run(&plans, choose));
        run.check().map_err(TestCaseError::fail)
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

#[test]
fn a_random_order_of_random_requests_keeps_what_must_be_kept() {
    let turns = vec((0..MOST, Just(false)), 60);
    check_at_random(&[(4, End::Answer), (1, End::Renew), (1, End::Purge)], turns);
}

#[test]
fn lost_replies_in_between_lose_nothing_and_count_nothing_twice() {
    let turns = vec((0..MOST, prop::bool::weighted(0.3)), 60);
    check_at_random(&[(1, End::Answer)], turns);
}
