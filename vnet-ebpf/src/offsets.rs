//! What the probes must know of the running kernel: field offsets and enum values, looked up in its BTF at start.
//!
//! The loader puts the values into the instructions before the programs are verified: the verifier sees constants, checks
//! each direct load against BTF (a wrong offset fails to load), and drops the branch of a field that is [`ABSENT`].

/// The kernel has no such field.
pub const ABSENT: u32 = u32::MAX;

/// Where placeholders begin: a load at `PLACEHOLDER + field` is one of that field, and the loader puts the running
/// kernel's offset there. No structure of ours is that large, so nothing else looks like one.
pub const PLACEHOLDER: usize = 0x7000;

/// Where constants begin: a move of `CONSTANT + field` into a register is one of that field's value, likewise.
pub const CONSTANT: u32 = 0x7600_0000;

/// How a field's value is found in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Byte offset of a member: structure, dotted path.
    Offset(&'static str, &'static str),
    /// Bytes of a structure.
    Size(&'static str),
    /// Mask of a bit-field within the byte at its offset.
    Mask(&'static str, &'static str),
    /// Value of an enumerator.
    Enumerator(&'static str),
    /// Chosen by user space at start (a size, a flag).
    Setting,
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $lookup:expr, by: $by:expr;)*) => {
        /// Index of a value in [`Offsets`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        #[expect(non_camel_case_types, reason = "the names read as the kernel's fields")]
        pub enum Field { $($(#[$doc])* $name,)* }

        /// All values: name, how to find it, and the programs that cannot do without it (a set of [`by`]).
        pub const FIELDS: &[(Field, &str, Lookup, u32)] =
            &[$((Field::$name, stringify!($name), $lookup, $by),)*];

        /// Number of values.
        pub const COUNT: usize = FIELDS.len();
    };
}

/// Programs, as a set of bits.
pub mod by {
    /// Packets that a device hands to the stack.
    pub const RECV: u32 = 1;
    /// Packets that the stack hands to a device.
    pub const XMIT: u32 = 2;
    /// Dropped packets.
    pub const DROP: u32 = 4;
    /// What a vhost worker does.
    pub const VHOST: u32 = 8;
    /// What it does with zero-copy.
    pub const ZEROCOPY: u32 = 16;
    /// Kicks.
    pub const KICK: u32 = 32;
    /// The walk through open files.
    pub const FILES: u32 = 64;
    /// What it finds of vhost.
    pub const SERVED: u32 = 128;
    /// Which vCPU a call interrupts.
    pub const KVM: u32 = 256;
    /// All of them.
    pub const EVERY: u32 = RECV | XMIT | DROP;
    /// None: the field is an extra that some kernels lack.
    pub const NONE: u32 = 0;
}

use Lookup::{Enumerator, Mask, Offset, Setting, Size};

table! {
    /// Bytes from `data` to the end of the packet.
    skb_len = Offset("sk_buff", "len"), by: by::RECV | by::XMIT;
    /// Transmit queue, or receive queue + 1 (0: not recorded).
    skb_queue_mapping = Offset("sk_buff", "queue_mapping"), by: by::EVERY;
    /// Device that the packet belongs to now.
    skb_dev = Offset("sk_buff", "dev"), by: by::EVERY;
    /// Index of the device that received it; 0 while fresh.
    skb_iif = Offset("sk_buff", "skb_iif"), by: by::RECV | by::DROP;
    /// Socket that is charged for it.
    skb_sk = Offset("sk_buff", "sk"), by: by::DROP;
    /// Start of the buffer.
    skb_head = Offset("sk_buff", "head"), by: by::RECV | by::XMIT;
    /// End of the buffer from `head`: where `skb_shared_info` is.
    skb_end = Offset("sk_buff", "end"), by: by::RECV | by::XMIT;
    /// Ethernet header from `head`.
    skb_mac_header = Offset("sk_buff", "mac_header"), by: by::RECV | by::XMIT;
    /// TCP or UDP header from `head`.
    skb_transport_header = Offset("sk_buff", "transport_header"), by: by::RECV | by::XMIT;
    /// TCP or UDP header inside a tunnel, from `head`.
    skb_inner_transport_header = Offset("sk_buff", "inner_transport_header"), by: by::RECV | by::XMIT;
    /// VLAN tag beside the packet, both halves (6.2 and later); 0: none.
    skb_vlan_all = Offset("sk_buff", "vlan_all"), by: by::NONE;
    /// Byte of the flag that says so in older kernels.
    skb_vlan_present = Offset("sk_buff", "vlan_present"), by: by::NONE;
    /// Its bit.
    skb_vlan_present_mask = Mask("sk_buff", "vlan_present"), by: by::NONE;
    /// Payload bytes per segment; 0: not GSO.
    shinfo_gso_size = Offset("skb_shared_info", "gso_size"), by: by::RECV | by::XMIT;
    /// Segments; 0 when a guest made the packet.
    shinfo_gso_segs = Offset("skb_shared_info", "gso_segs"), by: by::RECV | by::XMIT;
    /// `SKB_GSO_*` bits.
    shinfo_gso_type = Offset("skb_shared_info", "gso_type"), by: by::RECV | by::XMIT;
    /// TCP over IPv4.
    gso_tcpv4 = Enumerator("SKB_GSO_TCPV4"), by: by::RECV | by::XMIT;
    /// TCP over IPv6.
    gso_tcpv6 = Enumerator("SKB_GSO_TCPV6"), by: by::RECV | by::XMIT;
    /// UDP cut into datagrams.
    gso_udp_l4 = Enumerator("SKB_GSO_UDP_L4"), by: by::RECV | by::XMIT;
    /// Tunnelled over UDP.
    gso_udp_tunnel = Enumerator("SKB_GSO_UDP_TUNNEL"), by: by::RECV | by::XMIT;
    /// Likewise, with a checksum.
    gso_udp_tunnel_csum = Enumerator("SKB_GSO_UDP_TUNNEL_CSUM"), by: by::RECV | by::XMIT;
    /// Interface index.
    dev_ifindex = Offset("net_device", "ifindex"), by: by::EVERY;
    /// Network namespace.
    dev_net = Offset("net_device", "nd_net.net"), by: by::EVERY;
    /// `ARPHRD_*`: tells a tap from a tun.
    dev_type = Offset("net_device", "type"), by: by::EVERY;
    /// Name.
    dev_name = Offset("net_device", "name"), by: by::EVERY;
    /// Kind of a device made through rtnetlink or by tun.
    dev_rtnl_link_ops = Offset("net_device", "rtnl_link_ops"), by: by::EVERY;
    /// Name of that kind.
    link_ops_kind = Offset("rtnl_link_ops", "kind"), by: by::EVERY;
    /// sysfs directory of the device.
    dev_kobj_sd = Offset("net_device", "dev.kobj.sd"), by: by::EVERY;
    /// Device behind it.
    dev_parent = Offset("net_device", "dev.parent"), by: by::EVERY;
    /// Identity of a sysfs node, never used again.
    kernfs_id = Offset("kernfs_node", "id"), by: by::EVERY;
    /// Driver of a device.
    device_driver = Offset("device", "driver"), by: by::EVERY;
    /// Its name.
    driver_name = Offset("device_driver", "name"), by: by::EVERY;
    /// Inode number of a namespace.
    net_inum = Offset("net", "ns.inum"), by: by::EVERY;
    /// Socket at the start of a tun queue file (0).
    tun_file_sk = Offset("tun_file", "sk"), by: by::NONE;
    /// Device of a tun queue file.
    tun_file_tun = Offset("tun_file", "tun"), by: by::SERVED;
    /// Queue index of a tun queue file.
    tun_file_queue_index = Offset("tun_file", "queue_index"), by: by::SERVED;
    /// Net device of a tun device.
    tun_dev = Offset("tun_struct", "dev"), by: by::SERVED;
    /// The reason that has a cell of its own.
    reason_full_ring = Enumerator("SKB_DROP_REASON_FULL_RING"), by: by::NONE;
    /// Socket of a tun queue file, as vhost holds it.
    tun_file_socket = Offset("tun_file", "socket"), by: by::VHOST | by::KICK | by::SERVED;
    /// Socket behind it.
    socket_sk = Offset("socket", "sk"), by: by::VHOST | by::KICK | by::SERVED;
    /// Protocol of a socket.
    sk_prot = Offset("sock", "__sk_common.skc_prot"), by: by::VHOST | by::KICK | by::SERVED;
    /// Its name: `tun` for a tap's queue.
    proto_name = Offset("proto", "name"), by: by::VHOST | by::KICK | by::SERVED;
    /// Control message of `sendmsg`: a batch, or the completion of zero-copy.
    msg_control = Offset("msghdr", "msg_control"), by: by::VHOST;
    /// What it is: `TUN_MSG_UBUF` or `TUN_MSG_PTR`.
    ctl_type = Offset("tun_msg_ctl", "type"), by: by::VHOST;
    /// Packets of a batch.
    ctl_num = Offset("tun_msg_ctl", "num"), by: by::VHOST;
    /// The batch, or the completion.
    ctl_ptr = Offset("tun_msg_ctl", "ptr"), by: by::VHOST;
    /// Bytes from one packet of a batch to the next.
    xdp_size = Size("xdp_buff"), by: by::VHOST;
    /// Start of a packet of a batch.
    xdp_data = Offset("xdp_buff", "data"), by: by::VHOST;
    /// Its end.
    xdp_data_end = Offset("xdp_buff", "data_end"), by: by::VHOST;
    /// Start of its buffer, where the vnet header is.
    xdp_hard_start = Offset("xdp_buff", "data_hard_start"), by: by::VHOST;
    /// The vnet header from there, where a structure lies around it (before 6.18).
    tun_xdp_gso = Offset("tun_xdp_hdr", "gso"), by: by::NONE;
    /// Queue pair of a vhost device: receive, then transmit.
    net_vqs = Offset("vhost_net", "vqs"), by: by::VHOST | by::KICK | by::SERVED;
    /// Bytes of each.
    nvq_size = Size("vhost_net_virtqueue"), by: by::VHOST | by::KICK | by::SERVED;
    /// Receive buffers used and not yet told; in a zero-copy transmit queue the first packet in flight.
    nvq_done_idx = Offset("vhost_net_virtqueue", "done_idx"), by: by::VHOST;
    /// Bytes of vnet header towards the socket.
    nvq_sock_hlen = Offset("vhost_net_virtqueue", "sock_hlen"), by: by::VHOST;
    /// Zero-copy packets begun.
    nvq_upend_idx = Offset("vhost_net_virtqueue", "upend_idx"), by: by::ZEROCOPY;
    /// Where vhost waits for the socket to be ready, per direction.
    net_poll = Offset("vhost_net", "poll"), by: by::VHOST;
    /// Bytes of each.
    poll_size = Size("vhost_poll"), by: by::VHOST;
    /// What it waits on; null when it does not.
    poll_wqh = Offset("vhost_poll", "wqh"), by: by::VHOST;
    /// Its entry in a wait queue.
    poll_wait = Offset("vhost_poll", "wait"), by: by::KICK;
    /// What it has the worker do.
    poll_fn = Offset("vhost_poll", "work.fn"), by: by::KICK;
    /// Its device.
    poll_dev = Offset("vhost_poll", "dev"), by: by::KICK;
    /// Backend of a virtqueue.
    vq_private_data = Offset("vhost_virtqueue", "private_data"), by: by::VHOST | by::KICK | by::SERVED;
    /// Device of a virtqueue.
    vq_dev = Offset("vhost_virtqueue", "dev"), by: by::KICK;
    /// What handles its kicks.
    vq_handle_kick = Offset("vhost_virtqueue", "handle_kick"), by: by::KICK;
    /// Size of a virtqueue.
    vq_num = Offset("vhost_virtqueue", "num"), by: by::ZEROCOPY;
    /// Next descriptor chain that vhost will take.
    vq_last_avail = Offset("vhost_virtqueue", "last_avail_idx"), by: by::VHOST;
    /// Next entry of the used ring that vhost will write.
    vq_last_used = Offset("vhost_virtqueue", "last_used_idx"), by: by::VHOST;
    /// `VRING_USED_F_NO_NOTIFY`: vhost wants no kicks.
    vq_used_flags = Offset("vhost_virtqueue", "used_flags"), by: by::VHOST;
    /// Microseconds of busy polling.
    vq_busyloop = Offset("vhost_virtqueue", "busyloop_timeout"), by: by::VHOST;
    /// Call eventfd.
    vq_call = Offset("vhost_virtqueue", "call_ctx.ctx"), by: by::VHOST;
    /// Guest memory of the packet at hand.
    vq_iov = Offset("vhost_virtqueue", "iov"), by: by::VHOST;
    /// Zero-copy packets in flight and done.
    vq_heads = Offset("vhost_virtqueue", "heads"), by: by::ZEROCOPY;
    /// Index of a zero-copy packet in there.
    ubuf_desc = Offset("ubuf_info_msgzc", "desc"), by: by::ZEROCOPY;
    /// Its device.
    ubuf_ctx = Offset("ubuf_info_msgzc", "ctx"), by: by::ZEROCOPY;
    /// Virtqueue of that.
    ubufs_vq = Offset("vhost_net_ubuf_ref", "vq"), by: by::ZEROCOPY;
    /// Bytes of a packet that are not in its linear part.
    skb_data_len = Offset("sk_buff", "data_len"), by: by::ZEROCOPY;
    /// Where a walk writes what it finds.
    iter_seq = Offset("bpf_iter_meta", "seq"), by: by::FILES;
    /// Inode of an open file.
    file_inode = Offset("file", "f_inode"), by: by::FILES;
    /// What it is to its driver.
    file_private = Offset("file", "private_data"), by: by::FILES;
    /// Kind of an inode.
    inode_mode = Offset("inode", "i_mode"), by: by::FILES;
    /// Device number of one that is a device.
    inode_rdev = Offset("inode", "i_rdev"), by: by::FILES;
    /// Thread of a task.
    task_pid = Offset("task_struct", "pid"), by: by::FILES;
    /// Process of a task.
    task_tgid = Offset("task_struct", "tgid"), by: by::FILES;
    /// Device of a tun queue file that is disabled.
    tun_file_detached = Offset("tun_file", "detached"), by: by::SERVED;
    /// References of a transmit queue that is zero-copy; null where it is not.
    nvq_ubufs = Offset("vhost_net_virtqueue", "ubufs"), by: by::NONE;
    /// Worker of a vhost device: its task (before 6.4), or what is around it (before 6.5).
    dev_worker = Offset("vhost_dev", "worker"), by: by::NONE;
    /// Worker of a virtqueue (6.5 and later).
    vq_worker = Offset("vhost_virtqueue", "worker"), by: by::NONE;
    /// Task of a worker that is a thread of its own (some 6.12, 6.18 and later).
    worker_kthread = Offset("vhost_worker", "kthread_task"), by: by::NONE;
    /// What holds a worker that is a thread of the VM's monitor (6.4 and later).
    worker_vtsk = Offset("vhost_worker", "vtsk"), by: by::NONE;
    /// Its task.
    vtsk_task = Offset("vhost_task", "task"), by: by::NONE;
    /// Entry of an `irqfd` in the wait queue of its eventfd.
    irqfd_wait = Offset("kvm_kernel_irqfd", "wait"), by: by::KVM;
    /// Its VM.
    irqfd_kvm = Offset("kvm_kernel_irqfd", "kvm"), by: by::KVM;
    /// Its route there.
    irqfd_gsi = Offset("kvm_kernel_irqfd", "gsi"), by: by::KVM;
    /// Its eventfd.
    irqfd_eventfd = Offset("kvm_kernel_irqfd", "eventfd"), by: by::KVM;
    /// vCPU of a local APIC.
    lapic_vcpu = Offset("kvm_lapic", "vcpu"), by: by::KVM;
    /// Number of a vCPU, which is its APIC id.
    vcpu_id = Offset("kvm_vcpu", "vcpu_id"), by: by::KVM;
    /// CPU that it ran on last.
    vcpu_cpu = Offset("kvm_vcpu", "cpu"), by: by::KVM;
    /// `IN_GUEST_MODE` while it runs guest code.
    vcpu_mode = Offset("kvm_vcpu", "mode"), by: by::KVM;
    /// Its thread, while that sleeps because the vCPU is halted.
    vcpu_wait_task = Offset("kvm_vcpu", "wait.task"), by: by::KVM;
    /// Its thread was taken off the CPU though it was ready.
    vcpu_preempted = Offset("kvm_vcpu", "preempted"), by: by::KVM;
    /// Thread that ran it last.
    vcpu_pid = Offset("kvm_vcpu", "pid"), by: by::KVM;
    /// Numbers of a process by pid namespace, the host's first.
    pid_numbers = Offset("pid", "numbers"), by: by::KVM;
    /// Such a number.
    upid_nr = Offset("upid", "nr"), by: by::KVM;
    /// 1: the program is the second one on its function, for runs that the first one was not allowed.
    again = Setting, by: by::NONE;
    /// 1: which tap queue a vhost worker serves is learned from the packets that it hands over.
    learning = Setting, by: by::NONE;
    /// 1: `vhost_add_used_and_signal_n` has an argument more before the number of entries (6.18 and later).
    used_has_nheads = Setting, by: by::NONE;
    /// Possible CPUs: rows of a slot.
    cpus = Setting, by: by::EVERY;
    /// Entries of the cache less one.
    cache_mask = Setting, by: by::EVERY;
    /// 1: a device that moves to another namespace is not noticed, so each packet is asked for its device's.
    moves_unnoticed = Setting, by: by::EVERY;
    /// 1: `kfree_skb` says a reason (5.17 and later).
    has_reason = Setting, by: by::EVERY;
}

/// The table; index it with [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets(pub [u32; COUNT]);

/// Code of the tap driver, as address ranges: where a drop is the tap's own.
///
/// `[start, end)`; unused ranges are empty. Kept in a map, not in `.rodata`, because tun may be loaded later.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// `tun_net_xmit` and its cold part: packets that the tap refused.
    pub xmit: [[u64; 2]; 2],
    /// `tun_get_user`, `tun_sendmsg` and their cold parts: packets from the guest that the tap dropped.
    pub recv: [[u64; 2]; 4],
}

#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "aya::Pod promises that any bytes are a valid value")]
    // SAFETY: integers only, no padding.
    unsafe impl aya::Pod for super::Code {}
}
