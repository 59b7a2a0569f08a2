//! What the pages of the example look like.

use std::time::{Duration, SystemTime};

use actix_session_redis::UserSession;
use actix_web::{
    Error, HttpResponse,
    error::InternalError,
    http::{StatusCode, header},
};

/// An error whose response is a page.
pub(crate) fn problem(status: StatusCode, text: &str) -> Error {
    let text = escaped(text);
    let body = format!("<h1>That did not work</h1><p>{text}</p><p><a href=\"/\">Go on</a></p>");
    InternalError::from_response("", whole(status, &body)).into()
}

fn whole(status: StatusCode, body: &str) -> HttpResponse {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
                          base-uri 'none'; frame-ancestors 'none'";
    let style = include_str!("style.css");
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Your devices</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{style}</style>\
             <main>{body}</main></html>"
        ))
}

pub(crate) fn log_in(csrf: &str, browser: &str) -> HttpResponse {
    let fields = format!(
        "<label>Your name <input name=\"name\" required maxlength=\"60\" autofocus></label>\
         <label>This device <input name=\"device\" maxlength=\"60\" value=\"{}\"></label>",
        escaped(browser)
    );
    let form = form("/login", csrf, &fields, "Log in");
    whole(StatusCode::OK, &format!("<h1>Log in</h1>{form}"))
}

pub(crate) fn devices(
    user: &str,
    notice: Option<String>,
    devices: &str,
    csrf: &str,
) -> HttpResponse {
    let notice = notice.map(|text| format!("<p role=\"status\">{}</p>", escaped(&text)));
    let body = format!(
        "<h1>Your devices</h1><p>You are logged in as <b>{}</b>.</p>{}<ul>{devices}</ul>\
         <footer>{}{}</footer>",
        escaped(user),
        notice.unwrap_or_default(),
        form("/end-others", csrf, "", "Log out all others"),
        form("/logout", csrf, "", "Log out here"),
    );
    whole(StatusCode::OK, &body)
}

pub(crate) fn device(session: &UserSession, is_current: bool, csrf: &str) -> String {
    let (handle, now) = (session.handle(), SystemTime::now());
    let since = |time| span(now.duration_since(time).unwrap_or_default());
    let field = format!("<input type=\"hidden\" name=\"handle\" value=\"{handle}\">");
    let (mark, seen, button) = match is_current {
        true => (" <em>this one</em>", "now".to_owned(), String::new()),
        false => {
            let seen = format!("{} ago", since(session.last_seen()));
            ("", seen, form("/end", csrf, &field, "Log out"))
        }
    };
    let label = escaped(session.label().unwrap_or("a device"));
    let began = since(session.began());
    let ends = span(session.ends().duration_since(now).unwrap_or_default());
    format!(
        "<li data-handle=\"{handle}\"><div><b>{label}</b>{mark}<br><small>Logged in {began} ago, \
         last seen {seen}. Ends in {ends} unless it is used.</small></div>{button}</li>"
    )
}

fn form(action: &str, csrf: &str, fields: &str, button: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\
         {fields}<button>{button}</button></form>"
    )
}

fn span(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (count, unit) = match minutes {
        0 => return "a moment".to_owned(),
        1..60 => (minutes, "minute"),
        60..1440 => ((minutes + 30) / 60, "hour"),
        _ => ((minutes + 720) / 1440, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

fn escaped(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}
