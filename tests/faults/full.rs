use std::time::{Duration, Instant};

use testbed::Browser;

use crate::trial::{INSTANCES, LOOKS_AGAIN_WITHIN, Trial, configure_redis};

#[test]
fn a_full_redis_serves_readers_and_refuses_writers_with_a_reason() {
    let trial = Trial::of("Redis full for a second");
    let reader = Browser::new(&trial.stack.url());
    reader.open("/dbset/reader");
    let page = reader.open("/");

    let (figures, (reads, full)) = trial.under_load(|trial| {
        // Too little for anything; by default Redis evicts nothing.
        configure_redis(&trial.stack, "maxmemory", "1");
        let begun = Instant::now();
        let mut reads = 0;
        while begun.elapsed() < Duration::from_secs(1) {
            let read = reader.head("/");
            assert_eq!(read.status, 200);
            // With another name on the page, or none, it would be longer or shorter.
            let length = read.header("content-length");
            assert_eq!(length, Some(&*page.body.len().to_string()));
            reads += 1;
        }
        let full = begun..Instant::now();
        configure_redis(&trial.stack, "maxmemory", "0");
        (reads, full)
    });
    let usual = figures.visits.median_of(|visit| visit.done() < full.start);
    let refused = figures.visits.median_of(|visit| visit.is_within(&full));
    trial.say(format!(
        "{reads} reads, none failed; writes refused in {refused:.1?} (served in {usual:.1?})"
    ));

    let mut written = figures.visits.answered();
    assert!(!written.any(|visit| visit.is_within(&full)));
    assert_eq!(figures.counted_failures, 0);
    // Nobody waits for a no that stands.
    assert!(refused < usual + LOOKS_AGAIN_WITHIN);
    figures.assert_served_again(full.end);
    for i in 0..INSTANCES {
        let log = trial.stack.instance_log(i);
        assert!(
            log.contains("(OOM)") && log.contains("raise its maxmemory"),
            "{log}"
        );
    }
}
