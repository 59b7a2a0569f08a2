use actix_session_redis::{Error, KeyRing, RedisSessionStore};

use super::{A, B, builder, ids, ring};
use crate::support::redis::TestRedis;

const KEY: &str = "uTiXUOmrPgNRfVYlxlc+FpDOLbfHN5FTWfCUexDCYwY=";

fn reason(ring: Result<KeyRing, Error>) -> String {
    let error = ring.expect_err("it is no ring");
    assert_matches!(&error, Error::InvalidOption { option: "seal", .. });
    error.to_string()
}

#[test]
fn keys_come_as_bytes_or_in_base64_newest_first() {
    assert_eq!(ids(&[A, B]), [ids(&[A]), ids(&[B])].concat());
    let one = KeyRing::from_base64(KEY).unwrap();
    for same in [
        KEY.trim_end_matches('='),
        &KEY.replace('+', "-"),
        &format!("  {KEY}\n"),
    ] {
        let same = KeyRing::from_base64(same).unwrap();
        assert_eq!(format!("{same:?}"), format!("{one:?}"));
    }
    let other = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let both = KeyRing::from_base64(&format!("{KEY}, {other}")).unwrap();
    let shown = format!("{both:?}");
    let first = format!("{one:?}");
    let first = first.split('[').nth(1).unwrap().split(']').next().unwrap();
    assert!(shown.contains(&format!("[{first}, ")), "{shown}");
}

#[test]
fn what_is_no_key_ring_is_refused_with_a_sentence_that_quotes_no_key() {
    for (keys, expected) in [
        ("", "seal: there is no key"),
        (" ", "seal: there is no key"),
        (",", "seal: key 1 has 0 bytes, 32 are needed"),
        ("c2hvcnQ=", "seal: key 1 has 5 bytes, 32 are needed"),
        ("no base64!", "seal: key 1 is not base64"),
        (&format!("{KEY},"), "seal: key 2 has 0 bytes, 32 are needed"),
        (&format!("{KEY},{KEY}"), "seal: key 2 is there twice"),
        (&format!("{KEY};{KEY}"), "seal: key 1 is not base64"),
    ] {
        assert_eq!(reason(KeyRing::from_base64(keys)), expected);
    }
    assert_eq!(
        reason(KeyRing::new([[0; 33]])),
        "seal: key 1 has 33 bytes, 32 are needed"
    );
    let many = (0..17).map(|byte| [byte; 32]);
    assert_eq!(
        reason(KeyRing::new(many)),
        "seal: there are 17 keys, at most 16 are allowed"
    );
    assert_eq!(
        reason(KeyRing::from_env("NO_SUCH_VARIABLE_OF_THIS_TEST")),
        "seal: NO_SUCH_VARIABLE_OF_THIS_TEST is not set"
    );
}

#[actix_web::test]
async fn no_debug_output_shows_a_key() {
    let redis = TestRedis::start().await;
    let options = builder(&redis).seal(KeyRing::from_base64(KEY).unwrap());
    let store = builder(&redis).seal(ring(&[A])).build();
    let shown = format!("{options:?} {store:?} {:?}", ring(&[A, B]));
    for secret in ["aaaa", "97, 97", "6161", "uTiX", "185, 56", "b93897"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains(&ids(&[A])[0]));
}

#[actix_web::test]
async fn sealing_does_not_go_with_clear_text_of_the_built_in_store() {
    let redis = TestRedis::start().await;
    let options = || builder(&redis).seal(ring(&[A]));
    for (options, named) in [
        (options().built_in_layout(""), "built_in_layout"),
        (
            options().adopt_built_in_sessions(""),
            "adopt_built_in_sessions",
        ),
    ] {
        assert_matches!(options.try_build(), Err(Error::InvalidOption { option, .. }) if option == named);
    }
    let store: RedisSessionStore = options().try_build().unwrap();
    store.check().await.unwrap();
}
