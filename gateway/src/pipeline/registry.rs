//! What there is, in memory: brands, partners, releases, connections, keys. One snapshot at a time;
//! an edit makes the next one, and every decision reads the newest.

mod superseded;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gateway_policy::{Category, Contract, Partner, Purpose, Region};
use secrecy::SecretString;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::breaker::Breaker;
use super::documents::{ConnectionDocument, ReleaseStatus, Secrets};
use super::model::{BrandInput, Caller, ContractInput, PartnerInput, Role};
use super::trial::Trial;
use crate::boundary::placing::is_registered;
use crate::boundary::{Connection, Partners, PolicyBook, Release, Returner, Trigger};
use crate::manifest::{Auth, Endpoint, ReleaseKey};
use crate::outbound::{Credentials, PublicKey, ResolvedAuth, SigningKey, TokenSource};
use crate::plugin_host::LoadedRelease;
use crate::store::crypto::{MasterKey, parse_digest};
use crate::store::{ApiKeyRecord, Digest, Document, DocumentKind, ReleaseMeta, Uid};

/// What of a plugin that is on and cannot be used now waits: the ledger's code.
pub(super) const UNUSABLE: &str = "not-run:unusable";
/// Why a connection cannot be used whose release the operator blocked.
const BLOCKED: &str = "its release is blocked";

/// A published release, ready to be called once it is loaded.
pub struct LiveRelease {
    pub meta: ReleaseMeta,
    pub release: Arc<Release>,
    /// Compiled code; none until a connection needs it.
    pub loaded: Option<LoadedRelease>,
}

/// A connection with all that a call or a delivery of it needs.
pub struct LiveConnection {
    /// [`Document::connection`].
    pub id: Uid,
    pub connection: Connection,
    /// Of a candidate: as its rollout says.
    pub written: Arc<Written>,
    pub loaded: LoadedRelease,
    pub secrets: Secrets,
    pub signing: SigningKey,
    pub breaker: Arc<Breaker>,
    /// The release that some consumers get instead.
    pub candidate: Option<Candidate>,
    /// Of a candidate itself.
    pub trial: Option<Arc<Trial>>,
    /// Where tokens come from, by endpoint; each keeps its token.
    tokens: HashMap<String, Arc<TokenSource>>,
}

/// A release on trial at a connection.
pub struct Candidate {
    pub live: Arc<LiveConnection>,
    /// Of a hundred consumers.
    pub percent: u8,
}

/// A connection as it is written, whether or not it can be used.
#[derive(PartialEq)]
pub struct Written {
    pub id: Uid,
    pub document: ConnectionDocument,
    /// Its secrets.
    pub sealed: Option<Vec<u8>>,
    /// What the document was read from.
    body: String,
}

/// A partner's contracts as the operator wrote them, and its record.
pub struct LivePartner {
    pub contracts: BTreeMap<String, ContractInput>,
    pub record: Arc<Partner>,
    /// Keys that it signs messages with.
    pub webhook_keys: Vec<PublicKey>,
    /// Keys that it signs releases with.
    pub release_keys: Vec<ReleaseKey>,
}

/// One snapshot of what there is.
#[derive(Default)]
pub struct Registry {
    /// [`crate::store::Store::control_version`] that it was read at.
    pub version: i64,
    pub brands: BTreeMap<String, BrandInput>,
    pub partners: BTreeMap<String, LivePartner>,
    pub releases: HashMap<Digest, Arc<LiveRelease>>,
    /// By brand, then by plugin.
    pub connections: HashMap<String, BTreeMap<String, Arc<LiveConnection>>>,
    keys: HashMap<Digest, Caller>,
    /// [`Document::connection`] of what is on, by brand and then by plugin, whether or not it can be used.
    pub connection_ids: BTreeMap<String, BTreeMap<String, Uid>>,
    /// What is written of each connection that is on, by brand and then by plugin.
    pub written: WrittenConnections,
    /// Of releases that are withdrawn or blocked.
    pub statuses: HashMap<Digest, ReleaseStatus>,
    /// (brand, plugin) of connections that are on and cannot be put together now, with the ledger's code.
    unusable: BTreeMap<(String, String), &'static str>,
}

/// By brand, then by plugin. A snapshot shares with the one before it what did not change, so that a change costs
/// neither time nor memory for what it is not about.
pub type WrittenConnections = BTreeMap<String, BTreeMap<String, Arc<Written>>>;

/// What a snapshot is made from.
pub struct Source {
    pub version: i64,
    pub documents: Vec<Document>,
    /// [`Registry::read`] of these documents.
    pub written: WrittenConnections,
    pub keys: Vec<ApiKeyRecord>,
    /// Every release, loaded where a connection needs it.
    pub releases: HashMap<Digest, Arc<LiveRelease>>,
}

impl Registry {
    /// Makes the next snapshot. A connection that cannot be put together is left out, which is as if it
    /// were switched off, and the log says so: nothing fails open.
    pub fn build(source: Source, previous: &Self, master: &MasterKey, book: &PolicyBook) -> Self {
        let Source { version, releases, written, .. } = source;
        let mut next = Self { version, releases, written, ..Self::default() };
        let mut contracts: BTreeMap<String, BTreeMap<String, ContractInput>> = BTreeMap::new();
        // Partners with a contract that cannot be read.
        let mut unread: BTreeSet<String> = BTreeSet::new();
        for document in &source.documents {
            match document.kind {
                DocumentKind::Brand => match serde_json::from_str(&document.body) {
                    Ok(brand) => drop(next.brands.insert(document.name.clone(), brand)),
                    Err(_) => damaged(document),
                },
                DocumentKind::Contract => match serde_json::from_str(&document.body) {
                    Ok(contract) => {
                        contracts
                            .entry(document.scope.clone())
                            .or_default()
                            .insert(document.name.clone(), contract);
                    }
                    Err(_) => {
                        damaged(document);
                        unread.insert(document.scope.clone());
                    }
                },
                DocumentKind::ReleaseStatus => {
                    match (parse_digest(&document.name), serde_json::from_str(&document.body)) {
                        (Some(digest), Ok(status)) => drop(next.statuses.insert(digest, status)),
                        (Some(digest), Err(_)) => {
                            damaged(document);
                            // What it said is not known: the release runs nowhere until it is said again.
                            let blocked = Some("its status cannot be read".to_owned());
                            let status = ReleaseStatus { blocked, ..ReleaseStatus::default() };
                            next.statuses.insert(digest, status);
                        }
                        (None, _) => damaged(document),
                    }
                }
                DocumentKind::Partner | DocumentKind::Connection => {}
            }
        }
        for document in source.documents.iter().filter(|document| document.kind == DocumentKind::Partner) {
            let Ok(input) = serde_json::from_str::<PartnerInput>(&document.body) else {
                damaged(document);
                continue;
            };
            let contracts = contracts.remove(&document.name).unwrap_or_default();
            let mut record = partner_record(&document.name, &input, &contracts);
            // It makes nobody a service provider; but something may be given for data by it.
            record.consideration |= unread.contains(&document.name);
            let record = match previous.partners.get(&document.name) {
                Some(known) if *known.record == record => Arc::clone(&known.record),
                _ => Arc::new(record),
            };
            // What does not parse was refused when it was written; were it here all the same, it signs nothing.
            let webhook_keys =
                input.webhook_keys.iter().filter_map(|key| PublicKey::from_text(key).ok()).collect();
            let release_keys =
                input.release_keys.iter().filter_map(|key| ReleaseKey::from_text(key).ok()).collect();
            let live = LivePartner { contracts, record, webhook_keys, release_keys };
            next.partners.insert(document.name.clone(), live);
        }
        for document in source.documents {
            if document.kind == DocumentKind::Connection {
                let (brand, plugin) = (document.scope.clone(), document.name.clone());
                if let Some(id) = document.connection {
                    next.connection_ids.entry(brand.clone()).or_default().insert(plugin.clone(), id);
                }
                let written = next.written.get(&brand).and_then(|of| of.get(&plugin)).cloned();
                let connected = match written {
                    Some(written) => next.connect((&brand, &plugin, written), previous, master, book),
                    None => Err("its document is damaged"),
                };
                match connected {
                    Ok(live) => drop(next.connections.entry(brand).or_default().insert(plugin, live)),
                    Err(problem) => {
                        tracing::error!(%brand, %plugin, problem, "a connection cannot be used: nothing of it runs, its work waits");
                        let code = if problem == BLOCKED { "not-run:blocked" } else { UNUSABLE };
                        next.unusable.insert((brand, plugin), code);
                    }
                }
            }
        }
        let partners = next.partner_records();
        for (brand, of_brand) in &next.connections {
            let all: Vec<&Connection> = of_brand.values().map(|live| &live.connection).collect();
            let unusable = |plugin: &str| next.unusable.contains_key(&(brand.clone(), plugin.to_owned()));
            all.iter().for_each(|connection| connection.note_derivable(book, &all, unusable));
            let candidates = of_brand.values().filter_map(|live| live.candidate.as_ref());
            let candidates = candidates.map(|candidate| &candidate.live.connection);
            candidates.clone().for_each(|connection| connection.note_derivable(book, &all, unusable));
            all.iter().copied().chain(candidates).for_each(|connection| connection.note_partners(&partners));
        }
        for key in source.keys {
            if let Some(role) = Role::parse(&key.role) {
                let caller = Caller { key: key.id, role, brand: key.brand, partner: key.partner };
                next.keys.insert(key.secret_digest, caller);
            }
        }
        next
    }

    /// What is written of every connection whose document can be read.
    pub fn read(&self, documents: &[Document]) -> WrittenConnections {
        let mut all = WrittenConnections::new();
        for document in documents.iter().filter(|document| document.kind == DocumentKind::Connection) {
            let (brand, plugin) = (&document.scope, &document.name);
            let Some(id) = document.connection else { continue };
            let known = self.written.get(brand).and_then(|of| of.get(plugin)).filter(|known| {
                known.id == id && known.body == document.body && known.sealed == document.secret
            });
            let written = known.map(Arc::clone).or_else(|| {
                let parsed = serde_json::from_str(&document.body).ok()?;
                let (sealed, body) = (document.secret.clone(), document.body.clone());
                Some(Arc::new(Written { id, document: parsed, sealed, body }))
            });
            if let Some(written) = written {
                all.entry(brand.clone()).or_default().insert(plugin.clone(), written);
            }
        }
        all
    }

    fn connect(
        &self,
        (brand, plugin, written): (&str, &str, Arc<Written>),
        previous: &Self,
        master: &MasterKey,
        book: &PolicyBook,
    ) -> Result<Arc<LiveConnection>, &'static str> {
        let known = previous.connections.get(brand).and_then(|of| of.get(plugin));
        let mut candidate = None;
        if let (Some(rollout), Some(of_candidate)) = (&written.document.rollout, written.document.candidate())
        {
            let known = known.and_then(|known| known.candidate.as_ref()).map(|candidate| &candidate.live);
            let trial = known
                .filter(|known| known.written.document.release == of_candidate.release)
                .filter(|known| known.written.document.switched_on_ms == of_candidate.switched_on_ms)
                .and_then(|known| known.trial.clone())
                .unwrap_or_default();
            let beside = Arc::new(Written {
                id: written.id,
                document: of_candidate,
                sealed: written.sealed.clone(),
                body: String::new(),
            });
            match self.assemble((brand, plugin, beside), known, None, Some(trial), master, book) {
                Ok(live) => candidate = Some(Candidate { live, percent: rollout.percent }),
                Err(problem) => {
                    tracing::error!(
                        brand,
                        plugin,
                        problem,
                        "the release of a rollout cannot be used: every consumer gets the one that stands"
                    );
                }
            }
        }
        self.assemble((brand, plugin, written), known, candidate, None, master, book)
    }

    /// Puts a connection together, or keeps the one that is known where nothing changed.
    fn assemble(
        &self,
        (brand, plugin, written): (&str, &str, Arc<Written>),
        known: Option<&Arc<LiveConnection>>,
        candidate: Option<Candidate>,
        trial: Option<Arc<Trial>>,
        master: &MasterKey,
        book: &PolicyBook,
    ) -> Result<Arc<LiveConnection>, &'static str> {
        let digest = parse_digest(&written.document.release).ok_or("its release is not a digest")?;
        if self.is_blocked(&digest) {
            return Err(BLOCKED);
        }
        let live = self.releases.get(&digest).ok_or("its release is not published")?;
        let loaded = live.loaded.clone().ok_or("its release is not loaded")?;
        let partner = self.partners.get(&live.meta.partner).ok_or("its partner is not registered")?;
        let same_candidate = |known: &LiveConnection| match (&known.candidate, &candidate) {
            (None, None) => true,
            (Some(known), Some(new)) => Arc::ptr_eq(&known.live, &new.live),
            _ => false,
        };
        if let Some(known) = known
            && (Arc::ptr_eq(&known.written, &written) || known.written == written)
            && Arc::ptr_eq(&known.connection.partner, &partner.record)
            && same_candidate(known)
        {
            return Ok(Arc::clone(known));
        }
        let document = &written.document;
        // What another release broke says nothing about this one.
        let known = known.filter(|known| known.written.document.release == document.release);
        let sealed = written.sealed.as_deref().ok_or("its secrets are missing")?;
        let secrets = master
            .open(&secrets_place(brand, plugin), sealed)
            .map_err(|_| "its secrets do not open with this master key")?;
        let secrets: Secrets = serde_json::from_slice(&secrets).map_err(|_| "its secrets are damaged")?;
        let signing = SigningKey::from_text(&SecretString::from(secrets.signing.clone()))
            .map_err(|_| "its signing key is damaged")?;
        let grant = document.grant(master, brand, &partner.record.name);
        let connection = Connection::new(
            book,
            brand.into(),
            Arc::clone(&live.release),
            Arc::clone(&partner.record),
            &grant,
            document.promotional.iter().cloned().collect(),
            document.settings.clone(),
        );
        let endpoints = &connection.release.manifest.endpoint;
        let tokens = endpoints
            .iter()
            .filter_map(|endpoint| {
                let source = token_source(&connection, &secrets, &endpoint.auth)?.ok()?;
                Some((endpoint.name.clone(), Arc::new(source)))
            })
            .collect();
        Ok(Arc::new(LiveConnection {
            id: written.id,
            tokens,
            connection,
            loaded,
            secrets,
            signing,
            breaker: known.map_or_else(Arc::default, |known| Arc::clone(&known.breaker)),
            candidate,
            trial,
            written,
        }))
    }

    /// The records of all partners.
    pub fn partner_records(&self) -> Arc<Partners> {
        let records = self.partners.iter();
        Arc::new(records.map(|(name, live)| (name.clone(), Arc::clone(&live.record))).collect())
    }

    /// The caller with this key.
    pub fn caller(&self, secret_digest: &Digest) -> Option<&Caller> {
        self.keys.get(secret_digest)
    }

    /// What is written of a connection, whether or not it can be used.
    pub fn written(&self, brand: &str, plugin: &str) -> Option<&Written> {
        self.written.get(brand)?.get(plugin).map(|written| &**written)
    }

    /// Where the brand has it on and it cannot be put together now: the ledger's code for what waits.
    pub fn unusable(&self, brand: &str, plugin: &str) -> Option<&'static str> {
        self.unusable.get(&(brand.to_owned(), plugin.to_owned())).copied()
    }

    /// Whether the operator blocked the release.
    pub fn is_blocked(&self, release: &Digest) -> bool {
        self.statuses.get(release).is_some_and(|status| status.blocked.is_some())
    }

    /// Plugins that are on at a brand, cannot be put together now, and would have work with such an event.
    pub fn unusable_with_work(&self, brand: &str, event: &str) -> Vec<String> {
        let of_brand = self.unusable.keys().filter(|(of, _)| of == brand);
        of_brand
            .filter(|(_, plugin)| {
                let hooks = self.releases_of(plugin).into_iter().flat_map(|live| &live.release.hooks);
                hooks
                    .into_iter()
                    .any(|hook| matches!(&hook.trigger, Trigger::Event(kind) if **kind == *event))
            })
            .map(|(_, plugin)| plugin.clone())
            .collect()
    }

    /// Whether any connection cannot be put together now.
    pub fn has_unusable(&self) -> bool {
        !self.unusable.is_empty()
    }

    /// One connection.
    pub fn connection(&self, brand: &str, plugin: &str) -> Option<&Arc<LiveConnection>> {
        self.connections.get(brand)?.get(plugin)
    }

    /// How a plugin of a brand stands that returned a field that waits to go on, and the release that did; none: it is
    /// off.
    pub fn returner(&self, brand: &str, plugin: &str, release: Option<&Digest>) -> Option<Returner<'_>> {
        let from = &self.connection(brand, plugin)?.connection;
        let release = release.filter(|release| !self.is_blocked(release));
        let release = release.and_then(|release| self.releases.get(release));
        Some(Returner { from, release: release.map(|live| &*live.release) })
    }

    /// The connection that fills a slot of a brand.
    pub fn slot(&self, brand: &str, slot: &str) -> Option<&Arc<LiveConnection>> {
        self.connections.get(brand)?.values().find(|live| live.connection.decide_hook(slot).is_some())
    }

    /// The release that a document names by its digest in hexadecimal.
    pub fn release(&self, digest: &str) -> Option<&Arc<LiveRelease>> {
        self.releases.get(&parse_digest(digest)?)
    }

    /// Releases of a plugin, newest first.
    pub fn releases_of(&self, plugin: &str) -> Vec<&Arc<LiveRelease>> {
        let mut found: Vec<_> = self.releases.values().filter(|live| live.meta.plugin == plugin).collect();
        found.sort_by_key(|live| std::cmp::Reverse((live.meta.published_ms, live.meta.version.clone())));
        found
    }

    /// Names of everything of a kind, for errors that name the nearest.
    pub fn plugin_names(&self) -> BTreeSet<&str> {
        self.releases.values().map(|live| live.meta.plugin.as_str()).collect()
    }
}

fn damaged(document: &Document) {
    tracing::error!(kind = ?document.kind, scope = document.scope, name = document.name, "a document is damaged and counts as absent");
}

/// The place of a connection's secrets: associated data of their encryption.
pub fn secrets_place(brand: &str, plugin: &str) -> String {
    format!("connection/{brand}/{plugin}")
}

/// A partner's record from its documents. What does not parse was refused when it was written; were it
/// here all the same, it would cover nothing.
pub fn partner_record(
    name: &str,
    input: &PartnerInput,
    contracts: &BTreeMap<String, ContractInput>,
) -> Partner {
    Partner {
        name: name.to_owned(),
        display_name: input.display_name.clone(),
        region: Region::parse(&input.region),
        domains: input.domains.clone(),
        consideration: input.consideration,
        contracts: contracts
            .iter()
            .map(|(name, contract)| (name.clone(), contract_record(contract)))
            .collect(),
    }
}

fn contract_record(input: &ContractInput) -> Contract {
    Contract {
        purposes: input.purposes.iter().filter_map(|key| Purpose::parse(key).ok()).collect(),
        categories: input.categories.iter().filter_map(|key| Category::parse(key).ok()).collect(),
        onward_transfer: input.onward_transfer,
        consideration: input.consideration,
        expires_ms: input.expires.as_deref().map(|text| parse_rfc3339_ms(text).unwrap_or(i64::MIN)),
    }
}

/// RFC 3339 to milliseconds since the Unix epoch.
pub fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Milliseconds since the Unix epoch to RFC 3339.
pub fn rfc3339(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

impl LiveConnection {
    /// The release's connection that a consumer gets: the same one each time, as long as the rollout stands.
    pub fn serving<'l>(self: &'l Arc<Self>, master: &MasterKey, consumer: &Uid) -> &'l Arc<Self> {
        match &self.candidate {
            Some(candidate)
                if !candidate.live.is_over() && self.lot(master, consumer) < candidate.percent =>
            {
                &candidate.live
            }
            _ => self,
        }
    }

    /// The one of the release that planned a request, where it is on; else the one that stands.
    pub fn of_release<'l>(self: &'l Arc<Self>, release: &Digest) -> &'l Arc<Self> {
        match &self.candidate {
            Some(candidate) if candidate.live.connection.release.digest == *release => &candidate.live,
            _ => self,
        }
    }

    /// Whether it, or what is on trial beside it, remembers consumers.
    pub fn remembers(&self) -> bool {
        let candidate = self.candidate.as_ref();
        self.loaded.imports_memory() || candidate.is_some_and(|candidate| candidate.live.remembers())
    }

    /// A call came back as it should.
    pub fn succeeded(&self) {
        self.breaker.succeeded();
        if let Some(trial) = &self.trial {
            trial.note(false);
        }
    }

    /// Whether it was on trial and failed.
    pub fn is_over(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.is_over())
    }

    /// A consumer's lot at this connection, 0 to 99: keyed, so that nobody can tell who gets what.
    fn lot(&self, master: &MasterKey, consumer: &Uid) -> u8 {
        let digest = master.index_digest("rollout", &[&self.id, consumer]);
        let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        u8::try_from(number % 100).unwrap_or(0)
    }

    /// Keys that verify the partner's messages at this moment.
    pub fn inbound_keys(&self, now_ms: i64) -> Vec<SigningKey> {
        let taken = self.secrets.inbound.iter().filter(|key| key.until_ms.is_none_or(|end| now_ms < end));
        taken.filter_map(|key| SigningKey::from_text(&SecretString::from(key.secret.clone())).ok()).collect()
    }

    /// The endpoint's `auth` with its secrets.
    ///
    /// # Errors
    /// A code for the ledger, where a secret is missing or tokens would come from elsewhere than the partner;
    /// then nothing is sent.
    pub fn credentials(&self, endpoint: &Endpoint) -> Result<Credentials, &'static str> {
        let auth = match token_source(&self.connection, &self.secrets, &endpoint.auth) {
            None => self.resolved(&endpoint.auth).ok_or("secret-missing")?,
            Some(source) => {
                let fresh = source?;
                let kept = self.tokens.get(&endpoint.name).filter(|kept| kept.is_of(&fresh));
                // What an older release planned may name another client.
                ResolvedAuth::ClientCredentials(kept.map_or_else(|| Arc::new(fresh), Arc::clone))
            }
        };
        Ok(Credentials { auth, signing_key: self.signing.clone() })
    }

    fn resolved(&self, auth: &Auth) -> Option<ResolvedAuth> {
        let secret = |name: &String| self.secrets.named(name);
        Some(match auth {
            Auth::None => ResolvedAuth::None,
            Auth::Bearer(name) => ResolvedAuth::Bearer(secret(name)?),
            Auth::Basic { username, password } => {
                ResolvedAuth::Basic { username: secret(username)?, password: secret(password)? }
            }
            Auth::Header { name, value } => {
                ResolvedAuth::Header { name: name.parse().ok()?, value: secret(value)? }
            }
            Auth::Hmac(name) => ResolvedAuth::Hmac(SigningKey::from_text(&secret(name)?).ok()?),
            // See `token_source`.
            Auth::Oauth2ClientCredentials { .. } => return None,
        })
    }
}

/// Where tokens for `auth` come from; none where it needs none.
fn token_source(
    connection: &Connection,
    secrets: &Secrets,
    auth: &Auth,
) -> Option<Result<TokenSource, &'static str>> {
    let Auth::Oauth2ClientCredentials { token_url, client_id, client_secret } = auth else { return None };
    let (Some(id), Some(secret)) = (secrets.named(client_id), secrets.named(client_secret)) else {
        return Some(Err("secret-missing"));
    };
    let url = url::Url::parse(token_url)
        .ok()
        .filter(|url| url.host_str().is_some_and(|host| is_registered(host, &connection.partner.domains)));
    Some(url.map(|url| TokenSource::new(url, id, secret)).ok_or("domain-not-registered"))
}
