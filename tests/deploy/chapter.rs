use std::fs;

use crate::files::{deploy, read, root, text};

const CHAPTER: &str = "crates/actix-session-redis/docs/deployment.md";

/// Below `<!-- file: NAME -->`, the chapter quotes that file; a line `…` stands for what it leaves out.
fn quotations() -> Vec<(String, String)> {
    let chapter = read(&root().join(CHAPTER));
    let parts = chapter.split("<!-- file: ").skip(1);
    let quotations = parts.map(|part| {
        let (name, rest) = part.split_once(" -->\n\n```").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let (quotation, _) = rest.split_once("```").unwrap();
        (name.to_owned(), quotation.to_owned())
    });
    quotations.collect()
}

/// Without indentation, which a part of a file is quoted without.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

#[test]
fn what_the_chapter_quotes_stands_in_the_files() {
    let quotations = quotations();
    assert!(quotations.len() >= 6, "{quotations:?}");
    for (name, quotation) in quotations {
        let file = text(&name);
        let file = lines(&file);
        let mut rest = &file[..];
        for part in lines(&quotation).split(|line| *line == "…") {
            let found = rest.windows(part.len()).position(|window| window == part);
            let found = found.unwrap_or_else(|| panic!("not in {name}: {}", part.join("\n")));
            rest = &rest[found + part.len()..];
        }
    }
}

#[test]
fn every_block_of_the_chapter_that_is_no_command_is_quoted() {
    let chapter = read(&root().join(CHAPTER));
    let blocks = chapter.split("```").skip(1).step_by(2);
    let others = blocks.filter(|block| !block.starts_with("sh\n") && !block.starts_with("rust"));
    assert_eq!(others.count(), quotations().len());
}

#[test]
fn every_file_is_told_of() {
    let readme = text("README.md");
    for entry in fs::read_dir(deploy("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || readme.contains(&format!("`{name}")),
            "{name}"
        );
    }
}
