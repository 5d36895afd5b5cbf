//! Partners and their contracts: kept by the operator, never claimed by a plugin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Category, Purpose, Recipient, Region};

/// What the operator holds to be true of a partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partner {
    /// The unique name that manifests give.
    pub name: String,
    /// The company's name, for people.
    pub display_name: String,
    /// Where it is.
    pub region: Region,
    /// Domains under which its endpoints may be.
    pub domains: Vec<String>,
    /// Whether the platform or the brand gets something of value for data shared with it.
    pub consideration: bool,
    /// By name.
    pub contracts: BTreeMap<String, Contract>,
}

/// A contract between the platform and a partner (clause transfer.contract).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Purposes that it covers, each with all below it.
    pub purposes: Vec<Purpose>,
    /// Categories that it covers, each with all below it.
    pub categories: Vec<Category>,
    /// Whether it binds the partner as clause transfer.onward wants.
    pub onward_transfer: bool,
    /// Whether something of value is given for the data.
    pub consideration: bool,
    /// Milliseconds since the Unix epoch at which it ends; none: until it is changed.
    pub expires_ms: Option<i64>,
}

/// How a recipient stands toward one category for one purpose at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// A partner is a [`Recipient::ServiceProvider`] where a valid contract covers it, else a
    /// [`Recipient::ThirdParty`].
    pub recipient: Recipient,
    /// Whether such a contract covers onward transfer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onward: bool,
}

impl Contract {
    /// Whether it is valid at `now_ms` and covers the category for the purpose.
    pub fn covers(&self, purpose: Purpose, category: Category, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|end| now_ms < end)
            && self.purposes.iter().any(|above| purpose.is_under(*above))
            && self.categories.iter().any(|above| category.is_under(*above))
    }
}

impl Partner {
    /// How it stands toward `category` for `purpose` at `now_ms`.
    pub fn standing(&self, purpose: Purpose, category: Category, now_ms: i64) -> Standing {
        let mut standing = Standing { recipient: Recipient::ThirdParty, onward: false };
        for contract in self.contracts.values().filter(|contract| contract.covers(purpose, category, now_ms))
        {
            standing.recipient = Recipient::ServiceProvider;
            standing.onward |= contract.onward_transfer;
        }
        standing
    }

    /// Whether something of value is given for data shared for `purpose`. A contract that ran out still
    /// counts: the stricter reading.
    pub fn gives_consideration(&self, purpose: Purpose) -> bool {
        self.consideration
            || self.contracts.values().any(|contract| {
                contract.consideration && contract.purposes.iter().any(|above| purpose.is_under(*above))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner(contract: Contract) -> Partner {
        Partner {
            name: "p".into(),
            display_name: "P".into(),
            region: Region::Us,
            domains: vec![],
            consideration: false,
            contracts: [("c".to_owned(), contract)].into(),
        }
    }

    #[test]
    fn a_partner_is_a_service_provider_for_what_a_valid_contract_covers_and_only_for_that() {
        let purpose = |key| Purpose::parse(key).unwrap();
        let category = |key| Category::parse(key).unwrap();
        let partner = partner(Contract {
            purposes: vec![purpose("essential.service")],
            categories: vec![category("user.contact")],
            onward_transfer: true,
            consideration: false,
            expires_ms: Some(1_000),
        });
        for (use_, data, now_ms, recipient) in [
            ("essential.service.operations.support", "user.contact.email", 999, Recipient::ServiceProvider),
            ("essential.service.operations.support", "user.contact.email", 1_000, Recipient::ThirdParty),
            ("essential", "user.contact.email", 0, Recipient::ThirdParty),
            ("essential.service.operations.support", "user.name.first", 0, Recipient::ThirdParty),
        ] {
            let standing = partner.standing(purpose(use_), category(data), now_ms);
            assert_eq!(standing.recipient, recipient, "{use_} {data} {now_ms}");
            assert_eq!(standing.onward, recipient == Recipient::ServiceProvider);
        }
    }
}
