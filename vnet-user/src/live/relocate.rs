//! Puts what is known of the running kernel into the object's instructions.
//!
//! Rust emits no CO-RE relocations, so the probes load each field at a placeholder offset and move each value as a
//! placeholder constant; here both become the real ones. A field costs one instruction that way, the verifier checks it
//! against BTF like any other, and it drops the branches that a constant decides.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, SectionKind};
use vnet_ebpf::{
    device::CACHE_ADDRESS,
    offsets::{ABSENT, CONSTANT, Offsets, PLACEHOLDER},
};

/// `BPF_LDX | BPF_MEM`, without the size bits.
const LOAD: u8 = 0x61;

/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const MOVE: u8 = 0xb7;

/// `BPF_LD | BPF_IMM | BPF_DW`: 64 bits, the upper half in the next instruction.
const MOVE_WIDE: u8 = 0x18;

/// `BPF_PSEUDO_MAP_VALUE`: the operand is the descriptor of a map and stands for the address of its value.
const MAP_VALUE: u8 = 2;

/// Bits of an opcode that say the size of a load.
const SIZE: u8 = 0x18;

/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// The object with all placeholders replaced. A field that this kernel lacks keeps its placeholder: the program that
/// needs it is then refused, and the branch of an optional one is never verified.
///
/// `cache` is the map whose value stands where the programs say [`CACHE_ADDRESS`].
pub(crate) fn fields(elf: &[u8], offsets: &Offsets, cache: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut patched = elf.to_vec();
    let file = object::File::parse(elf).context("the object with the probes is not an ELF file")?;
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (start, size) = section.file_range().unwrap_or_default();
        let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
        let code = patched.get_mut(start..start + size).context("a section reaches beyond the object")?;
        for instruction in code.chunks_exact_mut(INSTRUCTION) {
            replace(instruction, offsets)?;
        }
        for start in (0..code.len() - code.len() % INSTRUCTION).step_by(INSTRUCTION) {
            if let Some(pair) = code.get_mut(start..start + 2 * INSTRUCTION) {
                address(pair, cache);
            }
        }
    }
    Ok(patched)
}

fn replace(instruction: &mut [u8], offsets: &Offsets) -> Result<()> {
    let operand = i32::from_le_bytes([instruction[4], instruction[5], instruction[6], instruction[7]]);
    if instruction[0] == MOVE
        && let Some(value) = value(offsets, operand.cast_unsigned().checked_sub(CONSTANT))
    {
        instruction[4..8].copy_from_slice(&value.to_le_bytes());
        return Ok(());
    }
    let offset = u32::from(u16::from_le_bytes([instruction[2], instruction[3]]));
    let placeholder = offset.checked_sub(u32::try_from(PLACEHOLDER)?);
    if instruction[0] & !SIZE == LOAD
        && let Some(value) = value(offsets, placeholder)
        && value != ABSENT
    {
        let Ok(value) = i16::try_from(value) else {
            bail!("a field lies {value} bytes into its structure, beyond what a load can reach");
        };
        instruction[2..4].copy_from_slice(&value.to_le_bytes());
    }
    Ok(())
}

/// Puts the cache in the place of its address.
fn address(pair: &mut [u8], cache: BorrowedFd<'_>) {
    let half =
        |at: usize| u64::from(u32::from_le_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]]));
    if pair[0] == MOVE_WIDE && half(4) | half(INSTRUCTION + 4) << 32 == CACHE_ADDRESS {
        pair[1] = pair[1] & 0xf | MAP_VALUE << 4;
        pair[4..8].copy_from_slice(&cache.as_raw_fd().to_le_bytes());
        pair[INSTRUCTION + 4..].fill(0);
    }
}

/// The value behind a placeholder, if it is one.
fn value(offsets: &Offsets, index: Option<u32>) -> Option<u32> {
    index.and_then(|index| offsets.0.get(usize::try_from(index).ok()?).copied())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use vnet_ebpf::offsets::COUNT;

    use super::*;

    fn patched(mut instruction: [u8; 8], value: u32) -> Result<[u8; 8]> {
        let mut offsets = Offsets([ABSENT; COUNT]);
        offsets.0[2] = value;
        replace(&mut instruction, &offsets)?;
        Ok(instruction)
    }

    const LOAD_FIELD_2: [u8; 8] = [0x79, 0x21, 0x02, 0x70, 0, 0, 0, 0];

    #[test]
    fn a_placeholder_becomes_the_offset() {
        assert_eq!(patched(LOAD_FIELD_2, 0x1234).unwrap()[2..4], [0x34, 0x12]);
    }

    #[test]
    fn a_constant_becomes_the_value() {
        let move_2 = [0xb7, 0x01, 0, 0, 0x02, 0, 0, 0x76];
        assert_eq!(patched(move_2, 0x0102_0304).unwrap()[4..8], [4, 3, 2, 1]);
        assert_eq!(patched(move_2, ABSENT).unwrap()[4..8], [0xff; 4]);
    }

    #[test]
    fn nothing_else_is_touched() {
        for other in [[0x79, 0x21, 0x10, 0, 0, 0, 0, 0], [0x7b, 0x21, 0x02, 0x70, 0, 0, 0, 0]] {
            assert_eq!(patched(other, 8).unwrap(), other);
        }
        assert_eq!(patched(LOAD_FIELD_2, ABSENT).unwrap(), LOAD_FIELD_2);
    }

    #[test]
    fn the_address_of_the_cache_becomes_its_map() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut pair = [0x18, 0x06, 0, 0, 0, 0, 1, 0x76, 0, 0, 0, 0, 0, 0, 1, 0x76];
        let mut other = pair;
        other[4] = 1;
        address(&mut pair, file.as_fd());
        let [a, b, c, d] = file.as_raw_fd().to_le_bytes();
        assert_eq!(pair, [0x18, 0x26, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]);
        let before = other;
        address(&mut other, file.as_fd());
        assert_eq!(other, before);
    }

    #[test]
    fn an_offset_out_of_reach_is_an_error() {
        assert!(patched(LOAD_FIELD_2, 0x8000).is_err());
    }
}
