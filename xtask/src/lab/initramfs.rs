//! An initramfs: programs with the libraries they are linked to, and files, as a `newc` archive of cpio.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::closure;

const FILE: u32 = 0o100_755;
const FOLDER: u32 = 0o040_755;

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    count: u32,
}

impl Initramfs {
    /// Adds a program at `place`, and its shared libraries where it looks for them.
    ///
    /// # Errors
    /// When it or a library cannot be read.
    pub(crate) fn program(&mut self, program: &Path, place: &str) -> Result<()> {
        self.file(place, &closure::content(program)?)?;
        for library in closure::libraries(program, &[])? {
            let content = closure::content(&library)?;
            self.file(&library.to_string_lossy(), &content)?;
        }
        Ok(())
    }

    /// Adds a file; a second one at the same place is ignored.
    ///
    /// # Errors
    /// When it is too large for the format (4 GiB).
    pub(crate) fn file(&mut self, place: &str, content: &[u8]) -> Result<()> {
        let path = Path::new(place.trim_start_matches('/')).to_owned();
        if !self.files.insert(path.clone()) {
            return Ok(());
        }
        let mut folders: Vec<_> = path.ancestors().skip(1).filter(|f| !f.as_os_str().is_empty()).collect();
        folders.reverse();
        for folder in folders {
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, &[])?;
            }
        }
        self.entry(&path, FILE, content)
    }

    /// The finished archive.
    ///
    /// # Errors
    /// Never, beyond those of the format.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        let name = path.to_string_lossy();
        let size = u32::try_from(content.len()).context("a file is too large")?;
        self.count += 1;
        // inode, mode, uid, gid, links, time, size, device (2), special device (2), length of the name, checksum
        let name_size = u32::try_from(name.len() + 1)?;
        write!(self.bytes, "070701")?;
        for field in [self.count, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
            write!(self.bytes, "{field:08x}")?;
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    #[test]
    fn folders_come_before_files_and_everything_is_aligned() {
        let mut archive = Initramfs::default();
        archive.file("/a/b/c", b"hello").unwrap();
        archive.file("/a/b/c", b"again").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(text.matches("070701").count(), 4, "a, a/b, a/b/c, trailer");
        assert!(text.find("a/b\0").unwrap() < text.find("a/b/c\0").unwrap());
        assert!(text.contains("hello") && !text.contains("again"));
    }
}
