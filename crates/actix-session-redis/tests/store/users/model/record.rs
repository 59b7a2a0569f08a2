use super::{
    plan::{Plan, User, What},
    world::World,
};

/// What came of a request, and when, in turns.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) plan: Plan,
    pub(super) answer: Answer,
    pub(super) times: Times,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) loaded: Option<Loaded>,
    pub(super) outcome: Outcome,
}

/// The session that a request came with.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) id: String,
    pub(super) user: Option<User>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// In this session.
    Stored(String),
    /// There was nothing to store, or no session any more.
    Untouched,
    /// The session has ended.
    TakenAway,
    /// A login that may not be.
    Refused,
    /// Something else.
    Done,
}

/// When Redis was asked for the first or the last time.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) first_entered_at: Option<usize>,
    pub(super) last_entered_at: Option<usize>,
    /// The index was read: by a login that is begun, too.
    pub(super) began_at: Option<usize>,
    /// All sessions of a user were to end from then on.
    pub(super) ended_all_at: Option<usize>,
    /// What Redis held in that moment.
    pub(super) world_then: World,
}

impl Times {
    pub(super) fn note(&mut self, command: &str, now: usize) {
        match command {
            "enter" => {
                self.first_entered_at.get_or_insert(now);
                self.last_entered_at = Some(now);
            }
            "entries" => self.began_at = Some(now),
            "end_all" => self.ended_all_at = Some(now),
            _ => {}
        }
    }
}

impl Record {
    pub(super) fn loaded_id(&self) -> Option<&str> {
        self.answer.loaded.as_ref().map(|loaded| &*loaded.id)
    }

    /// The session that the visitor has now.
    pub(super) fn stored(&self) -> Option<&str> {
        match &self.answer.outcome {
            Outcome::Stored(id) => Some(id),
            _ => None,
        }
    }

    /// Whether it neither ends a session nor makes one somebody else's.
    pub(super) fn keeps_sessions(&self) -> bool {
        match self.plan.what {
            What::LogIn(..) => self.loaded_id().is_none(),
            what => what == What::Renew,
        }
    }

    /// The session that it has begun.
    pub(super) fn began(&self) -> Option<&str> {
        self.stored().filter(|id| self.loaded_id() != Some(id))
    }

    /// Whether it has begun a session that goes on with the one that it has loaded, as far as the
    /// user is concerned.
    pub(super) fn is_renewal(&self) -> bool {
        let target = self.plan.makes_it_theirs();
        let loaded = self.answer.loaded.as_ref();
        loaded.is_some_and(|loaded| target.is_none_or(|target| loaded.user == Some(target)))
    }

    /// Whether a session that it begins is this user's, for all that it knows.
    pub(super) fn makes(&self, user: User) -> bool {
        match self.plan.makes_it_theirs() {
            Some(target) => target == user,
            None => {
                let loaded = self.answer.loaded.as_ref();
                loaded.is_some_and(|loaded| loaded.user == Some(user))
            }
        }
    }
}
