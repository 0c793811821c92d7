//! The report as JSON: schema 1, indented, one line feed at its end.

use std::io::{self, Write};

use super::Report;

/// Writes the report.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
