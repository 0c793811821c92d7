//! The guest's RAM: one mapping of this process, given to the kernel as it is.
#![expect(
    unsafe_code,
    reason = "memory shared with the kernel is reached through raw pointers; bounds are checked here"
)]

use std::{
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};

/// Where the guest sees its RAM begin: not where this process does, as with any monitor.
const GUEST_BASE: u64 = 1 << 30;

/// RAM of a guest. Untouched pages cost nothing.
///
/// Places in it are offsets from its beginning. Every access is bounds-checked and panics outside.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
    taken: AtomicUsize,
}

// SAFETY: the mapping lives until `Memory` is dropped, and all access goes through raw pointers and atomics; who may
// write where is the virtio protocol's business, not Rust's, since the kernel writes there too.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps `len` bytes.
    pub fn new(len: usize) -> Result<Self> {
        // SAFETY: a new anonymous mapping overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        ensure!(
            start != libc::MAP_FAILED,
            "cannot map {len} bytes of guest RAM: {}",
            io::Error::last_os_error()
        );
        let start = NonNull::new(start.cast()).context("mmap gave address 0")?;
        Ok(Self { start, len, taken: AtomicUsize::new(0) })
    }

    /// Reserves `size` bytes, page-aligned, for good; where they begin.
    pub fn take(&self, size: usize) -> Result<u64> {
        let size = size.next_multiple_of(4096);
        let start = self.taken.fetch_add(size, Ordering::Relaxed);
        ensure!(
            start + size <= self.len,
            "guest RAM of {} bytes is used up; {size} more are needed",
            self.len
        );
        Ok(start as u64)
    }

    /// Bytes.
    pub(super) fn len(&self) -> u64 {
        self.len as u64
    }

    /// Address in this process.
    pub(crate) fn host(&self, at: u64) -> u64 {
        self.start.as_ptr() as u64 + at
    }

    /// Address in the guest.
    pub fn guest(&self, at: u64) -> u64 {
        GUEST_BASE + at
    }

    /// The place that the guest calls `address`.
    pub fn place(&self, address: u64) -> u64 {
        address - GUEST_BASE
    }

    /// Copies `bytes` to `at`.
    pub fn write(&self, at: u64, bytes: &[u8]) {
        let to = self.pointer(at, bytes.len());
        // SAFETY: `to` has room for all of `bytes`, and no reference into the mapping ever exists.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// Copies from `at` to all of `bytes`.
    pub fn read(&self, at: u64, bytes: &mut [u8]) {
        let from = self.pointer(at, bytes.len());
        // SAFETY: as in `write`, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Loads what the other side may be storing, with all that it stored before.
    pub fn load_u16(&self, at: u64) -> u16 {
        u16::from_le(self.atomic(at).load(Ordering::Acquire))
    }

    /// Stores for the other side, after all that was stored before.
    pub fn store_u16(&self, at: u64, value: u16) {
        self.atomic(at).store(value.to_le(), Ordering::Release);
    }

    /// Reads a `u32`.
    pub fn read_u32(&self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[expect(clippy::cast_ptr_alignment, reason = "asserted right after")]
    fn atomic(&self, at: u64) -> &AtomicU16 {
        let pointer = self.pointer(at, 2).cast::<AtomicU16>();
        assert!(pointer.is_aligned(), "offset {at} is not aligned");
        // SAFETY: in bounds, aligned, mapped as long as `self`; the words used so are never accessed otherwise.
        unsafe { &*pointer }
    }

    fn pointer(&self, at: u64, len: usize) -> *mut u8 {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        assert!(
            at.checked_add(len).is_some_and(|end| end <= self.len),
            "{len} bytes at {at} are outside the guest's RAM"
        );
        // SAFETY: the offset is inside the mapping.
        unsafe { self.start.as_ptr().add(at) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; nobody has a pointer into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
