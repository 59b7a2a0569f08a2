use std::collections::HashMap;

/// The values of a session as Redis holds them, while they are sealed: which nobody can tell from the
/// state, but has to, to see whether somebody else has changed one. Without sealing, there are none.
#[derive(Default)]
pub(crate) struct Stored {
    /// Each request makes them, and few look one up.
    values: Vec<StoredValue>,
    /// When it has begun, if nobody has looked.
    pub(crate) unread_born: Option<Vec<u8>>,
}

pub(crate) struct StoredValue {
    field: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    /// It is not sealed with the newest key.
    pub(crate) is_stale: bool,
}

impl Stored {
    pub(crate) fn note(&mut self, field: Vec<u8>, bytes: Vec<u8>, is_stale: bool) {
        let value = StoredValue {
            field,
            bytes,
            is_stale,
        };
        self.values.push(value);
    }

    pub(crate) fn by_field(&self) -> HashMap<&[u8], &StoredValue> {
        let values = self.values.iter();
        values.map(|value| (&*value.field, value)).collect()
    }

    /// Whether any of them is not sealed with the newest key.
    pub(crate) fn has_stale(&self) -> bool {
        self.values.iter().any(|value| value.is_stale)
    }
}
