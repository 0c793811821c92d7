//! The host, drawn: nodes, caches, CPUs and what runs on them; the selected queue's path lit up.

use ratatui::{layout::Rect, style::Style};

use super::{Pen, heat, interrupts, narrow, why};
use crate::tui::{
    facts::{Facts, Row},
    heat::Heat,
    host::{Cpu, Node, Path, Vcpu, Worker},
    look::Look,
    text,
    ui::Ui,
    units,
};

/// Narrowest box of a node.
const BOX: u16 = 38;
/// Most lines that one CPU has.
const LINES: usize = 3;

type Line = Vec<(String, Style)>;

/// ```text
/// ── Layout · 2 nodes · 3 CPUs in use ────────────────────────────────────── 1/4 ──
/// ┌ node 0 ────────────────────────────  ┌ node 1 ────────────────────────────
/// │ CPUs that share an LLC: 0 3          │ CPU   8  tap0 q1 9.0%
/// │ CPU   0 ▶web-1 vCPU 0
/// │ CPU   3 ▶tap0 q0 90.0%
/// ▶ tap0 queue 0: worker 4715 on CPU 3 · 97.0% to vCPU 0 · …
/// ── Calls of VM web-1, by queue and vCPU ─────────────────────────────────────────
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let facts = ui.facts();
    title(ui, pen, area);
    let rest = |y: u16| Rect { y: area.y + y, height: area.height.saturating_sub(y), ..area };
    let Some((row, place)) = ui.selected().and_then(|row| Some((row, row.place()?))) else {
        return super::idle::draw(ui, pen, rest(1));
    };
    let heat = Heat::around(facts, place);
    let wanted = narrow(heat.rows.len()) + 2;
    let heat_rows = wanted.min(area.height / 3).max(4);
    let host = Rect { height: area.height.saturating_sub(heat_rows + 3), ..rest(1) };
    boxes(facts, &Path::of(row), pen, host);
    let below = Rect { y: host.bottom(), height: 2, ..area };
    path(row, facts, pen, below);
    heat::draw(&heat, facts, place, pen, Rect { y: below.bottom(), height: heat_rows, ..area });
}

fn title(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let (host, list) = (ui.facts().host(), ui.list());
    pen.rule(area);
    let nodes = host.nodes.iter().filter(|node| node.node.is_some()).count();
    let dot = pen.look.glyphs().dot;
    let s = |n: usize| if n == 1 { "" } else { "s" };
    let cpus = host.cpus().count();
    let title = format!(
        " Layout{dot}{nodes} node{}{dot}{cpus} CPU{} in use{dot}NIC interrupts not observed ",
        s(nodes),
        s(cpus)
    );
    let place =
        if list.is_empty() { " 0 ".to_owned() } else { format!(" {}/{} ", list.row() + 1, list.len()) };
    let end = narrow(place.len()) + 2;
    pen.put(area.x + 2, area.y, &title, area.width.saturating_sub(end + 4), pen.look.strong());
    pen.put(area.x + area.width.saturating_sub(end), area.y, &place, end, pen.look.plain());
}

/// Nodes side by side, as many as fit. What is lit is in view.
fn boxes(facts: &Facts, path: &Path, pen: &mut Pen<'_>, area: Rect) {
    let (host, look) = (facts.host(), pen.look);
    if host.is_empty() {
        let why = why::unknown(&facts.report, None, &["vhost.worker", "kvm.vcpus"], look);
        let told = format!("{} where workers and vCPUs run is not known: {why}", look.glyphs().unknown);
        pen.put(area.x + 2, area.y + 1, &told, area.width.saturating_sub(2), look.plain());
        return;
    }
    let drawer = Drawer { facts, path, look };
    let across = usize::from(area.width / BOX).clamp(1, host.nodes.len().max(1));
    let width = area.width / narrow(across);
    let mut lines: Vec<Vec<(usize, Line)>> = Vec::new();
    for nodes in host.nodes.chunks(across) {
        let drawn: Vec<_> = nodes.iter().map(|node| drawer.node(node, width - 1)).collect();
        let rows = drawn.iter().map(Vec::len).max().unwrap_or(0);
        let start = lines.len();
        lines.resize(start + rows, Vec::new());
        for (column, node) in drawn.into_iter().enumerate() {
            for (line, at) in node.into_iter().zip(&mut lines[start..]) {
                at.push((column, line));
            }
        }
    }
    let unplaced = &host.unplaced;
    if !unplaced.workers.is_empty() || !unplaced.vcpus.is_empty() {
        let unplaced = drawer.things("CPU not known".to_owned(), unplaced, usize::from(area.width - 1));
        lines.extend(unplaced.into_iter().map(|line| vec![(0, line)]));
    }
    let room = usize::from(area.height);
    let lit = |line: &[(usize, Line)]| {
        line.iter().flat_map(|(_, line)| line).any(|(_, style)| *style == look.lit())
    };
    let first = lines.iter().position(|line| lit(line)).unwrap_or(0);
    let top = first.saturating_sub(room / 2).min(lines.len().saturating_sub(room));
    for (y, line) in (area.y..area.bottom()).zip(&lines[top..]) {
        for (column, parts) in line {
            let x = area.x + narrow(*column) * width;
            let width = if line.len() == 1 && *column == 0 { area.width } else { width };
            pen.parts(Rect { x, y, width: width.min(area.right() - x), height: 1 }, parts);
        }
    }
    let hidden = lines.len().saturating_sub(top + room);
    if hidden > 0 && area.height > 0 {
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        let on_path = lines[top + room..].iter().filter(|line| lit(line)).count();
        let marker = look.glyphs().marker;
        let on_path = if on_path > 0 { format!(", {on_path} with {marker}") } else { String::new() };
        pen.right(last, &format!(" {hidden} more below{on_path} "), look.accent());
    }
}

/// The selected queue's path in words, or why it is not known.
fn path(row: Row<'_>, facts: &Facts, pen: &mut Pen<'_>, area: Rect) {
    let look = pen.look;
    let Some(queue) = row.queue() else { return };
    let unknown = |signals: &[&str]| {
        let why = why::unknown(&facts.report, row.device(), signals, look);
        format!("{} {why}", look.glyphs().unknown)
    };
    let number = |n: Option<u32>| n.map_or_else(|| look.glyphs().unknown.to_owned(), |n| n.to_string());
    let worker = match &queue.worker {
        Some(worker) => {
            format!("worker {} on CPU {} node {}", worker.tid, number(worker.cpu), number(worker.node))
        }
        None => format!("worker {}", unknown(&["vhost.worker"])),
    };
    let name = format!("{} queue {}: ", text::clean(row.name(), look.ascii), queue.queue);
    pen.parts(Rect { height: 1, ..area }, &[(name, look.lit()), (worker, look.plain())]);
    let called = interrupts::parts(queue, look);
    let calls = if called.is_empty() {
        format!("calls {}", unknown(&["vhost.calls", "kvm.interrupts"]))
    } else {
        format!("calls {}", called.join(look.glyphs().dot))
    };
    pen.put(area.x + 2, area.y + 1, &calls, area.width.saturating_sub(2), look.plain());
}

/// What the boxes are made from.
struct Drawer<'a> {
    facts: &'a Facts,
    path: &'a Path,
    look: Look,
}

impl Drawer<'_> {
    fn node(&self, node: &Node, width: u16) -> Vec<Line> {
        let (look, glyphs) = (self.look, self.look.glyphs());
        let title = node.node.map_or_else(|| " node not known ".to_owned(), |node| format!(" node {node} "));
        let rule = usize::from(width).saturating_sub(text::width(&title) + 2);
        let rule = glyphs.rule.to_string().repeat(rule);
        let mut lines = vec![vec![
            (glyphs.corner.to_string(), look.faint()),
            (title, look.strong()),
            (rule, look.faint()),
        ]];
        let side = || (format!("{} ", glyphs.side), look.faint());
        for cache in &node.caches {
            if cache.known || node.caches.len() > 1 {
                let cpus: Vec<_> = cache.cpus.iter().map(|cpu| cpu.cpu.to_string()).collect();
                let told = if cache.known { "CPUs that share an LLC:" } else { "no call told the LLC of" };
                let told = format!("{told} {}", cpus.join(" "));
                let told = text::cut(&told, usize::from(width) - 3, glyphs.cut).into_owned();
                lines.push(vec![side(), (told, look.faint())]);
            }
            for cpu in &cache.cpus {
                let things = self.things(format!("CPU {:>3}", cpu.cpu), cpu, usize::from(width) - 3);
                lines.extend(things.into_iter().map(|mut line| {
                    line.insert(0, side());
                    line
                }));
            }
        }
        lines
    }

    /// A CPU with what is on it, in as many lines as it takes, or [`LINES`]. What is lit comes first.
    fn things(&self, label: String, cpu: &Cpu, width: usize) -> Vec<Line> {
        let look = self.look;
        let lit = |lit: bool| if lit { look.lit() } else { look.plain() };
        let workers = cpu.workers.iter().map(|worker| (self.path.begins(worker), Thing::Worker(worker)));
        let vcpus = cpu.vcpus.iter().map(|vcpu| (self.path.leads_to(vcpu), Thing::Vcpu(vcpu)));
        let mut things: Vec<_> = workers.chain(vcpus).collect();
        things.sort_by_key(|(lit, _)| !lit);
        let indent = text::width(&label);
        let mut lines: Vec<Line> = vec![vec![(label, look.plain())]];
        let mut used = indent;
        for (i, (on, thing)) in things.iter().enumerate() {
            let marker = if *on { look.glyphs().marker } else { ' ' };
            let told = format!("{marker}{}", self.named(thing));
            let needed = text::width(&told) + 1;
            let left = things.len() - i;
            // The last line has room for how many more there are.
            let reserved = if lines.len() == LINES && left > 1 { 6 } else { 0 };
            if used + needed + reserved > width && used > indent {
                if lines.len() == LINES {
                    if let Some(line) = lines.last_mut() {
                        line.push((format!("  +{left}"), look.plain()));
                    }
                    return lines;
                }
                lines.push(vec![(" ".repeat(indent), look.plain())]);
                used = indent;
            }
            if let Some(line) = lines.last_mut() {
                line.extend([(" ".to_owned(), look.plain()), (told, lit(*on))]);
            }
            used += needed;
        }
        lines
    }

    fn named(&self, thing: &Thing<'_>) -> String {
        let (look, report) = (self.look, &self.facts.report);
        let cut = |name: &str| {
            let name = text::clean(name, look.ascii);
            text::cut(&name, 14, look.glyphs().cut).into_owned()
        };
        match thing {
            Thing::Worker(Worker { busy, queues, .. }) => {
                let queue = queues.first().map(|place| &report.queues[*place]);
                let name = queue
                    .map_or_else(String::new, |queue| format!("{} q{}", cut(&queue.device), queue.queue));
                let more = if queues.len() > 1 { format!(" +{}", queues.len() - 1) } else { String::new() };
                let busy = busy.and_then(units::share).map(|busy| format!(" {busy}")).unwrap_or_default();
                format!("{name}{more}{busy}")
            }
            Thing::Vcpu(Vcpu { vm, id, .. }) => {
                let vm = &report.vms[*vm];
                let name = vm.name.as_deref().map_or_else(|| format!("pid {}", vm.pid), cut);
                format!("{name} vCPU {id}")
            }
        }
    }
}

/// What can be on a CPU.
enum Thing<'a> {
    Worker(&'a Worker),
    Vcpu(&'a Vcpu),
}
