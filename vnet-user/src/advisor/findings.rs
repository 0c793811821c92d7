//! From what is held to findings: queues of a device together, one finding per cause, the worst first.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    memory::{Key, Memory, Streak},
    rules::{self, Rule},
    scene::{Cpu, Device, Place, Vm},
};
use crate::{
    report::{Evidence, Finding, Subject},
    topology::DeviceKey,
};

/// What findings are gathered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Device(DeviceKey),
    Vm(u32),
    Cpu(u32),
}

/// One finding to be.
struct Draft<'a> {
    /// Place of its rule in the table.
    order: usize,
    rule: &'static Rule,
    subject: Subject,
    evidence: &'a [Evidence],
    place: Place<'a>,
}

/// All findings.
pub(super) fn findings(
    memory: &Memory,
    devices: &[Device<'_>],
    vms: &[Vm<'_>],
    cpus: &[Cpu<'_>],
) -> Vec<Finding> {
    let mut groups: BTreeMap<(usize, Group), Vec<(Key, &Streak)>> = BTreeMap::new();
    for (key, streak) in memory.held() {
        let group = match key {
            Key::Queue(device, _) | Key::Device(device) => Group::Device(device),
            Key::Vm(pid) => Group::Vm(pid),
            Key::Cpu(cpu) => Group::Cpu(cpu),
        };
        groups.entry((streak.rule, group)).or_default().push((key, streak));
    }
    let by_key: BTreeMap<DeviceKey, &Device<'_>> =
        devices.iter().map(|device| (device.report.key(), device)).collect();
    let drafts = groups.into_iter().filter_map(|((order, group), shown)| {
        let (subject, place) = match group {
            Group::Device(key) => of_device(by_key.get(&key)?, &shown),
            Group::Vm(pid) => of_vm(vms.iter().find(|vm| vm.pid == pid)?),
            Group::Cpu(cpu) => of_cpu(cpus.iter().find(|other| other.cpu == cpu)?),
        };
        Some(Draft { order, rule: rules::at(order), subject, evidence: &worst(&shown).evidence, place })
    });
    let mut findings = with_causes(&drafts.collect::<Vec<_>>());
    findings.sort_by_key(|(order, finding)| (Reverse(finding.level), *order));
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// The one whose first number is the largest.
fn worst<'a>(shown: &[(Key, &'a Streak)]) -> &'a Streak {
    let first = |streak: &Streak| streak.evidence.first().map_or(0.0, |evidence| evidence.value);
    let worst =
        shown.iter().map(|(_, streak)| *streak).reduce(|a, b| if first(b) > first(a) { b } else { a });
    worst.unwrap_or_else(|| shown[0].1)
}

fn finding(draft: &Draft<'_>) -> Finding {
    let rule = draft.rule;
    let mend = (rule.mend)(&draft.place);
    Finding {
        rule: rule.id.into(),
        title: rule.title.into(),
        level: rule.level,
        subject: draft.subject.clone(),
        evidence: draft.evidence.to_vec(),
        why: rule.why.into(),
        fix: mend.commands,
        place: mend.place,
        expect: rule.expect.into(),
        source: rule.source.into(),
        explains: Vec::new(),
    }
}

fn of_device<'a>(device: &'a Device<'a>, shown: &[(Key, &Streak)]) -> (Subject, Place<'a>) {
    let report = device.report;
    let worst = worst(shown);
    let mut queues: Vec<u16> = Vec::new();
    for (key, streak) in shown {
        let Key::Queue(_, queue) = key else { continue };
        if std::ptr::eq(*streak, worst) {
            queues.insert(0, *queue);
        } else {
            queues.push(*queue);
        }
    }
    let place = Place {
        devices: vec![device],
        queues: device.queues.iter().filter(|queue| queues.contains(&queue.report.queue)).collect(),
    };
    let subject = Subject {
        device: Some(report.name.clone()),
        ifindex: Some(report.ifindex),
        netns: Some(report.netns),
        generation: Some(report.generation),
        queues,
        vm_pid: report.vm_pid,
        vm: device.vm.and_then(|vm| vm.name.clone()),
        cpu: None,
    };
    (subject, place)
}

fn of_vm<'a>(vm: &Vm<'a>) -> (Subject, Place<'a>) {
    let name = vm.report.and_then(|vm| vm.name.clone());
    let subject = Subject { vm_pid: Some(vm.pid), vm: name, ..Subject::default() };
    (subject, Place { devices: vm.devices.clone(), queues: Vec::new() })
}

/// Each device once; queues of a device follow each other.
fn devices_of<'a>(cpu: &Cpu<'a>) -> Vec<&'a Device<'a>> {
    let mut devices: Vec<_> = cpu.queues.iter().map(|(device, _)| *device).collect();
    devices.dedup_by_key(|device| device.report.key());
    devices
}

fn of_cpu<'a>(cpu: &Cpu<'a>) -> (Subject, Place<'a>) {
    let place =
        Place { devices: devices_of(cpu), queues: cpu.queues.iter().map(|(_, queue)| *queue).collect() };
    (Subject { cpu: Some(cpu.cpu), ..Subject::default() }, place)
}

/// Findings, without those of which another about the same device is the cause: they are told there.
fn with_causes(drafts: &[Draft<'_>]) -> Vec<(usize, Finding)> {
    let mut by_device: BTreeMap<DeviceKey, Vec<usize>> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        for device in &draft.place.devices {
            by_device.entry(device.report.key()).or_default().push(at);
        }
    }
    let cause = |at: usize| {
        let Draft { rule, place, .. } = &drafts[at];
        let near = || place.devices.iter().flat_map(|device| &by_device[&device.report.key()]);
        let is = |other: usize, id: &str| other != at && drafts[other].rule.id == id;
        rule.because.iter().find_map(|id| near().copied().find(|other| is(*other, id)))
    };
    let root = |mut at: usize| {
        // The table has no circles (a test holds that), so this ends.
        while let Some(next) = cause(at) {
            at = next;
        }
        at
    };
    let mut findings: BTreeMap<usize, Finding> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        let root = root(at);
        let whole = findings.entry(root).or_insert_with(|| finding(&drafts[root]));
        if root != at {
            explain(whole, draft);
        }
    }
    findings.into_iter().map(|(at, finding)| (drafts[at].order, finding)).collect()
}

/// Adds what another draft found to its cause: it is as bad, and rests on its numbers too.
fn explain(whole: &mut Finding, draft: &Draft<'_>) {
    whole.level = whole.level.max(draft.rule.level);
    for evidence in draft.evidence.iter().filter(|new| new.threshold.is_some()) {
        if whole.evidence.iter().all(|known| known.name != evidence.name) {
            whole.evidence.push(evidence.clone());
        }
    }
    if whole.explains.iter().all(|known| known != draft.rule.id) {
        whole.explains.push(draft.rule.id.into());
    }
}
