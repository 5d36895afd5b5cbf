//! Resolvers for the two clients: one drops every address that is not public, one knows bindings only.
//! The client connects to exactly the addresses it is given here, so the address that was judged is the
//! address that is used, and a name that answers differently a moment later gains nothing.

use super::addresses::Addresses;
use super::reply::Refusal;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

/// The addresses of a name, once they are known.
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Where names are looked up. What it finds is judged all the same, so none makes more of the network reachable.
#[derive(Clone)]
pub struct Lookup(Arc<dyn Fn(&str) -> Found + Send + Sync>);

impl Lookup {
    /// As the system does it.
    pub fn system() -> Self {
        Self(Arc::new(|name| {
            let name = name.to_owned();
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        }))
    }

    /// As this says; it answers at once.
    pub fn from_fn(answer: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |name| {
            let found = answer(name);
            Box::pin(async move { Ok(found) })
        }))
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

/// A lookup behind the table of addresses.
#[derive(Debug)]
pub(super) struct PublicResolver {
    lookup: Lookup,
    addresses: Arc<Addresses>,
}

impl PublicResolver {
    pub(super) fn new(lookup: Lookup, addresses: Addresses) -> Self {
        Self { lookup, addresses: Arc::new(addresses) }
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, addresses) = ((self.lookup.0)(name.as_str()), self.addresses.clone());
        Box::pin(async move {
            let found = found.await?.into_iter();
            // Port 0: the client puts the scheme's default in.
            let public: Vec<SocketAddr> = found
                .filter(|address| addresses.check(*address).is_ok())
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if public.is_empty() {
                return Err(Refusal::AddressNotPublic.into());
            }
            let addrs: Addrs = Box::new(public.into_iter());
            Ok(addrs)
        })
    }
}

/// The bindings of demo and tests.
#[derive(Debug)]
pub(super) struct BoundResolver {
    bindings: Arc<HashMap<String, SocketAddr>>,
}

impl BoundResolver {
    pub(super) fn new(bindings: Arc<HashMap<String, SocketAddr>>) -> Self {
        Self { bindings }
    }
}

impl Resolve for BoundResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let bound = binding(&self.bindings, name.as_str());
        Box::pin(async move {
            let address = bound.ok_or(Refusal::AddressNotPublic)?;
            let addrs: Addrs = Box::new(std::iter::once(address));
            Ok(addrs)
        })
    }
}

/// The binding of `host`, or of the nearest name above it.
pub(super) fn binding(bindings: &HashMap<String, SocketAddr>, host: &str) -> Option<SocketAddr> {
    let mut name = host;
    loop {
        if let Some(address) = bindings.get(name) {
            return Some(*address);
        }
        name = name.split_once('.')?.1;
    }
}
