//! What the stores of this repository, and those built into actix-session, pass; and that the manual says so.

use std::{env, fs, path::Path};

use actix_web::rt::spawn;
use session_store_conformance::{Level, Report, markdown, run};

use crate::{
    built_in::BuiltIn,
    cookie::Cookie,
    ours::{Consistent, Ours},
};

mod built_in;
mod cookie;
mod ours;
mod redis;

/// What no store can do by itself: the middleware would have to tell it what a request has loaded.
const BEYOND_A_STORE: [&str; 4] = [
    "requests_that_overlap_keep_the_fields_of_each_other",
    "a_request_that_overlaps_does_not_bring_back_a_field",
    "a_request_that_renews_and_outlasts_a_logout_does_not_undo_it",
    "a_request_that_outlasts_a_login_does_not_undo_it",
];

const BUILT_IN_REDIS: [&str; 7] = [
    "the_storage_does_not_hold_what_a_cookie_holds",
    "an_update_of_what_has_expired_makes_no_session",
    "a_visitor_whose_session_cannot_be_read_is_served",
    "a_visitor_whose_session_cannot_be_read_gets_a_new_key",
    "what_cannot_be_read_is_not_written_over",
    "an_update_of_what_was_deleted_makes_no_session",
    "a_request_that_changes_and_outlasts_a_logout_does_not_undo_it",
];

/// It keeps nothing that could be ended.
const BUILT_IN_COOKIE: [&str; 19] = [
    "an_update_leaves_one_session_behind",
    "a_deleted_session_is_gone",
    "every_session_has_a_key_of_its_own",
    "session_keys_can_have_64_bits_of_entropy",
    "a_key_that_was_given_to_nobody_is_no_session",
    "a_key_that_is_almost_right_is_no_session",
    "a_session_ends_when_its_ttl_has_passed",
    "a_ttl_of_nothing_makes_no_session_that_lives_on",
    "an_update_shortens_a_session",
    "update_ttl_shortens_a_session",
    "an_update_that_meets_a_delete_does_not_undo_it",
    "update_ttl_that_meets_a_delete_does_not_undo_it",
    "a_renewal_moves_the_state_to_a_new_key",
    "update_ttl_does_not_bring_back_what_was_deleted",
    "an_update_does_not_bring_back_a_key_that_was_deleted",
    "an_update_of_what_was_deleted_makes_no_session",
    "a_login_ends_the_session_from_before",
    "a_logout_ends_the_session",
    "a_request_that_changes_and_outlasts_a_logout_does_not_undo_it",
];

#[actix_web::test]
async fn sealed_inside_consistent_sessions_ours_passes_everything() {
    let report = run(Consistent(Ours::sealed())).await;
    assert_eq!(report.failures(), [""; 0], "\n{report}");
    assert_eq!(report.not_checked(), [""; 0], "\n{report}");
}

/// With `REWRITE_CONFORMANCE_TABLE=yes`, the manual is made to say what has come of it.
#[actix_web::test]
async fn each_store_passes_what_the_table_in_the_manual_says() {
    let runs = [
        (
            "ours, inside `ConsistentSessions`",
            spawn(run(Consistent(Ours::plain()))),
        ),
        ("ours, without", spawn(run(Ours::plain()))),
        (
            "built in, one connection",
            spawn(run(BuiltIn::single().await)),
        ),
        ("built in, pooled", spawn(run(BuiltIn::pooled().await))),
        ("cookie store", spawn(run(Cookie))),
    ];
    let mut reports = Vec::new();
    for (name, report) in runs {
        reports.push((name, report.await.unwrap()));
    }
    let [consistent, ours, single, pooled, cookie] = &*reports else {
        unreachable!();
    };
    assert_fails(consistent, &[]);
    assert_eq!(consistent.1.not_checked(), [""; 0], "\n{}", consistent.1);
    assert_fails(ours, &[&BEYOND_A_STORE]);
    for built_in in [single, pooled] {
        assert_fails(built_in, &[&BUILT_IN_REDIS, &BEYOND_A_STORE]);
        assert_eq!(
            built_in.1.failures_at(Level::Must),
            [""; 0],
            "\n{}",
            built_in.1
        );
    }
    assert_fails(cookie, &[&BUILT_IN_COOKIE, &BEYOND_A_STORE]);

    let columns: Vec<_> = reports
        .iter()
        .map(|(name, report)| (*name, report))
        .collect();
    compare_with_manual(&markdown(&columns));
}

fn assert_fails((name, report): &(&str, Report), expected: &[&[&str]]) {
    let mut expected = expected.concat();
    let mut failures = report.failures();
    expected.sort_unstable();
    failures.sort_unstable();
    assert_eq!(failures, expected, "{name}\n{report}");
}

fn compare_with_manual(table: &str) {
    let chapter = "../actix-session-redis/docs/conformance.md";
    let chapter = Path::new(env!("CARGO_MANIFEST_DIR")).join(chapter);
    let text = fs::read_to_string(&chapter).unwrap();
    let begin = text.find("| about |").expect("a table begins");
    let length = text[begin..].find("\n\n").expect("text follows") + 1;
    let written = &text[begin..][..length];
    if env::var_os("REWRITE_CONFORMANCE_TABLE").is_some() {
        fs::write(&chapter, text.replacen(written, table, 1)).unwrap();
        return;
    }
    assert!(
        written == table,
        "{} is out of date: REWRITE_CONFORMANCE_TABLE=yes writes the table\n{table}",
        chapter.display()
    );
}
