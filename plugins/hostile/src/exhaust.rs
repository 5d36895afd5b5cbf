//! Behaviours that use up time, stack, memory or the log. Returns where the behaviour is another.

use std::hint::black_box;

use plugin_sdk::log;

pub(crate) fn run(behaviour: &str) {
    match behaviour {
        // An abort is an `unreachable` instruction, without the panic's message.
        "trap" => std::process::abort(),
        #[allow(clippy::panic, reason = "it is what is tried")]
        "panic" => panic!("on purpose"),
        "loop" => loop {
            black_box(0);
        },
        "recurse" => {
            black_box(recurse(0));
        }
        "hoard" => hoard(),
        "grow-once" => {
            black_box(vec![1_u8; 1 << 30]);
        }
        "flood-log" => (0..100_000).for_each(|n| log::debug(format!("line {n}"))),
        "long-log-line" => log::info("x".repeat(3_000)),
        "huge-log-line" => log::warn("x".repeat(10_000_000)),
        // Some milliseconds of arithmetic: within any limit, and not quick.
        "slow" => {
            black_box((0..3_000_000_u64).fold(1_u64, |x, n| black_box(x.wrapping_mul(31).wrapping_add(n))));
        }
        _ => {}
    }
}

#[allow(unconditional_recursion, reason = "it is what is tried")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1).wrapping_add(frame.iter().sum::<u64>())
}

fn hoard() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}
