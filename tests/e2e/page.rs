use crate::stack::{browser, sessions, start};

#[test]
fn a_new_visitor_sees_no_name_and_a_link_to_start_over() {
    let stack = start();
    let page = browser(&stack).open("/");
    assert!(page.body.contains("You refreshed the page 0 times"));
    assert!(page.body.contains(r#"dbname="NULL""#));
    assert!(page.body.contains(r#"<a href="/kill">Reset</a>"#));
    assert!(page.body.contains(page.instance()));
}

#[test]
fn head_is_answered_like_a_visit_but_is_none() {
    let stack = start();
    let browser = browser(&stack);
    assert_eq!(browser.head("/").header("set-cookie"), None);
    assert!(sessions(&mut stack.redis()).is_empty());

    assert_eq!(browser.refresh(), 0);
    for _ in 0..3 {
        let head = browser.head("/");
        assert_eq!(head.status, 200);
        let content_type = head.header("content-type");
        assert_eq!(content_type, Some("text/html; charset=utf-8"));
        assert!(head.body.is_empty());
    }
    assert_eq!(browser.refresh(), 1);
}

#[test]
fn dbset_stores_the_name_and_goes_back_to_the_page() {
    let stack = start();
    let answer = browser(&stack).get("/dbset/redis");
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some("/"));
    assert_eq!(browser(&stack).open("/dbset/redis").dbname(), "redis");
}

#[test]
fn a_name_in_any_script_comes_back_as_it_was_given() {
    let stack = start();
    let browser = browser(&stack);
    for name in ["레디스", "Ärger & Söhne", "a/b", "100%", "🦀"] {
        let path: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let shown = browser.open(&format!("/dbset/{path}"));
        let expected = name.replace('&', "&#38;");
        assert_eq!(shown.dbname(), expected);
    }
}

#[test]
fn markup_in_a_name_is_shown_and_not_obeyed() {
    let stack = start();
    let page = browser(&stack).open("/dbset/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert!(!page.body.contains("<script"));
    assert!(page.dbname().contains("script"));
}

#[test]
fn a_name_that_is_too_long_or_no_text_is_refused_with_a_sentence() {
    let stack = start();
    let browser = browser(&stack);
    browser.open(&format!("/dbset/{}", "x".repeat(256)));
    for bad in ["x".repeat(257), "%ff%fe".to_owned()] {
        let page = browser.open(&format!("/dbset/{bad}"));
        assert_eq!(page.status, 400);
        assert!(page.body.starts_with("The name "), "{}", page.body);
    }
    assert_eq!(browser.open("/").dbname().len(), 256);
}

#[test]
fn every_response_says_which_instance_gave_it() {
    let stack = start();
    for path in ["/", "/dbset/x", "/kill", "/healthz", "/nothing/here"] {
        let answer = browser(&stack).get(path);
        assert!(answer.header("x-demo-instance").is_some(), "{path}");
    }
}

#[test]
fn health_checks_make_no_session() {
    let stack = start();
    let answer = browser(&stack).get("/healthz");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("set-cookie"), None);
}
