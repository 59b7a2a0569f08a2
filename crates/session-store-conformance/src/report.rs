use std::fmt::{self, Write as _};

use crate::rule::{Level, Rule};

/// What a check has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The store does what the rule asks for.
    Passed,
    /// It does not, and this has been seen.
    Failed(String),
    /// Nobody knows, for this reason.
    NotChecked(String),
}

/// What a run has found. As text, it is a line for each check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a store that fails does not fail the test by itself"]
pub struct Report {
    pub(crate) verdicts: Vec<(Rule, Verdict)>,
}

impl Report {
    /// All of it, in the order of the checks.
    pub fn verdicts(&self) -> &[(Rule, Verdict)] {
        &self.verdicts
    }

    /// The names of the rules that the store breaks.
    pub fn failures(&self) -> Vec<&'static str> {
        self.names(|_, verdict| matches!(verdict, Verdict::Failed(_)))
    }

    /// Those that it breaks of one level.
    pub fn failures_at(&self, level: Level) -> Vec<&'static str> {
        self.names(|rule, verdict| rule.level == level && matches!(verdict, Verdict::Failed(_)))
    }

    /// The names of the rules of which nobody knows.
    pub fn not_checked(&self) -> Vec<&'static str> {
        self.names(|_, verdict| matches!(verdict, Verdict::NotChecked(_)))
    }

    fn names(&self, is_meant: impl Fn(&Rule, &Verdict) -> bool) -> Vec<&'static str> {
        let meant = self.verdicts.iter().filter(|(r, v)| is_meant(r, v));
        meant.map(|(rule, _)| rule.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.verdicts.iter().map(|(rule, _)| rule.name.len()).max();
        let width = width.unwrap_or_default();
        for (rule, verdict) in &self.verdicts {
            let (group, level) = (rule.group, rule.level);
            write!(f, "{group:<9}  {level:<6}  {rule:<width$}  ")?;
            match verdict {
                Verdict::Passed => writeln!(f, "passed")?,
                Verdict::Failed(seen) => writeln!(f, "FAILED: {seen} ({})", rule.source)?,
                Verdict::NotChecked(reason) => writeln!(f, "not checked: {reason}")?,
            }
        }
        Ok(())
    }
}

/// Several reports as one table in Markdown, with a column for each, under its name.
///
/// # Panics
///
/// When they are not of the same checks.
pub fn markdown(columns: &[(&str, &Report)]) -> String {
    let mut table = String::from("| about | what holds |");
    for (name, _) in columns {
        write!(table, " {name} |").expect("a string takes it");
    }
    table += " asked for by |\n| --- | --- |";
    table += &" --- |".repeat(columns.len() + 1);
    table.push('\n');
    let rules = columns
        .first()
        .map_or(&[][..], |(_, report)| report.verdicts());
    let mut group = None;
    for (number, (rule, _)) in rules.iter().enumerate() {
        let heading = match group.replace(rule.group) != Some(rule.group) {
            true => format!("**{}** ", rule.group),
            false => String::new(),
        };
        write!(table, "| {heading}| {rule} ({}) |", rule.level).expect("a string takes it");
        for (_, report) in columns {
            let (same, verdict) = &report.verdicts[number];
            assert_eq!(same, rule, "reports of the same checks");
            table += match verdict {
                Verdict::Passed => " yes |",
                Verdict::Failed(_) => " **no** |",
                Verdict::NotChecked(_) => " not checked |",
            };
        }
        writeln!(table, " {} |", rule.source).expect("a string takes it");
    }
    table
}
