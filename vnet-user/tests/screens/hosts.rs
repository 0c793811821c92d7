//! What is made of a report before it is drawn: the host, the path of a queue, who interrupts whom.

use std::sync::Arc;

use vnet::{
    report::{Distance, Report},
    tui::{
        facts::Facts,
        heat::Heat,
        host::{Cpu, Path},
    },
};

use crate::{build, places};

fn facts(report: Report) -> Facts {
    Facts::new(Arc::new(report))
}

/// Whether a cache is known, and its CPUs.
type Drawn = (bool, Vec<u32>);

/// Nodes with their caches.
fn drawn(facts: &Facts) -> Vec<(Option<u32>, Vec<Drawn>)> {
    let cpus = |cpus: &[Cpu]| cpus.iter().map(|cpu| cpu.cpu).collect();
    let nodes = facts.host().nodes.iter();
    nodes
        .map(|node| (node.node, node.caches.iter().map(|cache| (cache.known, cpus(&cache.cpus))).collect()))
        .collect()
}

#[test]
fn a_report_without_places_has_no_host() {
    let facts = facts(build::small());
    assert!(facts.host().is_empty());
    assert_eq!(facts.host().cpus().count(), 0);
}

#[test]
fn nodes_and_caches_follow_from_threads_and_calls() {
    let facts = facts(places::bad());
    let node0 = vec![(true, vec![0, 2]), (true, vec![1, 3]), (true, vec![4, 6]), (false, vec![5])];
    assert_eq!(drawn(&facts), [(Some(0), node0), (Some(1), vec![(false, vec![17])])]);
    let cpu = facts.host().cpus().find(|cpu| cpu.cpu == 0).unwrap();
    assert_eq!((cpu.vcpus[0].id, cpu.vcpus[0].interrupts), (0, Some(97_000 + 25_000)));
}

#[test]
fn a_cpu_is_on_the_node_of_those_it_shares_a_cache_with() {
    let mut report = places::bad();
    if let Some(worker) = &mut report.queues[0].worker {
        worker.node = None;
    }
    assert_eq!(drawn(&facts(report.clone()))[0].1[0], (true, vec![0, 2]));
    report.queues[0].interrupts = None;
    let nodes = drawn(&facts(report));
    assert_eq!(nodes.last(), Some(&(None, vec![(false, vec![2])])), "nothing tells it any more");
}

#[test]
fn what_has_no_cpu_has_no_place() {
    let mut report = places::bad();
    if let Some(worker) = &mut report.queues[3].worker {
        (worker.cpu, worker.node) = (None, None);
    }
    let facts = facts(report);
    assert_eq!(facts.host().unplaced.workers.len(), 1);
    assert!(facts.host().cpus().all(|cpu| cpu.cpu != 17));
}

#[test]
fn a_worker_of_several_queues_is_one() {
    let mut report = places::bad();
    let first = report.queues[0].worker.clone();
    report.queues[1].worker = first;
    let facts = facts(report);
    let cpu = facts.host().cpus().find(|cpu| cpu.cpu == 2).unwrap();
    assert_eq!((cpu.workers.len(), cpu.workers[0].queues.clone()), (1, vec![0, 1]));
}

#[test]
fn a_path_leads_from_the_worker_to_every_vcpu_it_interrupts() {
    let facts = facts(places::bad());
    let path = Path::of(facts.queue(3));
    assert_eq!((path.vm, path.vcpus.clone()), (Some(0), vec![0, 1, 2, 3]));
    let lit: Vec<_> = facts.host().cpus().flat_map(|cpu| &cpu.workers).filter(|w| path.begins(w)).collect();
    assert_eq!((lit.len(), lit[0].queues.clone()), (1, vec![3]));
    let lit = facts.host().cpus().flat_map(|cpu| &cpu.vcpus).filter(|vcpu| path.leads_to(vcpu));
    assert_eq!(lit.count(), 4);
}

#[test]
fn heat_tells_none_from_not_known() {
    let mut report = places::bad();
    report.queues[1].interrupts = None;
    report.queues[2].interrupts = Some(Vec::new());
    let facts = facts(report);
    let heat = Heat::around(&facts, 0);
    assert_eq!((heat.vcpus.clone(), heat.rows.len()), (vec![0, 1, 2, 3], 4), "of this VM alone");
    let shares = |row: usize| [0, 1, 2, 3].map(|vcpu| heat.rows[row].share(vcpu));
    assert_eq!(shares(0), [Some(0.97), Some(0.0), Some(0.0), Some(0.03)]);
    assert!(heat.rows[1].interrupts.is_none());
    assert_eq!(shares(1), [None; 4]);
    assert!(heat.rows[2].interrupts.is_some());
    assert_eq!(shares(2), [None; 4], "nothing was interrupted");
    assert_eq!(shares(3), [Some(0.25); 4]);
}

#[test]
fn a_vcpu_that_only_calls_tell_of_is_a_column_too() {
    let mut report = places::bad();
    places::calls(&mut report.queues[0], 9, 5, Distance::Node, 7);
    assert_eq!(Heat::around(&facts(report), 0).vcpus, [0, 1, 2, 3, 9]);
}

#[test]
fn of_many_vcpus_the_one_that_is_interrupted_most_is_shown() {
    let mut report = places::bad();
    for vcpu in 4..100 {
        places::calls(&mut report.queues[0], vcpu, 5, Distance::Node, u64::from(vcpu));
    }
    places::calls(&mut report.queues[0], 70, 5, Distance::Node, 1_000_000);
    let heat = Heat::around(&facts(report), 0);
    assert_eq!([heat.first(0, 6), heat.first(0, 71), heat.first(1, 6), heat.first(1, 0)], [65, 0, 0, 2]);
}
