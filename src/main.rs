//! The `semblance` command.

fn main() {}
