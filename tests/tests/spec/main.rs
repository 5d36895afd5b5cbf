//! The specification, as tests: given, when, then, with real components and a real server.

mod aggregates;
mod arrows;
mod attacks;
mod bad_input;
mod choices;
mod combined;
mod demo;
mod disclosures;
mod forms;
mod hostile;
mod identity;
mod kill;
mod leaks;
mod lifecycle;
mod links;
mod memory_exchange;
mod messages;
mod onward;
mod partner_behaviour;
mod received;
mod routes;
mod scenes;
mod switches;
mod worked_out;
