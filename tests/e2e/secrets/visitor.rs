use std::sync::Mutex;

use actix_web::cookie::{Cookie, CookieJar, Key};
use testbed::{Browser, Page};

use super::search::Secrets;

/// A browser that somebody looks into, who notes the session keys.
pub(super) struct Visitor<'a> {
    browser: Browser,
    cookie_key: &'a Key,
    secrets: &'a Mutex<Secrets>,
}

impl<'a> Visitor<'a> {
    pub(super) fn at(url: &str, cookie_key: &'a Key, secrets: &'a Mutex<Secrets>) -> Self {
        Self {
            browser: Browser::new(url),
            cookie_key,
            secrets,
        }
    }

    pub(super) fn get(&self, path: &str) -> Page {
        self.noted(self.browser.get(path))
    }

    pub(super) fn post(&self, path: &str, body: &str) -> Page {
        self.noted(self.browser.post(path, body))
    }

    fn noted(&self, answer: Page) -> Page {
        if let Some(set_cookie) = answer.header("set-cookie") {
            self.note(Cookie::parse_encoded(set_cookie).unwrap().into_owned());
        }
        answer
    }

    fn note(&self, cookie: Cookie<'static>) {
        if cookie.value().is_empty() {
            return;
        }
        let mut jar = CookieJar::new();
        jar.add_original(cookie.clone());
        let opened = jar.private(self.cookie_key).get(cookie.name());
        let session_key = opened.expect("it is a cookie of ours");
        let mut secrets = self.secrets.lock().unwrap();
        secrets.add("session key", session_key.value());
        secrets.add("cookie", cookie.value());
    }
}
