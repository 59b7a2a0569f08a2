use std::collections::BTreeMap;

use actix_session::{
    config::TtlExtensionPolicy,
    storage::{RedisSessionStore as BuiltInStore, SessionStore as _},
};
use actix_session_redis::{RedisSessionStore, RedisSessionStoreBuilder};
use tokio::sync::oneshot;

use super::{
    lane::{ANCHOR, Lane, Plan, SCRIPTS, Side, Step},
    rules::{End, Request, Turn},
    world::World,
};
use crate::support::{
    app::Setup,
    orders::Orders,
    proxy::{Fate, script_called},
    redis::{TestRedis, pool_at},
    sessions::{HOUR, State, session_key},
};

/// Where the session that all requests are about has begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Begun {
    There,
    /// There, and this store has written it since.
    Adopted,
    Here,
}

/// One Redis, and on each side as many requests at once as there are lanes.
pub(super) struct Lanes {
    redis: TestRedis,
    setup: Setup,
    adopts: bool,
    pub(super) ours: RedisSessionStore,
    pub(super) theirs: BuiltInStore,
    here: Vec<Lane>,
    there: Vec<Lane>,
}

pub(super) fn options(url: &str, adopts: bool) -> RedisSessionStoreBuilder {
    let options = RedisSessionStore::builder(pool_at(url));
    match adopts {
        true => options.adopt_built_in_sessions(""),
        false => options.built_in_layout(""),
    }
}

impl Lanes {
    pub(super) async fn new(n: usize, adopts: bool, policy: TtlExtensionPolicy) -> Self {
        let redis = TestRedis::start().await;
        let setup = Setup {
            policy,
            ..Setup::consistent()
        };
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for _ in 0..n {
            here.push(Lane::beginning_at(&redis, &setup, Side::Here, adopts).await);
            there.push(Lane::beginning_at(&redis, &setup, Side::There, adopts).await);
        }
        // From now on each run takes the same steps.
        for script in SCRIPTS {
            redis.learn(&script_called(script));
        }
        Self {
            ours: options(&redis.store_url(), adopts).build(),
            theirs: BuiltInStore::new(redis.url()).await.unwrap(),
            redis,
            setup,
            adopts,
            here,
            there,
        }
    }

    async fn begin(&self, begun: Begun) -> String {
        self.redis.run::<()>("FLUSHALL");
        let at_first = [(ANCHOR, "0"), ("a", "0")];
        let at_first = at_first.map(|(field, json)| (field.to_owned(), json.to_owned()));
        let at_first = State::from(at_first);
        if begun == Begun::Here {
            let first = self.ours.save(at_first, &HOUR).await.unwrap();
            return first.as_ref().to_owned();
        }
        let first = self.theirs.save(at_first, &HOUR).await.unwrap();
        if begun == Begun::Adopted {
            let adopt = |state: &mut State| state.insert("here".to_owned(), "0".to_owned());
            self.ours.modify(&first, adopt).await.unwrap();
        }
        first.as_ref().to_owned()
    }

    fn lane(&mut self, plans: &[Plan], number: usize) -> &mut Lane {
        let side = plans[number].side;
        let before = plans[..number].iter().filter(|plan| plan.side == side);
        match side {
            Side::Here => &mut self.here[before.count()],
            Side::There => &mut self.there[before.count()],
        }
    }

    /// Sends a request for each plan. Then, as long as any of them has a command to send, `choose`
    /// says whose turn it is, out of so many, and whether the reply is lost if it can be.
    pub(super) async fn run(
        &mut self,
        begun: Begun,
        plans: &[Plan],
        mut choose: impl FnMut(usize) -> (usize, bool),
    ) -> Result<(), String> {
        let first = self.begin(begun).await;
        let mut world = World::of(&self.redis);
        let (setup, mut waiting) = (self.setup.clone(), BTreeMap::new());
        let mut requests: Vec<_> = plans.iter().copied().map(Request::of).collect();
        for (number, plan) in plans.iter().enumerate() {
            let lane = self.lane(plans, number);
            let step = lane.send(&setup, &first, plan.what, number).await;
            waiting.insert(number, step);
        }
        // Whatever has gone wrong, all requests end: the next run begins without them.
        let (mut story, mut outcome) = (String::new(), Ok(()));
        while !waiting.is_empty() {
            let (index, lose_reply) = choose(waiting.len());
            let number = *waiting.keys().nth(index).unwrap();
            let Some(Step::Waits { command, turn }) = waiting.remove(&number) else {
                panic!("it ended without a command");
            };
            story += &format!(" {number}:{command}");
            let side = plans[number].side;
            let lane = self.lane(plans, number);
            let handled = lane.outcome.lock().unwrap().clone();
            let can_be_lost = side == Side::Here && WRITES.contains(&&*command);
            let step = if lose_reply && can_be_lost {
                story += "(lost)";
                assert!(turn.send(Fate::LoseReply).is_ok());
                lane.next_step().await
            } else {
                let (tell, is_carried_out) = oneshot::channel();
                assert!(turn.send(Fate::ForwardAndTell(tell)).is_ok());
                is_carried_out.await.unwrap();
                lane.next_step().await
            };
            let after = World::of(&self.redis);
            let turn = Turn {
                adopts: self.adopts,
                first: &first,
                before: &world,
                after: &after,
                command: &command,
            };
            requests[number].note(&turn, handled.as_ref());
            if outcome.is_ok() {
                let checked = turn.check(&requests[number], handled.as_ref());
                outcome = checked
                    .map_err(|why| format!("{why}: after{story}, {world:?} has become {after:?}"));
            }
            world = after;
            match step {
                Step::Ends(cookie) => {
                    let handled = self.lane(plans, number).outcome.lock().unwrap().take();
                    requests[number].ends(handled, cookie);
                }
                waits => drop(waiting.insert(number, waits)),
            }
        }
        outcome?;
        let end = End {
            first: &first,
            world: &world,
            requests: &requests,
            lanes: self,
        };
        let checked = end.check().await;
        checked.map_err(|why| format!("{why}: after{story}, {requests:?}, {world:?}"))
    }

    pub(super) async fn load_here(&self, key: &str) -> Option<State> {
        self.ours.load(&session_key(key)).await.unwrap()
    }

    pub(super) async fn load_there(&self, key: &str) -> Option<State> {
        self.theirs.load(&session_key(key)).await.unwrap()
    }

    /// In every order in which the requests' commands can be carried out.
    pub(super) async fn in_every_order(&mut self, begun: Begun, plans: &[Plan]) {
        let mut orders = Orders::default();
        loop {
            let choose = |waiting| (orders.choose(waiting), false);
            if let Err(why) = self.run(begun, plans, choose).await {
                panic!("{begun:?}, {plans:?}: {why}");
            }
            if !orders.go_on() {
                break;
            }
        }
    }
}

/// Those that are sent alone: nothing waits for its turn behind them on a connection that breaks.
const WRITES: [&str; 8] = [
    "SET",
    "EXEC",
    "create",
    "write",
    "replace",
    "end",
    "built_in_create",
    "built_in_end",
];
