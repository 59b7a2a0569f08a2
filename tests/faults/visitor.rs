use std::time::Instant;

use testbed::{Browser, Page};

use crate::{figures::Request, trial::DEADLINE};

/// Somebody with a session of their own, who knows what it must hold.
pub(crate) struct Visitor {
    browser: Browser,
    name: String,
    answered: u64,
    failed: u64,
    /// How many of the failed refreshes have been counted all the same.
    counted_failures: u64,
    /// Whether a refresh failed, or took long.
    was_held_up: bool,
    /// Whether its session may still go back once, to before the last writes that a server answered.
    may_go_back: bool,
    /// Answered refreshes that are not counted any more.
    lost: u64,
    /// The first page that was not what it must be.
    surprise: Option<String>,
}

impl Visitor {
    /// Opens the page for the first time, and leaves a name there.
    pub(crate) fn arrive(url: &str, name: String, may_go_back: bool) -> Self {
        let browser = Browser::new(url);
        let page = browser.open(&format!("/dbset/{name}"));
        assert_eq!((page.refreshed(), page.dbname()), (0, &*name));
        Self {
            browser,
            name,
            answered: 1,
            failed: 0,
            counted_failures: 0,
            was_held_up: false,
            may_go_back,
            lost: 0,
            surprise: None,
        }
    }

    pub(crate) fn refresh(&mut self) -> Request {
        let sent = Instant::now();
        let page = self.browser.open("/");
        let request = Request {
            sent,
            took: sent.elapsed(),
            answered: page.status == 200,
        };
        self.was_held_up |= !request.answered || request.took > DEADLINE / 2;
        if request.answered {
            self.compare(&page);
            self.answered += 1;
        } else {
            // Redis is away, or refuses.
            assert!([503, 500].contains(&page.status), "{page:?}");
            assert!(page.body.contains("<h1>"), "{page:?}");
            self.failed += 1;
        }
        request
    }

    /// Every answered refresh counts once. One that failed may have been counted, even after its
    /// answer: what was sent to a Redis that hangs is carried out when it goes on.
    fn compare(&mut self, page: &Page) {
        let (mut shown, name) = (page.refreshed(), page.dbname());
        let expected = self.answered + self.counted_failures;
        if self.may_go_back && shown < expected {
            self.may_go_back = false;
            self.lost = expected - shown;
        }
        shown += self.lost;
        let possible = self.counted_failures..=self.failed;
        match shown.checked_sub(self.answered) {
            Some(extra) if possible.contains(&extra) && name == self.name => {
                self.counted_failures = extra;
            }
            _ => {
                let surprise = format!(
                    "{} had {} answers, {} failures of which {} were counted, and now sees {name} \
                     and {shown}",
                    self.name, self.answered, self.failed, self.counted_failures
                );
                self.surprise.get_or_insert(surprise);
            }
        }
    }

    pub(crate) fn counted_failures(&self) -> u64 {
        self.counted_failures
    }

    pub(crate) fn was_held_up(&self) -> bool {
        self.was_held_up
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn surprise(&self) -> Option<&str> {
        self.surprise.as_deref()
    }
}
