use actix_session::Session;
use actix_session_redis::RedisSessionStore;
use actix_web::{
    Error, HttpRequest, HttpResponse, Responder,
    error::ErrorInternalServerError,
    http::{Method, StatusCode, header},
    web::{self, Html},
};
use askama::Template as _;
use serde::de::DeserializeOwned;

use crate::{InstanceName, dbname::DbName, page::Page};

/// The field of the session with the count that the next page will show.
pub(crate) const REFRESHED: &str = "refreshed";

const DBNAME: &str = "dbname";

pub(crate) async fn index(
    method: Method,
    session: Session,
    instance: web::Data<InstanceName>,
) -> Result<Html, Error> {
    let refreshed: u64 = field(&session, REFRESHED).unwrap_or(0);
    // HEAD asks what the page is like without visiting it.
    if method != Method::HEAD {
        session.insert(REFRESHED, refreshed.saturating_add(1))?;
    }

    let dbname: Option<String> = field(&session, DBNAME);
    let page = Page {
        refreshed,
        dbname: dbname.as_deref(),
        instance: instance.as_str(),
    };
    page.render()
        .map(Html::new)
        .map_err(ErrorInternalServerError)
}

/// Changes the session by GET, as in the post that the demo follows, so that a link can do it. An
/// application of one's own takes POST with a token: a link or a picture on any page could do it, too.
pub(crate) async fn dbset(request: HttpRequest, session: Session) -> Result<HttpResponse, Error> {
    // The route has one segment after `/dbset/`: a slash within a name comes encoded.
    let raw = request.uri().path().rsplit('/').next().unwrap_or_default();
    session.insert(DBNAME, DbName::from_path_segment(raw)?.into_string())?;
    Ok(to_the_page())
}

/// Ends the session by GET: see [`dbset`].
pub(crate) async fn kill(session: Session) -> HttpResponse {
    session.purge();
    to_the_page()
}

pub(crate) async fn healthz(store: web::Data<RedisSessionStore>) -> impl Responder {
    match store.check().await {
        Ok(()) => ("ok".to_owned(), StatusCode::OK),
        Err(reason) => (reason.to_string(), StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A field that holds something else than it should counts as missing: the visitor starts over
/// instead of meeting an error for as long as the session lives.
fn field<T: DeserializeOwned>(session: &Session, name: &str) -> Option<T> {
    session.get(name).ok().flatten()
}

fn to_the_page() -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, "/"))
        .finish()
}
