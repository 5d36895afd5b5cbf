//! The command line: one file per command. It decides nothing about data; the commands that change a
//! running gateway are clients of its API, with no more rights than their key.

mod assemble;
mod brand;
mod client;
mod compile_component;
mod contract;
mod demo;
mod disclose;
mod endpoint;
mod error;
mod flows;
mod ingest;
mod keys;
mod logging;
mod output;
mod partner;
pub mod plugin;
mod policy;
mod progress;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::CliError;

/// Runs partner plugins in a sandbox and enforces the privacy policy at the boundary.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    max_term_width = 120,
    after_help = "\
Exit status: 0 it did what was asked; 1 it fell short; 2 it was not asked rightly.

Example:
  gateway demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Ingest(ingest::Ingest),
    #[command(
        subcommand,
        after_help = "Example:\n  gateway brand put northside-motors --display-name 'Northside Motors'"
    )]
    Brand(brand::Brand),
    #[command(
        subcommand,
        after_help = "Example:\n  gateway partner put acme-crm --display-name 'Acme CRM' --region US --domain acme.example"
    )]
    Partner(partner::Partner),
    #[command(
        subcommand,
        after_help = "Example:\n  gateway contract put engage dpa-2026 --purpose personalize.content.limited --category user"
    )]
    Contract(contract::Contract),
    #[command(
        subcommand,
        after_help = "The keys of both are of role operator.\n\nExample:\n  gateway disclose show northside-motors 019af0c2d1e07a5d3f6b8c9d0e1f2a3b"
    )]
    Disclose(disclose::Disclose),
    #[command(subcommand, after_help = "Example:\n  gateway keys create --role operator")]
    Keys(keys::Keys),
    #[command(subcommand, after_help = "Example:\n  gateway plugin new lead-box --lang rust")]
    Plugin(plugin::Plugin),
    #[command(subcommand, after_help = "Example:\n  gateway policy check")]
    Policy(policy::Policy),
    Flows(flows::Flows),
    CompileComponent(compile_component::CompileComponent),
}

/// Reads the arguments of this process, does what they say, and tells how it went.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough: `gateway flows | head`.
        Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            error.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    match command {
        // A process of its own with limits on its memory: no runtime, no threads of ours.
        Command::CompileComponent(command) => command.run(),
        command => {
            // An error means that a provider is installed already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(|source| CliError::Start { what: "the runtime", source: source.into() })?;
            runtime.block_on(run_async(command))
        }
    }
}

async fn run_async(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(command) => command.run().await,
        Command::Demo(command) => command.run().await,
        Command::Ingest(command) => command.run().await,
        Command::Brand(command) => command.run().await,
        Command::Partner(command) => command.run().await,
        Command::Contract(command) => command.run().await,
        Command::Disclose(command) => command.run().await,
        Command::Keys(command) => command.run().await,
        Command::Plugin(command) => command.run().await,
        Command::Flows(command) => command.run().await,
        Command::Policy(command) => command.run().await,
        Command::CompileComponent(command) => command.run(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::config::{NOT_KEYS, PREFIX};

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_is_shown_has_an_example() {
        fn walk(command: &clap::Command, path: &str, lacking: &mut Vec<String>) {
            let subcommands: Vec<_> = command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
                .collect();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !help.contains(path) {
                lacking.push(path.to_owned());
            }
            for sub in subcommands {
                walk(sub, &format!("{path} {}", sub.get_name()), lacking);
            }
        }
        let mut lacking = Vec::new();
        walk(&Cli::command(), "gateway", &mut lacking);
        assert_eq!(lacking, Vec::<String>::new());
    }

    #[test]
    fn no_variable_of_the_command_line_is_taken_for_a_key_of_the_configuration() {
        fn walk(command: &clap::Command, found: &mut BTreeSet<String>) {
            let named = command.get_arguments().filter_map(clap::Arg::get_env);
            let named = named.map(|name| name.to_string_lossy().into_owned());
            found.extend(named.filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_lowercase())));
            command.get_subcommands().for_each(|sub| walk(sub, found));
        }
        let mut found = BTreeSet::new();
        walk(&Cli::command(), &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), NOT_KEYS);
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for arguments in [
            &["gateway"][..],
            &["gateway", "no-such-command"],
            &["gateway", "keys", "create", "--role", "king"],
            &["gateway", "plugin", "build"],
            &["gateway", "policy", "explain", "--flow", "share"],
            &["gateway", "flows", "--limit", "0"],
        ] {
            let error = Cli::try_parse_from(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }
}
