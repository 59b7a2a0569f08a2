use std::{collections::BTreeMap, sync::Mutex};

/// The cookies of one visitor: each stays until the site takes it away.
///
/// All of them are sent with every request, `Secure` ones too, as actix-session sets them by default: what
/// the tests start speaks plain HTTP.
#[derive(Debug, Default)]
pub struct Cookies(Mutex<BTreeMap<String, String>>);

impl Cookies {
    /// Does what a `Set-Cookie` header says, or keeps what stands in a `Cookie` header. Returns the name of
    /// the cookie.
    ///
    /// # Panics
    ///
    /// When it has no name.
    pub fn keep<'a>(&self, set_cookie: &'a str) -> &'a str {
        let (cookie, attributes) = set_cookie.split_once(';').unwrap_or((set_cookie, ""));
        let (name, value) = cookie.split_once('=').expect("a cookie has a name");
        let mut cookies = self.0.lock().unwrap();
        if attributes.contains("Max-Age=0") {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
        name
    }

    /// The `Cookie` header that goes along with a request, if there are any.
    pub fn header(&self) -> Option<String> {
        let cookies = self.0.lock().unwrap();
        let pairs = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let pairs: Vec<_> = pairs.collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_stays_until_the_site_takes_it_away() {
        let cookies = Cookies::default();
        assert_eq!(cookies.header(), None);
        assert_eq!(cookies.keep("id=first; Path=/; Secure"), "id");
        cookies.keep("theme=dark");
        cookies.keep("id=a=b; HttpOnly; Max-Age=3600");
        assert_eq!(cookies.header().unwrap(), "id=a=b; theme=dark");
        cookies.keep("id=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(cookies.header().unwrap(), "theme=dark");
    }
}
