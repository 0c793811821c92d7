//! Size classes of frames: which cell of a row a packet is counted in.

/// Upper bounds of the size classes in frame bytes (Ethernet header included), inclusive; the last class is open.
///
/// 256 separates what zero-copy never takes (vhost `VHOST_GOODCOPY_LEN`), 1518 is a full untagged Ethernet frame, and
/// anything above 4096 is a GSO packet or a jumbo frame.
pub const EDGES: [u32; CLASSES - 1] = [64, 128, 256, 512, 1024, 1518, 4096];

/// Number of size classes.
pub const CLASSES: usize = 8;

/// The class of a frame of `len` bytes: the first whose edge is not below `len`.
#[inline]
pub const fn class(len: u32) -> usize {
    let mut class = 0;
    while class < EDGES.len() {
        if len <= EDGES[class] {
            return class;
        }
        class += 1;
    }
    CLASSES - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_class_below_it() {
        for (index, edge) in EDGES.iter().enumerate() {
            assert_eq!(class(*edge), index);
            assert_eq!(class(edge + 1), index + 1);
        }
        assert_eq!(class(0), 0);
        assert_eq!(class(u32::MAX), CLASSES - 1);
    }
}
