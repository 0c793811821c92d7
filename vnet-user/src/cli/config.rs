//! A file in the place of options: its keys are the long options of `vnet serve`, its values what one would type.
//!
//! There is no second list of what can be set: keys, values, defaults and their explanation come from the options.

use std::{ffi::OsString, fmt::Write as _, fs, path::PathBuf};

use clap::{Arg, ArgAction, CommandFactory, builder::ValueRange, error::ErrorKind, parser::ValueSource};
use toml::de::{DeTable, DeValue};
use vnet::settings::{self, Mistake};

use super::{Args, Stop};

/// The command that takes such a file.
const VERB: &str = "serve";

/// Options that make no sense in a file.
const TYPED_ONLY: [&str; 4] = ["config", "print-config", "help", "version"];

/// What was typed, with what the file says that it names. An option that was typed is not taken from the file.
pub(super) fn complete(mut typed: Vec<OsString>) -> Result<Vec<OsString>, Stop> {
    // What is wrong with what was typed is told by who parses the whole.
    let Ok(matches) = Args::command().try_get_matches_from(&typed) else { return Ok(typed) };
    let Some(matches) = matches.subcommand_matches(VERB) else { return Ok(typed) };
    let Some(path) = matches.get_one::<PathBuf>("config") else { return Ok(typed) };
    let refuse = |why: &dyn std::fmt::Display| {
        let message = format!("{}: {why}\n", path.display());
        Stop(clap::Error::raw(ErrorKind::ValueValidation, message))
    };
    let text = fs::read_to_string(path).map_err(|error| refuse(&error))?;
    let options = settings::read(&text, take).map_err(|bad| refuse(&bad))?;
    let is_typed = |arg: &Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    typed.extend(options.into_iter().filter(|(arg, _)| !is_typed(arg)).map(|(_, option)| option.into()));
    Ok(typed)
}

/// A file with all options and their defaults, which [`complete`] takes.
pub(super) fn defaults() -> String {
    let mut text = String::from(
        "# Configuration of `vnet serve --config FILE`. Each key is an option, and one that is typed goes first.\n\
         # Keys that are commented out have no default.\n",
    );
    for arg in options() {
        let name = arg.get_long().unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let what = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n# {help}");
        let _ = match (default, arg.get_action()) {
            (_, ArgAction::SetTrue) => writeln!(text, "{name} = false"),
            (Some(default), _) => writeln!(text, "{name} = {default:?}"),
            (None, ArgAction::Append) => writeln!(text, "#{name} = [\"{what}\"]"),
            (None, _) => writeln!(text, "#{name} = \"{what}\""),
        };
    }
    text
}

/// The options that a file may give.
fn options() -> Vec<Arg> {
    let mut command = Args::command();
    command.build();
    let verb = command.find_subcommand(VERB).into_iter().flat_map(clap::Command::get_arguments);
    let in_file = |arg: &&Arg| arg.get_long().is_some_and(|name| !TYPED_ONLY.contains(&name));
    verb.filter(in_file).cloned().collect()
}

/// What the file says, as options, each tried by itself.
fn take(document: &DeTable<'_>) -> Result<Vec<(Arg, String)>, Mistake> {
    let options = options();
    let mut taken = Vec::new();
    for (key, value) in document {
        let name: &str = key.get_ref();
        let Some(arg) = options.iter().find(|arg| arg.get_long() == Some(name)) else {
            let known: Vec<_> = options.iter().filter_map(Arg::get_long).collect();
            return Err((key.span(), format!("there is no {name:?}; the keys: {}", known.join(", "))));
        };
        let typed = typed(arg, name, value.get_ref()).map_err(|what| (value.span(), what))?;
        for option in typed {
            let alone = Args::command().try_get_matches_from(["vnet", VERB, &option]);
            alone.map_err(|error| (value.span(), format!("{name}: {}", sentence(&error))))?;
            taken.push((arg.clone(), option));
        }
    }
    Ok(taken)
}

/// A value as one would type it.
fn typed(arg: &Arg, name: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let takes_value = arg.get_num_args().is_none_or(|n| n != ValueRange::EMPTY);
    let list = matches!(arg.get_action(), ArgAction::Append);
    match value {
        DeValue::Boolean(set) if !takes_value => Ok(set.then(|| format!("--{name}")).into_iter().collect()),
        _ if !takes_value => Err(format!("{name} has to be true or false")),
        DeValue::String(text) => Ok(vec![format!("--{name}={text}")]),
        DeValue::Integer(n) if n.radix() == 10 => Ok(vec![format!("--{name}={}", n.as_str())]),
        DeValue::Array(values) if list => {
            let each = values.iter().map(|value| match value.get_ref() {
                DeValue::Array(_) => Err(format!("{name} has to be a list of strings")),
                value => typed(arg, name, value),
            });
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        _ if list => Err(format!("{name} has to be a string or a list of them")),
        _ => Err(format!("{name} has to be a string or a number")),
    }
}

/// What clap says, in one line: the value, the option with the form of its value, and what is allowed.
fn sentence(error: &clap::Error) -> String {
    let said = error.to_string();
    let said = said.split("\n\n").next().unwrap_or_default();
    let lines: Vec<_> = said.trim_start_matches("error: ").lines().map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Action, Command, parse};

    fn with(file: &str, typed: &str) -> Result<Command, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vnet.toml");
        fs::write(&path, file).unwrap();
        let line = format!("vnet serve --config {} {typed}", path.display());
        parse(line.split_whitespace()).map_err(|stop| stop.to_string())
    }

    #[test]
    fn an_option_is_taken_from_the_file_unless_it_is_typed() {
        let file = "listen = \"[::1]:9\"\nper-queue = 7\ninterval = \"2s\"\nprobe-stats = true\ndevice = [\"a*\", \"b\"]\n";
        let command = with(file, "--interval 3s").unwrap();
        assert_eq!((command.interval.as_secs(), command.probe_stats), (3, true));
        assert_eq!(command.filter.devices.len(), 2);
        let Action::Serve(serve) = command.action else { panic!("serve") };
        assert_eq!(serve.listen.to_string(), "[::1]:9");
        assert_eq!(serve.per_queue, vnet::export::PerQueue::Cap(7));
    }

    #[test]
    fn a_mistake_has_its_file_line_key_and_what_is_allowed() {
        for (file, told) in [
            ("\nlisten = 'x'", ["vnet.toml: line 2: listen: ", "<ADDRESS:PORT>", "socket address"]),
            ("per-queue = 'some'", ["line 1: per-queue: ", "'some'", "auto, off or a number"]),
            ("interval = '1s'\ninterva = 3", ["line 2: there is no \"interva\"", "listen", "interval"]),
            ("verbose = 1", ["line 1: ", "verbose has to be ", "true or false"]),
            ("listen = true", ["line 1: ", "listen has to be ", "a string or a number"]),
            ("config = 'x'", ["line 1: ", "there is no \"config\"", "web-config"]),
            ("listen = 'x", ["vnet.toml: ", "line 1: ", ""]),
            ("trace = 'x'\ndemo = true", ["--trace <FILE>", "cannot be used with", "--demo"]),
        ] {
            let error = with(file, "").unwrap_err();
            assert!(told.iter().all(|part| error.contains(part)), "{file}: {error}");
        }
        let absent = parse(["vnet", "serve", "--config", "/no/such"]).unwrap_err().to_string();
        assert!(absent.contains("/no/such: No such file"), "{absent}");
    }

    #[test]
    fn the_defaults_are_what_there_is_without_a_file() {
        let text = defaults();
        for arg in options() {
            assert!(
                text.contains(&format!("\n{} = ", arg.get_long().unwrap()))
                    || text.contains(&format!("\n#{} = ", arg.get_long().unwrap()))
            );
        }
        let said = |command: Command| format!("{command:?}");
        let without = parse(["vnet", "serve"]).map_err(|stop| stop.to_string()).map(said);
        assert_eq!(with(&text, "").map(said), without);
    }
}
