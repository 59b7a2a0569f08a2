//! That every check finds what it is there for: a store in memory passes, and each way to break it is found.

use std::collections::BTreeSet;

use actix_web::rt::spawn;
use session_store_conformance::{Level, Verdict, run};

use crate::{
    defect::Defect::{self, *},
    harness::Opaque,
    store::Memory,
};

mod defect;
mod harness;
mod store;

/// What no store can do: the middleware would have to tell it what a request has loaded.
const BEYOND_A_STORE: [&str; 4] = [
    "requests_that_overlap_keep_the_fields_of_each_other",
    "a_request_that_overlaps_does_not_bring_back_a_field",
    "a_request_that_renews_and_outlasts_a_logout_does_not_undo_it",
    "a_request_that_outlasts_a_login_does_not_undo_it",
];

/// Each with some of the checks that find it.
const FOUND_BY: &[(Defect, &[&str])] = &[
    (TrimsValues, &["a_saved_state_is_loaded_unchanged"]),
    (DropsNamesWithControls, &["a_field_may_have_any_name"]),
    (TakesEmptyForNone, &["an_empty_state_is_a_session"]),
    (
        CutsLargeValues,
        &["a_large_state_is_stored_whole_or_refused"],
    ),
    (HasAStorageOfItsOwn, &["every_worker_finds_the_session"]),
    (MergesOnUpdate, &["an_update_replaces_the_whole_state"]),
    (CopiesOnUpdate, &["an_update_leaves_one_session_behind"]),
    (UpdatesAll, &["an_update_concerns_no_other_session"]),
    (
        DeletesNothing,
        &[
            "a_deleted_session_is_gone",
            "a_login_ends_the_session_from_before",
            "a_logout_ends_the_session",
        ],
    ),
    (DeletesAll, &["a_delete_concerns_no_other_session"]),
    (
        FailsToDeleteNothing,
        &["a_delete_of_what_is_not_there_succeeds"],
    ),
    (
        LosesUpdates,
        &["a_visitor_finds_what_the_last_request_has_left"],
    ),
    (
        NamesByState,
        &[
            "every_session_has_a_key_of_its_own",
            "session_keys_can_have_64_bits_of_entropy",
        ],
    ),
    (Counts, &["session_keys_can_have_64_bits_of_entropy"]),
    (
        FailsWithoutSession,
        &["a_key_that_was_given_to_nobody_is_no_session"],
    ),
    (IgnoresCase, &["a_key_that_is_almost_right_is_no_session"]),
    (TrimsKeys, &["a_key_that_is_almost_right_is_no_session"]),
    (
        MatchesPatterns,
        &["a_hostile_key_is_no_session_and_changes_none"],
    ),
    (
        DeletesByPattern,
        &["a_hostile_key_is_no_session_and_changes_none"],
    ),
    (
        TakesAnyKey,
        &[
            "a_key_that_a_visitor_has_chosen_is_not_taken",
            "an_update_does_not_bring_back_a_key_that_has_expired",
            "an_update_does_not_bring_back_a_key_that_was_deleted",
        ],
    ),
    (
        StoresKeys,
        &["the_storage_does_not_hold_what_a_cookie_holds"],
    ),
    (NeverExpires, &["a_session_ends_when_its_ttl_has_passed"]),
    (ExpiresEarly, &["a_session_does_not_end_before"]),
    (CountsMilliseconds, &["a_session_may_live_for_400_days"]),
    (
        TakesNoTtlForEver,
        &["a_ttl_of_nothing_makes_no_session_that_lives_on"],
    ),
    (
        KeepsTtlOnUpdate,
        &[
            "an_update_prolongs_a_session",
            "an_update_shortens_a_session",
        ],
    ),
    (OnlyProlongsOnUpdate, &["an_update_shortens_a_session"]),
    (
        IgnoresUpdateTtl,
        &[
            "update_ttl_prolongs_a_session_and_leaves_its_state",
            "update_ttl_shortens_a_session",
        ],
    ),
    (OnlyProlongs, &["update_ttl_shortens_a_session"]),
    (
        ProlongsWhatHasEnded,
        &[
            "update_ttl_does_not_bring_back_what_has_expired",
            "update_ttl_does_not_bring_back_what_was_deleted",
        ],
    ),
    (
        ForgetsStateWithTtl,
        &["update_ttl_prolongs_a_session_and_leaves_its_state"],
    ),
    (
        SavesAnew,
        &[
            "an_update_of_what_has_expired_makes_no_session",
            "an_update_of_what_was_deleted_makes_no_session",
            "a_request_that_changes_and_outlasts_a_logout_does_not_undo_it",
        ],
    ),
    (
        TakesGarbageForEmpty,
        &["what_cannot_be_read_is_no_session_or_an_error"],
    ),
    (
        PanicsOnGarbage,
        &["what_cannot_be_read_is_no_session_or_an_error"],
    ),
    (
        IsPoisonedByGarbage,
        &["what_cannot_be_read_harms_no_other_session"],
    ),
    (
        DeletesNoGarbage,
        &["a_delete_takes_away_what_cannot_be_read"],
    ),
    (
        FailsOnGarbage,
        &["a_visitor_whose_session_cannot_be_read_is_served"],
    ),
    (
        WritesOverGarbage,
        &[
            "a_visitor_whose_session_cannot_be_read_gets_a_new_key",
            "what_cannot_be_read_is_not_written_over",
        ],
    ),
    (
        DrawsKeysTwice,
        &["sessions_that_begin_at_once_are_distinct"],
    ),
    (
        WritesFieldByField,
        &[
            "updates_at_once_leave_the_state_of_one_of_them",
            "a_session_that_is_being_written_is_read_whole",
        ],
    ),
    (
        ChecksThenUpdates,
        &["an_update_that_meets_a_delete_does_not_undo_it"],
    ),
    (
        ChecksThenProlongs,
        &["update_ttl_that_meets_a_delete_does_not_undo_it"],
    ),
    (UsesKeysAgain, &["a_renewal_moves_the_state_to_a_new_key"]),
    (
        HidesWhatIsDeleted,
        &["a_deleted_state_is_in_the_storage_no_more"],
    ),
];

#[actix_web::test]
async fn a_store_that_is_right_fails_where_no_store_can_pass_and_nowhere_else() {
    let report = run(Memory::default()).await;
    assert_eq!(report.failures(), BEYOND_A_STORE, "\n{report}");
    assert_eq!(report.failures_at(Level::Must), [""; 0], "\n{report}");
    assert_eq!(report.not_checked(), [""; 0], "\n{report}");
}

#[actix_web::test]
async fn every_defect_is_found() {
    let runs = FOUND_BY.iter().map(|(defect, checks)| {
        let report = spawn(run(Memory::with(*defect)));
        (defect, checks, report)
    });
    for (defect, checks, report) in runs.collect::<Vec<_>>() {
        let report = report.await.unwrap();
        let failures = report.failures();
        for check in *checks {
            assert!(
                failures.contains(check),
                "{defect:?} is not found by {check}\n{report}"
            );
        }
    }
}

#[actix_web::test]
async fn every_check_finds_a_defect() {
    let report = run(Memory::default()).await;
    let checks: BTreeSet<_> = report
        .verdicts()
        .iter()
        .map(|(rule, _)| rule.name)
        .collect();
    let found = FOUND_BY.iter().flat_map(|(_, checks)| *checks);
    let finding: BTreeSet<_> = found.chain(&BEYOND_A_STORE).copied().collect();
    assert_eq!(checks, finding);
}

#[actix_web::test]
async fn a_check_that_the_harness_cannot_do_is_not_passed() {
    let report = run(Opaque::default()).await;
    let not_checked = [
        "the_storage_does_not_hold_what_a_cookie_holds",
        "what_cannot_be_read_is_no_session_or_an_error",
        "what_cannot_be_read_harms_no_other_session",
        "a_delete_takes_away_what_cannot_be_read",
        "a_visitor_whose_session_cannot_be_read_is_served",
        "a_visitor_whose_session_cannot_be_read_gets_a_new_key",
        "what_cannot_be_read_is_not_written_over",
        "a_deleted_state_is_in_the_storage_no_more",
    ];
    assert_eq!(report.not_checked(), not_checked, "\n{report}");
    assert_eq!(report.failures(), BEYOND_A_STORE, "\n{report}");
    for (rule, verdict) in report.verdicts() {
        if let Verdict::NotChecked(reason) = verdict {
            assert!(reason.starts_with("the harness "), "{rule}: {reason}");
        }
    }
}
