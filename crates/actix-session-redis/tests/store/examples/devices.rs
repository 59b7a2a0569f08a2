use std::{cell::Cell, rc::Rc};

use actix_web::http::header;
use futures_util::future::join;
use testbed::Cookies;

use super::Example;
use crate::support::{
    eventually,
    proxy::{Fate, Proxy},
    redis::TestRedis,
};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";

async fn start() -> (TestRedis, Example) {
    let redis = TestRedis::start().await;
    let example = Example::start("devices", [("REDIS_URL", redis.url())]);
    (redis, example)
}

/// Follows no redirects.
struct Visitor<'a> {
    url: &'a str,
    client: actix_test::Client,
    cookies: Cookies,
}

#[derive(Debug)]
struct Page {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Visitor<'_> {
    fn of(example: &Example) -> Visitor<'_> {
        Visitor {
            url: &example.url,
            client: actix_test::Client::builder().disable_redirects().finish(),
            cookies: Cookies::default(),
        }
    }

    async fn log_in<'a>(example: &'a Example, name: &str, device: &str) -> Visitor<'a> {
        let visitor = Visitor::of(example);
        let fields = [("name", name), ("device", device)];
        visitor.submit("/login", &fields).await;
        visitor
    }

    async fn home(&self) -> Page {
        self.ask("GET", "/", None).await
    }

    /// Sends a form of the page, as it is there.
    async fn submit(&self, path: &str, fields: &[(&str, &str)]) {
        let csrf = self.home().await.csrf();
        let fields = [&[("csrf", &*csrf)], fields].concat();
        let answer = self.ask("POST", path, Some(&fields)).await;
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        assert_eq!(answer.location.as_deref(), Some("/"));
    }

    async fn ask(&self, method: &str, path: &str, fields: Option<&[(&str, &str)]>) -> Page {
        let method = method.parse().unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        request = request.insert_header((header::USER_AGENT, FIREFOX));
        if let Some(cookie) = self.cookies.header() {
            request = request.insert_header((header::COOKIE, cookie));
        }
        let sent = match fields {
            Some(fields) => request.send_form(&fields),
            None => request.send(),
        };
        let mut answer = sent.await.unwrap();
        let text = |name| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        if let Some(cookie) = text(header::SET_COOKIE) {
            self.cookies.keep(&cookie);
        }
        let (status, location) = (answer.status().as_u16(), text(header::LOCATION));
        let body = answer.body().await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Page {
            status,
            location,
            body,
        }
    }
}

impl Page {
    fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once(r#"name="csrf" value=""#).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// What stands for each device, and its handle.
    fn devices(&self) -> Vec<(&str, &str)> {
        let devices = self.body.split("<li data-handle=\"").skip(1);
        devices.map(|it| it.split_once('"').unwrap()).collect()
    }

    #[track_caller]
    fn handle_of(&self, device: &str) -> String {
        let devices = self.devices();
        let found = devices.iter().find(|(_, text)| text.contains(device));
        found.unwrap_or_else(|| panic!("{self:?}")).0.to_owned()
    }

    fn is_log_in_form(&self) -> bool {
        self.status == 200 && self.body.contains(r#"action="/login""#)
    }
}

#[actix_web::test]
async fn devices_of_one_person_see_and_end_each_other() {
    let (redis, example) = start().await;
    let phone = Visitor::log_in(&example, "Ada", "phone").await;
    let laptop = Visitor::log_in(&example, " Ada ", "").await;
    let page = phone.home().await;
    let [(_, first), (_, second)] = page.devices()[..] else {
        panic!("two devices in {page:?}");
    };
    assert!(page.body.contains("logged in as <b>Ada</b>"), "{page:?}");
    assert!(first.contains("phone") && first.contains("this one"));
    assert!(first.contains("last seen now"), "{first}");
    assert!(second.contains("Firefox on Linux"), "{second}");
    assert!(!second.contains("this one"), "{second}");
    assert!(second.contains("Ends in 7 days"), "{second}");

    let of_phone = laptop.home().await.handle_of("phone");
    laptop.submit("/end", &[("handle", &of_phone)]).await;
    let page = laptop.home().await;
    assert!(page.body.contains("That device is logged out."), "{page:?}");
    assert_eq!(page.devices().len(), 1);
    assert!(!laptop.home().await.body.contains("is logged out"));
    assert!(phone.home().await.is_log_in_form());

    let others = [
        Visitor::log_in(&example, "Ada", "tablet").await,
        Visitor::log_in(&example, "Ada", "watch").await,
    ];
    let bob = Visitor::log_in(&example, "Bob", "phone").await;
    assert_eq!(laptop.home().await.devices().len(), 3);
    laptop.submit("/end-others", &[]).await;
    let page = laptop.home().await;
    assert!(page.body.contains("The 2 other devices"), "{page:?}");
    assert_eq!(page.devices().len(), 1);
    for other in &others {
        assert!(other.home().await.is_log_in_form());
    }
    // Who was logged out a moment ago can log in again at once.
    for (visitor, count) in [(&phone, 2), (&others[0], 3)] {
        visitor
            .submit("/login", &[("name", "Ada"), ("device", "again")])
            .await;
        assert_eq!(visitor.home().await.devices().len(), count);
    }

    laptop.submit("/logout", &[]).await;
    assert_eq!(laptop.cookies.header(), None);
    assert!(laptop.home().await.is_log_in_form());
    // To end the device in use is to log out, too.
    let of_bob = bob.home().await.handle_of("phone");
    bob.submit("/end", &[("handle", &of_bob)]).await;
    assert_eq!(bob.cookies.header(), None);
    assert!(redis.keys().iter().all(|key| redis.pttl(key) > 0));
}

#[actix_web::test]
async fn a_form_without_the_right_token_is_refused_and_does_nothing() {
    let (_redis, example) = start().await;
    let [ada, other] = [
        Visitor::log_in(&example, "Ada", "phone").await,
        Visitor::log_in(&example, "Ada", "laptop").await,
    ];
    let stranger = Visitor::of(&example);
    stranger.home().await;
    let handle = other.home().await.handle_of("laptop");
    let wrong = other.home().await.csrf();
    for path in ["/login", "/end", "/end-others", "/logout"] {
        let fields = [("name", "Eve"), ("handle", &handle)];
        let of_another_session = [("csrf", &*wrong), fields[0], fields[1]];
        for fields in [&fields[..], &of_another_session, &[("csrf", "")]] {
            for visitor in [&ada, &stranger, &Visitor::of(&example)] {
                let answer = visitor.ask("POST", path, Some(fields)).await;
                assert_eq!(answer.status, 403, "{path}: {answer:?}");
                assert!(answer.body.contains("<h1>"), "{answer:?}");
            }
        }
        let without_a_form = ada.ask("POST", path, None).await;
        assert_eq!(without_a_form.status, 403, "{path}: {without_a_form:?}");
    }
    assert_eq!(ada.home().await.devices().len(), 2);
    assert!(other.home().await.body.contains("logged in as <b>Ada</b>"));
    // The token from before the login is none after it.
    let before = stranger.home().await.csrf();
    let fields = [("csrf", &*before), ("name", "Bob")];
    stranger.ask("POST", "/login", Some(&fields)).await;
    let late = stranger.ask("POST", "/logout", Some(&fields)).await;
    assert_eq!(late.status, 403);
}

#[actix_web::test]
async fn a_handle_of_somebody_elses_device_ends_nothing_and_the_page_says_so() {
    let (_redis, example) = start().await;
    let ada = Visitor::log_in(&example, "Ada", "phone").await;
    let bob = Visitor::log_in(&example, "Bob", "laptop").await;
    let of_ada = ada.home().await.handle_of("phone");
    for handle in [&*of_ada, "no handle", ""] {
        bob.submit("/end", &[("handle", handle)]).await;
        let page = bob.home().await;
        assert!(page.body.contains("nothing was ended"), "{page:?}");
    }
    assert_eq!(ada.home().await.devices().len(), 1);
    assert_eq!(bob.home().await.devices().len(), 1);
}

#[actix_web::test]
async fn what_somebody_typed_is_shown_as_text() {
    let (_redis, example) = start().await;
    let typed = r#"<script>alert("&'")</script>"#;
    let shown = "&lt;script&gt;alert(&quot;&amp;&#39;&quot;)&lt;/script&gt;";
    let visitor = Visitor::log_in(&example, typed, typed).await;
    let page = visitor.home().await;
    assert_eq!(page.body.matches(shown).count(), 2, "{page:?}");
    assert!(!page.body.contains("<script"), "{page:?}");
    let nameless = [("csrf", &*page.csrf()), ("name", " ")];
    let refused = visitor.ask("POST", "/login", Some(&nameless)).await;
    assert_eq!(refused.status, 400);
}

/// Between the entry in the index and the session: nobody is logged in, and nothing stays for ever.
#[actix_web::test]
async fn a_process_that_is_killed_in_the_middle_of_a_login_leaves_no_session() {
    let redis = TestRedis::start().await;
    let is_login = Rc::new(Cell::new(false));
    let holds = Rc::clone(&is_login);
    let proxy = Proxy::before(&redis, move |command| {
        match holds.get() && command.is_create() {
            true => Fate::Silence,
            false => Fate::Forward,
        }
    })
    .await;
    let example = Example::start("devices", [("REDIS_URL", proxy.url_as(""))]);
    let url = example.url.clone();
    let client = actix_test::Client::default();
    let mut form = client.get(&url).send().await.unwrap();
    let cookie = form.headers().get(header::SET_COOKIE).unwrap().clone();
    let body = String::from_utf8(form.body().await.unwrap().to_vec()).unwrap();
    let csrf = Page {
        status: 200,
        location: None,
        body,
    }
    .csrf();
    is_login.set(true);
    let fields = [("csrf", &*csrf), ("name", "Ada"), ("device", "phone")];
    let login = client.post(format!("{url}/login"));
    let login = login
        .insert_header((header::COOKIE, cookie))
        .send_form(&fields);
    let killed = async {
        eventually("it is entered", || {
            redis
                .keys()
                .iter()
                .any(|key| key.starts_with("session:user:"))
        })
        .await;
        drop(example);
    };
    let (answer, ()) = join(login, killed).await;
    assert!(answer.is_err(), "{answer:?}");
    let store = redis.unsealed_store_with(|builder| builder.user_field("user"));
    let users = store.sessions_of("Ada");
    assert_eq!(users.count().await.unwrap(), 0);
    assert_eq!(users.end_all().await.unwrap(), 1);
    assert_eq!(users.count().await.unwrap(), 0);
    assert!(redis.keys().iter().all(|key| redis.pttl(key) > 0));
}
