//! The inventory on the running kernel, in namespaces that the tests make and remove. Needs root.

mod support;
mod tap;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::{self, Command},
    sync::{Mutex, PoisonError},
};

use support::{Space, in_space, open_fds, skipped, until, until_read};
use tap::Queue;
use vnet::{
    live::inventory::Inventory,
    topology::{Device, DeviceKind, IfIndex, Netns},
};
use vnet_driver as driver;

static ALONE: Mutex<()> = Mutex::new(());

macro_rules! live_test {
    ($(#[$meta:meta])* async fn $name:ident() $body:block) => {
        #[test]
        $(#[$meta])*
        fn $name() {
            if skipped() {
                return;
            }
            // Open files are counted, and those are the whole process's.
            let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async { $body });
        }
    };
}

live_test! {
    async fn add_rename_delete_and_a_twin() {
        let (one, two) = (Space::new(), Space::new());
        let mut inventory = Inventory::start().expect("start");
        assert!(inventory.knows(one.netns) && inventory.knows(two.netns), "{:?}", inventory.problems());

        let first = Queue::open(Some(&one.path), "tap0", true, Some(77)).expect("tap");
        let _twin = Queue::open(Some(&two.path), "tap0", true, Some(77)).expect("twin");
        let devices = until(&mut inventory, "both taps", |devices| {
            in_space(devices, one.netns).len() == 1 && in_space(devices, two.netns).len() == 1
        })
        .await;
        let tap = in_space(&devices, one.netns)[0].clone();
        assert_eq!((tap.name.as_str(), tap.kind, tap.present), ("tap0", DeviceKind::Tap, true));
        assert_eq!((tap.queues_max, tap.queues_enabled, tap.queues_disabled), (Some(256), Some(1), Some(0)));
        assert_eq!(tap.key.ifindex, in_space(&devices, two.netns)[0].key.ifindex);

        one.ip(&["link", "set", "tap0", "name", "blue"]);
        let devices = until(&mut inventory, "the new name", |devices| in_space(devices, one.netns)[0].name == "blue").await;
        assert_eq!(in_space(&devices, one.netns)[0].key, tap.key, "a rename keeps the device");
        assert_eq!(in_space(&devices, two.netns)[0].name, "tap0");

        drop(first);
        until(&mut inventory, "the end", |devices| !in_space(devices, one.netns)[0].present).await;
        let _again = Queue::open(Some(&one.path), "blue", true, Some(77)).expect("the same name and index again");
        let devices = until(&mut inventory, "the second", |devices| in_space(devices, one.netns).len() == 2).await;
        let both = in_space(&devices, one.netns);
        assert_eq!((both[0].present, both[1].present), (false, true));
        assert_eq!((both[0].key.generation, both[1].key.generation), (0, 1));
        assert!(in_space(&devices, two.netns).iter().all(|device| device.present), "the twin lives on");
    }
}

live_test! {
    async fn queues_come_and_go_and_have_an_owner() {
        let space = Space::new();
        let mut inventory = Inventory::start().expect("start");
        let queues: Vec<_> = (0..4).map(|_| space.queue("tap0")).collect();
        let counts = |devices: &[Device]| {
            let tap = in_space(devices, space.netns)[0];
            (tap.queues_enabled, tap.queues_disabled)
        };
        until(&mut inventory, "the tap", |devices| in_space(devices, space.netns).len() == 1).await;
        inventory.refresh().expect("refresh");
        assert_eq!(counts(&inventory.topology().devices), (Some(4), Some(0)));
        queues[1].attach(false).expect("detach");
        assert!(inventory.refresh().expect("refresh"));
        assert_eq!(counts(&inventory.topology().devices), (Some(3), Some(1)));
        queues[1].attach(true).expect("attach");
        inventory.refresh().expect("refresh");
        assert_eq!(counts(&inventory.topology().devices), (Some(4), Some(0)));
        assert!(!inventory.refresh().expect("refresh"), "nothing has changed");

        let devices = until(&mut inventory, "the owner", |devices| in_space(devices, space.netns)[0].owner.is_some()).await;
        let owner = in_space(&devices, space.netns)[0].owner.clone().expect("just seen");
        assert_eq!(owner.pid, process::id());
        assert_eq!(owner.comm, fs::read_to_string("/proc/self/comm").expect("comm").trim_end());

        // A process that inherits a queue file makes the owner unknown.
        let mut child = Command::new("sh").args(["-c", "exec sleep 60"]).stdin(queues[3].share()).spawn().expect("sh");
        drop(queues);
        let devices = until_read(&mut inventory, "the child as owner", true, |devices| {
            in_space(devices, space.netns)[0].owner.as_ref().is_some_and(|owner| owner.pid == child.id())
        })
        .await;
        assert_eq!(counts(&devices), (Some(1), Some(0)));
        child.kill().expect("kill");
        child.wait().expect("wait");
        until(&mut inventory, "the end", |devices| !in_space(devices, space.netns)[0].present).await;
    }
}

live_test! {
    async fn two_holders_are_no_owner() {
        let space = Space::new();
        let queue = space.queue("tap0");
        let mut child = Command::new("sleep").arg("60").stdin(queue.share()).spawn().expect("sleep");
        let mut inventory = Inventory::start().expect("start");
        // Another tap, whose owner is found by the same search, tells that the search is over.
        let _other = space.queue("tap1");
        let devices = until(&mut inventory, "an owner of the other tap", |devices| {
            in_space(devices, space.netns).iter().any(|tap| tap.name == "tap1" && tap.owner.is_some())
        })
        .await;
        let tap = in_space(&devices, space.netns).into_iter().find(|tap| tap.name == "tap0").expect("tap0");
        assert_eq!(tap.owner, None);
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}

live_test! {
    async fn a_new_namespace_is_found_and_not_held() {
        let mut inventory = Inventory::start().expect("start");
        let fds = open_fds();
        let space = Space::new();
        space.ip(&["tuntap", "add", "kept", "mode", "tap", "multi_queue"]);
        let netns = space.netns;
        until(&mut inventory, "the tap", |devices| in_space(devices, netns).iter().any(|tap| tap.present)).await;
        assert_eq!(open_fds(), fds, "no file is held for a namespace");
        // The persistent tap has no process; only the namespace keeps it, and nothing of ours keeps the namespace.
        drop(space);
        until(&mut inventory, "the end of the namespace", |devices| !in_space(devices, netns)[0].present).await;
        assert!(!inventory.knows(netns));
    }
}

live_test! {
    async fn a_namespace_of_a_process_is_found_on_demand() {
        let mut inventory = Inventory::start().expect("start");
        let script = "ip tuntap add inner mode tap && echo ready && exec sleep 60";
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdout(process::Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().expect("stdout"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("its word");
        assert_eq!(line, "ready\n");
        let netns = Netns(fs::metadata(format!("/proc/{}/ns/net", child.id())).expect("its namespace").ino());
        assert!(!inventory.knows(netns));
        let key = inventory.bind(netns, IfIndex(2), u64::MAX, "inner", DeviceKind::Tap);
        inventory.rescan();
        let devices = until(&mut inventory, "its tap", |devices| {
            in_space(devices, netns).iter().any(|tap| tap.queues_max.is_some())
        })
        .await;
        let tap = in_space(&devices, netns);
        assert!(tap.iter().any(|tap| tap.present && tap.name == "inner"), "{tap:?}");
        assert_eq!(tap[0].key, key);
        child.kill().expect("kill");
        child.wait().expect("wait");
        until(&mut inventory, "its end", |devices| in_space(devices, netns).iter().all(|tap| !tap.present)).await;
    }
}

live_test! {
    async fn a_move_is_another_device_and_a_bridge_is_not() {
        let (one, two) = (Space::new(), Space::new());
        one.ip(&["tuntap", "add", "tap0", "mode", "tap"]);
        one.ip(&["link", "add", "br0", "type", "bridge"]);
        let mut inventory = Inventory::start().expect("start");
        let before = inventory.topology().devices.clone();
        assert_eq!(in_space(&before, one.netns).len(), 1, "the bridge is not listed");
        // Leaving a bridge is told as the end of a link, of another family.
        one.ip(&["link", "set", "tap0", "master", "br0"]);
        one.ip(&["link", "set", "tap0", "nomaster"]);
        one.ip(&["link", "set", "tap0", "up"]);
        one.ip(&["tuntap", "add", "last", "mode", "tap"]);
        let devices = until(&mut inventory, "the last", |devices| in_space(devices, one.netns).len() == 2).await;
        let tap = in_space(&devices, one.netns)[0];
        assert!(tap.present);
        assert_eq!((tap.queues_max, tap.queues_enabled, &tap.owner), (Some(1), Some(0), &None));

        one.ip(&["link", "set", "tap0", "netns", &two.name]);
        let devices = until(&mut inventory, "its arrival", |devices| in_space(devices, two.netns).len() == 1).await;
        assert!(!in_space(&devices, one.netns)[0].present);
        assert!(in_space(&devices, two.netns)[0].present);
    }
}

live_test! {
    async fn macvtap_and_tun_are_listed() {
        let space = Space::new();
        let made = Command::new("ip")
            .args(["-n", &space.name, "link", "add", "base", "type", "dummy"])
            .stderr(process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let made = made
            && Command::new("ip")
                .args(["-n", &space.name, "link", "add", "mv0", "link", "base", "type", "macvtap"])
                .stderr(process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        space.ip(&["tuntap", "add", "tun0", "mode", "tun"]);
        let inventory = Inventory::start().expect("start");
        let devices = inventory.topology().devices.clone();
        let devices = in_space(&devices, space.netns);
        assert!(devices.iter().any(|device| device.name == "tun0" && device.kind == DeviceKind::Tun));
        if made {
            let macvtap = devices.iter().find(|device| device.name == "mv0").expect("macvtap");
            assert_eq!((macvtap.kind, macvtap.uncovered.len()), (DeviceKind::Macvtap, 1));
        } else {
            eprintln!("skipped: macvtap: this kernel has no macvtap or no dummy device");
        }
    }
}

live_test! {
    async fn xdp_and_napi_are_seen() {
        let netns = driver::netns::Netns::new().expect("a namespace that only a thread is in");
        let config = driver::tap::Config { napi: true, ..driver::tap::Config::new("tap0", 2) };
        let tap = driver::tap::Tap::new(&netns, &config).expect("tap");
        let mut inventory = Inventory::start().expect("start");
        let here = Netns(netns.inode());
        let devices = inventory.topology().devices.clone();
        let device = in_space(&devices, here)[0];
        assert_eq!((device.queues_enabled, device.uncovered.len()), (Some(2), 0));
        assert_eq!(inventory.napi(device.key), Some(true));

        let links = driver::link::Links::open(&netns).expect("links");
        let program = match driver::bpf::Program::xdp(driver::bpf::XdpAction::Pass) {
            Ok(program) => program,
            Err(error) => {
                eprintln!("skipped: XDP: cannot load a program: {error}");
                return;
            }
        };
        links.set_xdp(tap.ifindex, Some(&program)).expect("XDP on");
        until(&mut inventory, "XDP", |devices| in_space(devices, here)[0].uncovered.len() == 1).await;
        links.set_xdp(tap.ifindex, None).expect("XDP off");
        until(&mut inventory, "no XDP", |devices| in_space(devices, here)[0].uncovered.is_empty()).await;
    }
}

live_test! {
    async fn virtio_nics_are_those_of_sysfs() {
        let own = Netns(fs::metadata("/proc/self/ns/net").expect("own namespace").ino());
        let nics = fs::read_dir("/sys/class/net").expect("sysfs").flatten().filter(|nic| {
            fs::read_link(nic.path().join("device/driver")).is_ok_and(|driver| driver.ends_with("virtio_net"))
        });
        let mut nics: Vec<_> = nics.map(|nic| nic.file_name().into_string().expect("a name")).collect();
        nics.sort();
        if nics.is_empty() {
            eprintln!("skipped: this machine has no virtio NIC");
            return;
        }
        let inventory = Inventory::start().expect("start");
        let devices = inventory.topology().devices.clone();
        let mut seen: Vec<_> = in_space(&devices, own)
            .into_iter()
            .filter(|device| device.kind == DeviceKind::VirtioNet)
            .inspect(|device| {
                let queues = fs::read_dir(format!("/sys/class/net/{}/queues", device.name)).expect("its queues");
                let tx = queues.flatten().filter(|queue| queue.file_name().to_string_lossy().starts_with("tx-"));
                assert_eq!(device.queues_enabled, u32::try_from(tx.count()).ok(), "{}", device.name);
                assert!(device.queues_max >= device.queues_enabled);
            })
            .map(|device| device.name.clone())
            .collect();
        seen.sort();
        assert_eq!(seen, nics);
    }
}

live_test! {
    async fn instances_are_those_of_sysfs() {
        let name = format!("vni{}", process::id());
        let _queue = Queue::open(None, &name, false, None).expect("a tap in the own namespace");
        let own = Netns(fs::metadata("/proc/self/ns/net").expect("own namespace").ino());
        let mut inventory = Inventory::start().expect("start");
        let devices = until(&mut inventory, "the tap", |devices| devices.iter().any(|tap| tap.name == name)).await;
        let tap = devices.iter().find(|tap| tap.name == name).expect("just seen").clone();
        assert_eq!((tap.queues_max, tap.queues_enabled, tap.queues_disabled), (Some(1), Some(1), None));
        let instance = fs::metadata(format!("/sys/class/net/{name}/")).expect("its directory").ino();
        let ifindex = tap.key.ifindex;
        assert_eq!(inventory.bind(own, ifindex, instance, &name, DeviceKind::Tap), tap.key);
        let other = inventory.bind(own, ifindex, instance - 1, &name, DeviceKind::Tap);
        assert_ne!(other, tap.key, "another instance is another device");
        assert_eq!(inventory.bind(own, ifindex, instance, &name, DeviceKind::Tap), tap.key);
    }
}

live_test! {
    async fn nothing_leaks_over_many_devices() {
        let space = Space::new();
        let mut inventory = Inventory::start().expect("start");
        until(&mut inventory, "silence", |_| true).await;
        let fds = open_fds();
        let rounds = 1000;
        for round in 0..rounds {
            let queue = Queue::open(Some(&space.path), "tap0", true, Some(5)).expect("tap");
            if round % 3 == 0 {
                inventory.drain().expect("drain");
            }
            drop(queue);
            if round % 5 == 0 {
                inventory.drain().expect("drain");
            }
        }
        let devices = until(&mut inventory, "the last end", |devices| {
            in_space(devices, space.netns).last().is_some_and(|tap| !tap.present)
        })
        .await;
        if inventory.lost_events() == 0 {
            assert_eq!(in_space(&devices, space.netns).len(), rounds);
        }
        assert_eq!(open_fds(), fds, "files open at the end, and before");
    }
}
