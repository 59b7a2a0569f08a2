use askama::Template;

/// The page that counts.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    pub(crate) refreshed: u64,
    pub(crate) dbname: Option<&'a str>,
    pub(crate) instance: &'a str,
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
}
