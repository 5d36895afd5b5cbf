//! Resolvers for the two clients: one drops every address that is not public, one knows bindings only.
//! The client connects to exactly the addresses it is given here, so the address that was judged is the
//! address that is used, and a name that answers differently a moment later gains nothing.

use super::addresses::Addresses;
use super::reply::Refusal;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The system's resolver behind the table of addresses.
#[derive(Debug)]
pub(super) struct PublicResolver {
    addresses: Arc<Addresses>,
}

impl PublicResolver {
    pub(super) fn new(addresses: Addresses) -> Self {
        Self { addresses: Arc::new(addresses) }
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.addresses.clone();
        Box::pin(async move {
            // Port 0: the client puts the scheme's default in.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> =
                found.filter(|address| addresses.check(address.ip()).is_ok()).collect();
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
