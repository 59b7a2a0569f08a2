use super::*;

#[test]
fn ttls_are_whole_milliseconds() {
    for (ttl, expected) in [
        (Duration::milliseconds(1), 1),
        (Duration::microseconds(1_999), 1),
        (Duration::milliseconds(1_500), 1_500),
        (Duration::hours(1), 3_600_000),
    ] {
        assert_eq!(whole_milliseconds(&ttl).unwrap(), expected);
    }
}

#[test]
fn ttls_out_of_range_are_refused() {
    for ttl in [
        Duration::ZERO,
        Duration::seconds(-1),
        Duration::microseconds(999),
        Duration::MIN,
        Duration::MAX,
    ] {
        let refused = whole_milliseconds(&ttl).unwrap_err();
        assert!(matches!(refused, Error::InvalidTtl { ttl: t } if t == ttl));
    }
}
