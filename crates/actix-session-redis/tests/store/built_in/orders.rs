use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};

use super::Both;

#[derive(Clone, Copy, Debug)]
enum Side {
    Here,
    There,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Read,
    Count,
    Set(&'static str),
    Clear,
    Login,
    Purge,
}

impl Action {
    fn path(self) -> String {
        match self {
            Self::Read => "/read".to_owned(),
            Self::Count => "/count".to_owned(),
            Self::Set(field) => format!("/set/{field}/x"),
            Self::Clear => "/clear".to_owned(),
            Self::Login => "/login/ada".to_owned(),
            Self::Purge => "/purge".to_owned(),
        }
    }

    fn apply(self, fields: &mut Fields) {
        match self {
            Self::Read => {}
            Self::Count => {
                let n = fields.get("n").map_or(0, |n| n.parse().unwrap());
                fields.insert("n", (n + 1).to_string());
            }
            Self::Set(field) => drop(fields.insert(field, "\"x\"".to_owned())),
            Self::Clear | Self::Purge => fields.clear(),
            Self::Login => drop(fields.insert("user", "\"ada\"".to_owned())),
        }
    }
}

type Fields = BTreeMap<&'static str, String>;

fn text(fields: &Fields) -> String {
    if fields.is_empty() {
        return "empty".to_owned();
    }
    let fields = fields.iter().map(|(field, json)| format!("{field}={json}"));
    fields.collect::<Vec<_>>().join(" ")
}

/// What there is of one session.
#[derive(Default)]
struct Model {
    there: Fields,
    /// Since it has become ours, if the layouts differ.
    here: Option<Fields>,
    adopts: bool,
}

impl Model {
    /// What the page shows.
    fn answer(&mut self, side: Side, action: Action) -> String {
        let is_there = !self.adopts || matches!(side, Side::There);
        let before = match &self.here {
            Some(here) if !is_there => here,
            _ => &self.there,
        };
        let mut left = before.clone();
        action.apply(&mut left);
        // What changes nothing writes nothing.
        if left != *before {
            if is_there {
                self.there = left.clone();
            } else {
                self.here = Some(left.clone());
            }
        }
        if let Action::Login | Action::Purge = action {
            // A new session, or none: on both sides.
            self.there = left.clone();
            self.here = match side {
                Side::Here => self.adopts.then(|| left.clone()),
                Side::There => None,
            };
        }
        text(&left)
    }
}

fn actions() -> impl Strategy<Value = Vec<(Side, Action)>> {
    let actions = vec![
        Action::Read,
        Action::Count,
        Action::Count,
        Action::Set("a"),
        Action::Set("b"),
        Action::Clear,
        Action::Login,
        Action::Purge,
    ];
    vec(
        (select(vec![Side::Here, Side::There]), select(actions)),
        1..16,
    )
}

/// Each page shows what the model says, and so does a last look at both sides.
async fn assert_follows_the_model(both: &Both, adopts: bool, steps: &[(Side, Action)]) {
    let browser = both.theirs.browser();
    let mut model = Model {
        adopts,
        ..Model::default()
    };
    let looks = [Side::Here, Side::There].map(|side| (side, Action::Read));
    for &(side, action) in steps.iter().chain(&looks) {
        let app = match side {
            Side::Here => &both.ours,
            Side::There => &both.theirs,
        };
        // A session begins with the first request that stores something.
        let begins = !browser.has_cookie();
        let seen = browser.at(app).get(&action.path()).await.text();
        let expected = model.answer(side, action);
        if !matches!(action, Action::Purge) {
            assert_eq!(seen, expected, "{side:?} {action:?} of {steps:?}");
        }
        if !browser.has_cookie() {
            (model.there, model.here) = (Fields::new(), None);
        } else if begins && adopts && matches!(side, Side::Here) {
            // With a copy.
            model.there = model.here.clone().unwrap_or_default();
        }
    }
}

fn any_order(adopts: bool) {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(60));
    let system = actix_web::rt::System::new();
    let both = system.block_on(Both::start(|options| match adopts {
        true => options.adopt_built_in_sessions(""),
        false => options.built_in_layout(""),
    }));
    let outcome = runner.run(&actions(), |steps| {
        system.block_on(assert_follows_the_model(&both, adopts, &steps));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn of_one_session_in_the_same_layout() {
    any_order(false);
}

#[test]
fn of_one_session_that_is_adopted() {
    any_order(true);
}
