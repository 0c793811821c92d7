//! Pictures of every screen at three sizes.

use insta::assert_snapshot;
use vnet::{report::Report, tui::Look};

use crate::{build, draw, places, press, rows, text, ui};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// One picture per size, after `keys`.
fn pictures(name: &str, report: &Report, keys: &str) {
    for (width, height) in SIZES {
        let mut ui = ui(report.clone(), width, height);
        press(&mut ui, keys);
        assert_snapshot!(format!("{name}_{width}x{height}"), text(&ui, width, height));
    }
}

#[test]
fn overview() {
    pictures("overview_empty", &build::empty(), "");
    pictures("overview_small", &build::small(), "");
    pictures("overview_3200_queues", &build::large(), "");
}

#[test]
fn queues() {
    pictures("queues_empty", &build::empty(), "2");
    pictures("queues_small", &build::small(), "2");
    pictures("queues_3200", &build::large(), "2");
    pictures("queues_of_a_device", &build::small(), "\n");
}

#[test]
fn what_vhost_does() {
    pictures("vhost_overview", &build::vhost(), "");
    pictures("vhost_queues", &build::vhost(), "2");
    let mut ui = ui(build::vhost(), 120, 40);
    press(&mut ui, "2j");
    assert_snapshot!("vhost_queue_hardly_known_120x40", text(&ui, 120, 40));
}

#[test]
fn one_queue() {
    pictures("queue_empty", &build::empty(), "3");
    pictures("queue_small", &build::small(), "3");
    pictures("queue_bad", &places::bad(), "2jjj\n");
    pictures("queue_3200", &places::large(), "2jjj\n");
}

#[test]
fn the_host() {
    pictures("layout_empty", &build::empty(), "4");
    pictures("layout_small", &build::small(), "4");
    pictures("layout_bad", &places::bad(), "4jjj");
    pictures("layout_3200_queues", &places::large(), "4jjj");
}

#[test]
fn what_is_measured() {
    pictures("probes_empty", &build::empty(), "6");
    pictures("probes_small", &build::small(), "6");
    pictures("probes_many", &build::many_probes(), "6jj");
}

#[test]
fn verdicts_come_first() {
    pictures("overview_bad", &places::bad(), "");
    pictures("overview_bad_3200_queues", &places::large(), "");
    pictures("findings_3200_queues", &places::large(), "5");
}

#[test]
fn what_is_wrong() {
    pictures("findings", &build::wrong(), "5");
    pictures("findings_none", &build::empty(), "5");
    pictures("findings_open", &build::wrong(), "5\n");
}

#[test]
fn help_fits_the_smallest_terminal() {
    pictures("help", &build::small(), "?");
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "?");
    let help = text(&ui, 80, 24);
    let last = vnet::tui::keys::KEYS.iter().rfind(|key| !key.help.is_empty()).map(|key| key.help);
    assert!(help.contains(last.unwrap()), "the last key is on the screen");
}

#[test]
fn starting_paused_and_filtered() {
    assert_snapshot!("starting_80x24", text(&ui(build::starting(), 80, 24), 80, 24));

    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, " ");
    ui.report(build::later(&build::small(), 12.0).into());
    assert_snapshot!("paused_80x24", text(&ui, 80, 24));

    press(&mut ui, " 2/mac");
    assert_snapshot!("filtering_80x24", text(&ui, 80, 24));
    press(&mut ui, "x\n");
    assert_snapshot!("filtered_to_nothing_80x24", text(&ui, 80, 24));
}

#[test]
fn ascii_prints_nothing_else() {
    let look = Look { colour: false, ascii: true };
    for keys in ["", "2", "\n", "3", "4", "?", "/é", "5", "5\n", "6"] {
        let mut report = Report { findings: build::wrong().findings, ..places::bad() };
        report.devices[0].name = "täp0".into();
        let mut ui = ui(report, 120, 40);
        press(&mut ui, keys);
        let screen = rows(&draw(&ui, look, 120, 40)).join("\n");
        assert!(screen.is_ascii(), "{screen}");
        if keys.is_empty() {
            assert_snapshot!("overview_ascii_120x40", screen);
        }
    }
}

#[test]
fn hostile_names_stay_in_their_column() {
    let mut report = build::small();
    let names = ["\x1b[2J\x1b]0;x\x07", "ta\u{202e}p\u{200b}0", "网网网网网网网网"];
    for (device, name) in report.devices.iter_mut().zip(names) {
        device.name = name.into();
    }
    report.vms[0].name = Some("\r\nA\u{301}\u{301}".into());
    report.source.host = Some("a\tb".into());
    assert_snapshot!("hostile_120x40", text(&ui(report, 120, 40), 120, 40));
}

#[test]
fn hostile_names_are_harmless_on_every_screen() {
    let names = [
        "\x1b[31mred\x1b[0m",
        "\u{202e}gnp.exe",
        "a\u{200b}\u{200d}b",
        "<b>x</b>&amp;\"'",
        "网网网网网",
        "\u{9b}2J\u{7f}\0",
        "שלום",
    ];
    for name in names {
        let mut report = places::bad();
        for device in &mut report.devices {
            (device.name, device.kind) = (name.into(), name.into());
        }
        for queue in &mut report.queues {
            queue.device = name.into();
            queue.rx.drops = Some([(name.into(), 7)].into());
            if let Some(worker) = &mut queue.worker {
                worker.comm = name.into();
            }
        }
        for probe in &mut report.probes {
            (probe.signal, probe.via, probe.reason) = (name.into(), name.into(), Some(name.into()));
        }
        for finding in &mut report.findings {
            (finding.subject.device, finding.subject.vm) = (Some(name.into()), Some(name.into()));
            (finding.rule, finding.title, finding.fix) = (name.into(), name.into(), vec![name.into()]);
        }
        report.vms[0].name = Some(name.into());
        for keys in ["1", "2", "3", "4", "5", "5\n", "6"] {
            let mut ui = ui(report.clone(), 120, 40);
            press(&mut ui, keys);
            let screen = draw(&ui, Look::FULL, 120, 40);
            let bad = |c: char| c.is_control() || "\u{202e}\u{200b}\u{200d}\u{9b}ש".contains(c);
            for cell in screen.content() {
                assert!(!cell.symbol().chars().any(bad), "{name:?} after {keys:?}: {:?}", cell.symbol());
            }
            let spelt = vnet::tui::text::clean(name, false);
            let shown = rows(&screen).join("\n");
            let start: String = spelt.chars().take(3).collect();
            assert!(shown.contains(&start), "{name:?} after {keys:?}:\n{shown}");
        }
    }
}

#[test]
fn a_small_terminal_gets_one_sentence() {
    assert_snapshot!(text(&ui(build::small(), 79, 24), 79, 24).trim_end(), @"terminal too small: 80×24 needed, now 79×24");
    assert_snapshot!(text(&ui(build::small(), 20, 4), 20, 4).trim_end(), @"
    terminal too small:
    80×24 needed, now
    20×4
    ");
}
