//! Selects which of several candidates or choices is the answer. hearken requests one, and never mixes the texts of
//! two.

use serde_json::Value;

use super::lenient::count;

/// The names of the lists of choices: OpenAI's and Gemini's.
const LISTS: [&str; 2] = ["choices", "candidates"];

/// The choice that is the answer: the lowest index in the first event that has a choice. A choice without an index has
/// index 0.
#[derive(Debug, Default)]
pub(super) struct Chosen(Option<u64>);

impl Chosen {
    /// Removes all other choices from an event. A choice that is not in a list is put into one.
    pub(super) fn keep(&mut self, event: &mut Value) {
        for name in LISTS {
            match event.get_mut(name) {
                Some(Value::Array(all)) => self.keep_chosen(all),
                Some(single @ Value::Object(_)) => {
                    let mut all = vec![single.take()];
                    self.keep_chosen(&mut all);
                    *single = Value::Array(all);
                }
                _ => {}
            }
        }
    }

    fn keep_chosen(&mut self, all: &mut Vec<Value>) {
        all.retain(Value::is_object);
        self.0 = self.0.or_else(|| all.iter().map(index).min());
        all.retain(|choice| Some(index(choice)) == self.0);
        all.truncate(1);
    }
}

fn index(choice: &Value) -> u64 {
    choice.get("index").and_then(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the texts that are kept of these lists of choices, event by event.
    fn kept(events: &[Value]) -> Vec<Value> {
        let mut chosen = Chosen::default();
        let keep = |choices: &Value| {
            let mut event = json!({"choices": choices, "other": [1, 2]});
            chosen.keep(&mut event);
            assert_eq!(event["other"], json!([1, 2]));
            let texts =
                event["choices"].as_array().map(|all| all.iter().map(|one| one["t"].clone()).collect());
            texts.unwrap_or(event["choices"].clone())
        };
        events.iter().map(keep).collect()
    }

    #[test]
    fn a_choice_is_chosen_by_its_index_and_not_by_its_position() {
        assert_eq!(kept(&[json!([{"index": 1, "t": "b"}, {"index": 0, "t": "a"}])]), [json!(["a"])]);
        assert_eq!(kept(&[json!([{"index": "1", "t": "b"}, {"t": "a"}, {"t": "c"}])]), [json!(["a"])]);
        assert_eq!(kept(&[json!([null, 7, {"index": {}, "t": "a"}])]), [json!(["a"])]);
        assert_eq!(kept(&[json!({"index": 0, "t": "a"})]), [json!(["a"])]);
        assert_eq!(kept(&[json!(null), json!("x"), json!([])]), [json!(null), json!("x"), json!([])]);
    }

    #[test]
    fn the_first_chosen_index_stays_chosen() {
        let (first, second) = (json!([{"index": 1.0, "t": "a"}]), json!([{"index": 0, "t": "b"}]));
        assert_eq!(
            kept(&[json!([]), first.clone(), second, first]),
            [json!([]), json!(["a"]), json!([]), json!(["a"])]
        );
    }
}
