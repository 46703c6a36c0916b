//! Paths and folders: the folder of a path, a file name with a suffix, the durable creation of folders, and classes of
//! I/O errors.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The folder that contains a path: `.` for a bare file name, `/` for the root.
pub fn of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// Appends a suffix to the file name: `journal.db` and `-wal` give `journal.db-wal`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates a folder and its missing parents with this mode, less the umask. The new folders are on disk when this
/// returns. A folder that exists is not changed and not synced, even if the sync of an earlier call failed.
///
/// # Errors
/// Returns an error if a folder cannot be created or synced, or if a file has its name.
pub fn make(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = of(folder);
    make(above, mode)?;
    match DirBuilder::new().mode(mode).create(folder) {
        // Another process may have created it meanwhile.
        Err(error) if !folder.is_dir() => Err(error),
        _ => sync(above),
    }
}

/// True if a retry does not help until something is changed, such as the path or a permission.
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

/// Turns the result of an operation on a file into `None` if the file does not exist.
///
/// # Errors
/// Returns every other error.
pub fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Makes the creation, renaming and deletion of files in a folder durable.
///
/// # Errors
/// Returns an error if the folder cannot be opened or synced.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_path_has_a_folder() {
        for (path, folder) in [("a/b", "a"), ("/a", "/"), ("a", "."), ("/", "/"), ("../a", "..")] {
            assert_eq!(of(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn missing_parents_are_created_with_the_same_mode() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/b/c");
        make(&deep, 0o700).unwrap();
        make(&deep, 0o700).unwrap();
        for made in deep.ancestors().take(3) {
            assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", made.display());
        }
        std::fs::write(home.path().join("file"), "").unwrap();
        for path in ["file", "file/below"] {
            assert!(make(&home.path().join(path), 0o700).is_err(), "{path}");
        }
    }
}
