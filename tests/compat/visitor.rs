use std::{cell::RefCell, sync::LazyLock};

use reqwest::{
    Method, StatusCode,
    blocking::{Client, Response},
    header::{COOKIE, SET_COOKIE},
};

/// One for all, as it has a thread.
static CLIENT: LazyLock<Client> = LazyLock::new(|| Client::builder().no_proxy().build().unwrap());

/// A browser: it has the cookie that it was given last, whichever instance gave it.
///
/// (A cookie jar would keep it from plain HTTP, for which actix-session does not mean it.)
///
/// `site` is the address of an instance, or of what is in front of some.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    cookie: RefCell<Option<String>>,
}

impl Visitor {
    /// One that has just logged in.
    pub(crate) fn logged_in(name: &str, site: &str) -> Self {
        let visitor = Self::default();
        assert_eq!(visitor.log_in(name, site), StatusCode::NO_CONTENT);
        visitor
    }

    /// Another one with this cookie.
    pub(crate) fn with_cookie(cookie: Option<String>) -> Self {
        Self {
            cookie: RefCell::new(cookie),
        }
    }

    pub(crate) fn cookie(&self) -> Option<String> {
        self.cookie.borrow().clone()
    }

    /// What the page that counts says.
    pub(crate) fn refresh(&self, site: &str) -> String {
        let response = self.send(Method::GET, site, "/");
        assert!(!response.status().is_server_error(), "{response:?}");
        response.text().unwrap()
    }

    pub(crate) fn log_in(&self, name: &str, site: &str) -> StatusCode {
        let path = format!("/login/{name}");
        self.send(Method::POST, site, &path).status()
    }

    /// Its cookie stays: it is the server that must know.
    pub(crate) fn log_out(&self, site: &str) -> StatusCode {
        let cookie = self.cookie();
        let response = self.send(Method::POST, site, "/logout");
        self.cookie.replace(cookie);
        response.status()
    }

    fn send(&self, method: Method, site: &str, path: &str) -> Response {
        let request = CLIENT.request(method, format!("{site}{path}"));
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
