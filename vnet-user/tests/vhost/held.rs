//! What a running vnet holds: files, memory, and places in the maps of its probes.

use std::{collections::BTreeMap, fs, thread, time::Duration, time::Instant};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use vnet_driver::vnet::Vnet;
use vnet_ebpf::device::SlotKey;

/// At one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Open files.
    pub(crate) files: usize,
    /// Entries of maps, by name: queues that have a slot, vhost devices, workers.
    pub(crate) entries: BTreeMap<&'static str, usize>,
    /// Resident memory of its own, in KiB: what is mapped of the maps is there from the beginning.
    pub(crate) memory: u64,
}

impl Held {
    /// Of a vnet now.
    pub(crate) fn of(vnet: &Vnet) -> Result<Self> {
        let process = format!("/proc/{}", vnet.pid().as_raw_nonzero());
        let status = fs::read_to_string(format!("{process}/status"))?;
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = memory.and_then(|text| text.trim().strip_suffix(" kB")).context("no RssAnon")?;
        let (mut files, mut maps) = (0, BTreeMap::new());
        for file in fs::read_dir(format!("{process}/fdinfo"))? {
            files += 1;
            let info = fs::read_to_string(file?.path()).unwrap_or_default();
            let id = info.lines().find_map(|line| line.strip_prefix("map_id:"));
            if let Some(id) = id.and_then(|id| id.trim().parse::<u32>().ok()) {
                let data = MapData::from_id(id)?;
                maps.insert(data.info()?.name_as_str().unwrap_or_default().to_owned(), data);
            }
        }
        let mut take = |name| maps.remove(name).with_context(|| format!("vnet has no map {name}"));
        let slots: HashMap<_, SlotKey, u32> = Map::HashMap(take("SLOTS")?).try_into()?;
        let devices: HashMap<_, u64, u32> = Map::HashMap(take("DEVICES")?).try_into()?;
        let workers: HashMap<_, u32, u32> = Map::HashMap(take("WORKERS")?).try_into()?;
        let entries = BTreeMap::from([
            ("SLOTS", slots.keys().flatten().count()),
            ("DEVICES", devices.keys().flatten().count()),
            ("WORKERS", workers.keys().flatten().count()),
        ]);
        Ok(Self { files, entries, memory: memory.parse()? })
    }

    /// No more files and entries than this.
    fn is_within(&self, bound: &Self) -> bool {
        self.files <= bound.files && self.entries.iter().all(|(name, n)| Some(n) <= bound.entries.get(name))
    }
}

/// What vnet holds once it has given back what it held beyond `bound`.
pub(crate) fn settled(vnet: &Vnet, bound: &Held) -> Result<Held> {
    // It looks once in a second, and gives slots back three looks later.
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let held = Held::of(vnet)?;
        if held.is_within(bound) {
            return Ok(held);
        }
        ensure!(Instant::now() < deadline, "vnet held {bound:?}, and now {held:?}");
        thread::sleep(Duration::from_millis(100));
    }
}
