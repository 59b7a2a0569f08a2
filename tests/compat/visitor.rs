use std::cell::RefCell;

use reqwest::{
    Method, StatusCode,
    blocking::{Client, Response},
    header::{COOKIE, SET_COOKIE},
};

use crate::application::Instance;

/// A browser: it has the cookie that it was given last, whichever instance gave it.
///
/// (A cookie jar would keep it from plain HTTP, for which actix-session does not mean it.)
#[derive(Debug)]
pub(crate) struct Visitor {
    client: Client,
    cookie: RefCell<Option<String>>,
}

impl Visitor {
    /// One that has just logged in.
    pub(crate) fn logged_in(name: &str, instance: &Instance) -> Self {
        let visitor = Self {
            client: Client::builder().no_proxy().build().unwrap(),
            cookie: RefCell::new(None),
        };
        let response = visitor.send(Method::POST, instance, &format!("/login/{name}"));
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        visitor
    }

    /// What the page that counts says.
    pub(crate) fn refresh(&self, instance: &Instance) -> String {
        self.send(Method::GET, instance, "/").text().unwrap()
    }

    /// Its cookie stays: it is the server that must know.
    pub(crate) fn log_out(&self, instance: &Instance) {
        let cookie = self.cookie.borrow().clone();
        let response = self.send(Method::POST, instance, "/logout");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        self.cookie.replace(cookie);
    }

    fn send(&self, method: Method, instance: &Instance, path: &str) -> Response {
        let request = self.client.request(method, instance.url() + path);
        let request = match &*self.cookie.borrow() {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        let response = request.send().unwrap();
        if let Some(cookie) = response.headers().get(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookie.replace(Some(cookie.to_owned()));
        }
        response
    }
}
