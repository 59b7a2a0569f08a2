use std::{rc::Rc, time::Duration};

use actix_web::rt::{spawn, time::timeout};

use crate::{
    checks::{self, Check},
    harness::Harness,
    report::{Report, Verdict},
    support::NotChecked,
};

/// No check takes that long, even on a machine that is busy with other work.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs every check, one after the other.
///
/// Checks begin sessions of their own and look at no other, so the storage need not be empty.
///
/// # Panics
///
/// Outside of the runtime of actix-web: use `#[actix_web::test]`. A check or a store that panics has failed,
/// and the run goes on.
pub async fn run<H: Harness>(harness: H) -> Report {
    let harness = Rc::new(harness);
    let mut verdicts = Vec::new();
    for Check { rule, run } in checks::all::<H>() {
        verdicts.push((rule, verdict(run(Rc::clone(&harness))).await));
    }
    Report { verdicts }
}

async fn verdict(check: checks::Run) -> Verdict {
    // In a task of its own, so that a panic ends no more than that.
    match spawn(timeout(LIMIT, check)).await {
        Ok(Ok(Ok(()))) => Verdict::Passed,
        Ok(Ok(Err(error))) => match error.downcast::<NotChecked>() {
            Ok(reason) => Verdict::NotChecked(reason.to_string()),
            Err(error) => Verdict::Failed(format!("{error:#}")),
        },
        Ok(Err(_)) => Verdict::Failed(format!("no end after {LIMIT:?}")),
        Err(_) => Verdict::Failed("it panicked".to_owned()),
    }
}
