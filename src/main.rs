//! The built-in application as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    resource_server::run(resource_server::app::site())
}
