//! The `semblance` command.

fn main() -> std::process::ExitCode {
    semblance::cli::main()
}
