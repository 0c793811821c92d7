//! Interrupts that KVM gives to guests, from its own tracepoints: a witness of its own on the host's side.

use anyhow::Result;

use crate::ftrace::Instance;

/// Tracepoints: a message-signalled interrupt is on its way, and the vCPU that takes it.
const SENT: &str = "kvm_msi_set_irq";
const TAKEN: &str = "kvm_apic_accept_irq";

/// One interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Injection {
    /// Thread that caused it: a vhost worker, or one of the monitor's.
    pub tid: u32,
    /// The vCPU that takes it.
    pub vcpu: u32,
    /// Its vector there.
    pub vector: u32,
}

/// Interrupts being watched.
#[derive(Debug)]
pub struct Injected(Instance);

impl Injected {
    /// Watches from now on.
    pub fn watch() -> Result<Self> {
        let instance = Instance::new()?;
        for event in [SENT, TAKEN] {
            instance.write(&format!("events/kvm/{event}/enable"), "1")?;
        }
        Ok(Self(instance))
    }

    /// All so far, of all guests, in order.
    pub fn all(&self) -> Result<Vec<Injection>> {
        Ok(parse(&self.0.trace()?))
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        let _best_effort = self.0.write("events/enable", "0");
    }
}

/// An interrupt is taken where, and right after, it was sent: other vCPUs' timers and calls of their own are not sent.
fn parse(trace: &str) -> Vec<Injection> {
    let mut sent = std::collections::BTreeMap::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let Some((tid, cpu, event, vector)) = event(line) else { continue };
        if event.starts_with(SENT) {
            sent.insert(cpu, (tid, vector));
        } else if sent.remove(cpu) == Some((tid, vector))
            && let Some(vcpu) =
                event.split_whitespace().nth(2).and_then(|id| u32::from_str_radix(id, 16).ok())
        {
            found.push(Injection { tid, vcpu, vector });
        }
    }
    found
}

/// Thread, CPU, event with its arguments, vector.
///
/// `vhost-71-73 [001] d..2. 12.3: kvm_msi_set_irq: dst 1 vec 36 (Fixed|physical|edge)`, then
/// `vhost-71-73 [001] d..3. 12.3: kvm_apic_accept_irq: apicid 1 vec 36 (Fixed|edge)`.
fn event(line: &str) -> Option<(u32, &str, &str, u32)> {
    let (task, rest) = line.split_once(" [")?;
    let tid = task.trim().rsplit('-').next()?.parse().ok()?;
    let (cpu, rest) = rest.split_once(']')?;
    let (_, event) = rest.split_once(": ")?;
    let mut words = event.split_whitespace().skip_while(|word| *word != "vec");
    Some((tid, cpu, event, words.nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_what_was_sent_and_then_taken_on_one_cpu() {
        let trace = "\
          vhost-71-73      [001] d..2.    12.000001: kvm_msi_set_irq: dst 1 vec 36 (Fixed|physical|edge)
       CPU 0/KVM-75      [000] d..2.    12.000002: kvm_apic_accept_irq: apicid 0 vec 236 (Fixed|edge)
          vhost-71-73      [001] d..3.    12.000003: kvm_apic_accept_irq: apicid 1 vec 36 (Fixed|edge) (coalesced)
          vhost-71-73      [001] d..3.    12.000004: kvm_apic_accept_irq: apicid 1 vec 36 (Fixed|edge)
";
        assert_eq!(parse(trace), [Injection { tid: 73, vcpu: 1, vector: 36 }]);
    }
}
