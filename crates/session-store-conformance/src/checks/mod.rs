//! Every check is a function that is named as its rule. The lists say how strongly it is asked for, and by
//! whom; the texts of the sources are in the README.

use std::{pin::Pin, rc::Rc};

use crate::{harness::Harness, rule::Rule};

mod bad_bytes;
mod expiry;
mod identity;
mod lifecycle;
mod overlaps;
mod races;
mod visits;
mod workflow;

/// The documentation of the trait, and of its methods.
const TRAIT: &str = "`SessionStore`";

/// Both: deleted, or expired, and then?
const TRAIT_AND_ASVS: &str = "`SessionStore`; ASVS 7.4.1";

/// What the session middleware relies on.
const MIDDLEWARE: &str = "`SessionMiddleware`";

pub(crate) struct Check<H> {
    pub(crate) rule: Rule,
    pub(crate) run: fn(Rc<H>) -> Run,
}

pub(crate) type Run = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// The checks of one file.
macro_rules! checks {
    ($($group:ident, $level:ident, $source:expr => $check:ident;)*) => {
        pub(super) fn checks<H: crate::harness::Harness>() -> Vec<super::Check<H>> {
            vec![$(super::Check {
                rule: crate::rule::Rule {
                    name: stringify!($check),
                    group: crate::rule::Group::$group,
                    level: crate::rule::Level::$level,
                    source: $source,
                },
                run: |harness| Box::pin(async move { $check(&*harness).await }),
            }),*]
        }
    };
}
use checks;

pub(crate) fn all<H: Harness>() -> Vec<Check<H>> {
    [
        workflow::checks(),
        identity::checks(),
        expiry::checks(),
        bad_bytes::checks(),
        races::checks(),
        overlaps::checks(),
        lifecycle::checks(),
        visits::checks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
