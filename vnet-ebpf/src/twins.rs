//! Twins of the programs on functions of modules, for kernels that do not describe these: kprobes, to which a function's
//! arguments are registers.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use vnet_ebpf::vhost::mode;

use crate::probes::{
    offset,
    vhost::{learned, pair},
};

/// An argument that is a pointer or an unsigned number.
#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg(n).unwrap_or(0)
}

/// The stack as the function begins.
#[inline(always)]
fn stack(ctx: &ProbeContext) -> u64 {
    // SAFETY: the registers are the program's context.
    unsafe { (*ctx.regs).rsp }
}

/// A vhost device is torn down.
#[kprobe]
fn k_close(ctx: ProbeContext) -> u32 {
    pair::forget(arg(&ctx, 0));
    0
}

/// A worker begins to send for a guest, copying everything.
#[kprobe]
fn k_tx_copy(ctx: ProbeContext) -> u32 {
    learned::begin(arg(&ctx, 0), Some(mode::COPY));
    0
}

/// A worker begins to send for a guest, without copies where that pays.
#[kprobe]
fn k_tx_zerocopy(ctx: ProbeContext) -> u32 {
    learned::begin(arg(&ctx, 0), Some(mode::ZEROCOPY));
    0
}

/// A worker begins to receive for a guest.
#[kprobe]
fn k_rx(ctx: ProbeContext) -> u32 {
    learned::begin(arg(&ctx, 0), None);
    0
}

/// A worker hands a packet or a batch of them to a tap.
#[kprobe]
fn k_sendmsg(ctx: ProbeContext) -> u32 {
    learned::sendmsg(arg(&ctx, 0), arg(&ctx, 2) as u32);
    0
}

/// A worker takes a packet from a tap.
#[kprobe]
fn k_recvmsg(ctx: ProbeContext) -> u32 {
    learned::recvmsg(&ctx, arg(&ctx, 0), arg(&ctx, 1) as *const u8, arg(&ctx, 2) as u32);
    0
}

/// A worker has moved a packet, or nothing.
#[kprobe]
fn k_weight(ctx: ProbeContext) -> u32 {
    learned::moved(arg(&ctx, 2) as u32);
    0
}

/// A worker begins to give buffers back to a guest, and to call it if it wants that.
#[kprobe]
fn k_used(ctx: ProbeContext) -> u32 {
    // Both are read: of a choice between two the compiler makes one at an address that varies, which the verifier forbids.
    // SAFETY: the registers are the program's context.
    let (fourth, fifth) = unsafe {
        let registers = &raw const *ctx.regs;
        ((&raw const (*registers).rcx).read_volatile(), (&raw const (*registers).r8).read_volatile())
    };
    let used = if offset!(used_has_nheads) == 1 { fifth } else { fourth };
    learned::used_begins(used as u32, stack(&ctx));
    0
}

/// Likewise, one buffer.
#[kprobe]
fn k_used_one(ctx: ProbeContext) -> u32 {
    learned::used_begins(1, stack(&ctx));
    0
}

/// A worker has done so.
#[kretprobe]
fn k_used_end(_ctx: RetProbeContext) -> u32 {
    learned::used_ends();
    0
}

/// An eventfd is signalled.
#[kprobe]
fn k_eventfd(ctx: ProbeContext) -> u32 {
    learned::eventfd(stack(&ctx));
    0
}
