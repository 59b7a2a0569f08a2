use std::{fs, path::Path};

/// The diff in the manual's chapter on migration that stands below `<!-- diff: NAME -->`.
pub(crate) fn diff(workspace: &Path, name: &str) -> String {
    let chapter = workspace.join("crates/actix-session-redis/docs/migration.md");
    let chapter = fs::read_to_string(chapter).unwrap();
    let between = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start)?;
        Some(rest.split_once(end)?.0.to_owned())
    };
    between(
        &chapter,
        &format!("<!-- diff: {name} -->\n\n```diff\n"),
        "```\n",
    )
    .unwrap_or_else(|| panic!("the chapter has no diff called {name}"))
}
