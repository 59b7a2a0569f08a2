use super::*;

fn is_fresh(ttl_left_ms: Option<i64>, ttl_ms: i64) -> bool {
    let snapshot = Snapshot::now(State::new());
    snapshot
        .with_ttl(ttl_left_ms.unwrap_or(-1))
        .is_fresh(ttl_ms)
}

#[test]
fn a_session_is_fresh_for_one_percent_of_its_ttl() {
    assert!(is_fresh(Some(3_600_000), 3_600_000));
    assert!(is_fresh(Some(3_600_000 - 35_000), 3_600_000));
    assert!(!is_fresh(Some(3_600_000 - 36_000), 3_600_000));
}

#[test]
fn a_session_is_fresh_for_a_minute_at_most() {
    assert!(is_fresh(Some(86_400_000 - 59_000), 86_400_000));
    assert!(!is_fresh(Some(86_400_000 - 60_000), 86_400_000));
}

#[test]
fn a_session_without_a_ttl_or_with_a_longer_one_is_not_fresh() {
    assert!(!is_fresh(None, 3_600_000));
    assert!(!is_fresh(Some(7_200_000), 3_600_000));
}
