//! Maps of the probes seen as memory: reading a counter is a load, not a system call.
#![expect(unsafe_code, reason = "shared memory; everything else in vnet goes through this file")]

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{Ordering, fence},
};

/// Types whose every bit pattern is a valid value: integers and arrays of them, without padding.
pub(crate) trait Plain: Copy {}

impl Plain for vnet_ebpf::counter::Row {}
impl Plain for [u64; vnet_ebpf::counter::lost::CELLS] {}
impl Plain for vnet_ebpf::device::Meta {}
impl Plain for vnet_ebpf::device::CacheEntry {}
impl Plain for vnet_ebpf::vhost::VhostRow {}
impl Plain for vnet_ebpf::vhost::Pair {}
impl Plain for vnet_ebpf::kvm::PathRow {}

/// An array map made with `BPF_F_MMAPABLE`, mapped.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    base: NonNull<T>,
    len: usize,
    kind: PhantomData<T>,
}

// SAFETY: plain memory that the kernel keeps alive while it is mapped; all access is volatile.
unsafe impl<T: Plain> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Shared<T> {}

impl<T: Plain> Shared<T> {
    /// Maps `len` elements. The kernel rounds an element up to 8 bytes, which all of ours are multiples of.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() >= 8, "elements lie without gaps") };
        let bytes = len * size_of::<T>();
        // SAFETY: a fresh mapping, no address asked for.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { base, len, kind: PhantomData })
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory that are mapped.
    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The element as it is now. Words are read whole; the element as such may be half-changed by a probe.
    ///
    /// # Panics
    /// When `index` is out of range.
    pub(crate) fn read(&self, index: usize) -> T {
        assert!(index < self.len, "element {index} of {}", self.len);
        // SAFETY: in range, aligned, any bytes are a value.
        let value = unsafe { self.base.add(index).read_volatile() };
        fence(Ordering::Acquire);
        value
    }

    /// A word of the element as it is now; what is read after it is read later.
    ///
    /// # Panics
    /// When `index` or `word` is out of range.
    pub(crate) fn word(&self, index: usize, word: usize) -> u64 {
        let words = size_of::<T>() / size_of::<u64>();
        assert!(index < self.len && word < words, "word {word} of element {index} of {}", self.len);
        // SAFETY: in range; elements are whole words and aligned to them.
        let value = unsafe { self.base.cast::<u64>().add(index * words + word).read_volatile() };
        fence(Ordering::Acquire);
        value
    }

    /// Replaces a word of the element. Only for words that no probe writes any more.
    ///
    /// # Panics
    /// When `index` or `word` is out of range.
    pub(crate) fn write_word(&self, index: usize, word: usize, value: u64) {
        let words = size_of::<T>() / size_of::<u64>();
        assert!(index < self.len && word < words, "word {word} of element {index} of {}", self.len);
        // SAFETY: in range; elements are whole words and aligned to them.
        unsafe { self.base.cast::<u64>().add(index * words + word).write_volatile(value) }
    }

    /// Replaces the element. Only for elements that no probe writes any more.
    ///
    /// # Panics
    /// When `index` is out of range.
    pub(crate) fn write(&self, index: usize, value: T) {
        assert!(index < self.len, "element {index} of {}", self.len);
        // SAFETY: as above.
        unsafe { self.base.add(index).write_volatile(value) }
    }
}

/// Gives free memory back to the kernel, and large pieces whenever they become free. The kernel's type information takes
/// tens of megabytes while it is read: the allocator would keep them, and take their size for a usual one. A report of some thousand
/// queues is no large piece: it comes again each second, and would be faulted in page by page each time.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only what is free; takes the allocator's own locks.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
        libc::malloc_trim(0);
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size; nothing borrows from it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len * size_of::<T>()) };
    }
}
