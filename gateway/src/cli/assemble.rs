//! Puts the parts of a gateway together, as the configuration says. It starts none of them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use gateway_policy::Policy;

use super::CliError;
use crate::boundary::PolicyBook;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::Config;
use crate::outbound::{Outbound, OutboundConfig};
use crate::pipeline::{Parts, Tuning};
use crate::plugin_host::{HostConfig, PluginHost};
use crate::store::crypto::MasterKey;
use crate::store::{ServedAlone, SqliteStore};

/// Opens the database, or makes it.
pub(super) async fn open_store(config: &Config) -> Result<SqliteStore, CliError> {
    SqliteStore::open(config.database_path()).await.map_err(CliError::start("the store"))
}

/// Holds the database for a server alone.
pub(super) fn served_alone(config: &Config) -> Result<ServedAlone, CliError> {
    ServedAlone::begin(config.database_path()).map_err(CliError::start("the store"))
}

/// Everything that a gateway is made of.
pub(super) async fn parts(config: &Config) -> Result<Parts, CliError> {
    let catalogue = match &config.catalogue_dir {
        Some(dir) => Catalogue::load(dir),
        None => Catalogue::embedded(),
    }
    .map_err(CliError::start("the catalogue"))?;
    let book =
        PolicyBook::new(&policies(config.policies_dir.as_deref())?).map_err(CliError::start("the policy"))?;
    for policy in book.policies() {
        tracing::info!(name = policy.name(), effective = policy.effective(), "a policy is loaded");
    }
    let store = Arc::new(open_store(config).await?);
    let master = master_key(&config.master_key_path(), config.database_path())?;

    let mut host = HostConfig::new(config.cache_path());
    if let Some(calls) = config.concurrent_calls {
        host.max_concurrent_calls = calls;
    }
    let host = PluginHost::new(host).map_err(CliError::start("the sandbox"))?;
    let outbound = Outbound::new(OutboundConfig {
        bindings: config.endpoint_bindings.iter().map(|(host, address)| (host.clone(), *address)).collect(),
        own_addresses: own_addresses(config),
        ..OutboundConfig::default()
    })
    .map_err(CliError::start("the client for partners' endpoints"))?;

    let tuning = Tuning {
        max_attempts: config.max_attempts,
        consumer_cache: config.consumer_cache,
        concurrent_work: config.concurrent_work,
        concurrent_deliveries: config.concurrent_deliveries,
    };
    Ok(Parts { clock: Clock::system(), catalogue, book, store, master, host, outbound, tuning })
}

/// The address that the API listens on is refused as an endpoint; the unspecified one names no host.
fn own_addresses(config: &Config) -> Vec<IpAddr> {
    let listen = Some(config.listen.ip()).filter(|address| !address.is_unspecified());
    config.own_addresses.iter().copied().chain(listen).collect()
}

/// The texts of all policies in force: the shipped one and those of the folder. One of the folder with
/// the shipped one's date takes its place, so that an operator can change a reading.
pub(super) fn policies(dir: Option<&Path>) -> Result<Vec<String>, CliError> {
    let shipped = Policy::parse(PolicyBook::SHIPPED).map_err(CliError::start("the policy"))?;
    let mut texts = Vec::new();
    let mut replaced = false;
    for path in dir.map(toml_files).transpose()?.unwrap_or_default() {
        let text = std::fs::read_to_string(&path).map_err(CliError::file("reading", &path))?;
        let policy = Policy::parse(&text)
            .map_err(|error| CliError::FellShort(format!("{}: {error}", path.display())))?;
        replaced |= policy.effective() == shipped.effective();
        texts.push(text);
    }
    if !replaced {
        texts.push(PolicyBook::SHIPPED.to_owned());
    }
    Ok(texts)
}

/// Its `*.toml` files, by name.
fn toml_files(dir: &Path) -> Result<Vec<std::path::PathBuf>, CliError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(CliError::file("reading the policies in", dir))? {
        let path = entry.map_err(CliError::file("reading the policies in", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The master key of the file, or at the first start a new one, written there with mode 0600.
fn master_key(path: &Path, database: &Path) -> Result<MasterKey, CliError> {
    if path.exists() {
        return MasterKey::from_file(path).map_err(CliError::start("the store's encryption"));
    }
    let key = MasterKey::generate();
    key.write_file(path).map_err(CliError::start("the store's encryption"))?;
    tracing::warn!(
        file = %path.display(),
        database = %database.display(),
        "made a new master key; keep a copy of it apart from the database: without it the data is lost"
    );
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_policy_of_the_shipped_ones_date_takes_its_place_and_another_stands_beside_it() {
        let looser = PolicyBook::SHIPPED.replace("\"strict\"", "\"loose\"");
        let later = PolicyBook::SHIPPED.replace("2017-03-01", "2027-01-01");
        for (files, expected) in [
            (vec![], 1),
            (vec![("a.toml", looser.as_str())], 1),
            (vec![("b.toml", later.as_str()), ("notes.txt", "no policy")], 2),
            (vec![("a.toml", looser.as_str()), ("b.toml", later.as_str())], 2),
        ] {
            let dir = folder(&files);
            let texts = policies(Some(dir.path())).unwrap();
            assert_eq!(texts.len(), expected, "{:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>());
            PolicyBook::new(&texts).unwrap();
        }
    }

    #[test]
    fn a_policy_that_does_not_read_is_named() {
        let dir = folder(&[("bad.toml", "name = 1")]);
        assert!(policies(Some(dir.path())).unwrap_err().to_string().contains("bad.toml"));
    }

    #[test]
    fn the_master_key_is_made_once_and_only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.master.key");
        master_key(&path, Path::new("gateway.db")).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        master_key(&path, Path::new("gateway.db")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), written);
    }
}
