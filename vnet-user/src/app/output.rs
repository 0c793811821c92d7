//! Where a report goes: standard output, or a file that is replaced whole or not at all.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tempfile::{Builder, NamedTempFile};

/// A place that was seen to be writable.
#[derive(Debug)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// A regular file, or one that is to be; links are followed.
    File { path: PathBuf, permissions: Permissions },
    /// What cannot be replaced: a device, a pipe.
    Stream { name: PathBuf, file: File },
}

impl Output {
    /// Makes sure that a report can be written there, before any time is spent on measuring. Leaves nothing behind.
    ///
    /// # Errors
    /// It is a folder, or this user may not write there.
    pub(crate) fn prepare(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let cannot = || format!("cannot write {}", path.display());
        let output = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => bail!("{}: it is a folder; name a file in it", cannot()),
            Ok(metadata) => {
                let file = OpenOptions::new().append(true).open(path).with_context(cannot)?;
                if !metadata.is_file() {
                    return Ok(Self::Stream { name: path.to_owned(), file });
                }
                let path = fs::canonicalize(path).with_context(cannot)?;
                Self::File { path, permissions: metadata.permissions() }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What any new file gets; the user's umask takes away from it.
                Self::File { path: path.to_owned(), permissions: Permissions::from_mode(0o666) }
            }
            Err(error) => return Err(error).with_context(cannot),
        };
        if let Self::File { path: target, .. } = &output {
            beside(target).with_context(cannot)?;
        }
        Ok(output)
    }

    /// Writes everything, or changes nothing.
    ///
    /// # Errors
    /// The disk is full, the pipe closed, the folder gone.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<()> {
        self.fill(|out| out.write_all(bytes))
    }

    /// The same with what `fill` writes, which need not be in memory at once. Only to a file is it all or nothing.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) fn fill(self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let buffered = |out: &mut dyn Write| {
            let mut out = BufWriter::new(out);
            fill(&mut out).and_then(|()| out.flush())
        };
        match self {
            Self::Stdout => buffered(&mut io::stdout().lock()).context("cannot write to standard output"),
            Self::Stream { name, mut file } => {
                buffered(&mut file).with_context(|| format!("cannot write {}", name.display()))
            }
            Self::File { path, permissions } => replace(&path, permissions, buffered)
                .with_context(|| format!("cannot write {}", path.display())),
        }
    }
}

/// A new file in the same folder, so that it can take the target's place in one step; removed when dropped.
fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Builder::new().prefix(".vnet-").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

fn replace(
    target: &Path,
    permissions: Permissions,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = beside(target)?;
    write(&mut file)?;
    if target.exists() {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn preparing_leaves_nothing_and_writing_replaces_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.txt");
        let output = Output::prepare(Some(&path)).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
        output.write(b"a long first report").unwrap();
        Output::prepare(Some(&path)).unwrap().write(b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["report.txt"]);
    }

    #[test]
    fn a_link_is_followed_and_the_mode_of_an_old_file_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("r"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("r", &link).unwrap();
        Output::prepare(Some(&link)).unwrap().write(b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_cannot_be_written_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let told = |path: &Path| format!("{:#}", Output::prepare(Some(path)).unwrap_err());
        assert!(told(folder.path()).contains("it is a folder"));
        assert!(told(&folder.path().join("no/such/folder")).contains("No such file"));
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let output = Output::prepare(Some(Path::new("/dev/null"))).unwrap();
        assert!(matches!(output, Output::Stream { .. }));
        output.write(b"report").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let full = Output::prepare(Some(Path::new("/dev/full"))).unwrap();
        assert!(full.write(b"report").is_err());
    }
}
