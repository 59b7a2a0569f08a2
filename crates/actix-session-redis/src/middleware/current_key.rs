use std::{fmt, ops::Deref};

use actix_session::storage::SessionKey;

/// A session key that `Debug` does not show.
pub struct CurrentKey(SessionKey);

impl CurrentKey {
    pub(crate) fn copy(session_key: &SessionKey) -> Self {
        let copy = session_key.as_ref().to_owned().try_into();
        Self(copy.expect("a copy of a session key is one"))
    }
}

impl Deref for CurrentKey {
    type Target = SessionKey;

    fn deref(&self) -> &SessionKey {
        &self.0
    }
}

impl fmt::Debug for CurrentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentKey").finish_non_exhaustive()
    }
}
