//! A browser: an HTTP client that keeps cookies and reads the page.

use std::sync::Arc;

use reqwest::{
    StatusCode,
    blocking::{Client, Response},
    cookie::Jar,
    header::{COOKIE, SET_COOKIE},
    redirect,
};

/// One browser, with its own cookies. Follows redirects.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    url: String,
}

/// What the browser shows after a request.
#[derive(Debug)]
pub struct Page {
    /// Of the last response, when there were redirects.
    pub status: StatusCode,
    /// Who answered.
    pub instance: String,
    /// As it was sent: HTML, or the text of a refusal.
    pub body: String,
}

impl Browser {
    /// One that has not been anywhere yet.
    pub fn new(url: &str) -> Self {
        let client = Client::builder()
            .no_proxy()
            .cookie_store(true)
            .build()
            .unwrap();
        Self {
            client,
            url: url.to_owned(),
        }
    }

    /// Another tab of the browser that has this cookie.
    pub fn with_cookie(url: &str, cookie: &str) -> Self {
        let jar = Arc::new(Jar::default());
        jar.add_cookie_str(cookie, &url.parse().unwrap());
        let client = Client::builder()
            .no_proxy()
            .cookie_provider(jar)
            .build()
            .unwrap();
        Self {
            client,
            url: url.to_owned(),
        }
    }

    /// Follows a link to this path.
    pub fn open(&self, path: &str) -> Page {
        let response = self.client.get(self.url(path)).send().unwrap();
        Page {
            status: response.status(),
            instance: header(&response, "x-demo-instance"),
            body: response.text().unwrap(),
        }
    }

    /// What a `HEAD` of the page is answered with.
    pub fn probe(&self) -> Response {
        self.client.head(self.url("/")).send().unwrap()
    }

    /// The count that the page shows.
    pub fn refresh(&self) -> u64 {
        self.open("/").refreshed()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Page {
    /// The count that the page shows.
    pub fn refreshed(&self) -> u64 {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.between("You refreshed the page ", " times")
            .parse()
            .unwrap()
    }

    /// The name that the page shows, as it stands in the HTML source.
    pub fn dbname(&self) -> &str {
        self.between("dbname=\"", "\"")
    }

    fn between(&self, start: &str, end: &str) -> &str {
        let (_, rest) = self.body.split_once(start).expect(start);
        let (found, _) = rest.split_once(end).expect(end);
        found
    }
}

/// One request by hand, with this `Cookie` header; redirects are not followed.
pub fn request(url: &str, cookie: Option<&str>) -> Response {
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    let request = client.get(url);
    match cookie {
        Some(cookie) => request.header(COOKIE, cookie),
        None => request,
    }
    .send()
    .unwrap()
}

/// The `name=value` of the cookie that a response sets.
pub fn cookie_of(response: &Response) -> String {
    let set_cookie = header(response, SET_COOKIE.as_str());
    set_cookie.split(';').next().unwrap().to_owned()
}

/// A header that the response must have.
pub fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    let value = value.unwrap_or_else(|| panic!("no {name} in {response:?}"));
    value.to_str().unwrap().to_owned()
}
