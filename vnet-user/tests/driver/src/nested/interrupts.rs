//! A guest's `/proc/interrupts`.

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Number of the interrupt line.
    pub irq: u32,
    /// What it is for: `virtio0-input.1`.
    pub name: String,
    /// How often each CPU took it.
    pub cpus: Vec<u64>,
}

impl Interrupt {
    /// How often it came.
    pub fn count(&self) -> u64 {
        self.cpus.iter().sum()
    }
}

/// The lines of devices whose name begins with `device` and `-`: those of a virtio device with MSI-X.
pub(super) fn of_device(text: &str, device: &str) -> Vec<Interrupt> {
    let cpus = text.lines().next().map_or(0, |head| head.split_whitespace().count());
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let irq = words.next()?.strip_suffix(':')?.parse().ok()?;
        let counts: Vec<_> = words.by_ref().take(cpus).map_while(|word| word.parse().ok()).collect();
        let name = words.last()?;
        let own = name.strip_prefix(device)?.starts_with('-') && counts.len() == cpus;
        own.then(|| Interrupt { irq, name: name.to_owned(), cpus: counts })
    };
    text.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_device_are_read() {
        let text = "           CPU0       CPU1       \n  4:         88          0   IO-APIC   4-edge      ttyS0\n \
                    25:          0         17   PCI-MSI 49153-edge      virtio0-input.0\n 31:  1  0   PCI-MSIX-0000:00:03.0 \
                    2-edge virtio01-input.0\nNMI:          0          0   Non-maskable interrupts\nERR:          0\n";
        let found = of_device(text, "virtio0");
        assert_eq!(found, [Interrupt { irq: 25, name: "virtio0-input.0".to_owned(), cpus: vec![0, 17] }]);
        assert_eq!(found[0].count(), 17);
    }
}
