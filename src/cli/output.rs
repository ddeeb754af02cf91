//! What commands print. `println!` panics where its line cannot be written (a full disk, a closed pipe); these macros do
//! not.

use std::fmt::Arguments;
use std::io::{self, Write as _};

use super::CliError;

/// Prints a line on standard output.
macro_rules! outln {
    ($($part:tt)*) => { $crate::cli::output::print(format_args!("{}\n", format_args!($($part)*))) };
}
pub(super) use outln;

/// Prints a line on standard error. A message that cannot be written is lost.
macro_rules! errln {
    ($($part:tt)*) => { $crate::cli::output::report(format_args!("{}\n", format_args!($($part)*))) };
}
pub(super) use errln;

/// Prints on standard output.
///
/// # Errors
/// [`CliError::Output`].
pub(super) fn print(text: Arguments<'_>) -> Result<(), CliError> {
    io::stdout().write_fmt(text).map_err(CliError::Output)
}

/// Prints on standard error, if it can be written.
pub(super) fn report(text: Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}

/// Writes what standard output holds back.
///
/// # Errors
/// [`CliError::Output`].
pub(super) fn flush() -> Result<(), CliError> {
    io::stdout().flush().map_err(CliError::Output)
}
