//! The command line: a file per verb. The only user of clap; shared flags are here.

mod attach;
mod attached;
mod attending;
mod build;
mod carry;
mod commit;
mod config;
mod cp;
mod develop;
mod digests;
mod down;
mod events;
mod exec;
pub mod exit;
mod export;
mod failure;
mod files;
mod guard;
mod happened;
mod hints;
mod history;
pub mod hosts;
mod hosts_stage;
mod image;
mod images;
mod keys;
mod lifecycle;
mod load;
mod logs;
mod ls;
mod moment;
mod one_off;
mod panic;
mod plan;
mod port;
mod ps;
mod push;
pub mod relocate;
mod rollback;
mod run;
mod scale;
mod secret;
mod session;
mod settings;
mod signals;
mod simulate;
mod stats;
mod supervise;
mod terminal;
mod top;
mod trigger;
mod unit;
mod up;
mod updates;
mod version;
mod volume;
mod volume_mv;
mod wait;
mod watch;
mod why;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::ui::{Ansi, Ui};
use failure::Failure;
use settings::Settings;

/// Run an existing Compose file over many Docker hosts, and keep it running
#[derive(Debug, Parser)]
#[command(name = "mcompose", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = format!("Exit codes: {}", exit::table()))]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// The hosts file (default: hosts.toml beside the Compose file, then ~/.config/mcompose/hosts.toml, then the local engine)
    #[arg(short = 'i', long, global = true, value_name = "FILE", env = "MCOMPOSE_INVENTORY")]
    inventory: Option<String>,
    /// Compose configuration files. Before the verb, as with docker compose: behind it, -f is the verb's own
    #[arg(short, long, value_name = "FILE")]
    file: Vec<String>,
    /// Project name
    #[arg(short, long, value_name = "NAME")]
    project_name: Option<String>,
    /// Specify a profile to enable
    #[arg(long, global = true, value_name = "PROFILE")]
    profile: Vec<String>,
    /// Specify an alternate environment file
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Vec<String>,
    /// Specify an alternate working directory (default: the path of the first specified Compose file)
    #[arg(long, global = true, value_name = "DIR")]
    project_directory: Option<String>,
    /// The older word for --project-directory
    #[arg(long, value_name = "DIR", hide = true, conflicts_with = "project_directory")]
    workdir: Option<String>,
    /// How many engine calls run at once, -1 for as many as the limits of each host let
    #[arg(long, global = true, value_name = "N", env = "COMPOSE_PARALLEL_LIMIT", allow_negative_numbers = true)]
    parallel: Option<i64>,
    /// Set type of progress output
    #[arg(long, global = true, value_name = "TYPE", env = "COMPOSE_PROGRESS", value_parser = ["auto", "tty", "plain", "json", "quiet"])]
    progress: Option<String>,
    /// Control when to print ANSI control characters
    #[arg(long, global = true, value_name = "WHEN", env = "COMPOSE_ANSI", default_value = "auto")]
    ansi: AnsiArg,
    /// The largest file or folder that is delivered to hosts, in MiB
    #[arg(long, global = true, value_name = "MIB", env = "MCOMPOSE_DELIVER_MAX", default_value_t = 256)]
    deliver_max: u64,
    /// Show what would be done, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// Run compose in backward compatibility mode
    #[arg(long, global = true)]
    compatibility: bool,
    /// Include all resources, even those not used by services
    #[arg(long, global = true)]
    all_resources: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AnsiArg {
    Never,
    Always,
    Auto,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::UpArgs),
    Create(up::CreateArgs),
    Down(down::DownArgs),
    Start(lifecycle::StartArgs),
    Stop(lifecycle::StopArgs),
    Restart(lifecycle::RestartArgs),
    Kill(lifecycle::KillArgs),
    Rm(lifecycle::RmArgs),
    Pause(lifecycle::PauseArgs),
    Unpause(lifecycle::UnpauseArgs),
    Pull(lifecycle::PullArgs),
    Build(build::BuildArgs),
    Push(push::PushArgs),
    #[command(subcommand)]
    Image(image::ImageVerb),
    Images(images::ImagesArgs),
    Port(port::PortArgs),
    Scale(scale::ScaleArgs),
    Rollback(rollback::RollbackArgs),
    History(history::HistoryArgs),
    Ps(ps::PsArgs),
    Ls(ls::LsArgs),
    Logs(logs::LogsArgs),
    Events(events::EventsArgs),
    Why(why::WhyArgs),
    Exec(exec::ExecArgs),
    Attach(attach::AttachArgs),
    Top(top::TopArgs),
    Stats(stats::StatsArgs),
    Wait(wait::WaitArgs),
    Watch(develop::WatchArgs),
    Run(run::RunArgs),
    Cp(cp::CpArgs),
    Export(export::ExportArgs),
    Commit(commit::CommitArgs),
    #[command(subcommand)]
    Volume(volume::VolumeVerb),
    /// List volumes: `volume ls`, as docker compose calls it
    Volumes(volume::LsArgs),
    /// The key that secrets are encrypted with on hosts
    #[command(subcommand)]
    Secret(secret::SecretVerb),
    Simulate(simulate::SimulateArgs),
    Config(config::ConfigArgs),
    Plan(plan::PlanArgs),
    /// The hosts and the inventory
    #[command(subcommand)]
    Hosts(hosts::HostsVerb),
    Supervise(supervise::SuperviseArgs),
    Version(version::VersionArgs),
}

/// Runs the process's command line and returns its exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Without a reader there is nobody to be told.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::OK };
        }
    };
    take_open_files();
    let mut builder = match cli.verb {
        // It waits for most of its life, and a thousand small answers a second cost half as much where no thread wakes another.
        Verb::Supervise(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    match builder.enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run(cli));
            // One who waits for input that nobody needs any more would keep it.
            runtime.shutdown_background();
            code
        }
        Err(_) => exit::FAILURE,
    }
}

/// A host costs a connection for its events and one for all else, and a dozen while it is looked at: the usual limit of 1,024 open files
/// is soon reached. It is so low for programs that wait with `select`, and may be raised by any other.
fn take_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where this is refused, it goes as far as it goes.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

async fn run(cli: Cli) -> u8 {
    let ui = cli.globals.ui();
    panic::report_with(ui);
    match verb(&cli, ui).await {
        Ok(code) => code,
        Err(failure) => failure.tell(&ui),
    }
}

async fn verb(cli: &Cli, ui: Ui) -> Result<u8, Failure> {
    let globals = &cli.globals;
    match &cli.verb {
        Verb::Up(args) => up::up(args, globals, ui).await,
        Verb::Create(args) => up::create(args, globals, ui).await,
        Verb::Down(args) => down::run(args, globals, ui).await,
        Verb::Start(args) => lifecycle::start(args, globals, ui).await,
        Verb::Stop(args) => lifecycle::stop(args, globals, ui).await,
        Verb::Restart(args) => lifecycle::restart(args, globals, ui).await,
        Verb::Kill(args) => lifecycle::kill(args, globals, ui).await,
        Verb::Rm(args) => lifecycle::rm(args, globals, ui).await,
        Verb::Pause(args) => lifecycle::pause(args, globals, ui).await,
        Verb::Unpause(args) => lifecycle::unpause(args, globals, ui).await,
        Verb::Pull(args) => lifecycle::pull(args, globals, ui).await,
        Verb::Build(args) => build::run(args, globals, ui).await,
        Verb::Push(args) => push::run(args, globals, ui).await,
        Verb::Images(args) => images::run(args, globals, ui).await,
        Verb::Port(args) => port::run(args, globals, ui).await,
        Verb::Image(verb) => image::run(verb, globals, ui).await,
        Verb::Scale(args) => scale::run(args, globals, ui).await,
        Verb::Rollback(args) => rollback::run(args, globals, ui).await,
        Verb::History(args) => history::run(args, globals, ui).await,
        Verb::Ps(args) => ps::run(args, globals, ui).await,
        Verb::Ls(args) => ls::run(args, globals, ui).await,
        Verb::Events(args) => events::run(args, globals, ui).await,
        Verb::Why(args) => why::run(args, globals, ui).await,
        Verb::Run(args) => run::run(args, globals, ui).await,
        Verb::Attach(args) => attach::run(args, globals, ui).await,
        Verb::Top(args) => top::run(args, globals, ui).await,
        Verb::Stats(args) => stats::run(args, globals, ui).await,
        Verb::Wait(args) => wait::run(args, globals, ui).await,
        Verb::Watch(args) => develop::run(args, globals, ui).await,
        Verb::Exec(args) => exec::run(args, globals, ui).await,
        Verb::Cp(args) => cp::run(args, globals, ui).await,
        Verb::Export(args) => export::run(args, globals, ui).await,
        Verb::Commit(args) => commit::run(args, globals, ui).await,
        Verb::Volume(verb) => volume::run(verb, globals, ui).await,
        Verb::Volumes(args) => volume::run_list(args, globals, ui).await,
        Verb::Secret(verb) => secret::run(verb, globals, ui),
        Verb::Simulate(args) => simulate::run(args, globals, ui).await,
        Verb::Logs(args) => logs::run(args, globals, ui).await,
        Verb::Config(args) => config::run(args, globals, ui).await,
        Verb::Plan(args) => plan::run(args, globals, ui).await,
        Verb::Hosts(verb) => hosts_stage::run(verb, globals, ui).await,
        Verb::Supervise(args) => supervise::run(args, globals, ui).await,
        Verb::Version(args) => Ok(version::run(args, ui)),
    }
}

impl Globals {
    #[expect(clippy::disallowed_methods, reason = "NO_COLOR is of the environment")]
    fn ui(&self) -> Ui {
        let ansi = match self.ansi {
            AnsiArg::Never => Ansi::Never,
            AnsiArg::Always => Ansi::Always,
            AnsiArg::Auto => Ansi::Auto,
        };
        let settings = Settings::of(self);
        let progress = self.progress.as_deref().or(settings.text("COMPOSE_PROGRESS"));
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ui::new(ansi, progress, no_color, settings.is_on("COMPOSE_STATUS_STDOUT"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_flags_of_a_verb_are_the_same() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_and_exec_have_dockers_short_flags_and_the_inventory_by_its_name() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (&["-i", "a.toml", "exec", "-it", "web", "sh", "-i"], Some("a.toml")),
            (&["exec", "-i", "-t", "--inventory", "b.toml", "web", "sh"], Some("b.toml")),
            (&["-i", "a.toml", "run", "-it", "web", "-i", "x"], Some("a.toml")),
            (&["run", "-i", "--inventory", "b.toml", "web"], Some("b.toml")),
            (&["-i", "a.toml", "run", "-i=false", "-T", "web"], Some("a.toml")),
        ];
        for (words, expect) in cases {
            let cli = Cli::try_parse_from(["mcompose"].iter().chain(*words)).expect("it is a good command line");
            let inventory = match &cli.verb {
                Verb::Run(args) => args.inventory(&cli.globals),
                Verb::Exec(args) => args.inventory(&cli.globals),
                _ => panic!("it is a run or an exec"),
            };
            assert_eq!(inventory.as_deref(), *expect, "{words:?}");
        }
    }
}
