use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::spelling::spellings;

/// How much of a pattern is looked up at once: shorter ones are found by chance.
const START: usize = 8;

/// What must be nowhere, each under the name of what it is.
#[derive(Default)]
pub(super) struct Secrets(BTreeMap<Vec<u8>, String>);

impl Secrets {
    pub(super) fn add(&mut self, what: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= START, "{what} is too short to be searched");
        self.0.insert(secret.to_vec(), what.to_owned());
    }

    pub(super) fn count(&self, what: &str) -> usize {
        self.0.values().filter(|it| *it == what).count()
    }

    /// For several places: what is slow is done once.
    pub(super) fn search(&self) -> Search<'_> {
        let mut search = Search {
            begins: vec![false; 1 << 16],
            patterns: HashMap::new(),
        };
        for (secret, what) in &self.0 {
            for (how, pattern) in spellings(secret) {
                let start = *pattern.first_chunk().expect("no spelling is shorter");
                search.begins[usize::from(two(&pattern))] = true;
                let same_start = search.patterns.entry(start).or_default();
                same_start.push(Pattern { what, how, pattern });
            }
        }
        search
    }
}

/// All spellings of all secrets.
pub(super) struct Search<'a> {
    /// Whether one begins with these two bytes.
    begins: Vec<bool>,
    patterns: HashMap<[u8; START], Vec<Pattern<'a>>>,
}

struct Pattern<'a> {
    what: &'a str,
    how: &'static str,
    pattern: Vec<u8>,
}

impl<'a> Search<'a> {
    /// What is in there, how it is spelt, and what is around the first of each.
    pub(super) fn found_in(&self, place: &[u8]) -> BTreeMap<(&'a str, &'static str), String> {
        let mut found = BTreeMap::new();
        for (at, start) in place.windows(START).enumerate() {
            if !self.begins[usize::from(two(start))] {
                continue;
            }
            for it in self.patterns.get(start).into_iter().flatten() {
                if place[at..].starts_with(&it.pattern) {
                    let around = at.saturating_sub(300)..(at + 200).min(place.len());
                    let around = || place[around].escape_ascii().to_string();
                    found.entry((it.what, it.how)).or_insert_with(around);
                }
            }
        }
        found
    }

    /// Only what is in there.
    pub(super) fn kinds_in(&self, place: &[u8]) -> BTreeSet<&'a str> {
        let found = self.found_in(place).into_keys();
        found.map(|(what, _)| what).collect()
    }
}

fn two(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

#[test]
fn the_search_finds_a_secret_however_it_is_spelt() {
    let mut secrets = Secrets::default();
    secrets.add("name", "Zoë \"레디스\"");
    secrets.add("key", [7, 8, 9, b'\'', b'"', 0xF9, 200, 255, b'\\', 0]);
    let search = secrets.search();
    let names = [
        r#"a Zoë "레디스" b"#,
        r#""SET" "Zo\xc3\xab \"\xeb\xa0\x88\xeb\x94\x94\xec\x8a\xa4\"""#,
        "Zo%C3%AB%20%22%EB%A0%88%EB%94%94%EC%8A%A4%22",
        "5a6fc3ab2022eba088eb9494ec8aa422",
        "5A6FC3AB2022EBA088EB9494EC8AA422",
        "[0, 90, 111, 195, 171, 32, 34, 235, 160, 136, 235, 148, 148, 236, 138, 164, 34]",
        r#"Zo\u{eb} \"\u{b808}\u{b514}\u{c2a4}\""#,
        r#"Zo\u00eb "\ub808\ub514\uc2a4""#,
        // With nothing, one, two and three bytes before it, and one behind it.
        "Wm/DqyAi66CI65SU7IqkIg==",
        "eFpvw6sgIuugiOuUlOyKpCIh",
        "eHlab8OrICLroIjrlJTsiqQiIQ==",
        "eHl6Wm_DqyAi66CI65SU7IqkIiE",
    ];
    let keys = [
        r#"\a\b\t'\"\xf9\xc8\xff\\\x00"#,
        r#"\x07\x08\t\'\"\xf9\xc8\xff\\\x00"#,
        "0708092722f9c8ff5c00",
        "BwgJJyL5yP9cAA==",
    ];
    for (what, places) in [("name", &names[..]), ("key", &keys)] {
        for place in places {
            assert_eq!(search.kinds_in(place.as_bytes()), [what].into(), "{place}");
        }
    }
    for place in ["Zoë", "5a6fc3ab", "", "레디스"] {
        assert_eq!(search.found_in(place.as_bytes()), [].into(), "{place}");
    }
}
