//! Random questions.

use gateway_policy::{Category, Fact, Facts, Flow, Purpose, Recipient};

use crate::Question;

/// SplitMix64: small, and the same on every machine.
pub struct Random {
    state: u64,
    categories: Vec<&'static str>,
    purposes: Vec<&'static str>,
}

/// Facts without which little is allowed. They mostly hold, so that what another fact does is seen.
const MOSTLY: [Fact; 8] = [
    Fact::BrandDirected,
    Fact::Engaged,
    Fact::ContractOnward,
    Fact::Aggregated,
    Fact::PermissionIntegration,
    Fact::PermissionPurpose,
    Fact::CombineGranted,
    Fact::DisclosureApproved,
];

impl Random {
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed,
            categories: Category::all().map(Category::as_str).collect(),
            purposes: Purpose::all().map(Purpose::as_str).collect(),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True once in `n`.
    fn once_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % length as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// A question with any facts, and facts to be taken as unknown in one of eight.
    pub fn draw(&mut self) -> (Question, Vec<Fact>) {
        let flow = self.pick(&Flow::ALL);
        let recipient = self.recipient(flow);
        let (rare, common) = self.pick(&[(2, 2), (8, 8), (24, 16)]);
        let facts = Fact::ALL.iter().fold(Facts::none(), |facts, fact| {
            let value = if MOSTLY.contains(fact) { !self.once_in(common) } else { self.once_in(rare) };
            facts.with(*fact, value)
        });
        let unknown = if self.once_in(8) { 1 + self.index(3) } else { 0 };
        let unknown = (0..unknown).map(|_| self.pick(Fact::ALL)).collect();
        let categories = std::mem::take(&mut self.categories);
        let (category, with) = (self.pick(&categories), self.pick(&categories));
        self.categories = categories;
        let purposes = std::mem::take(&mut self.purposes);
        let purpose = self.pick(&purposes);
        self.purposes = purposes;
        let with = (flow == Flow::Combine).then_some(with);
        (Question { flow, recipient, purpose, category, with, facts }, unknown)
    }

    /// Mostly one that the flow has.
    fn recipient(&mut self, flow: Flow) -> Recipient {
        use Recipient::{Authority, Brand, ServiceProvider, ThirdParty};
        if self.once_in(16) {
            return self.pick(&Recipient::ALL);
        }
        match flow {
            Flow::Share | Flow::Decide => self.pick(&[ServiceProvider, ThirdParty]),
            Flow::Receive | Flow::Return => Brand,
            Flow::Combine | Flow::Aggregate => self.pick(&[Brand, ServiceProvider, ThirdParty]),
            Flow::Disclose => Authority,
            Flow::Rights => self.pick(&Recipient::ALL),
        }
    }
}
