//! What modules make possible that are loaded while vnet runs. What is attached stays attached.

use anyhow::{Context as _, Result};
use vnet_ebpf::offsets::Field;

use super::*;
use crate::live::bpf::{self, Code, When};

/// The program that is made for the tap driver's structures, and works without them.
pub(super) const DROP: &str = "drop";

/// That program, attached beside aya, which has let go of it.
pub(super) struct Drop {
    fd: OwnedFd,
    _link: OwnedFd,
    /// Runs that the kernel had left out of the earlier one.
    pub(super) skipped_before: u64,
}

impl Drop {
    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Loaded {
    /// Looks at the kernel again, and attaches what has become possible. What is not says why in its signals.
    pub(crate) fn follow(&mut self, without: &[String]) {
        match Kernel::read(without) {
            Ok(kernel) => self.take(kernel, without),
            Err(error) => self.vhost.refused(&format!("{error:#}")),
        }
        self.probes = self.describe();
    }

    /// Whether nothing is left that a module could add.
    pub(crate) fn is_complete(&self) -> bool {
        self.vhost.is_complete() && self.unlocated.is_none()
    }

    fn take(&mut self, mut kernel: Kernel, without: &[String]) {
        kernel.keep_settings(&self.kernel);
        let symbols = Symbols::read(without, vhost::wanted);
        let located = self.maps.locate(symbols.code.as_ref().ok(), vhost::handlers(&symbols));
        let symbol_error = symbols.code.as_ref().err().map(ToString::to_string);
        self.unlocated = located.err().map(|error| format!("{error:#}")).or(symbol_error);
        let came =
            |field: &&Field| self.kernel.why_not(**field).is_some() && kernel.why_not(**field).is_none();
        let came = SENDER.iter().any(|field| came(&field));
        self.kernel = kernel;
        if came && let Some(index) = PROGRAMS.iter().position(|program| program.name == DROP) {
            let renewed = self.renew(&PROGRAMS[index], without);
            self.refused[index] = renewed.err().map(|error| format!("{error:#}"));
        }
        self.attach_vhost(&symbols, without);
        self.walker = walker(&self.kernel, &self.maps, &self.files, without);
    }

    /// Puts a program that knows the tap driver's structures in the place of one that does not. No packet is counted by both.
    fn renew(&mut self, program: &Program, without: &[String]) -> Result<()> {
        check(program, &self.kernel, without)?;
        let skipped_before = self.program(program.name).map_or(0, skipped::runs);
        let loaded = self.load(program);
        // Where it cannot be loaded, the old one would go on as if it knew.
        tracepoint(&mut self.ebpf, program)?.unload().context("the program cannot be detached")?;
        self.drop = None;
        let fd = loaded?;
        let link = bpf::attach(&fd).context("the program cannot be attached")?;
        self.drop = Some(Drop { fd, _link: link, skipped_before });
        Ok(())
    }

    fn load(&self, program: &Program) -> Result<OwnedFd> {
        let id = self.kernel.tracepoint(program.tracepoint);
        let id = id.with_context(|| format!("this kernel has no tracepoint {}", program.tracepoint))?;
        code(&self.kernel, &self.maps, &self.files)?.load(program.name, When::Tracepoint, None, id)
    }

    /// Loads and attaches the programs that see vhost, those that are not yet.
    pub(super) fn attach_vhost(&mut self, symbols: &Symbols, without: &[String]) {
        if self.vhost.is_due(&self.kernel, symbols)
            && let Err(error) = self.try_vhost(symbols, without)
        {
            self.vhost.refused(&format!("{error:#}"));
        }
    }

    fn try_vhost(&mut self, symbols: &Symbols, without: &[String]) -> Result<()> {
        let bytes = object()?;
        let mut offsets = self.kernel.offsets;
        let mut objects = Vec::new();
        offsets.0[Field::used_has_nheads as usize] = u32::from(vhost::used_has_nheads(symbols));
        for again in 0..=u32::from(vhost::preemptible()) {
            offsets.0[Field::again as usize] = again;
            objects.push(relocate::fields(&bytes, &offsets, self.maps.cache.fd())?);
        }
        self.vhost.attach(&objects, &maps::borrow(&self.files), &self.kernel, symbols, without)
    }
}

/// The programs as this kernel needs them, for those that aya does not load.
fn code(kernel: &Kernel, maps: &Maps, files: &[(String, OwnedFd)]) -> Result<Code> {
    let object = relocate::fields(&object()?, &kernel.offsets, maps.cache.fd())?;
    Code::new(&object, &maps::borrow(files))
}

/// The walk through open files.
pub(super) fn walker(
    kernel: &Kernel,
    maps: &Maps,
    files: &[(String, OwnedFd)],
    without: &[String],
) -> Walker {
    Walker::new(kernel, vhost::why_absent(kernel), without, || code(kernel, maps, files))
}
