//! Puts what is known of the running kernel into the object's instructions.
//!
//! Rust emits no CO-RE relocations, so the probes load each field at a placeholder offset and move each value as a
//! placeholder constant; here both become the real ones. A field costs one instruction that way, the verifier checks it
//! against BTF like any other, and it drops the branches that a constant decides.

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, SectionKind};
use vnet_ebpf::offsets::{ABSENT, CONSTANT, Offsets, PLACEHOLDER};

/// `BPF_LDX | BPF_MEM`, without the size bits.
const LOAD: u8 = 0x61;

/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const MOVE: u8 = 0xb7;

/// Bits of an opcode that say the size of a load.
const SIZE: u8 = 0x18;

/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// The object with all placeholders replaced. A field that this kernel lacks keeps its placeholder: the program that
/// needs it is then refused, and the branch of an optional one is never verified.
pub(crate) fn fields(elf: &[u8], offsets: &Offsets) -> Result<Vec<u8>> {
    let mut patched = elf.to_vec();
    let file = object::File::parse(elf).context("the object with the probes is not an ELF file")?;
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (start, size) = section.file_range().unwrap_or_default();
        let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
        let code = patched.get_mut(start..start + size).context("a section reaches beyond the object")?;
        for instruction in code.chunks_exact_mut(INSTRUCTION) {
            replace(instruction, offsets)?;
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

/// The value behind a placeholder, if it is one.
fn value(offsets: &Offsets, index: Option<u32>) -> Option<u32> {
    index.and_then(|index| offsets.0.get(usize::try_from(index).ok()?).copied())
}

#[cfg(test)]
mod tests {
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
    fn an_offset_out_of_reach_is_an_error() {
        assert!(patched(LOAD_FIELD_2, 0x8000).is_err());
    }
}
