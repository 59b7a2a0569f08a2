//! README and chapters, as those read them who have only the files: on GitHub, on crates.io.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All that `lib.rs` includes, but for `links.md`, which is for rustdoc alone.
fn pages() -> Vec<(PathBuf, String)> {
    let chapters = fs::read_dir(folder().join("docs")).unwrap();
    let chapters = chapters.map(|entry| entry.unwrap().path());
    let chapters = chapters.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let pages = ["README.md", "SECURITY.md"].map(|name| folder().join(name));
    let pages = pages.into_iter().chain(chapters);
    let pages = pages.filter(|path| !path.ends_with("links.md"));
    let pages = pages.map(|path| (path.clone(), fs::read_to_string(path).unwrap()));
    pages.collect()
}

/// Its lines, and whether each is in a block of code, which the first line of the block begins.
fn lines(page: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut block = None;
    page.lines().map(move |line| {
        let fence = line.trim().strip_prefix("```");
        match (block, fence) {
            (None, Some(language)) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            _ => {}
        }
        (block.filter(|_| fence.is_none()), line)
    })
}

fn prose(page: &str) -> impl Iterator<Item = &str> {
    lines(page).filter_map(|(block, line)| block.is_none().then_some(line))
}

/// `[name]: destination`
fn definition(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once("]: ")
}

/// As GitHub names a heading: in small letters, without punctuation, `-` for a space.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn code_has_no_hidden_lines_which_only_rustdoc_hides() {
    for (path, page) in pages() {
        for (block, line) in lines(&page) {
            let is_rust = block.is_some_and(|language| language.starts_with("rust"));
            let is_hidden = line.trim_start() == "#" || line.trim_start().starts_with("# ");
            assert!(!(is_rust && is_hidden), "{}: {line}", path.display());
        }
    }
}

#[test]
fn what_only_rustdoc_can_follow_is_in_the_file_of_links() {
    for (path, page) in pages() {
        for line in prose(&page) {
            let is_for_rustdoc = line.contains("](crate") || line.contains("]: crate");
            assert!(!is_for_rustdoc, "{}: {line}", path.display());
        }
    }
}

#[test]
fn what_a_page_links_to_in_this_folder_is_there() {
    for (path, page) in pages() {
        let inline = prose(&page).flat_map(|line| {
            let ends = line.split("](").skip(1);
            ends.filter_map(|rest| Some(rest.split_once(')')?.0))
        });
        let defined = prose(&page).filter_map(|line| Some(definition(line)?.1));
        for link in inline.chain(defined).filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(target).unwrap());
                assert!(anchors.contains(anchor), "{}: {link}", path.display());
            }
        }
    }
}

#[test]
fn what_a_page_refers_to_by_a_name_is_defined_on_it() {
    for (path, page) in pages() {
        let defined = prose(&page).filter_map(|line| Some(definition(line)?.0));
        let defined: BTreeSet<_> = defined.collect();
        for line in prose(&page) {
            let ends = line.split("][").skip(1);
            let names = ends.filter_map(|rest| Some(rest.split_once(']')?.0));
            // In a URL, brackets are around what may be left out.
            let names =
                names.filter(|name| name.starts_with(|it: char| it == '`' || it.is_alphanumeric()));
            for name in names {
                assert!(defined.contains(name), "{}: [{name}]", path.display());
            }
        }
    }
}

/// In the documentation there are no files, but pages.
#[test]
fn what_a_page_links_to_in_this_folder_has_a_page_of_the_documentation() {
    let links = fs::read_to_string(folder().join("docs/links.md")).unwrap();
    let known: BTreeSet<_> = links
        .lines()
        .filter_map(definition)
        .map(|it| it.0)
        .collect();
    assert!(known.contains("promises"), "{known:?}");
    for (path, page) in pages() {
        for (name, destination) in prose(&page).filter_map(definition) {
            let is_known = destination.contains("://") || known.contains(name);
            assert!(is_known, "{}: [{name}]: {destination}", path.display());
        }
    }
}
