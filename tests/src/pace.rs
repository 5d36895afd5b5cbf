//! Calls as fast as they are answered, or at a steady rate, and how long they take; and how long the disk takes.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Calls a second, where each state has one call after another for as long as `phase`. A call gets its number.
pub async fn most<S: Send + 'static, F: Future<Output = S> + Send + 'static>(
    states: Vec<S>,
    phase: Duration,
    call: impl Fn(S, usize) -> F + Clone + Send + 'static,
) -> f64 {
    let number = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for mut state in states {
        let (number, call) = (Arc::clone(&number), call.clone());
        tasks.push(tokio::spawn(async move {
            while started.elapsed() < phase {
                state = call(state, number.fetch_add(1, Ordering::Relaxed)).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a call does not panic");
    }
    number.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// Calls at a fixed rate, whether or not the last one is back, while `goes_on` of the moment when the next is due:
/// that moment, and how long each took from then.
pub async fn open_loop<S: Send + 'static, F: Future<Output = S> + Send + 'static>(
    rate: f64,
    states: Vec<S>,
    goes_on: impl Fn(Instant) -> bool + Clone + Send + 'static,
    call: impl Fn(S, usize) -> F + Clone + Send + 'static,
) -> Vec<(Instant, Duration)> {
    let step = Duration::from_secs_f64(states.len() as f64 / rate);
    let lanes = states.len();
    let started = Instant::now();
    let mut tasks = Vec::new();
    for (lane, mut state) in states.into_iter().enumerate() {
        let (call, goes_on) = (call.clone(), goes_on.clone());
        tasks.push(tokio::spawn(async move {
            let mut due = started + step.mul_f64(lane as f64 / lanes as f64);
            let mut taken = Vec::new();
            let mut turn = 0;
            while goes_on(due) {
                tokio::time::sleep_until(due.into()).await;
                state = call(state, turn * lanes + lane).await;
                taken.push((due, due.elapsed()));
                due += step;
                turn += 1;
            }
            taken
        }));
    }
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await.expect("a call does not panic"));
    }
    taken
}

/// As [`open_loop`] for as long as `phase`; only how long each took.
pub async fn paced<S: Send + 'static, F: Future<Output = S> + Send + 'static>(
    rate: f64,
    phase: Duration,
    states: Vec<S>,
    call: impl Fn(S, usize) -> F + Clone + Send + 'static,
) -> Vec<Duration> {
    let end = Instant::now() + phase;
    let taken = open_loop(rate, states, move |due| due < end, call).await;
    taken.into_iter().map(|(_, taken)| taken).collect()
}

/// The median and the 99th percentile.
///
/// # Panics
/// Where there is no value.
pub fn quantiles(mut taken: Vec<Duration>) -> (Duration, Duration) {
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}

/// The median and the 99th percentile of writing 4 KiB to a file there and waiting for the disk (fdatasync).
///
/// # Panics
/// Where the file cannot be written.
pub fn fdatasync(dir: &Path) -> (Duration, Duration) {
    let mut file = std::fs::File::create(dir.join("sync")).expect("a file to write to");
    let taken = (0..300)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("a disk that takes 4 KiB");
            started.elapsed()
        })
        .collect();
    quantiles(taken)
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
