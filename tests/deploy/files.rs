use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where this file is.
pub(crate) fn deploy(name: &str) -> PathBuf {
    root().join("demo/deploy").join(name)
}

/// What stands in it.
pub(crate) fn text(name: &str) -> String {
    read(&deploy(name))
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// This text in the place of that one, which has to be there.
pub(crate) fn replaced(text: &str, what: &str, by: &str) -> String {
    assert!(text.contains(what), "no {what:?} in {text}");
    text.replace(what, by)
}
