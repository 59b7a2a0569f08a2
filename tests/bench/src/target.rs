use crate::{figures::Spread, table::Table};

/// What was to be reached, and what has been.
#[derive(Debug)]
pub(crate) struct Target {
    what: String,
    bound: Bound,
    /// Unless it was left out.
    measured: Option<Spread>,
}

#[derive(Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    pub(crate) fn at_least(limit: f64, what: impl Into<String>, measured: Option<Spread>) -> Self {
        Self {
            what: what.into(),
            bound: Bound::AtLeast(limit),
            measured,
        }
    }

    pub(crate) fn at_most(limit: f64, what: impl Into<String>, measured: Option<Spread>) -> Self {
        Self {
            what: what.into(),
            bound: Bound::AtMost(limit),
            measured,
        }
    }
}

pub(crate) fn table(targets: impl IntoIterator<Item = Target>) -> Table {
    let mut table = Table::new(["to reach", "bound", "measured", "reached"]);
    for target in targets {
        let Some(measured) = target.measured else {
            continue;
        };
        let (sign, limit, reached) = match target.bound {
            Bound::AtLeast(limit) => ("≥", limit, measured.median >= limit),
            Bound::AtMost(limit) => ("≤", limit, measured.median <= limit),
        };
        table.row([
            target.what,
            format!("{sign} {limit}"),
            measured.to_string(),
            if reached { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table
}
