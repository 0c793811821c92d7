//! The command line: what was typed, and what it means. Nothing else sees clap.

mod config;
mod record;
mod rules;
mod serve;
mod source;
mod stop;
mod trace;

use std::{ffi::OsString, fs, os::unix::fs::MetadataExt, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use glob::Pattern;
use vnet::{filter::Filter, report::Level, topology::Netns};

use crate::app::ServeOptions;
pub(crate) use record::RecordOptions;
pub(crate) use rules::RulesAction;
use rules::{RulesArgs, ThresholdsArg};
pub(crate) use source::From as SourceFrom;
pub(crate) use stop::Stop;
pub(crate) use trace::{To, TraceAction, TraceOptions};

const EXAMPLES: &str = "\
Examples:
  vnet top                              watch every queue of this host
  vnet top --device 'vnet*'             only devices whose names begin with vnet
  vnet report --for 30s                 measure for 30 s and print a page for a ticket
  vnet report --format json -o r.json   the same for a program
  vnet rules explain R4                 what a rule checks, by which limits, and why
  vnet record -o r.vnet --for 1m        record a minute; `vnet top --trace r.vnet` shows it again
  vnet top --demo                       what it looks like: a recording that is part of vnet
  vnet serve                            a Prometheus exporter
  vnet doctor                           what can be measured on this host, and what is missing

TX and RX are as the guest sees them. vnet needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN.
Exit status: 0 fine, 1 findings at or above --fail-on, 2 an error.";

const REPORT_EXAMPLES: &str = "\
Examples:
  vnet report                           5 seconds, as text
  vnet report --for 1m --vm 4711        one minute, the devices of the process 4711
  vnet report --all --netns web         every queue in the namespace of /run/netns/web
  vnet report --format json | jq '.queues[] | {device, queue, tx: .tx.packets}'

Counting begins when `counting since` is written to stderr. Ctrl-C ends early with what was seen.";

/// Shows what every virtqueue of a KVM host carries: per queue and direction packets, bytes, sizes and drops.
#[derive(Parser)]
#[command(name = "vnet", version, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Verb,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Verb {
    /// Show queues on the terminal, live or from a recording
    Top(TopArgs),
    /// Answer Prometheus, with a page for people
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Measure for a while and print what was seen
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Record this host into a file
    #[command(after_help = record::EXAMPLES)]
    Record(record::RecordArgs),
    /// Look into a recording, or write it for other programs
    #[command(subcommand, after_help = trace::EXAMPLES)]
    Trace(trace::TraceVerb),
    /// List the rules that findings come from, their thresholds and sources
    Rules(RulesArgs),
    /// Tell what can be measured here, through which probe, and why the rest cannot
    Doctor,
}

#[derive(clap::Args)]
struct TopArgs {
    #[command(flatten)]
    source: source::SourceArgs,
    #[command(flatten)]
    thresholds: ThresholdsArg,
}

#[derive(clap::Args)]
struct ReportArgs {
    #[command(flatten)]
    source: source::SourceArgs,
    /// How long to measure; a recording is read whole
    #[arg(long = "for", value_name = "DURATION", default_value = "5s", value_parser = positive, conflicts_with_all = ["trace", "demo"])]
    duration: Duration,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit with 1 when there is a finding of this level or a worse one
    #[arg(long, value_name = "LEVEL", value_enum)]
    fail_on: Option<FailOn>,
    #[command(flatten)]
    thresholds: ThresholdsArg,
    /// File to write, `-` for standard output; replaced whole, or left as it was
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Show idle queues too, and leave nothing out of the text
    #[arg(long)]
    all: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "What to look at")]
struct Common {
    /// Only devices of this name; `*` and `?` match, may be repeated
    #[arg(long, global = true, value_name = "NAME", value_parser = pattern)]
    device: Vec<Pattern>,
    /// Only devices held by this process: its name, with `*` and `?`, or its pid; may be repeated
    #[arg(long, global = true, value_name = "NAME|PID", value_parser = pattern)]
    vm: Vec<Pattern>,
    /// Only devices in this network namespace: its inode number or its name in /run/netns; may be repeated
    #[arg(long, global = true, value_name = "INODE|NAME", value_parser = netns)]
    netns: Vec<Netns>,
    /// Time between two samples, 100ms to 1h
    #[arg(long, global = true, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Say on stderr through what each signal is measured
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Have the kernel time each run of the probes (some 40 ns more a run) and report it
    #[arg(long, global = true)]
    probe_stats: bool,
}

// Plain comments below: clap prints documentation of values, and with it a help of twice the length.
/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // For people.
    Text,
    // For programs: JSON schema 1.
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    Info,
    Warning,
    Critical,
}

impl From<FailOn> for Level {
    fn from(typed: FailOn) -> Self {
        match typed {
            FailOn::Info => Self::Info,
            FailOn::Warning => Self::Warning,
            FailOn::Critical => Self::Critical,
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Command {
    /// Which devices.
    pub(crate) filter: Filter,
    /// Time between two samples.
    pub(crate) interval: Duration,
    /// Say on stderr how things are measured.
    pub(crate) verbose: bool,
    /// Have the kernel time the probes.
    pub(crate) probe_stats: bool,
    /// What to do with what is measured.
    pub(crate) action: Action,
}

/// The commands.
#[derive(Debug)]
pub(crate) enum Action {
    /// The screen.
    Top(TopOptions),
    /// The exporter.
    Serve(ServeOptions),
    /// A configuration file with the defaults.
    PrintConfig(String),
    /// A report after a while.
    Report(ReportOptions),
    /// A recording of this host.
    Record(RecordOptions),
    /// Looking into a recording.
    Trace(TraceOptions),
    /// What the rules are.
    Rules(RulesAction),
    /// What can be measured.
    Doctor,
}

/// What to show.
#[derive(Debug)]
pub(crate) struct TopOptions {
    /// Where from.
    pub(crate) source: SourceFrom,
    /// File with thresholds; `None` is the defaults.
    pub(crate) thresholds: Option<PathBuf>,
}

/// What to report, and where to.
#[derive(Debug)]
pub(crate) struct ReportOptions {
    /// Where from.
    pub(crate) source: SourceFrom,
    /// How long to measure.
    pub(crate) duration: Duration,
    /// How to write it.
    pub(crate) format: Format,
    /// Which findings make the exit status 1.
    pub(crate) fail_on: Option<Level>,
    /// File with thresholds; `None` is the defaults.
    pub(crate) thresholds: Option<PathBuf>,
    /// File to write; `None` is standard output.
    pub(crate) output: Option<PathBuf>,
    /// Leave nothing out of the text.
    pub(crate) all: bool,
}

/// What the arguments mean; the first of them is the program's name.
pub(crate) fn parse(typed: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Command, Stop> {
    let typed = config::complete(typed.into_iter().map(Into::into).collect())?;
    let Args { command, common } = Args::try_parse_from(typed).map_err(Stop)?;
    let action = match command {
        Verb::Top(args) => Action::Top(args.into()),
        Verb::Record(args) => Action::Record(args.into()),
        Verb::Trace(verb) => Action::Trace(verb.into()),
        Verb::Rules(args) => Action::Rules(args.into()),
        Verb::Serve(args) if args.print_config => Action::PrintConfig(config::defaults()),
        Verb::Serve(args) => Action::Serve(args.into()),
        Verb::Doctor => Action::Doctor,
        Verb::Report(args) => Action::Report(args.into()),
    };
    let filter = Filter::new(common.device, common.vm, common.netns);
    Ok(Command {
        filter,
        interval: common.interval,
        verbose: common.verbose,
        probe_stats: common.probe_stats,
        action,
    })
}

impl From<TopArgs> for TopOptions {
    fn from(typed: TopArgs) -> Self {
        Self { source: typed.source.from(), thresholds: typed.thresholds.thresholds }
    }
}

impl From<ReportArgs> for ReportOptions {
    fn from(typed: ReportArgs) -> Self {
        Self {
            source: typed.source.from(),
            duration: typed.duration,
            format: typed.format,
            fail_on: typed.fail_on.map(Level::from),
            thresholds: typed.thresholds.thresholds,
            output: Some(typed.output).filter(|path| path.as_os_str() != "-"),
            all: typed.all,
        }
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| error.msg.to_owned())
}

/// An inode number, or a name that `ip netns` gave.
fn netns(text: &str) -> Result<Netns, String> {
    if let Ok(inode) = text.parse() {
        return Ok(Netns(inode));
    }
    if text.is_empty() || text.contains('/') || text.starts_with('.') {
        return Err("give the inode number (stat -L -c %i /proc/PID/ns/net) or a name in /run/netns".into());
    }
    let path = format!("/run/netns/{text}");
    let metadata = fs::metadata(&path).map_err(|error| {
        format!("{path}: {error}; `ip netns` lists the names, others have only an inode number")
    })?;
    Ok(Netns(metadata.ino()))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 5s, 500ms or 1m 30s"))
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than 0".into()),
        duration => Ok(duration),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_hours(1);
    if allowed.contains(&duration) { Ok(duration) } else { Err("it must be from 100ms to 1h".into()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn typed(line: &str) -> Result<Command, Stop> {
        parse(["vnet"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let command = typed("report").unwrap();
        assert_eq!((command.interval, command.verbose), (Duration::from_secs(1), false));
        let Action::Report(report) = command.action else { panic!("a report") };
        assert_eq!(
            (report.duration, report.format, report.all),
            (Duration::from_secs(5), Format::Text, false)
        );
        assert_eq!((report.fail_on, report.output), (None, None));
    }

    #[test]
    fn what_is_typed_is_meant_before_and_after_the_command() {
        for line in
            ["--device tap* --netns 12 --interval 100ms top", "top --interval 100ms --netns 12 --device tap*"]
        {
            let command = typed(line).unwrap();
            assert_eq!(command.filter.devices, [Pattern::new("tap*").unwrap()]);
            assert_eq!(command.filter.netns, [Netns(12)]);
            assert_eq!(command.interval, Duration::from_millis(100));
        }
        let report = |line: &str| match typed(line).unwrap().action {
            Action::Report(report) => report,
            other => panic!("{other:?}"),
        };
        assert_eq!(report("report -o -").output, None);
        assert_eq!(report("report -o ./-").output, Some("./-".into()));
        assert_eq!(report("report --for 90s --fail-on warning").fail_on, Some(Level::Warning));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_wrong() {
        for (line, told) in [
            ("", "Usage"),
            ("tops", "unrecognized subcommand"),
            ("serve --listen 10069", "invalid socket address"),
            ("serve --per-queue some", "auto, off or a number"),
            ("report --for 0s", "longer than 0"),
            ("report --for 5", "write it as 5s"),
            ("report --for -5s", "unexpected argument"),
            ("report --interval 99ms", "from 100ms to 1h"),
            ("top --interval 61m", "from 100ms to 1h"),
            ("report --format xml", "[possible values: text, json]"),
            ("report --fail-on bad", "[possible values: info, warning, critical]"),
            ("top --for 5s", "unexpected argument"),
            ("report --trace r.vnet --for 5s", "cannot be used with"),
            ("record", "--output <FILE>"),
            ("record -o r --retain 10k", "1M at least"),
            ("trace r.vnet", "unrecognized subcommand"),
            ("trace export r.vnet --to csv", "[possible values: ndjson, perfetto]"),
            ("top --device tap[", "--device"),
            ("top --netns no/such", "inode number"),
            ("top --netns no-such-namespace", "ip netns"),
        ] {
            let Err(stop) = typed(line) else { panic!("{line:?} is taken") };
            assert!(stop.to_string().contains(told), "{line:?}: {stop}");
        }
        assert!(parse(["vnet", "report", "-o", ""]).is_err());
    }
}
