//! Browsers that visit a [`TestApp`]. Unlike that of the testbed, they do not block the thread of the test, on
//! which a proxy may be at work.

use std::{rc::Rc, time::Duration};

use actix_web::http::header::{self, HeaderMap};
use futures_util::future::join;
use testbed::Cookies;

use super::{app::TestApp, sealing};

/// Clones are its tabs.
#[derive(Clone)]
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    cookies: Rc<Cookies>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The names of the cookies that it sets or takes away.
    pub(crate) touched_cookies: Vec<String>,
    pub(crate) headers: HeaderMap,
}

impl Answer {
    /// The body of an answer that must be a success.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    /// It tells the visitor nothing about what went wrong.
    #[track_caller]
    pub(crate) fn assert_empty_500(&self) {
        assert_eq!((self.status, self.body.as_str()), (500, ""));
    }

    /// The same, when Redis is away: caches and clients learn that it is not for long.
    #[track_caller]
    pub(crate) fn assert_empty_503(&self) {
        assert_eq!((self.status, self.body.as_str()), (503, ""));
        assert_eq!(self.header("retry-after"), "1");
    }

    /// The values of a header, one after the other.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name);
        let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
        values.join(", ")
    }

    pub(crate) fn touches_session_cookie(&self) -> bool {
        self.touched_cookies.iter().any(|name| name == "id")
    }
}

impl<'a> Browser<'a> {
    pub(super) fn visiting(app: &'a TestApp) -> Self {
        Self {
            app,
            cookies: Rc::default(),
        }
    }

    /// On a connection of its own, so that the workers take turns.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let mut request = self.app.server.get(path).force_close();
        if let Some(cookie) = self.cookies.header() {
            request = request.insert_header((header::COOKIE, cookie));
        }
        let patience = Duration::from_secs(30);
        let mut response = request.timeout(patience).send().await.unwrap();
        let set_cookies = response.headers().get_all(header::SET_COOKIE);
        let touched_cookies = set_cookies
            .map(|cookie| self.keep(cookie.to_str().unwrap()))
            .collect();
        let body = response.body().await.unwrap();
        Answer {
            headers: response.headers().clone(),
            status: response.status().as_u16(),
            body: String::from_utf8(body.to_vec()).unwrap(),
            touched_cookies,
        }
    }

    /// Sends a request that has loaded its session, and has changed it, when `meanwhile` begins,
    /// and that ends only after it.
    pub(crate) async fn get_slowly<T>(
        &self,
        path: &str,
        meanwhile: impl Future<Output = T>,
    ) -> (Answer, T) {
        let path = format!("{path}?at-the-desk");
        let meanwhile = async {
            self.app.arrival_at_the_desk().await;
            let output = meanwhile.await;
            self.app.let_go();
            output
        };
        join(self.get(&path), meanwhile).await
    }

    /// Returns the name of the cookie.
    pub(super) fn keep(&self, set_cookie: &str) -> String {
        let (cookie, _) = set_cookie.split_once(';').unwrap_or((set_cookie, ""));
        // A signed cookie ends with the session key.
        if let Some(start) = cookie.len().checked_sub(64) {
            sealing::learn(&cookie[start..]);
        }
        self.cookies.keep(set_cookie).to_owned()
    }

    pub(crate) fn has_cookie(&self) -> bool {
        self.cookies.header().is_some()
    }

    /// What it sends along: all of its cookies.
    pub(crate) fn cookie(&self) -> String {
        self.cookies.header().expect("the app set a cookie")
    }

    /// The same browser, whose requests are now answered by another instance.
    pub(crate) fn at<'b>(&self, app: &'b TestApp) -> Browser<'b> {
        Browser {
            app,
            cookies: Rc::clone(&self.cookies),
        }
    }
}
