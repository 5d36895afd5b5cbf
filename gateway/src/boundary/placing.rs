//! Placing fields into requests (design: "Placing a field").
