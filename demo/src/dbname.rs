use actix_web::{ResponseError, http::StatusCode};
use percent_encoding::percent_decode_str;

/// The longest name that a session remembers, in characters.
const MAX_CHARS: usize = 256;

/// The name that `/dbset/{dbname}` stores.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DbName(String);

impl DbName {
    /// Decodes the name as it stands in the request line.
    ///
    /// Not from `web::Path`: it replaces what is not UTF-8, where we want to say no.
    pub(crate) fn from_path_segment(raw: &str) -> Result<Self, BadDbName> {
        let name = percent_decode_str(raw)
            .decode_utf8()
            .map_err(|_| BadDbName::NotUtf8)?;
        match name.chars().count() {
            0..=MAX_CHARS => Ok(Self(name.into_owned())),
            length => Err(BadDbName::TooLong { length }),
        }
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Why a name is refused, in a sentence for the one who sent it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadDbName {
    #[error("The name is not valid UTF-8 once its percent-encoding is undone.")]
    NotUtf8,
    #[error("The name has {length} characters; at most {MAX_CHARS} are allowed.")]
    TooLong { length: usize },
}

impl ResponseError for BadDbName {
    fn status_code(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str) -> String {
        DbName::from_path_segment(raw).unwrap().into_string()
    }

    #[test]
    fn any_utf8_is_a_name() {
        assert_eq!(decoded("redis"), "redis");
        assert_eq!(decoded("%EB%A0%88%EB%94%94%EC%8A%A4"), "레디스");
        assert_eq!(decoded("a%2Fb%20c+%25"), "a/b c+%");
        assert_eq!(decoded("100%"), "100%");
    }

    #[test]
    fn the_length_is_counted_in_characters() {
        assert_eq!(decoded(&"%EB%A0%88".repeat(256)).chars().count(), 256);
        assert_eq!(
            DbName::from_path_segment(&"%EB%A0%88".repeat(257)),
            Err(BadDbName::TooLong { length: 257 })
        );
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(DbName::from_path_segment("%ff%fe"), Err(BadDbName::NotUtf8));
    }
}
