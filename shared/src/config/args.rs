//! The command line that every server shares, and what a `main` does with it.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use serde::de::DeserializeOwned;

use super::{ConfigErrors, Layers, Resolved, Rule, examples, in_force};

/// The exit code for a bad configuration (`EX_USAGE`): a supervisor need not try again.
pub const EXIT_CONFIG: u8 = 64;

/// Where the configuration comes from. Use it as it is (`Args::parse()`) or flatten it into a larger command.
#[derive(Debug, Clone, Default, clap::Parser)]
pub struct Args {
    /// A TOML file laid over the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One value laid over file and environment; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Checks the configuration, says what is wrong with it, and ends.
    #[arg(long)]
    pub check_config: bool,
    /// Prints the configuration in force, each value with its source and without secrets, and ends.
    #[arg(long)]
    pub print_config: bool,
}

/// What `main` is to do.
#[derive(Debug)]
pub enum Start<T> {
    /// Run with this configuration.
    Run(T),
    /// Everything has been said: end with this code.
    Exit(ExitCode),
}

impl Args {
    /// Lays file, environment and `--set` over the default.
    ///
    /// # Errors
    /// Every mistake of every layer.
    pub fn load<T: DeserializeOwned>(
        &self,
        default: &str,
        rules: &[Rule],
    ) -> Result<Resolved<T>, ConfigErrors> {
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.to_string_lossy().into_owned())));
        Layers::new(default).file(self.config.as_deref()).env(variables).set(&self.set).resolve(rules)
    }

    /// [`Self::load`], with mistakes said on stderr and `--check-config` and `--print-config` answered.
    pub fn start<T: DeserializeOwned>(&self, default: &str, rules: &[Rule]) -> Start<T> {
        self.begin(self.load::<T>(default, rules))
    }

    /// [`Self::start`] for a server, which takes an example password only where the key `published_on` says that the
    /// system's ports are published on a loopback address; the default, nothing, is none.
    pub fn serve<T: DeserializeOwned>(
        &self,
        default: &str,
        rules: &[Rule],
        published_on: &'static str,
    ) -> Start<T> {
        let loaded = self.load::<T>(default, rules);
        self.begin(loaded.and_then(|resolved| examples::refused(resolved, published_on)))
    }

    fn begin<T>(&self, loaded: Result<Resolved<T>, ConfigErrors>) -> Start<T> {
        let (text, code) = match loaded {
            Err(errors) => {
                // A closed stderr is no reason to end otherwise.
                drop(writeln!(std::io::stderr(), "{errors}"));
                return Start::Exit(ExitCode::from(EXIT_CONFIG));
            }
            Ok(resolved) if self.print_config => (resolved.printed, ExitCode::SUCCESS),
            Ok(_) if self.check_config => ("the configuration is valid\n".to_owned(), ExitCode::SUCCESS),
            Ok(resolved) => {
                in_force::keep(resolved.in_force);
                return Start::Run(resolved.config);
            }
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => Start::Exit(code),
            Err(_) => Start::Exit(ExitCode::FAILURE),
        }
    }
}
