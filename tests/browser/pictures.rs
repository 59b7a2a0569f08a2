use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where a picture of this name belongs.
pub(crate) fn picture(name: &str) -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = scratch.parent().expect("it is in the target folder");
    let folder = target.join("browser");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name).with_extension("png")
}
