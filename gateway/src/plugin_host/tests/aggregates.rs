//! What a guest may ask, and what it hears.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::boundary::{AggregateQuestion, Aggregates, MayAsk, PluginMessage};

use super::super::guests::{self, Guest};
use super::super::*;
use super::{Sandbox, input};

/// Remembers the questions; answers those about `events`.
#[derive(Default)]
struct Answers(Mutex<Vec<AggregateQuestion>>);

#[async_trait]
impl Aggregates for Answers {
    async fn ask(&self, question: AggregateQuestion) -> Option<Vec<(String, f64)>> {
        let answer = (question.measure == "events").then(|| vec![("all".to_owned(), 40.0)]);
        self.0.lock().unwrap().push(question);
        answer
    }
}

const IMPORT: &str = r#"(import "integration:plugin/aggregates@0.1.0" "query"
        (func $query (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

/// The body of a hook, and what stands beside it: asks so many times, then returns the number of the last answer's first group as a digit count: `{}` where
/// it is 40 and `[]` where there was no answer.
fn question(times: u32, measure: &str, day_bytes: u32) -> (String, String) {
    let ask = format!(
        r#"(local $left i32)
        (local.set $left (i32.const {times}))
        (loop $again
          (call $query (i32.const 1100) (i32.const {length}) (i32.const 1200) (i32.const 11)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1300) (i32.const {day_bytes})
            (i32.const 1) (i32.const 1400) (i32.const 12) (i32.const 64))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $again (local.get $left)))
        (if (result i32) (i32.load8_u (i32.const 64))
          (then (call $answer (i32.const 1500) (i32.const 2)))
          (else (if (result i32)
            (f64.eq (f64.load offset=8 (i32.load (i32.const 68))) (f64.const 40))
            (then (call $answer (i32.const 1024) (i32.const 2)))
            (else (unreachable)))))"#,
        length = measure.len()
    );
    let more = format!(
        r#"(data (i32.const 1100) "{measure}") (data (i32.const 1200) "page.viewed")
        (data (i32.const 1300) "2026-03-02") (data (i32.const 1400) "/device_type") (data (i32.const 1500) "[]")"#
    );
    (ask, more)
}

fn asker(times: u32, measure: &str, day_bytes: u32) -> Guest {
    let (ask, more) = question(times, measure, day_bytes);
    guests::share_importing("imports-aggregates", IMPORT, &ask, &more)
}

async fn ask(guest: &Guest, answers: Option<Arc<Answers>>) -> String {
    let sandbox = Sandbox::new();
    let release = sandbox.load(guest).await;
    let mut input = input();
    input.aggregates = answers.map(|answers| MayAsk::of(answers));
    let call = sandbox.host.share_released(&release, input, Budget::default(), None).await;
    call.result.unwrap().returns
}

#[tokio::test]
async fn a_question_is_handed_on_and_its_answer_back() {
    let answers = Arc::new(Answers::default());
    assert_eq!(ask(&asker(1, "events", 10), Some(Arc::clone(&answers))).await, "{}");
    let asked = answers.0.lock().unwrap();
    let [AggregateQuestion { measure, event, field, day, by }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!((measure.as_str(), event.as_str(), day.as_str()), ("events", "page.viewed", "2026-03-02"));
    assert_eq!((field.as_deref(), by.as_deref()), (None, Some("/device_type")));
}

#[tokio::test]
async fn who_may_not_ask_hears_what_everybody_hears_who_gets_no_answer() {
    assert_eq!(ask(&asker(1, "events", 10), None).await, "[]");
    assert_eq!(ask(&asker(1, "median", 10), Some(Arc::default())).await, "[]");
    let answers = Arc::new(Answers::default());
    assert_eq!(ask(&asker(17, "events", 10), Some(Arc::clone(&answers))).await, "[]");
    assert_eq!(answers.0.lock().unwrap().len(), 16, "one call asks so many questions and no more");
    let answers = Arc::new(Answers::default());
    assert_eq!(ask(&asker(1, "events", 300), Some(Arc::clone(&answers))).await, "[]");
    assert_eq!(answers.0.lock().unwrap().len(), 0, "a text that is no name goes nowhere");
}

/// Were one answered, a message would use up what other calls may ask, and tell the partner that its plugin ran.
#[tokio::test]
async fn a_message_hears_what_everybody_hears_who_gets_no_answer() {
    let (ask, more) = question(1, "events", 10);
    let sandbox = Sandbox::new();
    let release = sandbox.load(&guests::receive_importing("imports-aggregates", IMPORT, &ask, &more)).await;
    let message = PluginMessage {
        id: "m-1".into(),
        time: "2026-03-02T09:00:00Z".into(),
        consumer: None,
        body: "{}".into(),
        settings: "{}".into(),
        memory: None,
    };
    let call = sandbox.host.receive_released(&release, message, Budget::default()).await;
    assert_eq!(call.result.unwrap().returns, "[]");
}
