//! Folders: that of a file, what goes with the file, and one that is missing, made so that a power cut does not take it away again.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The folder that a path is in: the current one for a bare name, the root for the root.
pub fn of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// `journal.db` and `-wal`: the name of what goes with a file, in the same folder.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes a folder where there is none, with those above it, all with this mode; it is on disk when this returns.
///
/// # Errors
/// Whatever the file system says.
pub fn make(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = of(folder);
    make(above, mode)?;
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync(above),
    }
}

/// Whether an error stays until a person changes something, such as the path or a permission: trying again does not help.
pub fn is_lasting(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
        PermissionDenied, ReadOnlyFilesystem,
    };
    matches!(
        error.kind(),
        AlreadyExists
            | InvalidFilename
            | InvalidInput
            | IsADirectory
            | NotADirectory
            | NotFound
            | PermissionDenied
            | ReadOnlyFilesystem
    )
}

/// Makes the names in a folder durable: a file in it that was made, renamed or deleted.
///
/// # Errors
/// Whatever the file system says.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_path_is_in_a_folder() {
        for (path, folder) in [("a/b", "a"), ("/a", "/"), ("a", "."), ("/", "/"), ("../a", "..")] {
            assert_eq!(of(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn folders_are_made_with_those_above_them_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/b/c");
        make(&deep, 0o700).unwrap();
        make(&deep, 0o700).unwrap();
        for made in deep.ancestors().take(3) {
            assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", made.display());
        }
        std::fs::write(home.path().join("file"), "").unwrap();
        assert!(make(&home.path().join("file/below"), 0o700).is_err());
    }
}
