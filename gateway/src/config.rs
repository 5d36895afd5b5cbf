//! Configuration of `serve`: a TOML file, then environment variables. It opens nothing and starts nothing.
//!
//! Invariant: every default is safe, and a key that is not known is refused with the nearest known one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::catalogue::nearest;
use crate::pipeline::Tuning;

/// Read from the working directory where no file is named.
pub const DEFAULT_FILE: &str = "gateway.toml";

/// `GATEWAY_LISTEN` is the key `listen`, `GATEWAY_LOG_LEVEL` the key `log-level`.
pub(crate) const PREFIX: &str = "GATEWAY_";
/// Variables with that prefix that belong to the command line and are no keys.
pub(crate) const NOT_KEYS: [&str; 6] =
    ["brand_key", "config", "install_toolchain", "key", "signing_key", "url"];

/// Every key of the configuration. `gateway.example.toml` shows the same with its defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where the API listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// A proxy in front of the gateway speaks TLS. Without it only a loopback address may be listened
    /// on, because this process speaks plain HTTP (clause security.transmission).
    pub behind_proxy: bool,
    /// The SQLite file; made where it is not there.
    pub database: String,
    /// The key that wraps consumers' keys: 32 bytes in hexadecimal or base64, in a file of mode 0600.
    /// None: `master.key` beside the database. `serve` makes it at its first start. Keep a copy apart
    /// from the database's: without it the data is lost, and with both it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key_file: Option<PathBuf>,
    /// Compiled plugins, which only the gateway may write. None: `cache` beside the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// A folder of policy files (`*.toml`) beside the shipped one; one of the same date takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies_dir: Option<PathBuf>,
    /// A folder of event types (`<type>.json`) beside the shipped ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogue_dir: Option<PathBuf>,
    /// `text` or `json`, on standard error.
    pub log_format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,gateway::pipeline=debug`.
    pub log_level: String,
    /// Bytes of the body of a request with events, a batch included.
    pub max_event_body: usize,
    /// Consumers whose keys and choices stay in memory.
    pub consumer_cache: u64,
    /// Events that are worked on at once.
    pub concurrent_work: usize,
    /// Requests to partners that are under way at once.
    pub concurrent_deliveries: usize,
    /// Plugin calls at once, each reserving about 8 GiB of address space. None: four for each core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<usize>,
    /// Delivery attempts before a request becomes a dead letter. 10 is the whole schedule, three days.
    pub max_attempts: u32,
    /// Public addresses of this machine, beside the one that is listened on: never reached as an endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own_addresses: Vec<IpAddr>,
    /// For demo and tests only: host names (each with all below it) that are reached over plain HTTP at
    /// a loopback address instead.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoint_bindings: BTreeMap<String, SocketAddr>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let tuning = Tuning::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            behind_proxy: false,
            database: "./gateway.db".to_owned(),
            master_key_file: None,
            cache_dir: None,
            policies_dir: None,
            catalogue_dir: None,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            // A batch of a hundred long chats is well below.
            max_event_body: 1024 * 1024,
            consumer_cache: tuning.consumer_cache,
            concurrent_work: tuning.concurrent_work,
            concurrent_deliveries: tuning.concurrent_deliveries,
            concurrent_calls: None,
            max_attempts: tuning.max_attempts,
            own_addresses: Vec::new(),
            endpoint_bindings: BTreeMap::new(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there, or cannot be read.
    #[error("the configuration file {} cannot be read: {source}; name another with --config", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A key that there is not.
    #[error("unknown configuration key `{key}` in {place}{}; gateway.example.toml lists every key", .nearest.as_ref().map(|key| format!(": did you mean `{key}`?")).unwrap_or_default())]
    UnknownKey {
        /// As it was written.
        key: String,
        /// The file or the environment.
        place: String,
        /// The known key that was probably meant.
        nearest: Option<String>,
    },
    /// A value of another type, or a file that is no TOML.
    #[error("the configuration does not read: {0}")]
    Value(String),
    /// A value that is against a rule.
    #[error("configuration key `{key}`: {rule}; {remedy}")]
    Rule {
        /// Which key.
        key: &'static str,
        /// What is wrong.
        rule: String,
        /// What would be right.
        remedy: &'static str,
    },
}

impl Config {
    /// Reads the defaults, then the file (`gateway.toml` of the working directory where none is named and
    /// one is there), then the environment; the later wins.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that may not stand.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let text = match file.or_else(|| default.is_file().then_some(default)) {
            Some(path) => Some((
                path,
                std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::File { path: path.to_owned(), source })?,
            )),
            None => None,
        };
        let keys = Env::prefixed(PREFIX).ignore(&NOT_KEYS).map(|key| key.as_str().replace('_', "-").into());
        let config = match text {
            Some((path, text)) => read(Some((&path.display().to_string(), &text)), keys)?,
            None => read(None, keys)?,
        };
        config.check()?;
        Ok(config)
    }

    /// Rules that hold between keys.
    fn check(&self) -> Result<(), ConfigError> {
        if !self.listen.ip().is_loopback() && !self.behind_proxy {
            return Err(ConfigError::Rule {
                key: "listen",
                rule: format!(
                    "{} is not a loopback address, and this is plain HTTP (clause security.transmission)",
                    self.listen
                ),
                remedy: "listen on 127.0.0.1, or put a proxy that speaks TLS in front and set behind-proxy = true",
            });
        }
        if let Some((scheme, _)) = self.database.split_once("://") {
            return Err(ConfigError::Rule {
                key: "database",
                rule: format!("{scheme}:// is not served by this gateway yet"),
                remedy: "name a file for SQLite",
            });
        }
        if self.database.trim().is_empty() {
            return Err(ConfigError::Rule {
                key: "database",
                rule: "it is empty".to_owned(),
                remedy: "name a file for SQLite",
            });
        }
        if let Some((host, address)) =
            self.endpoint_bindings.iter().find(|(_, address)| !address.ip().is_loopback())
        {
            return Err(ConfigError::Rule {
                key: "endpoint-bindings",
                rule: format!("`{host}` is bound to {address}, which is not a loopback address"),
                remedy: "bindings are for demo and tests; bind to 127.0.0.1 or ::1",
            });
        }
        let counts: [(&'static str, bool); 5] = [
            ("max-event-body", self.max_event_body == 0),
            ("concurrent-work", self.concurrent_work == 0),
            ("concurrent-deliveries", self.concurrent_deliveries == 0),
            ("concurrent-calls", self.concurrent_calls == Some(0)),
            ("max-attempts", self.max_attempts == 0),
        ];
        match counts.into_iter().find(|(_, zero)| *zero) {
            None => Ok(()),
            Some((key, _)) => Err(ConfigError::Rule {
                key,
                rule: "0 would let nothing through".to_owned(),
                remedy: "give at least 1, or leave it out",
            }),
        }
    }

    /// The database's file.
    pub fn database_path(&self) -> &Path {
        Path::new(&self.database)
    }

    /// The master key's file, the default filled in.
    pub fn master_key_path(&self) -> PathBuf {
        self.master_key_file.clone().unwrap_or_else(|| self.beside_database("master.key"))
    }

    /// The directory of compiled plugins, the default filled in.
    pub fn cache_path(&self) -> PathBuf {
        self.cache_dir.clone().unwrap_or_else(|| self.beside_database("cache"))
    }

    /// `gateway.db` has `gateway.master.key` and `gateway.cache` beside it: two databases in one folder
    /// share nothing.
    fn beside_database(&self, what: &str) -> PathBuf {
        self.database_path().with_extension(what)
    }
}

fn read(file: Option<(&str, &str)>, environment: Env) -> Result<Config, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some((_, text)) = file {
        figment = figment.merge(Toml::string(text));
    }
    figment.merge(environment).extract().map_err(|error| explain(&error, file.map(|(name, _)| name)))
}

/// figment's error in our words; of several, the first.
fn explain(error: &figment::Error, file: Option<&str>) -> ConfigError {
    let from_environment =
        error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
    let place =
        if from_environment { "the environment".to_owned() } else { file.unwrap_or("the file").to_owned() };
    let spelled = |key: &str| {
        if from_environment {
            format!("{PREFIX}{}", key.replace('-', "_").to_ascii_uppercase())
        } else {
            key.to_owned()
        }
    };
    match &error.kind {
        Kind::UnknownField(key, known) => ConfigError::UnknownKey {
            nearest: nearest(key, known.iter().copied()).map(spelled),
            key: spelled(key),
            place,
        },
        kind if error.path.is_empty() => ConfigError::Value(format!("{kind} in {place}")),
        kind => ConfigError::Value(format!("key `{}` in {place}: {kind}", error.path.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../gateway.example.toml");

    fn from_text(text: &str) -> Result<Config, ConfigError> {
        let config = read(Some(("gateway.toml", text)), Env::prefixed("NO_SUCH_PREFIX_"))?;
        config.check()?;
        Ok(config)
    }

    /// Every key that the struct takes, as serde knows them.
    fn keys() -> Vec<&'static str> {
        let error = Figment::from(Toml::string("no-such-key = 1")).extract::<Config>().unwrap_err();
        match error.kind {
            Kind::UnknownField(_, known) => known.to_vec(),
            other => panic!("{other}"),
        }
    }

    /// The example with its commented keys taken in.
    fn uncommented() -> String {
        let is_key = |line: &str| {
            line.strip_prefix('#')
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()))
        };
        EXAMPLE
            .lines()
            .map(|line| if is_key(line) { line.trim_start_matches('#') } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_example_is_the_defaults() {
        assert_eq!(from_text(EXAMPLE).unwrap(), Config::default());
    }

    #[test]
    fn the_example_lists_every_key_and_all_of_them_read() {
        let text = uncommented();
        let table: toml::Table = text.parse().unwrap();
        for key in keys() {
            assert!(table.contains_key(key), "gateway.example.toml lacks `{key}`");
        }
        from_text(&text).unwrap();
    }

    #[test]
    fn what_may_not_stand_is_refused_with_its_name() {
        for (text, named) in [
            ("lisen = \"127.0.0.1:1\"", "`lisen` in gateway.toml: did you mean `listen`?"),
            ("listen = \"0.0.0.0:80\"", "clause security.transmission"),
            ("listen = \"nowhere\"", "key `listen` in gateway.toml"),
            ("listen = 5", "key `listen` in gateway.toml"),
            ("database = \"postgres://db/gateway\"", "not served by this gateway yet"),
            ("database = \"\"", "it is empty"),
            ("endpoint-bindings = { \"acme.example\" = \"203.0.113.7:80\" }", "not a loopback address"),
            ("log-format = \"xml\"", "key `log-format`"),
            ("max-attempts = 0", "`max-attempts`"),
            ("concurrent-calls = 0", "`concurrent-calls`"),
            ("listen = ", "does not read"),
        ] {
            let message = from_text(text).unwrap_err().to_string();
            assert!(message.contains(named), "{text}: {message}");
        }
    }

    #[test]
    fn a_proxy_that_is_named_lets_the_gateway_listen_for_others() {
        let config = from_text("listen = \"0.0.0.0:80\"\nbehind-proxy = true").unwrap();
        assert_eq!(config.listen, SocketAddr::from(([0, 0, 0, 0], 80)));
    }

    #[test]
    #[allow(clippy::result_large_err)] // figment's own closure type
    fn the_environment_wins_over_the_file_and_the_command_lines_variables_are_no_keys() {
        figment::Jail::expect_with(|jail| {
            jail.clear_env();
            jail.create_file("gateway.toml", "database = \"a.db\"\nlog-level = \"warn\"")?;
            jail.set_env("GATEWAY_DATABASE", "b.db");
            jail.set_env("GATEWAY_CONCURRENT_WORK", "3");
            for name in ["GATEWAY_INSTALL_TOOLCHAIN", "GATEWAY_URL", "GATEWAY_KEY", "GATEWAY_CONFIG"] {
                jail.set_env(name, "1");
            }
            let config = Config::load(None).unwrap();
            assert_eq!((config.database.as_str(), config.log_level.as_str()), ("b.db", "warn"));
            assert_eq!(config.concurrent_work, 3);
            assert_eq!(config.master_key_path(), Path::new("b.master.key"));

            jail.set_env("GATEWAY_CONCURENT_WORK", "3");
            let message = Config::load(None).unwrap_err().to_string();
            assert!(
                message.contains(
                    "`GATEWAY_CONCURENT_WORK` in the environment: did you mean `GATEWAY_CONCURRENT_WORK`?"
                ),
                "{message}"
            );
            Ok(())
        });
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        assert!(matches!(Config::load(Some(Path::new("/nowhere.toml"))), Err(ConfigError::File { .. })));
    }
}
