//! Rows of the probes' counters, as memory.

use std::ops::Range;

use vnet_ebpf::{
    counter::{Direction, Last, ROW, Row, XMIT, XMIT_LAST, XMIT_SEQ, XMIT_SKB, lost},
    hist,
};

use crate::{live::maps::Maps, record::Flow};

/// Packets that the probes could not count.
pub(crate) fn lost(maps: &Maps) -> [u64; lost::CELLS] {
    let mut all = [0; lost::CELLS];
    for cpu in 0..maps.lost.len() {
        for (sum, cell) in all.iter_mut().zip(maps.lost.read(cpu)) {
            *sum += cell;
        }
    }
    all
}

/// Forgets which packets were handed over last, while no program takes note of them: what lies at their addresses later is
/// not refused in their place. What is not mapped yet was claimed since, and has taken note of none.
pub(crate) fn forget_last(maps: &Maps) {
    for index in 0..maps.banks.len() {
        if maps.banks.word(index, XMIT_SKB) != 0 {
            maps.banks.write_word(index, XMIT_SKB, 0);
        }
    }
}

/// Where the rows of a slot are, by CPU.
pub(super) fn rows(maps: &Maps, slot: usize) -> Range<usize> {
    slot * maps.cpus..(slot + 1) * maps.cpus
}

/// A slot's row, summed over the CPUs.
///
/// With `before`, how often each CPU had handed over a packet some time ago, it is without the last packet of each CPU that
/// has done so since: that one may yet be refused. `before` is then as it is now.
pub(super) fn sum(maps: &Maps, slot: usize, mut before: Option<&mut Vec<u64>>) -> Row {
    let mut all = [0_u64; ROW];
    for (cpu, index) in rows(maps, slot).enumerate() {
        let row = read_row(maps, index);
        for (sum, cell) in all.iter_mut().zip(row) {
            *sum = sum.wrapping_add(cell);
        }
        let Some(before) = &mut before else { continue };
        let last = Last::of(&row);
        if before.len() == cpu {
            before.push(0); // even a CPU that has handed over nothing yet has not done so since
        }
        let seq = std::mem::replace(&mut before[cpu], last.seq);
        if seq != last.seq && last.skb != 0 {
            for (cell, n) in [
                (XMIT.size(hist::class(last.len)), 1),
                (XMIT.bytes(), u64::from(last.len)),
                (XMIT.extra_segments(), u64::from(last.extra_segments)),
            ] {
                all[cell] = all[cell].wrapping_sub(n);
            }
        }
    }
    for cell in [XMIT_SEQ, XMIT_SKB, XMIT_LAST] {
        all[cell] = 0; // no counts
    }
    all
}

/// A row of a CPU, in which the packet that was handed over last is counted.
///
/// A change takes some 20 ns, so a few tries are enough, unless the CPU is halted within one: then what is there is taken.
fn read_row(maps: &Maps, index: usize) -> Row {
    const TRIES: usize = 10_000;
    let mut seq = maps.banks.word(index, XMIT_SEQ);
    let mut row = maps.banks.read(index);
    for _ in 0..TRIES {
        let after = maps.banks.word(index, XMIT_SEQ);
        if after == seq && seq.is_multiple_of(2) {
            break;
        }
        std::hint::spin_loop();
        seq = after;
        row = maps.banks.read(index);
    }
    row
}

/// Packets of a direction in a row, of whichever table.
pub(crate) fn flow(row: &[u64], direction: Direction) -> Flow {
    let mut flow = Flow { bytes: row[direction.bytes()], ..Flow::default() };
    for (class, size) in flow.sizes.iter_mut().enumerate() {
        *size = row[direction.size(class)];
    }
    flow.segments = flow.packets() + row[direction.extra_segments()];
    flow
}
