use std::sync::Mutex;

use actix_web::cookie::{Cookie, CookieJar, Key};
use reqwest::{
    Method,
    blocking::Client,
    header::{COOKIE, SET_COOKIE},
    redirect,
};

use super::search::Secrets;

/// A browser that anybody looks over the shoulder of, who notes the session keys.
pub(super) struct Visitor<'a> {
    client: Client,
    url: &'a str,
    cookie: Option<Cookie<'static>>,
    cookie_key: &'a Key,
    secrets: &'a Mutex<Secrets>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl<'a> Visitor<'a> {
    pub(super) fn at(url: &'a str, cookie_key: &'a Key, secrets: &'a Mutex<Secrets>) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .build();
        Self {
            client: client.unwrap(),
            url,
            cookie: None,
            cookie_key,
            secrets,
        }
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, "")
    }

    pub(super) fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, body)
    }

    fn send(&mut self, method: Method, path: &str, body: &str) -> Answer {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, url).body(body.to_owned());
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie.encoded().stripped().to_string());
        }
        let response = request.send().unwrap();
        if let Some(cookie) = response.headers().get(SET_COOKIE) {
            self.keep(cookie.to_str().unwrap());
        }
        Answer {
            status: response.status().as_u16(),
            body: response.text().unwrap(),
        }
    }

    fn keep(&mut self, set_cookie: &str) {
        let cookie = Cookie::parse_encoded(set_cookie).unwrap().into_owned();
        if cookie.value().is_empty() {
            self.cookie = None;
            return;
        }
        let mut jar = CookieJar::new();
        jar.add_original(cookie.clone());
        let opened = jar.private(self.cookie_key).get(cookie.name());
        let session_key = opened.expect("it is a cookie of ours");
        let mut secrets = self.secrets.lock().unwrap();
        secrets.add("session key", session_key.value());
        secrets.add("cookie", cookie.value());
        self.cookie = Some(cookie);
    }
}
