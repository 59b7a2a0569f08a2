//! The page of the demo, as it stands in its HTML.

use crate::browser::{Browser, Page};

impl Browser {
    /// The count that the page shows.
    pub fn refresh(&self) -> u64 {
        self.open("/").refreshed()
    }
}

impl Page {
    /// The count that it shows.
    pub fn refreshed(&self) -> u64 {
        assert_eq!(self.status, 200, "{self:?}");
        let count = self.between("You refreshed the page ", " times");
        count.parse().unwrap()
    }

    /// The name that it shows, escaped.
    pub fn dbname(&self) -> &str {
        self.between("dbname=\"", "\"")
    }

    /// Who has answered.
    pub fn instance(&self) -> &str {
        let instance = self.header("x-demo-instance");
        instance.unwrap_or_else(|| panic!("no instance has answered: {self:?}"))
    }

    fn between(&self, start: &str, end: &str) -> &str {
        let (_, rest) = self.body.split_once(start).expect(start);
        let (found, _) = rest.split_once(end).expect(end);
        found
    }
}
