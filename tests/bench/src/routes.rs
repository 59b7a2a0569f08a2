use actix_session::Session;
use actix_web::{Error, web};

/// The field that the counter route counts in.
pub(crate) const COUNT: &str = "n";

pub(crate) fn with_session(app: &mut web::ServiceConfig) {
    app.route("/count", web::get().to(count))
        .route("/read", web::get().to(read));
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
