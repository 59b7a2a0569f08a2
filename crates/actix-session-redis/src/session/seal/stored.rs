use std::{collections::HashMap, fmt};

/// The values of a session as Redis holds them, while they are sealed: which nobody can tell from the
/// state, but has to, to see whether somebody else has changed one. Without sealing, there are none.
#[derive(Clone, Default)]
pub(crate) struct Stored {
    values: HashMap<Vec<u8>, Value>,
    /// When it has begun, if nobody has looked.
    pub(crate) unread_born: Option<Vec<u8>>,
}

#[derive(Clone)]
struct Value {
    bytes: Vec<u8>,
    is_stale: bool,
}

impl Stored {
    pub(crate) fn note(&mut self, field: Vec<u8>, bytes: Vec<u8>, is_stale: bool) {
        self.values.insert(field, Value { bytes, is_stale });
    }

    pub(crate) fn value(&self, field: &str) -> Option<&[u8]> {
        self.values.get(field.as_bytes()).map(|value| &*value.bytes)
    }

    /// Whether it is not sealed with the newest key.
    pub(crate) fn is_stale(&self, field: &str) -> bool {
        self.values
            .get(field.as_bytes())
            .is_some_and(|value| value.is_stale)
    }

    /// Whether any of them is.
    pub(crate) fn has_stale(&self) -> bool {
        self.values.values().any(|value| value.is_stale)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}
