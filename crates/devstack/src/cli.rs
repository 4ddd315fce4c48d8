//! The command line of `cargo stack`.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::options::{
    BackupOptions, GatewayOptions, LinkOptions, ObjectStoreOptions, RestoreOptions, TestOptions, UpOptions, WebOptions,
};

/// BigTech Chat on one machine: real engines, the three services and the gateway.
#[derive(Parser)]
#[command(name = "cargo stack", bin_name = "cargo stack", disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start everything; Ctrl-C stops it.
    Up {
        /// Return when everything is ready and leave it running.
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        options: UpOptions,
    },
    /// List the processes of the stack.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the addresses of the running stack as `export` lines for a shell: eval "$(cargo stack env)".
    Env,
    /// Print the log of one process, or the last lines of all logs.
    Logs {
        /// A process, as `status` names it.
        name: Option<String>,
        /// Keep printing as the log grows.
        #[arg(short, long)]
        follow: bool,
    },
    /// Stop everything.
    Down {
        /// Delete all data and logs too.
        #[arg(long)]
        wipe: bool,
    },
    /// Stop one process until it is started again.
    Stop { name: String },
    /// Start a stopped process.
    Start { name: String },
    /// Stop and start one process.
    Restart { name: String },
    /// Send SIGKILL to one process; the supervisor starts it again.
    Kill { name: String },
    /// Run the README's first conversation against the running stack and check every answer.
    Demo,
    /// Measure the running stack, or another system: throughput, latency, CPU time and memory. `cargo stack bench --help` lists the options.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the benchmark in tests/load.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Write a backup of MySQL and MongoDB while the stack runs.
    Backup(BackupOptions),
    /// Replace the data of the running stack by a backup.
    Restore(RestoreOptions),
    /// Run every test of the workspace against a stack of its own, and print a summary.
    Test {
        #[command(flatten)]
        options: TestOptions,
        /// Arguments of `cargo test`, which tests the whole workspace unless they name a package, such as
        /// `-p chat-service -p devstack`: with devstack, cargo reuses the dependencies that the stack was built with.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    #[command(hide = true)]
    Supervise(UpOptions),
    #[command(hide = true)]
    Gateway(GatewayOptions),
    #[command(hide = true)]
    Web(WebOptions),
    #[command(hide = true)]
    Link(LinkOptions),
    #[command(hide = true)]
    ObjectStore(ObjectStoreOptions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_the_benchmark_are_passed_on() {
        for line in [&["--help"][..], &["--scenario", "send", "--seconds", "1"], &[]] {
            let Ok(Cli { command: Command::Bench { args } }) =
                Cli::try_parse_from([&["cargo stack", "bench"], line].concat())
            else {
                panic!("{line:?}")
            };
            assert_eq!(args, line);
        }
    }
}
