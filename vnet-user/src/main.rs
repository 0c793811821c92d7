//! The program: arguments in, exit status out.

mod app;
mod cli;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let command = match cli::parse(env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.tell(),
    };
    match app::run(command) {
        Ok(status) => status,
        // Who closed the pipe has read enough.
        Err(error) if closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The status tells it too, should stderr be gone.
            let _ = writeln!(io::stderr(), "vnet: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    io.into_iter().any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
