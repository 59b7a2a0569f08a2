use std::fmt;

use serde::{Deserialize, Serialize};

/// In the order of their indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum User {
    Ada,
    Bob,
}

pub(super) const USERS: [User; 2] = [User::Ada, User::Bob];

/// Whose browser it is that sends a request, as it was at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Ada's.
    Phone,
    /// Ada's.
    Laptop,
    /// Bob's.
    Desk,
    /// Has a session that is nobody's.
    Guest,
    /// Has a session of Ada's from before the store knew of users.
    Veteran,
    /// Has none.
    Newcomer,
}

pub(super) const AT_FIRST: [(Who, Option<User>); 5] = [
    (Who::Phone, Some(User::Ada)),
    (Who::Laptop, Some(User::Ada)),
    (Who::Desk, Some(User::Bob)),
    (Who::Guest, None),
    (Who::Veteran, Some(User::Ada)),
];

#[derive(Clone, Copy, PartialEq)]
pub(super) struct Plan {
    pub(super) who: Who,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    LogIn(User, How),
    /// The same, between `begin_login` and `complete_login`.
    LogInWithPassword(User, How),
    /// Its user.
    Lose,
    WriteSomethingElse,
    /// For a longer time than other sessions live.
    Remember,
    Renew,
    Purge,
    /// From outside of a request.
    Modify(User),
    /// By hand, outside of a request.
    Update(User),
    List(User),
    End(User, Who),
    EndAll(User),
    EndOthers(User),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum How {
    Renewing,
    InPlace,
    /// Clears the session, and names the user.
    Cleared,
}

impl Plan {
    /// Whose the session is to become.
    pub(super) fn makes_it_theirs(self) -> Option<User> {
        match self.what {
            What::LogIn(user, _)
            | What::LogInWithPassword(user, _)
            | What::Modify(user)
            | What::Update(user) => Some(user),
            _ => None,
        }
    }

    pub(super) fn has_password(self) -> bool {
        matches!(self.what, What::LogInWithPassword(..))
    }

    /// Whether the session that it comes with ends, if all goes well.
    pub(super) fn ends_own(self) -> bool {
        matches!(
            self.what,
            What::Renew
                | What::Purge
                | What::LogIn(_, How::Renewing)
                | What::LogInWithPassword(_, How::Renewing)
        )
    }

    /// Of whom it ends sessions.
    pub(super) fn ends_those_of(self) -> Option<User> {
        match self.what {
            What::End(user, _) | What::EndAll(user) | What::EndOthers(user) => Some(user),
            _ => None,
        }
    }

    /// Of whom it ends all sessions.
    pub(super) fn ends_all_of(self) -> Option<User> {
        match self.what {
            What::EndAll(user) | What::EndOthers(user) => Some(user),
            _ => None,
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{:?}", self.who, self.what)
    }
}
