//! Loads programs that aya cannot: ones that attach to functions of modules (`attach_btf_obj_fd`).
//!
//! aya keeps maps and all other programs. Here the same object is read once more for its code, which is pointed at aya's
//! maps; a program is then one `BPF_PROG_LOAD` and one link. Kprobes come the same way, since the maps are no longer aya's.
#![expect(unsafe_code, reason = "the bpf system call, which no crate offers for module programs")]

use std::{
    collections::HashSet,
    ffi::CString,
    fs, io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, bail};
use aya_obj::{
    Object,
    generated::{
        PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC, bpf_attach_type, bpf_attr,
        bpf_cmd, bpf_prog_type, perf_event_attr,
    },
};

/// When a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// As the function begins.
    Entry,
    /// As it returns.
    Exit,
    /// At a tracepoint.
    Tracepoint,
    /// For each of what an iterator walks through.
    Each,
    /// As the function begins, which nothing describes: its arguments are registers.
    Kprobe,
    /// As it returns, likewise.
    Kretprobe,
}

impl When {
    /// How the kernel calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Entry => "fentry",
            Self::Exit => "fexit",
            Self::Tracepoint => "tp_btf",
            Self::Each => "iter",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
        }
    }
}

/// One bpf system call; those used here return a descriptor or 0.
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: the kernel reads and writes within `attr`, and what it points to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(result).unwrap_or(-1)) }
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of integers, for which all-zero bytes are valid and mean "not given".
    unsafe { mem::zeroed() }
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The kernel's type information of a module (needs `CAP_SYS_ADMIN`).
///
/// # Errors
/// When there is none, because the module is not loaded or the kernel keeps none, or it cannot be had.
pub(crate) fn module_btf(name: &str) -> Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        btf: u64,
        size: u32,
        id: u32,
        name: u64,
        name_len: u32,
        kernel: u32,
    }
    let mut id = 0;
    loop {
        let mut attr = zeroed();
        attr.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
        match bpf(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attr) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("the kernel has no type information of module {name}")
            }
            result => drop(result.context("type information cannot be listed (BPF_BTF_GET_NEXT_ID)")?),
        }
        // SAFETY: the kernel has written it.
        id = unsafe { attr.__bindgen_anon_6.next_id };
        let mut attr = zeroed();
        attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
        let Ok(fd) = bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr).map(owned) else { continue };
        let mut label = [0_u8; 64];
        let mut info = Info { name: label.as_mut_ptr() as u64, name_len: 64, ..Info::default() };
        let mut attr = zeroed();
        attr.info.bpf_fd = fd.as_raw_fd().cast_unsigned();
        attr.info.info = &raw mut info as u64;
        attr.info.info_len = u32::try_from(size_of::<Info>())?;
        bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)
            .context("type information cannot be asked for its name")?;
        let end = label.iter().position(|byte| *byte == 0).unwrap_or(label.len());
        if info.kernel == 1 && &label[..end] == name.as_bytes() {
            return Ok(fd);
        }
    }
}

/// The code of an object, pointed at maps that exist.
pub(crate) struct Code {
    object: Object,
    btf: Option<OwnedFd>,
}

impl Code {
    /// Reads an object whose maps aya has made.
    ///
    /// # Errors
    /// When it is not such an object.
    pub(crate) fn new(bytes: &[u8], maps: &[(String, BorrowedFd<'_>)]) -> Result<Self> {
        let mut object = Object::parse(bytes).context("the object with the probes cannot be understood")?;
        let features = aya::features();
        let btf = match features.btf() {
            Some(features) => object.fixup_and_sanitize_btf(features)?.map(aya_obj::btf::Btf::to_bytes),
            None => None,
        };
        let btf = btf.map(|bytes| load_btf(&bytes)).transpose()?;
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let own: Vec<_> = object.maps.iter().map(|(name, map)| (name.clone(), map.clone())).collect();
        let known = own.iter().filter_map(|(name, map)| {
            let (_, fd) = maps.iter().find(|(known, _)| known == name)?;
            Some((name.as_str(), fd.as_raw_fd(), map))
        });
        object.relocate_maps(known, &text).context("the programs cannot be pointed at their maps")?;
        object.relocate_calls(&text).context("the programs cannot be linked")?;
        object.sanitize_functions(features);
        Ok(Self { object, btf })
    }

    /// Loads a program for a function: the module's type information, if it is a module's, and the function's id there, 0
    /// for a kprobe.
    ///
    /// # Errors
    /// When the kernel refuses it; the message has the verifier's verdict.
    pub(crate) fn load(
        &self,
        name: &str,
        when: When,
        module: Option<&OwnedFd>,
        function: u32,
    ) -> Result<OwnedFd> {
        let program = self.object.programs.get(name);
        let program =
            program.with_context(|| format!("the object has no program {name}: it is of another version"))?;
        let code = self.object.functions.get(&program.function_key());
        let code = code.with_context(|| format!("program {name} has no code"))?;
        let (functions, lines) = (code.func_info.func_info_bytes(), code.line_info.line_info_bytes());
        let mut attr = zeroed();
        // SAFETY: the member of the union that BPF_PROG_LOAD reads.
        let load = unsafe { &mut attr.__bindgen_anon_3 };
        for (to, from) in load.prog_name.iter_mut().zip(name.bytes().take(15)) {
            *to = from.cast_signed();
        }
        let attach_type = match when {
            When::Entry => Some(bpf_attach_type::BPF_TRACE_FENTRY),
            When::Exit => Some(bpf_attach_type::BPF_TRACE_FEXIT),
            When::Tracepoint => Some(bpf_attach_type::BPF_TRACE_RAW_TP),
            When::Each => Some(bpf_attach_type::BPF_TRACE_ITER),
            When::Kprobe | When::Kretprobe => None,
        };
        load.prog_type = match attach_type {
            Some(_) => bpf_prog_type::BPF_PROG_TYPE_TRACING,
            None => bpf_prog_type::BPF_PROG_TYPE_KPROBE,
        } as u32;
        load.expected_attach_type = attach_type.map_or(0, |kind| kind as u32);
        load.attach_btf_id = function;
        if let Some(module) = module {
            load.__bindgen_anon_1.attach_btf_obj_fd = module.as_raw_fd().cast_unsigned();
        }
        load.insns = code.instructions.as_ptr() as u64;
        load.insn_cnt = u32::try_from(code.instructions.len())?;
        load.license = program.license.as_ptr() as u64;
        if let Some(btf) = &self.btf {
            load.prog_btf_fd = btf.as_raw_fd().cast_unsigned();
            if code.func_info_rec_size > 0 {
                load.func_info = functions.as_ptr() as u64;
                load.func_info_cnt = u32::try_from(code.func_info.len())?;
                load.func_info_rec_size = u32::try_from(code.func_info_rec_size)?;
            }
            if code.line_info_rec_size > 0 {
                load.line_info = lines.as_ptr() as u64;
                load.line_info_cnt = u32::try_from(code.line_info.len())?;
                load.line_info_rec_size = u32::try_from(code.line_info_rec_size)?;
            }
        }
        // A log is made only for a program that is refused: it costs the verifier time.
        match bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr) {
            Ok(fd) => return Ok(owned(fd)),
            Err(error)
                if matches!(when, When::Entry | When::Exit) && error.raw_os_error() == Some(libc::EPERM) =>
            {
                bail!("{}", untraceable(&error))
            }
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    || error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => bail!("the kernel refused the program: {error}"),
        }
        let mut log = vec![0_u8; 1 << 20];
        // SAFETY: as above.
        let load = unsafe { &mut attr.__bindgen_anon_3 };
        (load.log_level, load.log_buf, load.log_size) =
            (1, log.as_mut_ptr() as u64, u32::try_from(log.len())?);
        match bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr) {
            Ok(fd) => Ok(owned(fd)),
            Err(error) => {
                let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
                bail!(
                    "the kernel refused the program: {}",
                    verdict(&error, &String::from_utf8_lossy(&log[..end]))
                )
            }
        }
    }
}

/// What `EPERM` means to one who may load other programs.
pub(crate) fn untraceable(error: &io::Error) -> String {
    format!(
        "this kernel does not let functions be traced, whoever asks: it is locked down, or built without \
         CONFIG_FUNCTION_TRACER ({error})"
    )
}

/// The kernel's verdict without the thousand lines that led to it.
pub(crate) fn verdict(error: &io::Error, log: &str) -> String {
    let noise = ["verification time", "stack depth", "processed "];
    let last = log.lines().rev().find(|line| !line.is_empty() && !noise.iter().any(|n| line.starts_with(n)));
    format!("{error}: {}", last.unwrap_or("(no message)"))
}

fn load_btf(bytes: &[u8]) -> Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_7.btf = bytes.as_ptr() as u64;
    attr.__bindgen_anon_7.btf_size = u32::try_from(bytes.len())?;
    Ok(owned(
        bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr).context("the kernel refused the programs' type information")?,
    ))
}

/// Attaches a program to the function that it was loaded for; it is detached when the link is closed.
///
/// # Errors
/// Those of the kernel, e.g. when the function cannot be traced.
pub(crate) fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.raw_tracepoint.prog_fd = program.as_raw_fd().cast_unsigned();
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr).map(owned)
}

/// Attaches a program to the iterator that it was loaded for; it is called when [`walk`] is read.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn iterate(program: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr).map(owned)
}

/// One walk of an iterator: a file that is read to its end.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn walk(link: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.iter_create.link_fd = link.as_raw_fd().cast_unsigned();
    bpf(bpf_cmd::BPF_ITER_CREATE, &mut attr).map(owned)
}

/// Where the kernel says how kprobes are asked for.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Whether this kernel has kprobes that programs can be attached to.
pub(crate) fn has_kprobes() -> bool {
    fs::exists(KPROBES).unwrap_or(false)
}

/// Attaches a program to a function by name, which must be the only one of that name; it is detached when what is returned
/// is closed.
///
/// # Errors
/// Those of the kernel, e.g. when there is no such function or it must not be probed.
pub(crate) fn attach_kprobe(program: &OwnedFd, function: &str, at_return: bool) -> io::Result<OwnedFd> {
    let number = |file: &str, prefix: &str| {
        let text = fs::read_to_string(format!("{KPROBES}/{file}"))?;
        let number = text.trim().strip_prefix(prefix).and_then(|text| text.parse::<u32>().ok());
        number.ok_or_else(|| io::Error::other(format!("{KPROBES}/{file} cannot be understood: {text}")))
    };
    let name = CString::new(function)?;
    // SAFETY: integers, for which all-zero bytes are valid and mean "not given".
    let mut attr: perf_event_attr = unsafe { mem::zeroed() };
    attr.type_ = number("type", "")?;
    attr.size = u32::try_from(size_of::<perf_event_attr>()).unwrap_or(0);
    attr.config = if at_return { 1 << number("format/retprobe", "config:")? } else { 0 };
    attr.__bindgen_anon_3.kprobe_func = name.as_ptr() as u64;
    // SAFETY: the kernel reads `attr` and the name, which outlive the call; any process, CPU 0, no group.
    let event = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw mut attr, -1, 0, -1, u64::from(PERF_FLAG_FD_CLOEXEC))
    };
    let event = RawFd::try_from(event).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    let event = owned(event);
    for (request, argument) in [(PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()), (PERF_EVENT_IOC_ENABLE, 0)] {
        // SAFETY: both take an integer.
        if unsafe { libc::ioctl(event.as_raw_fd(), libc::c_ulong::from(request), argument) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(event)
}
