use std::sync::Arc;

use reqwest::{
    StatusCode,
    blocking::{Client, Response},
    cookie::Jar,
    header::{COOKIE, SET_COOKIE},
    redirect,
};

/// One browser, with its own cookies. Follows redirects.
pub(crate) struct Browser {
    client: Client,
    url: String,
}

/// What the browser shows after a request.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) instance: String,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn new(url: &str) -> Self {
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
    pub(crate) fn with_cookie(url: &str, cookie: &str) -> Self {
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

    pub(crate) fn open(&self, path: &str) -> Page {
        let response = self.client.get(self.url(path)).send().unwrap();
        Page {
            status: response.status(),
            instance: header(&response, "x-demo-instance"),
            body: response.text().unwrap(),
        }
    }

    /// What a `HEAD` of the page is answered with.
    pub(crate) fn probe(&self) -> Response {
        self.client.head(self.url("/")).send().unwrap()
    }

    /// The count that the page shows.
    pub(crate) fn refresh(&self) -> u64 {
        self.open("/").refreshed()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Page {
    pub(crate) fn refreshed(&self) -> u64 {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.between("You refreshed the page ", " times")
            .parse()
            .unwrap()
    }

    /// As it stands in the HTML source.
    pub(crate) fn dbname(&self) -> &str {
        self.between("dbname=\"", "\"")
    }

    fn between(&self, start: &str, end: &str) -> &str {
        let (_, rest) = self.body.split_once(start).expect(start);
        let (found, _) = rest.split_once(end).expect(end);
        found
    }
}

/// One request by hand, with this `Cookie` header; redirects are not followed.
pub(crate) fn request(url: &str, cookie: Option<&str>) -> Response {
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
pub(crate) fn cookie_of(response: &Response) -> String {
    let set_cookie = header(response, SET_COOKIE.as_str());
    set_cookie.split(';').next().unwrap().to_owned()
}

pub(crate) fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    let value = value.unwrap_or_else(|| panic!("no {name} in {response:?}"));
    value.to_str().unwrap().to_owned()
}
