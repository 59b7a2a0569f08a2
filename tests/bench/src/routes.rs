use std::fmt::Display;

use actix_session::Session;
use actix_web::{Error, web};
use serde_json::json;

/// The field that the counter route counts in.
pub(crate) const COUNT: &str = "n";

pub(crate) fn with_session(app: &mut web::ServiceConfig) {
    app.route("/count", web::get().to(count))
        .route("/read", web::get().to(read))
        .route(&log_in("{items}"), web::get().to(begin));
}

/// Where a typical session begins, with so many items in its cart.
pub(crate) fn log_in(items: impl Display) -> String {
    format!("/log-in/{items}")
}

/// The same answers from nowhere.
pub(crate) fn without_session(app: &mut web::ServiceConfig) {
    let one = || async { "1".to_owned() };
    app.route("/count", web::get().to(one))
        .route("/read", web::get().to(one));
}

async fn count(session: Session) -> Result<String, Error> {
    let n = session.get::<u64>(COUNT)?.unwrap_or(0) + 1;
    session.insert(COUNT, n)?;
    Ok(n.to_string())
}

async fn read(session: Session) -> Result<String, Error> {
    let n = session.get::<u64>(COUNT)?.unwrap_or(0);
    Ok(n.to_string())
}

async fn begin(session: Session, items: web::Path<usize>) -> Result<&'static str, Error> {
    session.insert("user_id", 1_234_567)?;
    session.insert("logged_in_at", "2026-01-01T12:00:00Z")?;
    session.insert("csrf_token", "x".repeat(43))?;
    session.insert(COUNT, 0)?;
    let item = json!({ "article": "A1234", "number": 1 });
    session.insert("cart", vec![item; *items])?;
    Ok("welcome")
}
