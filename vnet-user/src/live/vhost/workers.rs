//! The threads that serve queue pairs: which they are comes from the probes, what they do from `/proc`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use vnet_ebpf::{
    device::NO_SLOT,
    vhost::{Pair, mode, state},
};

use crate::{
    live::{
        files::{Served, Thread},
        maps::Maps,
    },
    record::{Known, Probe, Worker},
    topology::{DeviceKey, QueueKey},
};

/// The word of a [`Pair`] that says whether it is in use.
pub(super) const STATE: usize = 0;

/// What was last told of workers, and what they had done before counting began.
#[derive(Default)]
pub(crate) struct Workers {
    /// Per thread, what it had done when it was first seen.
    base: HashMap<u32, Done>,
    told: HashMap<QueueKey, Worker>,
    /// Per pair whose device is gone, how often it was read since.
    closed: HashMap<usize, u8>,
    /// Devices that vhost serves, and whether zero-copy is on.
    devices: HashMap<DeviceKey, bool>,
    /// Stands for the vhost devices that the probes know: another one when one has come or gone.
    known: u64,
    /// It is counted how long they poll.
    polls: bool,
    /// NUMA nodes of CPUs that were asked for: they stay where they are.
    nodes: HashMap<u32, Option<u32>>,
}

/// What the scheduler says of a thread, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    run_ns: u64,
    wait_ns: u64,
    migrations: Option<u64>,
    polled_ns: u64,
}

impl Workers {
    /// Workers that changed since they were last told, and queues of which one was told that has ended; both sorted by
    /// queue. `files` has what the last walk found, `queue` says whose a slot is, and `wanted` whether that is to be told.
    pub(crate) fn read(
        &mut self,
        maps: &mut Maps,
        files: &Served,
        queue: impl Fn(u32) -> Option<QueueKey>,
        wanted: impl Fn(&QueueKey) -> bool,
    ) -> (Vec<Worker>, Vec<QueueKey>) {
        // A queue may have been renumbered since its worker ran, which the files tell.
        let mut threads: BTreeMap<_, _> = files.threads().collect();
        let found: HashSet<u32> = threads.values().map(|thread| thread.tid).collect();
        let mut polled = HashMap::new();
        let (mut changed, mut alive, mut known) = (Vec::new(), found.clone(), DefaultHasher::new());
        for number in 0..maps.pairs.len() {
            if maps.pairs.word(number, STATE) == state::FREE {
                continue;
            }
            let pair = maps.pairs.read(number);
            alive.insert(pair.tid);
            if pair.state == state::OPEN {
                polled.insert(pair.tid, pair.polled);
            }
            (number, pair.dev, pair.state).hash(&mut known);
            match pair.state {
                state::OPEN if pair.tid != 0 && pair.slot != NO_SLOT => {
                    let Some(key) = queue(pair.slot) else { continue };
                    self.devices.insert(key.device, pair.mode == mode::ZEROCOPY);
                    if !found.contains(&pair.tid) {
                        threads.insert(key, Thread { tid: pair.tid, tgid: pair.tgid });
                    }
                }
                state::CLOSED => self.close(maps, number),
                _ => {}
            }
        }
        self.known = known.finish();
        threads.retain(|key, thread| {
            let worker =
                wanted(key).then(|| self.look(*thread, *key, polled.get(&thread.tid).copied())).flatten();
            let Some(worker) = worker else { return false };
            if self.told.get(key) != Some(&worker) {
                self.told.insert(*key, worker.clone());
                changed.push(worker);
            }
            true
        });
        self.base.retain(|tid, _| alive.contains(tid));
        let mut ended: Vec<_> =
            self.told.extract_if(|key, _| !threads.contains_key(key)).map(|(key, _)| key).collect();
        ended.sort_unstable();
        (changed, ended)
    }

    /// From how the signals are known.
    pub(crate) fn cover(&mut self, probes: &[Probe]) {
        let known = |probe: &Probe| probe.signal == "vhost.busy_poll" && probe.state != Known::Unavailable;
        self.polls = probes.iter().any(known);
    }

    /// Stands for the vhost devices that the probes knew when they were last read.
    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    /// Whether vhost serves a device, and if it does, whether with zero-copy; `None` when it has not been seen to.
    pub(crate) fn zerocopy(&self, device: DeviceKey) -> Option<bool> {
        self.devices.get(&device).copied()
    }

    /// Forgets these devices.
    pub(crate) fn forget(&mut self, devices: &HashSet<DeviceKey>) {
        self.devices.retain(|key, _| !devices.contains(key));
    }

    /// Gives back the number of a device that is gone, once no program can still be at work with it.
    fn close(&mut self, maps: &mut Maps, number: usize) {
        let reads = self.closed.entry(number).or_default();
        *reads += 1;
        if *reads < 3 {
            return;
        }
        self.closed.remove(&number);
        maps.pairs.write(number, Pair::default());
        if let Ok(number) = u32::try_from(number) {
            let _ = maps.free_pairs.push(number, 0); // there is room: it came from there
        }
    }

    fn look(&mut self, Thread { tid, tgid }: Thread, queue: QueueKey, polled: Option<u64>) -> Option<Worker> {
        let task = format!("/proc/{tgid}/task/{tid}");
        let read = |file: &str| fs::read_to_string(format!("{task}/{file}"));
        let stat = read("stat").ok().filter(|stat| comm(stat).starts_with("vhost-"))?;
        let (run_ns, wait_ns) = schedstat(&read("schedstat").ok()?)?;
        let migrations = read("sched").ok().as_deref().and_then(migrations);
        let now = Done { run_ns, wait_ns, migrations, polled_ns: polled.unwrap_or(0) };
        let cpu = cpu(&stat);
        // What it did until it was first seen may have been before counting began.
        let since = self.base.get(&tid).map(|base| now.since(base));
        self.base.entry(tid).or_insert(now);
        Some(Worker {
            queue,
            tid,
            tgid,
            comm: comm(&stat).to_owned(),
            cpu,
            node: cpu.and_then(|cpu| *self.nodes.entry(cpu).or_insert_with(|| node(cpu))),
            run_ns: since.map(|since| since.run_ns),
            wait_ns: since.map(|since| since.wait_ns),
            migrations: since.and_then(|since| since.migrations),
            busy_poll_ns: since.filter(|_| self.polls).map(|since| since.polled_ns),
        })
    }
}

impl Done {
    fn since(self, earlier: &Self) -> Self {
        let moved = |n: u64| n.saturating_sub(earlier.migrations.unwrap_or(n));
        Self {
            run_ns: self.run_ns.saturating_sub(earlier.run_ns),
            wait_ns: self.wait_ns.saturating_sub(earlier.wait_ns),
            migrations: self.migrations.map(moved),
            polled_ns: self.polled_ns.saturating_sub(earlier.polled_ns),
        }
    }
}

/// Nanoseconds that a thread ran and waited to run, of `/proc/PID/schedstat`.
fn schedstat(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// Moves between CPUs, of `/proc/PID/sched`.
fn migrations(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("se.nr_migrations"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

/// Name of a thread, of `/proc/PID/stat`; it may hold anything.
fn comm(stat: &str) -> &str {
    let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    name.map_or("", |(name, _)| name)
}

/// CPU that a thread ran on last, likewise: field 39.
fn cpu(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(36)?.parse().ok()
}

/// NUMA node of a CPU.
fn node(cpu: u32) -> Option<u32> {
    let entries = fs::read_dir(format!("/sys/devices/system/cpu/cpu{cpu}")).ok()?;
    entries.flatten().find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scheduler_says_is_read() {
        assert_eq!(schedstat("123456 789 12\n"), Some((123_456, 789)));
        assert_eq!(schedstat("0 0"), Some((0, 0)));
        assert_eq!(schedstat(""), None);
        let sched = "vhost-1 (1, #threads: 1)\n---\nse.exec_start  :  12.5\nse.nr_migrations     :      7\n";
        assert_eq!(migrations(sched), Some(7));
        assert_eq!(migrations("nothing"), None);
    }

    #[test]
    fn name_and_cpu_are_found_behind_any_name() {
        let tail = (3..=52).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let stat = format!("42 (a) b (c)) {tail}");
        assert_eq!((comm(&stat), cpu(&stat)), ("a) b (c)", Some(39)));
        assert_eq!((comm("42"), cpu("42")), ("", None));
    }
}
