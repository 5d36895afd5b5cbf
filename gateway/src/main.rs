//! The program `gateway`: picks the allocator and hands over to the command line.

use std::process::ExitCode;

/// Many small allocations on many threads, freed on others: what mimalloc is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::cli::main()
}
