//! The devices that somebody is logged in on: to see them, to end one, to end all others.
//!
//! ```text
//! redis-server &
//! cargo run --example devices
//! ```
//!
//! In a project of your own it also needs `cargo add serde --features derive`, `cargo add rand`, and the folder
//! `devices` beside it.
//!
//! Open it in two browsers, or in a private window too, and log in with the same name.

#[path = "devices/page.rs"]
mod page;

use std::{env, time::Duration};

use actix_session::{
    Session, SessionMiddleware,
    config::{PersistentSession, TtlExtensionPolicy},
};
use actix_session_redis::{
    AtLimit, ConsistentSessions, CurrentSession, Error, RedisPool, RedisSessionStore, SessionId,
};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, Result,
    cookie::{Key, time},
    get,
    http::{StatusCode, header},
    post,
    web::{Data, Form, FormConfig},
};
use serde::Deserialize;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of all forms. What a form does not have is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    csrf: String,
    name: String,
    device: String,
    handle: String,
}

#[get("/")]
async fn index(
    request: HttpRequest,
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
) -> Result<HttpResponse> {
    let csrf = token(&session)?;
    let Some(user) = session.get::<String>("user")? else {
        return Ok(page::log_in(&csrf, &browser(&request)));
    };
    let notice = session.remove_as::<String>("notice").and_then(Result::ok);
    let devices = store.sessions_of(&user).list().await.map_err(failed)?;
    let devices: String = devices
        .iter()
        .map(|it| page::device(it, it.is_current(&current), &csrf))
        .collect();
    Ok(page::devices(&user, notice, &devices, &csrf))
}

#[post("/login")]
async fn login(
    request: HttpRequest,
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    form: Form<Fields>,
) -> Result<HttpResponse> {
    check_token(&session, &form)?;
    let name = form.name.trim();
    if name.is_empty() {
        return Err(page::problem(StatusCode::BAD_REQUEST, "Say who you are."));
    }
    let device = match form.device.trim() {
        "" => browser(&request),
        device => device.to_owned(),
    };
    let begun = store.sessions_of(name).begin_login().await;
    let begun = begun.map_err(failed)?;
    // Here you look at the password. If it is changed meanwhile, and all sessions of the user are
    // ended for that, this login is void.
    session.renew();
    session.insert("user", name)?;
    session.insert("device", device)?;
    // Nobody who knew the session before the login knows the token after it.
    session.insert("csrf", new_token())?;
    current.complete_login(begun);
    Ok(back_home())
}

#[post("/end")]
async fn end(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    form: Form<Fields>,
) -> Result<HttpResponse> {
    let user = user(&session, &form)?;
    let handle = form.handle.parse::<SessionId>().ok();
    if handle.is_some() && handle.as_ref() == current.handle() {
        session.purge();
        return Ok(back_home());
    }
    // Only a session of this user is ended, whatever the handle.
    let has_ended = match &handle {
        Some(handle) => store.sessions_of(&user).end(handle).await,
        None => Ok(false),
    };
    let notice = match has_ended.map_err(failed)? {
        true => "That device is logged out.",
        false => "You have no such device: nothing was ended.",
    };
    session.insert("notice", notice)?;
    Ok(back_home())
}

#[post("/end-others")]
async fn end_others(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    form: Form<Fields>,
) -> Result<HttpResponse> {
    let user = user(&session, &form)?;
    let ended = store.sessions_of(&user).end_others(&current).await;
    let notice = match ended.map_err(failed)? {
        0 => "There was no other device.".to_owned(),
        1 => "The other device is logged out.".to_owned(),
        count => format!("The {count} other devices are logged out."),
    };
    session.insert("notice", notice)?;
    Ok(back_home())
}

#[post("/logout")]
async fn logout(session: Session, form: Form<Fields>) -> Result<HttpResponse> {
    check_token(&session, &form)?;
    session.purge();
    Ok(back_home())
}

fn back_home() -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((header::LOCATION, "/")).finish()
}

/// Who sends a form of the devices page.
fn user(session: &Session, form: &Fields) -> Result<String> {
    check_token(session, form)?;
    let user = session.get("user")?;
    user.ok_or_else(|| forbidden("You are not logged in any more."))
}

/// A form that another site made has no token, or not the one of this session.
fn check_token(session: &Session, form: &Fields) -> Result<()> {
    match session.get::<String>("csrf")? {
        Some(token) if token == form.csrf => Ok(()),
        _ => Err(forbidden("This form is out of date. Please try again.")),
    }
}

fn token(session: &Session) -> Result<String> {
    if let Some(token) = session.get("csrf")? {
        return Ok(token);
    }
    let token = new_token();
    // A session that was ended on another device a moment ago takes no writes, but this is a new one.
    session.renew();
    session.insert("csrf", &token)?;
    Ok(token)
}

fn new_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What a browser calls itself, in two words.
fn browser(request: &HttpRequest) -> String {
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let agent = agent.replace("Edg/", "Edge/").replace("OPR/", "Opera/");
    let find = |words: &[&'static str]| words.iter().copied().find(|it| agent.contains(it));
    // Most say that they are others, too: the first that fits is right.
    let name = find(&["Firefox", "Edge", "Opera", "Chrome", "Safari"]);
    let system = find(&["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        _ => agent
            .split(['/', ' '])
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn forbidden(text: &str) -> actix_web::Error {
    page::problem(StatusCode::FORBIDDEN, text)
}

fn failed(error: Error) -> actix_web::Error {
    let text = error.to_string();
    match error {
        Error::SessionLimit { .. } | Error::Overtaken => page::problem(StatusCode::CONFLICT, &text),
        Error::Unavailable { .. } => {
            page::problem(StatusCode::SERVICE_UNAVAILABLE, "Please try again.")
        }
        _ => page::problem(StatusCode::INTERNAL_SERVER_ERROR, &text),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let key = match env::var("SESSION_KEY") {
        Ok(secret) => Key::try_from(secret.as_bytes())?,
        Err(_) => Key::generate(),
    };

    let store = RedisSessionStore::builder(RedisPool::from_url(url)?)
        .user_field("user")
        .label_field("device")
        .session_limit(10, AtLimit::EndOldest)
        .absolute_lifetime(30 * DAY)
        .build();
    // Each request prolongs its session, or nobody would know when a device was last seen.
    let lifecycle = PersistentSession::default()
        .session_ttl(time::Duration::days(7))
        .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
    let server = HttpServer::new(move || {
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_secure(false) // this example speaks plain HTTP
            .session_lifecycle(lifecycle.clone())
            .build();
        let sessions = ConsistentSessions::new(sessions)
            .on_outage(|_, error| failed(error.clone()).error_response())
            .on_refused_login(|_, error| failed(error.clone()).error_response());
        // What is no form of ours has no token.
        let forms =
            FormConfig::default().error_handler(|_, _| forbidden("This is none of our forms."));
        App::new()
            .app_data(Data::new(store.clone()))
            .app_data(forms)
            .wrap(sessions)
            .service((index, login, end, end_others, logout))
    })
    .bind(("127.0.0.1", port))?;
    println!("http://{}", server.addrs()[0]);
    server.run().await?;
    Ok(())
}
