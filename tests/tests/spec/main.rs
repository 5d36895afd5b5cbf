//! The specification, as tests: given, when, then, with real components and a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, in its helpers too"
)]

mod aggregates;
mod arrows;
mod attacks;
mod backtested;
mod bad_input;
mod budgets;
mod cases;
mod choices;
mod combined;
mod commands;
mod demo;
mod developing;
mod disclosures;
mod explained;
mod forms;
mod hostile;
mod identity;
mod interfaces;
mod kill;
mod languages;
mod leaks;
mod ledger_down;
mod lifecycle;
mod links;
mod memory_exchange;
mod messages;
mod missing_tools;
mod next_event;
mod onward;
mod partner_behaviour;
mod partner_sees;
mod raced;
mod received;
mod reconciled;
mod releases;
mod replayed;
mod rollouts;
mod rollouts_flowing;
mod routes;
mod scenes;
mod sdk_events;
mod switches;
mod tutorials;
mod versions;
mod worked_out;
