//! Whether what one snapshot decided holds by another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{LiveConnection, LivePartner, Registry};

impl Registry {
    /// Whether a decision that was made by `other` would be made by this one too: what connections, contracts and blocks
    /// say is the same. Keys, brands' names and publications decide nothing.
    pub fn decides_like(&self, other: &Self) -> bool {
        // A connection is put together anew where it, its partner's record or its rollout changed, and only there.
        let same = |(brand, of_brand): (&String, &BTreeMap<String, Arc<LiveConnection>>)| {
            of_brand.iter().all(|(plugin, live)| {
                other.connection(brand, plugin).is_some_and(|other| Arc::ptr_eq(live, other))
            })
        };
        let count = |registry: &Self| registry.connections.values().map(BTreeMap::len).sum::<usize>();
        // Also of partners without a connection here: what goes on may have been made under their contracts.
        let known = |(name, partner): (&String, &LivePartner)| {
            other.partners.get(name).is_some_and(|other| Arc::ptr_eq(&partner.record, &other.record))
        };
        count(self) == count(other)
            && self.partners.len() == other.partners.len()
            && self.partners.iter().all(known)
            && self.connections.iter().all(same)
            && self.unusable == other.unusable
            && self.statuses == other.statuses
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::super::Source;
    use super::*;
    use crate::boundary::PolicyBook;
    use crate::store::crypto::MasterKey;
    use crate::store::{Document, DocumentKind};

    fn document(kind: DocumentKind, scope: &str, name: &str, body: &Value) -> Document {
        let (scope, name, body) = (scope.into(), name.into(), body.to_string());
        Document { kind, scope, name, body, secret: None, connection: None }
    }

    fn brand(name: &str) -> Document {
        document(DocumentKind::Brand, "", "testers", &json!({ "display_name": name }))
    }

    fn partner(name: &str) -> Document {
        document(DocumentKind::Partner, "", name, &json!({ "display_name": name, "region": "US" }))
    }

    fn contract(expires: &str) -> Document {
        let terms = json!({ "purposes": ["essential"], "categories": ["user"], "expires": expires });
        document(DocumentKind::Contract, "clerk", "terms", &terms)
    }

    /// What goes on may have been made under the contract of a partner that has no connection any more.
    #[test]
    fn a_contract_counts_without_a_connection_of_its_partner_and_a_brands_name_does_not() {
        let (master, book) = (MasterKey::from_bytes([7; 32]), PolicyBook::shipped().unwrap());
        let next = |documents: Vec<Document>, previous: &Registry| {
            let (written, keys, releases) = (BTreeMap::new(), Vec::new(), HashMap::new());
            let source = Source { version: 1, documents, written, keys, releases };
            Registry::build(source, previous, &master, &book)
        };
        let (stands, ended) = ("2040-01-01T00:00:00Z", "2017-03-01T00:00:00Z");
        let first = vec![brand("Testers"), partner("clerk"), contract(stands)];
        let previous = next(first.clone(), &Registry::default());
        for (change, documents, alike) in [
            ("none", first, true),
            ("another name of the brand", vec![brand("Others"), partner("clerk"), contract(stands)], true),
            ("its end", vec![brand("Testers"), partner("clerk"), contract(ended)], false),
            ("no contract", vec![brand("Testers"), partner("clerk")], false),
            (
                "one more partner",
                vec![brand("Testers"), partner("clerk"), contract(stands), partner("trent")],
                false,
            ),
        ] {
            let newest = next(documents, &previous);
            assert_eq!(newest.decides_like(&previous), alike, "{change}");
        }
    }
}
