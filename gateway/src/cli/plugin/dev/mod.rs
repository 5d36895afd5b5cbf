//! `gateway plugin dev`: each time a plugin's source changes it is built, tried and published as a pre-release, which
//! the running gateway gives to connections that chose one.

mod reload;
mod version;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use secrecy::SecretString;

use super::builder::{self, BuildOptions, BuiltPlugin};
use super::keygen::SigningArgs;
use super::rehearse::RulesArgs;
use super::{ToolchainArgs, build, read_component, test, with_reference};
use crate::cli::client::{ClientArgs, ClientError};
use crate::cli::progress::Progress;
use crate::cli::{CliError, output, serve};
use crate::manifest::{Language, Manifest, ReleaseSigningKey};
use crate::pipeline::{Rehearsal, RehearsedPlugin};
use reload::{Brand, Reload};
use watch::Watch;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Dev {
    /// The plugin's directory
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Build and reload one time, and end
    #[arg(long)]
    once: bool,
    /// A brand whose connection is switched to each release, also to one that gets more; needs the brand's key
    #[arg(long, requires = "brand_key")]
    brand: Option<String>,
    /// API key of that brand; the environment keeps it out of the process list
    #[arg(long, env = "GATEWAY_BRAND_KEY", hide_env_values = true)]
    brand_key: Option<SecretString>,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// A component that was built from the source as it is.
struct Built {
    /// Of the source.
    fingerprint: String,
    plugin: BuiltPlugin,
    component: Vec<u8>,
    /// When its build ended.
    at: Instant,
    /// Ready for cases.
    tried: Option<(Rehearsal, RehearsedPlugin)>,
    /// The gateway has it, under this version.
    published: Option<String>,
    /// Who runs it has been seen to, and told.
    settled: bool,
}

/// What there is between two changes.
struct Session {
    dir: PathBuf,
    /// What its component is built from: its own directory, and others of a Rust workspace.
    sources: Vec<PathBuf>,
    /// Of the files that say which those are, in all directories that are watched.
    packages: String,
    rules: RulesArgs,
    install_toolchain: bool,
    signing_key: ReleaseSigningKey,
    reload: Reload,
    built: Option<Built>,
    /// Of the source and of the cases, as they were looked at last.
    seen: Option<(String, Option<String>)>,
}

impl Dev {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let dir = std::path::absolute(&self.dir).map_err(CliError::file("finding", &self.dir))?;
        let signing_key = self.signing.read()?;
        let client = self.client.connect()?;
        let stop = serve::stop_signal()?;
        // Before the first build, so that no change is missed.
        let sources = builder::sources(&dir);
        let watch = if self.once { None } else { Some(Watch::new(&sources)?) };
        let packages = told(builder::packages_fingerprint(&sources))?;
        let brand =
            self.brand.zip(self.brand_key).map(|(name, key)| Brand { name, client: client.with_key(key) });
        let session = Session {
            dir,
            sources,
            packages,
            rules: self.rules,
            install_toolchain: self.toolchain.install_toolchain,
            signing_key,
            reload: Reload { client, brand },
            built: None,
            seen: None,
        };
        tokio::select! {
            ended = session.work(watch) => ended,
            () = stop => output::line("stopped; what is published stays"),
        }
    }
}

impl Session {
    /// Once, or with every change from now on.
    async fn work(mut self, watch: Option<Watch>) -> Result<(), CliError> {
        let Some(mut watch) = watch else { return self.step().await.map(|_| ()) };
        loop {
            let is_news = match self.step().await {
                Ok(is_news) => is_news,
                Err(CliError::Told) => true,
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    error.print();
                    true
                }
            };
            if is_news {
                output::line("watching; ctrl-c ends it")?;
            }
            watch.changed().await?;
            if let Err(error) = self.find_sources(&mut watch) {
                error.print();
            }
        }
    }

    /// Where the workspace's own files changed, finds again what the component is built from, and watches that too. What
    /// was watched still is: a workspace that does not read for now is mended there.
    fn find_sources(&mut self, watch: &mut Watch) -> Result<(), CliError> {
        if told(builder::packages_fingerprint(watch.roots()))? != self.packages {
            self.sources = builder::sources(&self.dir);
            watch.also(&self.sources)?;
            self.packages = told(builder::packages_fingerprint(watch.roots()))?;
        }
        Ok(())
    }

    /// Builds what changed, tries it, publishes it and looks who runs it. False where nothing changed.
    async fn step(&mut self) -> Result<bool, CliError> {
        let source = told(builder::fingerprint(&self.sources))?;
        let cases = self.cases();
        let of_cases = cases.clone().map(|cases| told(builder::fingerprint(&[cases]))).transpose()?;
        let seen = Some((source.clone(), of_cases));
        if self.seen == seen {
            return Ok(false);
        }
        self.seen = seen;
        let done = self.anew(source, cases.as_deref()).await;
        if matches!(done, Err(CliError::Client(_))) {
            // Not the source's fault: saving it again is another try.
            self.seen = None;
        }
        done.map(|()| true)
    }

    async fn anew(&mut self, source: String, cases: Option<&Path>) -> Result<(), CliError> {
        let mut built = match self.built.take().filter(|built| built.fingerprint == source) {
            Some(built) => built,
            None => self.build(source).await?,
        };
        let done = self.give_and_try(&mut built, cases).await;
        // Where another has published its version meanwhile, it needs a new one.
        if !matches!(&done, Err(CliError::Client(ClientError::Refused(refused))) if refused.status == StatusCode::CONFLICT)
        {
            self.built = Some(built);
        }
        done
    }

    /// A build in Rust has to pass its cases before it is given to the gateway. An interpreter is compiled once more for
    /// them, and its author waits for the reload: it is given first.
    async fn give_and_try(&self, built: &mut Built, cases: Option<&Path>) -> Result<(), CliError> {
        let is_interpreted = built.plugin.provenance.language != Language::Rust;
        if is_interpreted {
            self.give(built).await?;
        }
        if let Some(cases) = cases {
            self.try_cases(built, cases).await?;
        }
        if is_interpreted { Ok(()) } else { self.give(built).await }
    }

    /// The plugin's cases, where it has any.
    fn cases(&self) -> Option<PathBuf> {
        let dir = self.dir.join("cases");
        let mut entries = std::fs::read_dir(&dir).ok()?;
        entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir())).then_some(dir)
    }

    async fn build(&self, fingerprint: String) -> Result<Built, CliError> {
        let manifest: Manifest = told(builder::read_manifest(&self.dir, &mut |_| {}))?;
        let plugin = &manifest.plugin;
        let releases = self.reload.releases(&plugin.name).await?;
        let version = version::next(&plugin.version, releases.iter().map(|release| &release.version));
        let progress = Progress::spinner("building");
        let options = BuildOptions {
            dir: self.dir.clone(),
            out: None,
            install_toolchain: self.install_toolchain,
            version: Some(version),
        };
        let began = Instant::now();
        let built = build(options, &progress).await?;
        let at = Instant::now();
        drop(progress);
        // What was published last may be of this source: after a restart, or where a change was taken back.
        let last = releases.iter().max_by(|one, other| one.version.cmp(&other.version));
        let same = last.filter(|last| last.is_of(&built.provenance));
        let component = read_component(&built.path)?;
        output::line(&format!("{} {} is built in {}", built.name, built.version, seconds(at - began)))?;
        if let Some(same) = same {
            output::line(&format!("{} is published from this source already", same.version))?;
        }
        let published = same.map(|same| same.version.to_string());
        Ok(Built { fingerprint, plugin: built, component, at, tried: None, published, settled: false })
    }

    /// Runs the cases.
    ///
    /// # Errors
    /// [`CliError::FellShort`] where one does not pass.
    async fn try_cases(&self, built: &mut Built, cases: &Path) -> Result<(), CliError> {
        let (rehearsal, plugin) = match &mut built.tried {
            Some(tried) => tried,
            none => none.insert(self.rehearsed(&built.plugin.path, &built.component).await?),
        };
        let tested = test::all(rehearsal, plugin, cases).await?;
        output::line(&test::render(&tested))?;
        if test::failed(&tested) == 0 {
            return Ok(());
        }
        let standing =
            if built.published.is_some() { "it is published already" } else { "it is not published" };
        Err(CliError::FellShort(format!(
            "{} {} does not pass its cases, and {standing}",
            built.plugin.name, built.plugin.version
        )))
    }

    async fn rehearsed(
        &self,
        file: &Path,
        component: &[u8],
    ) -> Result<(Rehearsal, RehearsedPlugin), CliError> {
        let _progress = Progress::spinner("compiling it for its cases");
        let rehearsal = self.rules.rehearsal(file)?;
        let plugin =
            rehearsal.plugin(component).await.map_err(|error| CliError::FellShort(error.to_string()))?;
        Ok((rehearsal, plugin))
    }

    /// Publishes it and sees to who runs it, as far as that is not done.
    async fn give(&self, built: &mut Built) -> Result<(), CliError> {
        let version = match &built.published {
            Some(version) => version.clone(),
            None => {
                let progress = Progress::spinner("publishing; the gateway checks and compiles it");
                let component = built.component.clone();
                let release = self.reload.publish(component, &self.signing_key).await;
                drop(progress);
                built.published.insert(release?.version.to_string()).clone()
            }
        };
        if !built.settled {
            self.reload.settle(&built.plugin.name, &version, built.at).await?;
            built.settled = true;
        }
        Ok(())
    }
}

/// Nothing that the author saves mends it.
fn is_final(error: &CliError) -> bool {
    match error {
        CliError::OutputClosed => true,
        CliError::Client(ClientError::Refused(refused)) => refused.status == StatusCode::UNAUTHORIZED,
        _ => false,
    }
}

fn told<T>(result: Result<T, builder::BuildError>) -> Result<T, CliError> {
    result.map_err(|error| CliError::FellShort(with_reference(&error)))
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
