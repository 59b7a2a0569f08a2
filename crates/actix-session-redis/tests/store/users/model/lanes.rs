use std::{collections::BTreeMap, mem, rc::Rc};

use actix_session::storage::SessionStore as _;
use actix_session_redis::{AtLimit, RedisSessionStore, RedisSessionStoreBuilder};

use super::{
    lane::{Keys, Lane, MONTH, SCRIPTS, Step, id_of},
    plan::{AT_FIRST, Plan, USERS, User, Who},
    record::{Record, Times},
    run::Run,
    world::{World, index_of},
};
use crate::support::{
    app::Setup,
    orders::Orders,
    proxy::{Fate, script_called},
    servers::Servers,
    sessions::{HOUR, state},
};

/// One Redis, alone or a cluster, and as many requests at once as there are lanes.
pub(super) struct Lanes {
    redis: Rc<Servers>,
    /// That of whoever looks from outside.
    store: RedisSessionStore,
    /// Knows of no users.
    plain_store: RedisSessionStore,
    limit: Limit,
    setup: Setup,
    lanes: Vec<Lane>,
    /// Whose sessions there are at first.
    at_first: Vec<Who>,
    /// Before which turns the slot of whose index moves to another master.
    pub(super) slot_moves: BTreeMap<usize, User>,
}

pub(super) type Limit = Option<(usize, AtLimit)>;

/// A run that is under way.
struct Course<'a> {
    plans: &'a [Plan],
    waiting: BTreeMap<usize, Step>,
    /// Counts the turns.
    now: usize,
    times: Vec<Times>,
    records: Vec<Record>,
    replies_were_lost: bool,
}

impl Lanes {
    pub(super) async fn new(n: usize, redis: Rc<Servers>, limit: Limit, at_first: &[Who]) -> Self {
        // What comes of a write is seen by the cookie, which is there for a time.
        let setup = Setup {
            persistent: true,
            ..Setup::consistent()
        };
        let options = move |builder: RedisSessionStoreBuilder| {
            let hour = HOUR.unsigned_abs();
            let builder = builder.user_field("user").lifetimes(hour..=MONTH);
            match limit {
                Some((n, at_limit)) => builder.session_limit(n, at_limit),
                None => builder,
            }
        };
        let mut lanes = Vec::new();
        for number in 0..n {
            lanes.push(Lane::beginning_at(&redis, &setup, number, options).await);
        }
        // From now on each run takes the same steps.
        for script in SCRIPTS {
            redis.learn(&script_called(script));
        }
        Self {
            store: options(redis.builder()).build(),
            plain_store: redis.store(),
            redis,
            limit,
            setup,
            lanes,
            at_first: at_first.to_vec(),
            slot_moves: BTreeMap::new(),
        }
    }

    async fn begin(&self) -> Keys {
        self.redis.forget_all_keys();
        let mut keys = Keys::new();
        for (who, user) in AT_FIRST {
            if self.at_first.contains(&who) {
                // With a field that a request may clear.
                let mut state = state("n", "0");
                if let Some(user) = user {
                    state.insert("user".to_owned(), serde_json::to_string(&user).unwrap());
                }
                let store = match who {
                    Who::Veteran => &self.plain_store,
                    _ => &self.store,
                };
                let key = store.save(state, &HOUR).await.unwrap();
                keys.insert(who, key.as_ref().to_owned());
            }
        }
        keys
    }

    /// Sends a request for each plan. Then, as long as any of them has a command to send, `choose`
    /// says whose turn it is, out of so many, and whether the reply is lost if it can be.
    pub(super) async fn run(
        &mut self,
        plans: &[Plan],
        mut choose: impl FnMut(usize) -> (usize, bool),
    ) -> Run {
        let keys = self.begin().await;
        let mut waiting = BTreeMap::new();
        for (number, plan) in plans.iter().enumerate() {
            let step = self.lanes[number].send(&self.setup, *plan, &keys).await;
            waiting.insert(number, step);
        }
        let mut course = Course {
            plans,
            waiting,
            now: 0,
            times: vec![Times::default(); plans.len()],
            records: Vec::new(),
            replies_were_lost: false,
        };
        course.note_answers();
        while !course.waiting.is_empty() {
            if let Some(user) = self.slot_moves.get(&course.now) {
                self.redis.move_slot_of(&index_of(*user));
            }
            let (index, lose_reply) = choose(course.waiting.len());
            let number = *course.waiting.keys().nth(index).unwrap();
            self.take_turn(&mut course, number, lose_reply).await;
            course.note_answers();
            course.now += 1;
        }
        let world = World::of(self.redis.all());
        let mut listed = BTreeMap::new();
        for user in USERS {
            let list = self.store.sessions_of(user).list().await.unwrap();
            let ids = list.iter().map(|it| it.handle().to_string());
            listed.insert(user, ids.collect());
        }
        for user in USERS {
            self.store.sessions_of(user).end_all().await.unwrap();
        }
        let keys = keys.into_iter().map(|(who, key)| (who, id_of(&key)));
        Run {
            at_first: keys.collect(),
            world,
            listed,
            after_all: World::of(self.redis.all()),
            records: course.records,
            limit: self.limit,
            replies_were_lost: course.replies_were_lost,
        }
    }

    async fn take_turn(&mut self, course: &mut Course<'_>, number: usize, lose_reply: bool) {
        let Some(Step::Waits { command, turn }) = course.waiting.remove(&number) else {
            panic!("it ended without a command");
        };
        if command == "end_all" && course.plans[number].ends_all_of().is_some() {
            course.times[number].world_then = World::of(self.redis.all());
        }
        let lose_reply = lose_reply && SCRIPTS.contains(&&*command);
        course.replies_were_lost |= lose_reply;
        // Of several commands at once, the connection of this one may be broken already.
        let _ = turn.send(if lose_reply {
            Fate::LoseReply
        } else {
            Fate::Forward
        });
        let lane = &mut self.lanes[number];
        let moved = lane.moved();
        let step = lane.next_step().await;
        // A node that does not have the slot any more has carried out nothing.
        if lane.moved() == moved {
            course.times[number].note(&command, course.now);
        }
        course.waiting.insert(number, step);
    }

    /// In every order in which the requests' commands can be carried out.
    pub(super) async fn in_every_order(&mut self, plans: &[Plan]) {
        let mut orders = Orders::default();
        loop {
            let choose = |waiting: usize| (orders.choose(waiting).min(waiting - 1), false);
            if let Err(why) = self.run(plans, choose).await.check() {
                panic!("{why}\nafter {plans:?} in the order {orders:?}");
            }
            if !orders.go_on() {
                break;
            }
        }
    }
}

impl Course<'_> {
    /// Takes out those that have ended.
    fn note_answers(&mut self) {
        for (number, step) in mem::take(&mut self.waiting) {
            match step {
                Step::Ends(answer) => self.records.push(Record {
                    plan: self.plans[number],
                    answer,
                    times: mem::take(&mut self.times[number]),
                }),
                waits => drop(self.waiting.insert(number, waits)),
            }
        }
    }
}
