//! Arguments of `vnet serve`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use vnet::export::PerQueue;

use super::{rules::ThresholdsArg, source::SourceArgs};
use crate::app::ServeOptions;

/// After the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  vnet serve                            for a Prometheus on this host
  vnet serve --listen 0.0.0.0:10069     for one elsewhere
  curl localhost:10069/metrics          what it is given

Counting begins when `counting since` is written to stderr. Stop it with Ctrl-C or SIGTERM.";

#[derive(clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    thresholds: ThresholdsArg,
    /// Address and port to answer at; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 10069)))]
    listen: SocketAddr,
    /// Series for each queue pair: `auto` up to 512 queue pairs and none above, `off`, or a number of queue pairs
    #[arg(long, value_name = "auto|off|N", default_value = "auto", value_parser = per_queue)]
    per_queue: PerQueue,
    /// TLS and passwords, in the web configuration file of Prometheus (YAML)
    #[arg(long, value_name = "FILE")]
    web_config: Option<PathBuf>,
    /// Take options that are not given here from this file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print such a file, with all options and their defaults
    #[arg(long, conflicts_with = "config")]
    pub(super) print_config: bool,
}

impl From<ServeArgs> for ServeOptions {
    fn from(typed: ServeArgs) -> Self {
        Self {
            source: typed.source.from(),
            thresholds: typed.thresholds.thresholds,
            listen: typed.listen,
            per_queue: typed.per_queue,
            web: typed.web_config,
        }
    }
}

fn per_queue(text: &str) -> Result<PerQueue, String> {
    match text {
        "auto" => Ok(PerQueue::Auto),
        "off" => Ok(PerQueue::Off),
        _ => text.parse().map(PerQueue::Cap).map_err(|_| "it must be auto, off or a number".into()),
    }
}
