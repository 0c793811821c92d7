//! What the programs do. Every path is O(1), takes no lock and makes no system-wide write.

pub(crate) mod drop;
pub(crate) mod files;
pub(crate) mod kvm;
pub(crate) mod recv;
pub(crate) mod slots;
pub(crate) mod vhost;
pub(crate) mod xmit;

use aya_ebpf::{helpers::bpf_get_smp_processor_id, macros::map, maps::Array};
use vnet_ebpf::{
    counter::{Direction, Row, lost},
    hist,
};

/// `BPF_F_MMAPABLE`: user space reads the map without system calls.
const MMAPABLE: u32 = 1 << 10;

/// Rows: of each slot one per possible CPU; user space sets the size.
#[map]
static BANKS: Array<Row> = Array::with_max_entries(1, MMAPABLE);

/// Cells of [`lost`], a bank per possible CPU; user space sets the size.
#[map]
static LOST: Array<[u64; lost::CELLS]> = Array::with_max_entries(1, MMAPABLE);

/// A value of the table of offsets: a constant that the loader puts there, see [`vnet_ebpf::offsets::CONSTANT`].
macro_rules! offset {
    ($field:ident) => {{
        let value: u64;
        // SAFETY: sets a register.
        unsafe {
            core::arch::asm!(
                "{value} = {constant}",
                value = out(reg) value,
                constant = const vnet_ebpf::offsets::CONSTANT + vnet_ebpf::offsets::Field::$field as u32,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        value as u32
    }};
}

/// A field read directly through a pointer that the verifier knows the type of: one instruction.
///
/// Its offset is a placeholder that the loader replaces, see [`vnet_ebpf::offsets::PLACEHOLDER`]; the verifier then
/// checks offset and size against the kernel's BTF.
macro_rules! direct {
    ($base:expr, $field:ident : u16) => {
        $crate::probes::load!("u16", $base, $field) as u16
    };
    ($base:expr, $field:ident : u8) => {
        $crate::probes::load!("u8", $base, $field) as u8
    };
    ($base:expr, $field:ident : u32) => {
        $crate::probes::load!("u32", $base, $field) as u32
    };
    ($base:expr, $field:ident : u64) => {
        $crate::probes::load!("u64", $base, $field)
    };
    ($base:expr, $field:ident : $pointer:ty) => {
        $crate::probes::load!("u64", $base, $field) as $pointer
    };
}

/// See `direct`.
macro_rules! load {
    ($size:literal, $base:expr, $field:ident) => {{
        let value: u64;
        let base: $crate::probes::Kernel = $base;
        // SAFETY: a load that the verifier checks; it changes nothing.
        unsafe {
            core::arch::asm!(
                concat!("{value} = *(", $size, " *)({base} + {offset})"),
                value = out(reg) value,
                base = in(reg) base,
                offset = const vnet_ebpf::offsets::PLACEHOLDER + vnet_ebpf::offsets::Field::$field as usize,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        value
    }};
}

/// A field read through an address that the verifier knows nothing of; `None` where there is no memory.
macro_rules! probe {
    ($base:expr, $field:ident : $type:ty) => {{
        let address = ($base).wrapping_add($crate::probes::offset!($field) as usize).cast::<$type>();
        // SAFETY: bpf_probe_read_kernel checks the address.
        unsafe { aya_ebpf::helpers::bpf_probe_read_kernel(address) }.ok()
    }};
}

/// A value that kernel and user space read while it changes.
macro_rules! store {
    ($place:expr, $value:expr) => {{
        let value = $value;
        // SAFETY: a map value that this CPU alone writes.
        unsafe { core::ptr::write_volatile(&raw mut $place, value) }
    }};
}

pub(crate) use {direct, load, offset, probe, store};

/// A pointer into the kernel.
pub(crate) type Kernel = *const u8;

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: no arguments.
    unsafe { bpf_get_smp_processor_id() as u32 }
}

/// The row of a slot on this CPU.
#[inline(always)]
fn row(slot: u32) -> Option<*mut Row> {
    BANKS.get_ptr_mut(slot.wrapping_mul(offset!(cpus)).wrapping_add(cpu()))
}

/// Adds to a cell of a row.
#[inline(always)]
fn add(row: *mut Row, cell: usize, n: u64) {
    // SAFETY: `cell` is a constant below ROW; this CPU alone writes the row, with preemption by another program of
    // ours on the same CPU excluded because packets are handled with softirqs off.
    let old = unsafe { (*row)[cell] };
    store!((*row)[cell], old.wrapping_add(n));
}

/// Counts a packet.
#[inline(always)]
fn count(row: *mut Row, direction: Direction, class: usize, len: u32, extra_segments: u32) {
    add(row, direction.size(class & (hist::CLASSES - 1)), 1);
    add(row, direction.bytes(), u64::from(len));
    if extra_segments != 0 {
        add(row, direction.extra_segments(), u64::from(extra_segments));
    }
}

/// Adds one where any CPU may.
#[inline(always)]
fn increment(n: *mut u64) {
    // SAFETY: a map value; the add is atomic.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(n, 1);
    }
}

/// Counts something that could not be counted properly.
#[inline(always)]
fn lose(cell: usize) {
    if let Some(cells) = LOST.get_ptr_mut(cpu()) {
        // SAFETY: `cell` is a constant of `lost`, below CELLS.
        unsafe { (*cells)[cell] += 1 }
    }
}

/// Segments beyond the first that the packet becomes on the wire.
///
/// `len` is the frame's. A frame of the Ethernet minimum or less is one segment, which spares small packets the read.
#[inline(always)]
fn extra_segments(skb: Kernel, len: u32) -> u32 {
    if len <= hist::EDGES[0] { 0 } else { gso_extra_segments(skb, len) }
}

/// Out of line, so that the path of small packets stays short.
#[inline(never)]
fn gso_extra_segments(skb: Kernel, len: u32) -> u32 {
    let head: Kernel = direct!(skb, skb_head: Kernel);
    let shared = head.wrapping_add(direct!(skb, skb_end: u32) as usize);
    match probe!(shared, shinfo_gso_size: u16) {
        None | Some(0) => 0,
        Some(size) => {
            let headers = Headers {
                head,
                mac: direct!(skb, skb_mac_header: u16),
                transport: direct!(skb, skb_transport_header: u16),
                inner_transport: direct!(skb, skb_inner_transport_header: u16),
            };
            gso_segments(&headers, shared, len, u32::from(size)).saturating_sub(1)
        }
    }
}

/// Likewise for a packet that is only known by its address.
#[inline(never)]
fn gso_probed(skb: Kernel, len: u32) -> u32 {
    let (Some(head), Some(end)) = (probe!(skb, skb_head: Kernel), probe!(skb, skb_end: u32)) else {
        return 0;
    };
    let shared = head.wrapping_add(end as usize);
    match probe!(shared, shinfo_gso_size: u16) {
        None | Some(0) => 0,
        Some(size) => {
            let headers = Headers {
                head,
                mac: probe!(skb, skb_mac_header: u16).unwrap_or(0),
                transport: probe!(skb, skb_transport_header: u16).unwrap_or(0),
                inner_transport: probe!(skb, skb_inner_transport_header: u16).unwrap_or(0),
            };
            gso_segments(&headers, shared, len, u32::from(size)).saturating_sub(1)
        }
    }
}

/// Where the headers of a packet are, from `head`.
struct Headers {
    head: Kernel,
    mac: u16,
    transport: u16,
    inner_transport: u16,
}

/// Segments of a GSO packet: what the kernel says, or for a guest's packet, of which it says 0, what it will be cut into
/// (net/core/dev.c: `qdisc_pkt_len_init`).
#[inline(always)]
fn gso_segments(headers: &Headers, shared: Kernel, len: u32, size: u32) -> u32 {
    if let Some(segments @ 1..) = probe!(shared, shinfo_gso_segs: u16) {
        return u32::from(segments);
    }
    let kind = probe!(shared, shinfo_gso_type: u32).unwrap_or(0);
    let tunnel = kind & (offset!(gso_udp_tunnel) | offset!(gso_udp_tunnel_csum)) != 0;
    let transport = if tunnel { headers.inner_transport } else { headers.transport };
    let header = u32::from(transport).wrapping_sub(u32::from(headers.mac));
    let transport_header = if kind & (offset!(gso_tcpv4) | offset!(gso_tcpv6)) != 0 {
        let tcp = headers.head.wrapping_add(transport as usize).wrapping_add(12);
        // SAFETY: bpf_probe_read_kernel checks the address.
        let data_offset = unsafe { aya_ebpf::helpers::bpf_probe_read_kernel(tcp) }.unwrap_or(0x50);
        u32::from(data_offset >> 4) * 4
    } else if kind & offset!(gso_udp_l4) != 0 {
        8
    } else {
        0
    };
    let payload = len.saturating_sub(header.wrapping_add(transport_header));
    payload.div_ceil(if size == 0 { 1 } else { size })
}
