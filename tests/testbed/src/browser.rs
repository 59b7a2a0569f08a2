use std::sync::Arc;

use reqwest::{
    blocking::{Client, RequestBuilder, Response},
    header::{COOKIE, HeaderMap, SET_COOKIE},
    redirect,
};

use crate::cookies::Cookies;

/// More would be a circle.
const MOST_REDIRECTS: usize = 10;

/// Somebody's browser: an HTTP client on connections of its own, with one visitor's [`Cookies`].
///
/// It blocks its thread. The browsers in the tests of the library and in the conformance suite do not, and so
/// share only the cookies, or nothing: on their threads the proxy before Redis, or the application itself,
/// runs meanwhile.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    cookies: Arc<Cookies>,
    url: String,
}

/// What a site has answered.
#[derive(Debug)]
pub struct Page {
    /// 200, or what else.
    pub status: u16,
    /// As it was sent: HTML, or the text of a refusal.
    pub body: String,
    headers: HeaderMap,
}

impl Browser {
    /// Of somebody who has not been at this site yet. (A URL without a slash at the end.)
    ///
    /// # Panics
    ///
    /// Here and below, when nobody answers.
    pub fn new(url: &str) -> Self {
        // They set cookies, too, which are for us to keep.
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none());
        Self {
            client: client.build().unwrap(),
            cookies: Arc::default(),
            url: url.to_owned(),
        }
    }

    /// Another one that has this cookie: a tab, or a thief.
    pub fn with_cookie(url: &str, cookie: &str) -> Self {
        let browser = Self::new(url);
        browser.cookies.keep(cookie);
        browser
    }

    /// The same browser at another address.
    pub fn at(&self, url: &str) -> Self {
        Self {
            client: self.client.clone(),
            cookies: Arc::clone(&self.cookies),
            url: url.to_owned(),
        }
    }

    /// What it sends along, if it has been given a cookie.
    pub fn cookie(&self) -> Option<String> {
        self.cookies.header()
    }

    /// Follows a link to this path, and redirects: what a person sees in the end.
    pub fn open(&self, path: &str) -> Page {
        let mut page = self.get(path);
        for _ in 0..MOST_REDIRECTS {
            let Some(location) = page.header("location") else {
                return page;
            };
            page = self.get(location);
        }
        panic!("{path} leads to {page:?}");
    }

    /// One request, and what it is answered with.
    pub fn get(&self, path: &str) -> Page {
        self.get_with(path, &[])
    }

    /// The same with headers of the visitor's own.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Page {
        let request = self.client.get(self.url(path));
        let with =
            |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
        self.send(headers.iter().fold(request, with))
    }

    /// As a health check asks, or who looks whether a page has changed.
    pub fn head(&self, path: &str) -> Page {
        self.send(self.client.head(self.url(path)))
    }

    /// As a form is sent.
    pub fn post(&self, path: &str, body: &str) -> Page {
        self.send(self.client.post(self.url(path)).body(body.to_owned()))
    }

    fn send(&self, mut request: RequestBuilder) -> Page {
        if let Some(cookie) = self.cookie() {
            request = request.header(COOKIE, cookie);
        }
        let page = Page::of(request.send().unwrap());
        for cookie in page.headers.get_all(SET_COOKIE) {
            self.cookies.keep(cookie.to_str().unwrap());
        }
        page
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Page {
    fn of(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().unwrap(),
        }
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        Some(value.to_str().unwrap())
    }
}
