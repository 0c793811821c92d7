//! The programs: each delegates to `probes` and returns.
//!
//! Build it with `cargo xtask ebpf`; an ordinary build of the workspace leaves it out.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "BPF has atomic add but Rust's atomics need more than that")]
#![expect(unsafe_code, reason = "programs read kernel memory that the verifier checked")]
#![expect(
    clippy::inline_always,
    clippy::cast_possible_truncation,
    clippy::cast_ptr_alignment,
    clippy::needless_pass_by_value,
    reason = "a call costs more than most paths here; registers hold a field's bytes and no more; the kernel aligns its \
              fields; the macros hand the context over by value"
)]

mod probes;
mod twins;

use core::ffi::c_void;

use probes::vhost::seen;

use vnet_ebpf::vhost::mode;

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};

/// A device without NAPI (a tap) hands a packet to the stack.
#[btf_tracepoint(function = "netif_receive_skb_entry")]
fn recv(ctx: BtfTracePointContext) -> i32 {
    if let Some(packet) = probes::recv::packet(&ctx, ctx.arg(0)) {
        probes::vhost::learned::accepted(&packet);
    }
    0
}

/// A NAPI device (a virtio NIC, a tap with `IFF_NAPI`) hands a packet to the stack, before GRO.
#[btf_tracepoint(function = "napi_gro_receive_entry")]
fn recv_napi(ctx: BtfTracePointContext) -> i32 {
    probes::recv::packet(&ctx, ctx.arg(0));
    0
}

/// Likewise, built from page fragments (`IFF_NAPI_FRAGS`).
#[btf_tracepoint(function = "napi_gro_frags_entry")]
fn recv_frags(ctx: BtfTracePointContext) -> i32 {
    probes::recv::packet(&ctx, ctx.arg(0));
    0
}

/// The stack hands a packet to a device.
#[btf_tracepoint(function = "net_dev_start_xmit")]
fn xmit(ctx: BtfTracePointContext) -> i32 {
    probes::xmit::packet(&ctx, ctx.arg(0), ctx.arg(1));
    0
}

/// A packet is dropped somewhere in the host.
#[btf_tracepoint(function = "kfree_skb")]
fn drop(ctx: BtfTracePointContext) -> i32 {
    probes::drop::packet(&ctx, ctx.arg(0), ctx.arg(1));
    0
}

/// A device is registered, whatever its kind.
#[fentry(function = "register_netdevice")]
fn register(_ctx: FEntryContext) -> i32 {
    probes::slots::registered();
    0
}

/// Some notifier is called, as for each registration of a device: where `register_netdevice` cannot be watched.
#[btf_tracepoint(function = "notifier_run")]
fn notify(_ctx: BtfTracePointContext) -> i32 {
    probes::slots::registered();
    0
}

/// A vhost device is torn down.
#[fentry(function = "vhost_dev_cleanup")]
fn vhost_close(ctx: FEntryContext) -> i32 {
    probes::vhost::pair::forget(ctx.arg(0));
    0
}

/// A virtqueue of a vhost device is about to be served, or no longer.
#[fentry(function = "vhost_vq_init_access")]
fn backend(ctx: FEntryContext) -> i32 {
    probes::vhost::pair::given(&ctx, ctx.arg(0));
    0
}

/// A worker begins to send for a guest, copying everything.
#[fentry(function = "handle_tx_copy")]
fn tx_copy(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::tx::begin(&ctx, ctx.arg(0), mode::COPY));
    0
}

/// A worker begins to send for a guest, without copies where that pays.
#[fentry(function = "handle_tx_zerocopy")]
fn tx_zerocopy(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::tx::begin(&ctx, ctx.arg(0), mode::ZEROCOPY));
    0
}

/// A worker has sent what it could.
#[fexit(function = "handle_tx_copy")]
fn tx_end(ctx: FExitContext) -> i32 {
    seen(probes::vhost::tx::end(&ctx, ctx.arg(0)));
    0
}

/// A worker begins to receive for a guest.
#[fentry(function = "handle_rx")]
fn rx_begin(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::rx::begin(&ctx, ctx.arg(0)));
    0
}

/// A worker has received what it could.
#[fexit(function = "handle_rx")]
fn rx_end(ctx: FExitContext) -> i32 {
    seen(probes::vhost::rx::end(&ctx, ctx.arg(0)));
    0
}

/// A worker begins to poll for more.
#[fentry(function = "vhost_net_busy_poll")]
fn poll_begin(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::poll::begin(ctx.arg(0)));
    0
}

/// A worker has polled.
#[fexit(function = "vhost_net_busy_poll")]
fn poll_end(ctx: FExitContext) -> i32 {
    seen(probes::vhost::poll::end(ctx.arg(0)));
    0
}

/// A worker hands a packet or a batch of them to a tap.
#[fentry(function = "tun_sendmsg")]
fn sendmsg(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::tx::sendmsg(&ctx, ctx.arg(0), ctx.arg(1), ctx.arg(2)));
    0
}

/// A worker takes a packet from a tap.
#[fentry(function = "tun_recvmsg")]
fn recvmsg(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::rx::recvmsg(&ctx, ctx.arg(0), ctx.arg(1), ctx.arg(2)));
    0
}

/// A worker begins to give buffers back to a guest, and to call it if it wants that.
#[fentry(function = "vhost_add_used_and_signal_n")]
fn used_begin(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::signal::used_begins(ctx.arg(1)));
    0
}

/// A worker has done so.
#[fexit(function = "vhost_add_used_and_signal_n")]
fn used_end(ctx: FExitContext) -> i32 {
    seen(probes::vhost::signal::used_ends(&ctx, ctx.arg(1)));
    0
}

/// An eventfd is signalled.
#[fentry(function = "eventfd_signal_mask")]
fn eventfd(ctx: FEntryContext) -> i32 {
    seen(probes::vhost::signal::eventfd(ctx.arg(0)));
    0
}

/// Something that a vhost device waits for is ready.
#[fentry(function = "vhost_poll_wakeup")]
fn wakeup(ctx: FEntryContext) -> i32 {
    probes::vhost::signal::wakeup(&ctx, ctx.arg(0));
    0
}

/// An `irqfd` of KVM is woken: its eventfd was signalled.
#[fentry(function = "irqfd_wakeup")]
fn irqfd_begin(ctx: FEntryContext) -> i32 {
    probes::kvm::wakes(&ctx, ctx.arg(0));
    0
}

/// It has done what it could at once.
#[fexit(function = "irqfd_wakeup")]
fn irqfd_end(_ctx: FExitContext) -> i32 {
    probes::kvm::woken();
    0
}

/// A local APIC is given an interrupt.
#[fentry(function = "__apic_accept_irq")]
fn apic_accept(ctx: FEntryContext) -> i32 {
    probes::kvm::accepts(ctx.arg(0), ctx.arg(2));
    0
}

/// A zero-copy packet is done with.
#[fexit(function = "vhost_zerocopy_complete")]
fn completed(ctx: FExitContext) -> i32 {
    let success: u32 = ctx.arg(2);
    probes::vhost::zerocopy::completed(ctx.arg(0), ctx.arg(1), success & 0xff != 0);
    0
}

/// A file that some process has open: called for each, whenever user space reads the iterator. The first argument is
/// where to write, the second the process, the third its descriptor.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
extern "C" fn open_file(ctx: *mut c_void) -> i32 {
    let ctx = FEntryContext::new(ctx);
    probes::files::look(ctx.arg(0), ctx.arg(1), ctx.arg(3));
    0
}

/// Does nothing: attached where a real program would be, it shows the floor of what any program costs.
#[btf_tracepoint(function = "net_dev_start_xmit")]
fn empty(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
