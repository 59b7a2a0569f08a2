use testbed::Browser;

/// Somebody who logs in and out at a site: an instance, or what is in front of some.
#[derive(Debug)]
pub(crate) struct Visitor {
    browser: Browser,
    site: String,
}

impl Visitor {
    /// Who has not been there yet.
    pub(crate) fn new(site: &str) -> Self {
        Self {
            browser: Browser::new(site),
            site: site.to_owned(),
        }
    }

    /// Who has this cookie.
    pub(crate) fn with_cookie(site: &str, cookie: &str) -> Self {
        Self {
            browser: Browser::with_cookie(site, cookie),
            site: site.to_owned(),
        }
    }

    /// Who has just logged in.
    pub(crate) fn logged_in(name: &str, site: &str) -> Self {
        let visitor = Self::new(site);
        assert_eq!(visitor.log_in(name), 204);
        visitor
    }

    /// The same one at another site.
    pub(crate) fn at(&self, site: &str) -> Self {
        Self {
            browser: self.browser.at(site),
            site: site.to_owned(),
        }
    }

    /// Of whom has logged in.
    pub(crate) fn cookie(&self) -> String {
        self.browser.cookie().expect("the site has set one")
    }

    /// What the page that counts says.
    pub(crate) fn refresh(&self) -> String {
        let page = self.browser.get("/");
        assert!(page.status < 500, "{page:?}");
        page.body
    }

    /// Returns the status of the answer.
    pub(crate) fn log_in(&self, name: &str) -> u16 {
        self.browser.post(&format!("/login/{name}"), "").status
    }

    /// The same. Its cookie stays: it is the server that must know.
    pub(crate) fn log_out(&self) -> u16 {
        let copy = Browser::with_cookie(&self.site, &self.cookie());
        copy.post("/logout", "").status
    }
}
