use proptest::{prelude::*, sample::select};

use super::{
    by,
    plan::{
        How::{self, Cleared, InPlace, Renewing},
        Plan, USERS,
        User::{Ada, Bob},
        What,
        Who::{Desk, Guest, Laptop, Newcomer, Phone},
    },
};

/// What the phone's session may be asked for.
const OF_THE_PHONE: [What; 13] = [
    What::LogIn(Bob, Renewing),
    What::LogIn(Bob, InPlace),
    What::LogIn(Bob, Cleared),
    What::LogInWithPassword(Ada, InPlace),
    What::LogInWithPassword(Bob, Renewing),
    What::Lose,
    What::WriteSomethingElse,
    What::Remember,
    What::Renew,
    What::Purge,
    What::Modify(Bob),
    What::Update(Bob),
    What::EndOthers(Ada),
];

/// Which requests meet which.
pub(super) fn pairs() -> Vec<[Plan; 2]> {
    let of_phone = |what| by(Phone, what);
    let all = OF_THE_PHONE.map(of_phone);
    let to_bob: Vec<_> = all
        .into_iter()
        .filter(|it| it.makes_it_theirs() == Some(Bob))
        .collect();
    let in_place = of_phone(What::LogIn(Bob, InPlace));
    let meets = |one: Plan, others: &[Plan]| -> Vec<_> {
        others.iter().map(|other| [one, *other]).collect()
    };
    let elsewhere = |what| by(Newcomer, what);
    [
        meets(elsewhere(What::EndAll(Ada)), &all),
        meets(elsewhere(What::EndAll(Bob)), &to_bob),
        meets(
            elsewhere(What::End(Ada, Phone)),
            &[What::Renew, What::Purge].map(of_phone),
        ),
        meets(elsewhere(What::End(Ada, Phone)), &to_bob[..2]),
        meets(
            elsewhere(What::List(Ada)),
            &[What::Renew, What::Lose].map(of_phone),
        ),
        meets(elsewhere(What::List(Ada)), &to_bob[..2]),
        meets(
            in_place,
            &[InPlace, Cleared].map(|how| of_phone(What::LogIn(Ada, how))),
        ),
        meets(in_place, &to_bob[1..]),
        meets(
            in_place,
            &[What::Lose, What::WriteSomethingElse].map(of_phone),
        ),
        meets(
            of_phone(What::LogInWithPassword(Ada, InPlace)),
            &[What::Lose, What::LogIn(Bob, InPlace)].map(of_phone),
        ),
        meets(
            of_phone(What::Renew),
            &[What::Renew, What::Lose, What::EndOthers(Ada)].map(of_phone),
        ),
        meets(
            elsewhere(What::EndAll(Ada)),
            &[
                elsewhere(What::LogInWithPassword(Ada, Renewing)),
                by(Guest, What::LogIn(Ada, InPlace)),
                by(Guest, What::LogInWithPassword(Ada, InPlace)),
            ],
        ),
    ]
    .concat()
}

/// One that waits while the second and the third one come and go.
pub(super) fn threes() -> [[Plan; 3]; 5] {
    [
        // Each takes the session out of an index where the first one has entered it.
        [What::LogIn(Ada, InPlace), What::Update(Ada), What::Lose].map(|what| by(Guest, what)),
        [
            What::LogIn(Ada, InPlace),
            What::Update(Ada),
            What::LogIn(Bob, InPlace),
        ]
        .map(|what| by(Desk, what)),
        // The second one lets it live for longer where it is.
        [
            by(Phone, What::Update(Bob)),
            by(Phone, What::Remember),
            by(Newcomer, What::EndAll(Ada)),
        ],
        // Only the last of them leaves out the session that the login goes on with.
        [
            by(Guest, What::LogInWithPassword(Bob, Renewing)),
            by(Newcomer, What::EndAll(Bob)),
            by(Guest, What::EndOthers(Bob)),
        ],
        [
            by(Desk, What::LogInWithPassword(Bob, Renewing)),
            by(Desk, What::EndOthers(Bob)),
            by(Newcomer, What::EndAll(Bob)),
        ],
    ]
}

pub(super) fn any_plan() -> impl Strategy<Value = Plan> {
    let who = || select(&[Phone, Laptop, Desk, Guest, Newcomer][..]);
    let user = || select(&USERS[..]);
    let how = || select(&[Renewing, InPlace, Cleared][..]);
    let log_in = |what: fn(_, How) -> What| (user(), how()).prop_map(move |(u, h)| what(u, h));
    let owner = select(&[Phone, Laptop, Desk][..]);
    let what = prop_oneof![
        4 => log_in(What::LogIn),
        2 => log_in(What::LogInWithPassword),
        1 => Just(What::Lose),
        1 => Just(What::WriteSomethingElse),
        1 => Just(What::Remember),
        2 => Just(What::Renew),
        1 => Just(What::Purge),
        1 => user().prop_map(What::Modify),
        1 => user().prop_map(What::Update),
        1 => user().prop_map(What::List),
        1 => (user(), owner).prop_map(|(user, who)| What::End(user, who)),
        2 => user().prop_map(What::EndAll),
        1 => user().prop_map(What::EndOthers),
    ];
    (who(), what).prop_map(|(who, what)| Plan { who, what })
}
