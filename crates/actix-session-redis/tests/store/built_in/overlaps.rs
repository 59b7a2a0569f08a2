use super::Both;
use crate::support::browser::{Answer, Browser};

const WRITES: [&str; 3] = ["/count", "/set/name/Ada", "/clear-and-set/name/Ada"];
const ENDS: [&str; 2] = ["/login/eve", "/purge"];

/// Of a request here that is slow, and one of the same session meanwhile, on either side.
struct Overlap<'a> {
    both: &'a Both,
    slow: &'a str,
    meanwhile: &'a str,
    is_here: bool,
}

impl Overlap<'_> {
    /// Returns the answer of the slow one, its browser, and that of the other.
    async fn run(&self, first: &str) -> (Answer, Browser<'_>, Browser<'_>) {
        let user = self.both.user().await;
        user.at(&self.both.ours).get(first).await.text();
        let other = self.both.copy_of(&user);
        let side = match self.is_here {
            true => &self.both.ours,
            false => &self.both.theirs,
        };
        let here = user.at(&self.both.ours);
        let (slow, ()) = here
            .get_slowly(self.slow, async {
                other.at(side).get(self.meanwhile).await.text();
            })
            .await;
        (slow, user, other)
    }

    fn ends(&self) -> bool {
        ENDS.contains(&self.slow) || ENDS.contains(&self.meanwhile)
    }
}

async fn assert_any_overlap_is_safe(both: &Both, adopts: bool) {
    for slow in WRITES.into_iter().chain(ENDS) {
        for meanwhile in WRITES.into_iter().chain(ENDS) {
            for (is_here, first) in [
                (true, "/read"),
                (true, "/count"),
                (false, "/read"),
                (false, "/count"),
            ] {
                let overlap = Overlap {
                    both,
                    slow,
                    meanwhile,
                    is_here,
                };
                let what = format!("{slow} here, {meanwhile} {is_here} after {first}");
                let (answer, user, other) = overlap.run(first).await;
                if ENDS.contains(&meanwhile) {
                    // It knows nothing of the new session of the other.
                    let is_logout_of_its_own = slow == "/purge";
                    let logs_in = slow == "/login/eve" && answer.touches_session_cookie();
                    assert!(
                        logs_in || is_logout_of_its_own || !answer.touches_session_cookie(),
                        "{what}"
                    );
                    if logs_in {
                        assert_eq!(both.read_here(&user).await, "user=\"eve\"", "{what}");
                    }
                }
                if !overlap.ends() {
                    let here = both.read_here(&user).await;
                    let there = both.read_there(&other).await;
                    assert!(
                        ![&*here, &*there].contains(&"empty"),
                        "{what}: {here}, {there}"
                    );
                    // The later writer's change is there.
                    let changed = if slow == "/count" { "n=" } else { "name=" };
                    assert!(here.contains(changed), "{what}: {here}");
                    assert!(adopts || here == there, "{what}: {here}, {there}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn of_one_session_in_the_same_layout() {
    let both = Both::start(|options| options.built_in_layout("")).await;
    assert_any_overlap_is_safe(&both, false).await;
}

#[actix_web::test]
async fn of_one_session_that_is_adopted() {
    let both = Both::start(|options| options.adopt_built_in_sessions("")).await;
    assert_any_overlap_is_safe(&both, true).await;
}

/// Whatever it was.
async fn assert_the_old_key_is_dead(both: &Both) {
    for slow in WRITES.into_iter().chain(ENDS) {
        for end in ENDS {
            for (slow_side, side) in [(&both.ours, &both.theirs), (&both.theirs, &both.ours)] {
                let user = both.user().await;
                let (thief, other) = (both.copy_of(&user), both.copy_of(&user));
                let (_, ()) = user
                    .at(slow_side)
                    .get_slowly(slow, async { drop(other.at(side).get(end).await.text()) })
                    .await;
                both.assert_ended(&thief).await;
            }
        }
    }
}

#[actix_web::test]
async fn nothing_ended_comes_back_in_the_same_layout() {
    let both = Both::start(|options| options.built_in_layout("")).await;
    assert_the_old_key_is_dead(&both).await;
}

#[actix_web::test]
async fn nothing_ended_comes_back_when_it_is_adopted() {
    let both = Both::start(|options| options.adopt_built_in_sessions("")).await;
    assert_the_old_key_is_dead(&both).await;
}
