//! What vhost did, from its short form.

use vnet::{
    record::{Copies, Ring, RunEnds, Vhost, Worker},
    topology::QueueKey,
};

use super::{Result, instant, number};

/// `copies batched=3 bytes=99 …`, `tx-ring used=3 kicks=1 …`, `rx-ring …`; what is not named is 0 in a ledger and
/// `None` in a ring.
pub(super) fn part(vhost: &mut Vhost, what: &str, words: &[&str]) -> Result<()> {
    match what {
        "copies" => {
            let copies = vhost.copies.insert(Copies::default());
            each(words, |name, value| copied(copies, name, value))
        }
        "tx-ring" => each(words, |name, value| ring(&mut vhost.tx, name, value)),
        "rx-ring" => each(words, |name, value| match name {
            "copied" => {
                vhost.rx_copied_bytes = Some(number(value)?);
                Ok(())
            }
            _ => ring(&mut vhost.rx, name, value),
        }),
        other => Err(format!("{other:?} is nothing of a queue")),
    }
}

fn each(words: &[&str], mut take: impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
    words.iter().try_for_each(|word| {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=VALUE"))?;
        take(name, value)
    })
}

fn copied(copies: &mut Copies, name: &str, value: &str) -> Result<()> {
    if name == "batch_sizes" {
        for (size, n) in copies.batch_sizes.iter_mut().zip(value.split(',')) {
            *size = number(n)?;
        }
        return Ok(());
    }
    let place = match name {
        "batched" => &mut copies.batched,
        "single" => &mut copies.single,
        "zerocopy" => &mut copies.zerocopy,
        "rejected" => &mut copies.zerocopy_rejected,
        "late" => &mut copies.zerocopy_late,
        "in_flight" => &mut copies.in_flight,
        "bytes" => &mut copies.bytes,
        "batches" => &mut copies.batches,
        "module_off" => &mut copies.why.module_off,
        "short" => &mut copies.why.short,
        "pending" => &mut copies.why.pending,
        "backoff" => &mut copies.why.backoff,
        other => return Err(format!("{other:?} is no count of a ledger")),
    };
    *place = number(value)?;
    Ok(())
}

fn ring(ring: &mut Ring, name: &str, value: &str) -> Result<()> {
    let value = number(value)?;
    let mut end = |place: fn(&mut RunEnds) -> &mut u64| *place(ring.runs.get_or_insert_default()) = value;
    match name {
        "used" => ring.used = Some(value),
        "kicks" => ring.kicks = Some(value),
        "calls" => ring.calls = Some(value),
        "woken" => ring.woken = Some(value),
        "suppressed" => ring.calls_suppressed = Some(value),
        "empty" => end(|runs| &mut runs.empty),
        "weight" => end(|runs| &mut runs.weight),
        "busy_poll" => end(|runs| &mut runs.busy_poll),
        "no_buffers" => end(|runs| &mut runs.no_buffers),
        other => return Err(format!("{other:?} is no count of a ring")),
    }
    Ok(())
}

/// `4712 vhost-4711 tgid=4711 cpu=3 run=500ms …`.
pub(super) fn worker(queue: QueueKey, words: &[&str]) -> Result<Worker> {
    let [tid, comm, rest @ ..] = words else { return Err("a worker is TID COMM …".into()) };
    let tid = number(tid)?;
    let mut worker = Worker {
        queue,
        tid,
        tgid: tid,
        comm: (*comm).into(),
        cpu: None,
        node: None,
        run_ns: None,
        wait_ns: None,
        migrations: None,
        busy_poll_ns: None,
    };
    each(rest, |name, value| {
        let time = || instant(value).map(|time| Some(time.0));
        match name {
            "tgid" => worker.tgid = number(value)?,
            "cpu" => worker.cpu = Some(number(value)?),
            "node" => worker.node = Some(number(value)?),
            "migrations" => worker.migrations = Some(number(value)?),
            "run" => worker.run_ns = time()?,
            "wait" => worker.wait_ns = time()?,
            "polling" => worker.busy_poll_ns = time()?,
            other => return Err(format!("{other:?} is nothing of a worker")),
        }
        Ok(())
    })?;
    Ok(worker)
}
