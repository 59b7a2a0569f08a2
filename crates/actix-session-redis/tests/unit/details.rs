use super::*;

#[test]
fn what_nobody_can_read_of_the_details_says_nothing() {
    let mut details = Details::default();
    let user = "x".repeat(43);
    for field in [USER, TTL, LIFETIME, LABEL] {
        for value in [&b""[..], b"\xFF", b"-1", b"0", b"abc", b"1 2 3 4", b" "] {
            details.read(field, value);
        }
    }
    assert_eq!(details.owner, None);
    assert_eq!((details.ttl_ms, details.lifetime_ms), (None, None));
    details.read(USER, format!("{user} 1 2").as_bytes());
    assert_eq!(
        details.owner.map(|owner| owner.to_string()),
        Some(format!("{user} 1 2"))
    );
}
