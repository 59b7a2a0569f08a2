use actix_web::http::StatusCode;
use askama::Template;

/// The page that counts.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    pub(crate) refreshed: u64,
    pub(crate) dbname: Option<&'a str>,
    pub(crate) instance: &'a str,
}

/// The page for whoever gets no other one.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub(crate) struct Problem {
    title: &'static str,
    explanation: &'static str,
}

impl Problem {
    pub(crate) fn of(status: StatusCode) -> Self {
        let (title, explanation) = match status {
            StatusCode::NOT_FOUND => (
                "There is no such page",
                "The demo has three: the one that counts, /dbset/ with a name after it, and /kill.",
            ),
            StatusCode::METHOD_NOT_ALLOWED => (
                "This page cannot be asked for like that",
                "The routes of the demo are for GET.",
            ),
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => (
                "No instance answers",
                "Sessions are safe in Redis: the count goes on when an instance is there again.",
            ),
            StatusCode::SERVICE_UNAVAILABLE => (
                "Redis is away",
                "Without it nobody knows your session. The instances look out for it: refresh in \
                 a moment, and the count goes on.",
            ),
            _ => (
                "Something went wrong",
                "The session could not be read, or not be kept. The log of the instance says why.",
            ),
        };
        Self { title, explanation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_with(dbname: Option<&str>) -> String {
        let page = Page {
            refreshed: 3,
            dbname,
            instance: "instance-1",
        };
        page.render().unwrap()
    }

    #[test]
    fn says_what_the_post_says() {
        let page = page_with(None);
        assert!(page.contains("You refreshed the page 3 times"));
        assert!(page.contains(r#"dbname="NULL""#));
        assert!(page.contains(r#"<a href="/kill">Reset</a>"#));
        assert!(page.contains("instance-1"));
    }

    #[test]
    fn shows_any_name_and_escapes_markup() {
        assert!(page_with(Some("레디스")).contains(r#"dbname="레디스""#));
        let hostile = page_with(Some(r#""><script>alert(1)</script>"#));
        assert!(!hostile.contains("<script"));
        assert!(hostile.contains("script"));
    }

    #[test]
    fn a_problem_has_a_title_and_a_way_out() {
        for status in 400..600 {
            let page = Problem::of(StatusCode::from_u16(status).unwrap());
            let page = page.render().unwrap();
            assert!(page.contains("<h1>") && page.contains(r#"<a href="/">"#));
        }
    }
}
