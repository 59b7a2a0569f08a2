use std::{fs, path::Path};

use anyhow::Context as _;

const END: &str = "<!-- end of what was measured -->";

/// What was measured, under the title of its marker.
pub(crate) type Section = (String, String);

/// Puts the sections in the place of those that a chapter has between its markers: from
/// `<!-- measured: TITLE -->` to `<!-- end of what was measured -->`. What it has no marker for is left out.
pub(crate) fn update(path: &Path, sections: &[Section]) -> anyhow::Result<()> {
    let chapter = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    fs::write(path, updated(&chapter, sections)?)?;
    Ok(())
}

fn updated(chapter: &str, sections: &[Section]) -> anyhow::Result<String> {
    let mut chapter = chapter.to_owned();
    for (title, text) in sections {
        let marker = format!("<!-- measured: {title} -->");
        let Some(position) = chapter.find(&marker) else {
            continue;
        };
        let start = position + marker.len();
        let length = chapter[start..].find(END);
        let length = length.with_context(|| format!("{marker} has no end"))?;
        chapter.replace_range(start..start + length, &format!("\n\n{}\n\n", text.trim()));
    }
    Ok(chapter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(title: &str, text: &str) -> Section {
        (title.to_owned(), text.to_owned())
    }

    #[test]
    fn a_section_takes_the_place_of_the_one_with_its_title_and_no_other() {
        let chapter = format!(
            "Before.\n<!-- measured: One -->\n\nold\n\n{END}\n<!-- measured: Two -->\n\nkept\n\n{END}\nAfter.\n"
        );
        let sections = [section("One", "new\n"), section("Three", "nowhere")];
        assert_eq!(
            updated(&chapter, &sections).unwrap(),
            chapter.replace("old", "new")
        );
    }

    #[test]
    fn a_marker_without_an_end_is_named() {
        let refusal = updated("<!-- measured: One -->", &[section("One", "")]).unwrap_err();
        assert!(refusal.to_string().contains("measured: One"));
    }
}
