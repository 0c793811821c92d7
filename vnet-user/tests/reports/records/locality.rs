//! Who interrupts whom, from its short form.

use std::collections::BTreeMap;

use vnet::{
    record::{CallPath, KickPath, Paths, Side, Target, VcpuKey, VcpuPlace, VcpuStates},
    topology::{Cpu, Vcpu, Vm},
};

use super::{Result, number};

/// Words of the form `NAME=NUMBER`.
struct Words<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Words<'a> {
    fn of(words: &[&'a str]) -> Result<Self> {
        let pair = |word: &&'a str| word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=VALUE"));
        Ok(Self(words.iter().map(pair).collect::<Result<_>>()?))
    }

    /// What has that name, once.
    fn take<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        self.0.remove(name).map(number).transpose()
    }

    /// The same, which must be there.
    fn need<T: std::str::FromStr>(&mut self, name: &str) -> Result<T> {
        self.take(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{:?} means nothing here", self.0)) }
    }

    fn vcpu(&mut self) -> Result<Option<VcpuKey>> {
        let vm = self.take("vm")?;
        Ok(self.take("vcpu")?.map(|vcpu| VcpuKey { vm, vcpu }))
    }
}

fn side(word: &str) -> Result<Side> {
    match word {
        "tx" => Ok(Side::Tx),
        "rx" => Ok(Side::Rx),
        other => Err(format!("{other:?} is no direction")),
    }
}

/// `call tx gsi=24 worker=2 vm=7 vcpu=0 vector=65 cpu=3 blocked=2 …`, without `vcpu` one by a kernel thread.
pub(super) fn call(paths: &mut Paths, words: &[&str]) -> Result<()> {
    let [direction, words @ ..] = words else { return Err("call of what?".to_owned()) };
    let mut words = Words::of(words)?;
    let target = match words.vcpu()? {
        Some(vcpu) => Some(Target { vcpu, vector: words.need("vector")?, cpu: words.take("cpu")? }),
        None => None,
    };
    let (gsi, worker_cpu) = (words.need("gsi")?, words.need("worker")?);
    let states = VcpuStates {
        in_guest: words.take("in_guest")?.unwrap_or(0),
        blocked: words.take("blocked")?.unwrap_or(0),
        preempted: words.take("preempted")?.unwrap_or(0),
        root: words.take("root")?.unwrap_or(0),
    };
    paths.calls.push((CallPath { side: side(direction)?, gsi, worker_cpu, target }, states));
    words.end()
}

/// `kick tx tid=9 cpu=1 vm=7 vcpu=0 count=3`.
pub(super) fn kick(paths: &mut Paths, words: &[&str]) -> Result<()> {
    let [direction, words @ ..] = words else { return Err("kick of what?".to_owned()) };
    let mut words = Words::of(words)?;
    let (vcpu, tid, cpu) = (words.vcpu()?, words.need("tid")?, words.need("cpu")?);
    paths.kicks.push((KickPath { side: side(direction)?, tid, vcpu, cpu }, words.need("count")?));
    words.end()
}

/// `vcpu tid=9 cpu=3`.
pub(super) fn place(words: &[&str]) -> Result<VcpuPlace> {
    let mut words = Words::of(words)?;
    let place = VcpuPlace { tid: words.need("tid")?, cpu: words.need("cpu")? };
    words.end().map(|()| place)
}

/// `cpu 3 core=2 llc=0 node=0`.
pub(super) fn cpu(words: &[&str]) -> Result<Cpu> {
    let [cpu, words @ ..] = words else { return Err("which CPU?".to_owned()) };
    let mut words = Words::of(words)?;
    let (core, llc, node) = (words.take("core")?, words.take("llc")?, words.take("node")?);
    words.end()?;
    Ok(Cpu { cpu: number(cpu)?, core, llc, node })
}

/// `vm 4711 web 0=4712 1=4713`: name, and threads of the vCPUs.
pub(super) fn vm(words: &[&str]) -> Result<Vm> {
    let [pid, name, vcpus @ ..] = words else { return Err("which VM?".to_owned()) };
    let vcpu = |word: &&str| {
        let (id, tid) = word.split_once('=').ok_or_else(|| format!("{word:?} is not VCPU=THREAD"))?;
        Ok(Vcpu { id: number(id)?, tid: number(tid)? })
    };
    let vcpus = vcpus.iter().map(vcpu).collect::<Result<_>>()?;
    Ok(Vm { pid: number(pid)?, start: 1, name: Some((*name).to_owned()), vcpus, ..Vm::default() })
}
