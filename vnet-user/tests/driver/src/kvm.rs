//! A VM without an operating system, for what KVM does when a virtqueue calls: vCPUs of a few instructions each, which count
//! their interrupts themselves, by vector, in guest memory.
//!
//! A vCPU halts between interrupts, or spins. Its interrupt handlers are the guest's whole code, so after each interrupt the
//! guest's own count says which vCPU took which vector.
#![expect(unsafe_code, reason = "guest memory is given to KVM, which no wrapper can check")]

use std::{
    collections::BTreeMap,
    os::fd::{FromRawFd as _, IntoRawFd as _, OwnedFd},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_MP_STATE_RUNNABLE, KvmIrqRouting,
    kvm_irq_routing_entry, kvm_mp_state, kvm_msi, kvm_regs, kvm_segment, kvm_userspace_memory_region,
};
use kvm_ioctls::{IoEventAddress, Kvm, NoDatamatch, VcpuExit, VcpuFd, VmFd};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::vhost::Memory;

/// How long an interrupt may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of guest memory.
const MEMORY: usize = 1 << 20;

/// Where the segments are described.
const GDT: u32 = 0x800;

/// First page of the first vCPU, and bytes that each has: IDT, code, stack, counts.
const PAGES: u32 = 0x1000;
const STRIDE: u32 = 0x2000;
const CODE: u32 = 0x800;
const STACK: u32 = 0x1800;
const COUNTS: u32 = 0x1800;

/// Vectors that are counted.
const FIRST: u8 = 0x40;
const VECTORS: u8 = 32;

/// Vectors that kick: the vCPU that takes one writes to the port of the same number.
const FIRST_KICK: u8 = 0x80;
const KICKS: u8 = 16;

/// The vector that ends a vCPU.
const STOP: u8 = 0xf0;

/// The port that it then writes to.
const STOP_PORT: u8 = 0x70;

/// Bytes of a handler.
const HANDLER: u32 = 32;

/// What a vCPU does between interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It halts: its thread sleeps.
    Halt,
    /// It runs in a circle.
    Spin,
}

/// Where a route of KVM leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a vCPU: number, vector.
    Msi(u8, u8),
    /// To a pin of the IOAPIC, which nobody has set up: no vCPU is interrupted.
    Ioapic(u32),
}

/// A running VM; it ends when it is dropped.
#[derive(Debug)]
pub struct Vm {
    fd: VmFd,
    memory: Arc<Memory>,
    vcpus: Vec<Vcpu>,
    routes: BTreeMap<u32, Route>,
}

#[derive(Debug)]
struct Vcpu {
    tid: u32,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Why there can be no such VM here, or `None`.
pub fn missing() -> Option<String> {
    Kvm::new().err().map(|error| format!("needs /dev/kvm: {error}"))
}

impl Vm {
    /// Starts a VM with these vCPUs, each on the CPU that is said.
    pub fn new(vcpus: &[(usize, Idle)]) -> Result<Self> {
        let kvm = Kvm::new().context("cannot open /dev/kvm")?;
        let fd = kvm.create_vm().context("KVM_CREATE_VM")?;
        fd.create_irq_chip().context("KVM_CREATE_IRQCHIP")?;
        let memory = Arc::new(Memory::new(MEMORY)?);
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr: memory.host(0),
        };
        // SAFETY: the memory is mapped as long as `memory` lives, which is after the VM's end: fields are dropped in order.
        unsafe { fd.set_user_memory_region(region) }.context("KVM_SET_USER_MEMORY_REGION")?;
        for (at, segment) in [0, 0x00cf_9a00_0000_ffff_u64, 0x00cf_9200_0000_ffff].iter().enumerate() {
            memory.write(u64::from(GDT) + 8 * at as u64, &segment.to_le_bytes());
        }
        let mut vm = Self { fd, memory, vcpus: Vec::new(), routes: BTreeMap::new() };
        for (id, (cpu, idle)) in (0..).zip(vcpus) {
            let vcpu = vm.start(id, *cpu, *idle).with_context(|| format!("vCPU {id}"))?;
            vm.vcpus.push(vcpu);
        }
        Ok(vm)
    }

    fn start(&self, id: u32, cpu: usize, idle: Idle) -> Result<Vcpu> {
        let base = PAGES + id * STRIDE;
        ensure!((base + STRIDE) as usize <= MEMORY, "no memory for it");
        let mut next = base + CODE;
        let mut emit = |code: &[u8]| {
            let at = next;
            self.memory.write(u64::from(at), code);
            next += HANDLER;
            at
        };
        let entry = emit(match idle {
            Idle::Halt => &[0xfb, 0xf4, 0xeb, 0xfc], // sti; hlt; again
            Idle::Spin => &[0xfb, 0xeb, 0xfe],       // sti; jump to itself
        });
        // The IDT holds 256 gates of 8 bytes, and the handlers fill what is left before the stack: so they must be few.
        let counted = (FIRST..FIRST + VECTORS).map(|vector| (vector, handler(base, vector, None)));
        let kicks =
            (FIRST_KICK..FIRST_KICK + KICKS).map(|vector| (vector, handler(base, vector, Some(vector))));
        let stop = [0xfa, 0xe6, STOP_PORT, 0xeb, 0xfe].to_vec(); // cli; out STOP_PORT; jump to itself
        for (vector, code) in counted.chain(kicks).chain([(STOP, stop)]) {
            let at = emit(&code);
            let gate = u64::from(at & 0xffff) | 0x8 << 16 | 0x8e00 << 32 | u64::from(at >> 16) << 48;
            self.memory.write(u64::from(base) + 8 * u64::from(vector), &gate.to_le_bytes());
        }
        let mut fd = self.fd.create_vcpu(u64::from(id)).context("KVM_CREATE_VCPU")?;
        prepare(&fd, base, entry)?;
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut cpus = CpuSet::new();
            cpus.set(cpu);
            sched_setaffinity(None, &cpus).context("cannot go to its CPU")?;
            tell.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs())?;
            run(&mut fd)
        });
        Ok(Vcpu { tid: told.recv().context("it did not start")?, thread: Some(thread) })
    }

    /// Adds a route, or changes one.
    pub fn route(&mut self, gsi: u32, route: Route) -> Result<()> {
        self.routes.insert(gsi, route);
        let entries: Vec<_> = self.routes.iter().map(|(gsi, route)| entry(*gsi, *route)).collect();
        let routing = KvmIrqRouting::from_entries(&entries).context("too many routes")?;
        self.fd.set_gsi_routing(&routing).context("KVM_SET_GSI_ROUTING")
    }

    /// From now on a signal of this eventfd takes a route.
    pub fn irqfd(&self, call: OwnedFd, gsi: u32) -> Result<()> {
        self.fd.register_irqfd(&event(call), gsi).context("KVM_IRQFD")
    }

    /// From now on the kick number `number` of any vCPU signals this eventfd, as a guest's write to a doorbell does.
    pub fn ioeventfd(&self, kick: OwnedFd, number: u8) -> Result<()> {
        ensure!(number < KICKS, "no kick {number}");
        let port = IoEventAddress::Pio(u64::from(FIRST_KICK + number));
        self.fd.register_ioevent(&event(kick), &port, NoDatamatch).context("KVM_IOEVENTFD")
    }

    /// Has a vCPU kick.
    pub fn kick(&self, vcpu: u8, number: u8) -> Result<()> {
        self.interrupt(vcpu, FIRST_KICK + number)
    }

    /// Interrupts that a vCPU has taken.
    pub fn taken(&self, vcpu: u8, vector: u8) -> u32 {
        self.memory.read_u32(u64::from(count(PAGES + u32::from(vcpu) * STRIDE, vector)))
    }

    /// Waits until a vCPU has taken so many interrupts.
    pub fn wait(&self, vcpu: u8, vector: u8, times: u32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.taken(vcpu, vector) < times {
            if Instant::now() > deadline {
                bail!("vCPU {vcpu} took vector {vector:#x} {} times, not {times}", self.taken(vcpu, vector));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Threads of its vCPUs.
    pub fn threads(&self) -> Vec<u32> {
        self.vcpus.iter().map(|vcpu| vcpu.tid).collect()
    }

    /// Moves a vCPU to another CPU.
    pub fn pin(&self, vcpu: usize, cpu: usize) -> Result<()> {
        let vcpu = self.vcpus.get(vcpu).context("no such vCPU")?;
        pin(vcpu.tid, cpu)
    }

    /// Has a vCPU run on the CPU that it was moved to: it takes an interrupt that no virtqueue called for.
    pub fn nudge(&self, vcpu: u8) -> Result<()> {
        let vector = FIRST + VECTORS - 1;
        let before = self.taken(vcpu, vector);
        self.interrupt(vcpu, vector)?;
        self.wait(vcpu, vector, before + 1)
    }

    fn interrupt(&self, vcpu: u8, vector: u8) -> Result<()> {
        let msi = kvm_msi { address_lo: address(vcpu), data: u32::from(vector), ..kvm_msi::default() };
        let taken = self.fd.signal_msi(msi).context("KVM_SIGNAL_MSI")?;
        ensure!(taken > 0, "vCPU {vcpu} does not take vector {vector:#x}");
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        for id in 0..self.vcpus.len() {
            if let Err(error) = self.interrupt(u8::try_from(id).unwrap_or(u8::MAX), STOP) {
                eprintln!("vCPU {id} cannot be stopped: {error:#}");
                std::mem::forget(Arc::clone(&self.memory)); // the others run on
                return;
            }
        }
        for (id, vcpu) in self.vcpus.iter_mut().enumerate() {
            let ended = vcpu.thread.take().map(JoinHandle::join);
            if !matches!(ended, Some(Ok(Ok(())))) {
                eprintln!("vCPU {id} ended badly: {ended:?}");
            }
        }
    }
}

/// Moves a thread of this machine to one CPU.
pub fn pin(tid: u32, cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    let pid = rustix::process::Pid::from_raw(i32::try_from(tid)?).context("no thread 0")?;
    sched_setaffinity(Some(pid), &cpus).with_context(|| format!("cannot move thread {tid} to CPU {cpu}"))
}

/// Where interrupts of a vector are counted.
fn count(base: u32, vector: u8) -> u32 {
    base + COUNTS + 4 * u32::from(vector)
}

/// Ends the interrupt, kicks if it is to, counts, returns. What makes it leave the guest comes before it counts: who waits for
/// the count finds the vCPU in the guest.
fn handler(base: u32, vector: u8, port: Option<u8>) -> Vec<u8> {
    let mut code = vec![0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0]; // mov dword [EOI], 0
    if let Some(port) = port {
        code.extend([0xe6, port]); // out port, al
    }
    code.extend([0xf0, 0xff, 0x05]); // lock inc dword [count]
    code.extend(count(base, vector).to_le_bytes());
    code.push(0xcf); // iret
    code
}

/// Where a message goes that interrupts a vCPU.
fn address(vcpu: u8) -> u32 {
    0xfee0_0000 | u32::from(vcpu) << 12
}

fn entry(gsi: u32, route: Route) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry { gsi, ..kvm_irq_routing_entry::default() };
    match route {
        Route::Msi(vcpu, vector) => {
            entry.type_ = KVM_IRQ_ROUTING_MSI;
            entry.u.msi.address_lo = address(vcpu);
            entry.u.msi.data = u32::from(vector);
        }
        Route::Ioapic(pin) => {
            entry.type_ = KVM_IRQ_ROUTING_IRQCHIP;
            entry.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
            entry.u.irqchip.pin = pin;
        }
    }
    entry
}

fn event(fd: OwnedFd) -> vmm_sys_util::eventfd::EventFd {
    // SAFETY: the file is an eventfd that is given away.
    unsafe { vmm_sys_util::eventfd::EventFd::from_raw_fd(fd.into_raw_fd()) }
}

/// 32 bits, flat, an own IDT and stack; a local APIC that takes interrupts.
fn prepare(fd: &VcpuFd, base: u32, entry: u32) -> Result<()> {
    let mut sregs = fd.get_sregs()?;
    let segment = |selector, type_| kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    };
    sregs.cs = segment(0x08, 0xb);
    for data in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs, &mut sregs.ss] {
        *data = segment(0x10, 0x3);
    }
    sregs.cr0 |= 1;
    (sregs.gdt.base, sregs.gdt.limit) = (u64::from(GDT), 23);
    (sregs.idt.base, sregs.idt.limit) = (u64::from(base), 0x7ff);
    fd.set_sregs(&sregs).context("KVM_SET_SREGS")?;
    let regs =
        kvm_regs { rip: u64::from(entry), rsp: u64::from(base + STACK), rflags: 2, ..kvm_regs::default() };
    fd.set_regs(&regs).context("KVM_SET_REGS")?;
    let mut lapic = fd.get_lapic().context("KVM_GET_LAPIC")?;
    // The spurious vector register: vector 0xff, and the bit that switches the APIC on.
    for (at, byte) in [(0xf0, 0xff_u8), (0xf1, 0x01)] {
        lapic.regs[at] = std::ffi::c_char::from_ne_bytes([byte]);
    }
    fd.set_lapic(&lapic).context("KVM_SET_LAPIC")?;
    fd.set_mp_state(kvm_mp_state { mp_state: KVM_MP_STATE_RUNNABLE }).context("KVM_SET_MP_STATE")
}

/// Until it is told to stop.
fn run(fd: &mut VcpuFd) -> Result<()> {
    loop {
        match fd.run() {
            Ok(VcpuExit::IoOut(port, _)) if port == u16::from(STOP_PORT) => return Ok(()),
            Ok(other) => bail!("it left the guest: {other:?}"),
            Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {}
            Err(error) => return Err(error).context("KVM_RUN"),
        }
    }
}
