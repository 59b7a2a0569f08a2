use std::{fmt, process, str::FromStr};

use actix_web::http::header::HeaderValue;
use anyhow::bail;

/// What an instance calls itself, on the page and in the `x-demo-instance` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName {
    text: String,
    header: HeaderValue,
}

impl InstanceName {
    /// For an instance that was given no name.
    pub(crate) fn of_this_process() -> anyhow::Result<Self> {
        format!("pid-{}", process::id()).parse()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl FromStr for InstanceName {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let header = HeaderValue::from_str(name).ok();
        let Some(header) = header.filter(|_| !name.is_empty()) else {
            bail!("a name goes into an HTTP header: it cannot be empty or hold control characters")
        };
        Ok(Self {
            text: name.to_owned(),
            header,
        })
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
