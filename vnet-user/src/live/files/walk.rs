//! The iterator over open files (`bpf_iter_task_file`, Linux 5.8), and what it needs.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
};

use anyhow::{Context as _, Result, bail};
use vnet_ebpf::{
    files::{OpenFile, RECORD},
    offsets::{Field, by},
};

use crate::{
    live::{
        bpf::{self, Code, When},
        kernel::Kernel,
    },
    record::Probe,
};

/// The function that stands for the iterator in the kernel's BTF.
pub(crate) const ITERATOR: (&str, &str) = ("vmlinux", "bpf_iter_task_file");

/// The program, by its name in the object.
const PROGRAM: &str = "open_file";

/// Inode number of the pid namespace that has all processes (`PROC_PID_INIT_INO`).
const ALL_PROCESSES: u64 = 0xefff_fffc;

/// The iterator, ready to walk.
pub(crate) struct Walker {
    /// Program and link, or why there are none.
    iterator: Result<(OwnedFd, OwnedFd), String>,
    /// Why it is not found what vhost serves.
    blind: Option<String>,
}

impl Walker {
    /// Loads the program. `code` makes it for this kernel; `absent` says why there is no vhost.
    pub(crate) fn new(
        kernel: &Kernel,
        absent: Option<String>,
        without: &[String],
        code: impl FnOnce() -> Result<Code>,
    ) -> Self {
        let lacking = || kernel.lacks(by::SERVED).map(ToString::to_string);
        let workers = [Field::vq_worker, Field::dev_worker].map(|field| kernel.why_not(field));
        let no_worker = match workers {
            [Some(error), Some(_)] => Some(error.to_string()),
            _ => None,
        };
        Self {
            iterator: load(kernel, without, code).map_err(|error| format!("{error:#}")),
            blind: absent.or_else(lacking).or(no_worker),
        }
    }

    /// It is found what vhost serves.
    pub(crate) fn knows_vhost(&self) -> bool {
        self.iterator.is_ok() && self.blind.is_none()
    }

    /// Files of devices of interest; `None` where they cannot be walked through.
    pub(crate) fn walk(&self) -> Option<Vec<OpenFile>> {
        let (_, link) = self.iterator.as_ref().ok()?;
        read(File::from(bpf::walk(link).ok()?)).ok()
    }

    /// How what it tells is known.
    pub(crate) fn probes(&self) -> [Probe; 2] {
        let via = format!("iter:{}", ITERATOR.1.trim_start_matches("bpf_iter_"));
        let none = self.iterator.as_ref().err().cloned();
        let probe = |signal, reason| Probe::exact_unless(signal, &via, reason);
        [probe("vhost.files", none.clone().or_else(|| self.blind.clone())), probe("invisible", none)]
    }
}

fn load(
    kernel: &Kernel,
    without: &[String],
    code: impl FnOnce() -> Result<Code>,
) -> Result<(OwnedFd, OwnedFd)> {
    let (module, name) = ITERATOR;
    let function = kernel.function(module, name).filter(|_| !without.iter().any(|absent| absent == name));
    let function =
        function.with_context(|| format!("this kernel has no iterator over open files ({name})"))?;
    if let Some(error) = kernel.lacks(by::FILES) {
        bail!("{error}");
    }
    let space = fs::metadata("/proc/self/ns/pid").context("cannot tell which processes are seen")?;
    if space.ino() != ALL_PROCESSES {
        bail!("vnet runs in a pid namespace of its own, and does not see the files of other processes");
    }
    let program = code()?.load(PROGRAM, When::Each, None, function.id)?;
    let link = bpf::iterate(&program).context("the program cannot be attached to the iterator")?;
    Ok((program, link))
}

/// All records of a walk.
fn read(mut walk: File) -> io::Result<Vec<OpenFile>> {
    let (mut bytes, mut part) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match walk.read(&mut part) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            // It has walked a long way and found nothing, or was interrupted.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.as_chunks::<RECORD>().0.iter().map(OpenFile::of).collect())
}
