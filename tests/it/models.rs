//! The lists of models: what is listed, in both shapes, and for which key.

use serde_json::{Value, json};

use crate::support::hearken::{Hearken, NARROW_KEY};
use crate::support::upstream::FakeUpstream;

const WITH_CAPABILITIES: &str = "/v1/configs/llm_generations_models";

#[test]
fn exact_names_are_listed_with_what_they_take_and_globs_are_not() {
    let upstream = FakeUpstream::gemini().never().start();
    let hearken =
        Hearken::before(&upstream).channel("capabilities = [\"file\", \"audio\", \"text\"]").local().start();
    assert_eq!(
        hearken.get(WITH_CAPABILITIES).expect(200).json(),
        json!({"object": "list", "data": [
            {"id": "gemini-test", "object": "model", "capabilities": ["text", "audio", "file"]},
            {"id": "local-inspect", "object": "model", "capabilities": ["text", "audio"]}]})
    );
    let list = hearken.get("/v1/models").expect(200).json();
    let created = list["data"][0]["created"].clone();
    assert!(created.as_u64().unwrap() > 1_700_000_000);
    assert_eq!(
        list,
        json!({"object": "list", "data": [
            {"id": "gemini-test", "object": "model", "created": created, "owned_by": "fake"},
            {"id": "local-inspect", "object": "model", "created": created, "owned_by": "local"}]})
    );
}

#[test]
fn a_key_sees_only_what_it_may_use() {
    let upstream = FakeUpstream::gemini().never().start();
    let hearken = Hearken::before(&upstream).start();
    for path in [WITH_CAPABILITIES, "/v1/models"] {
        let list = hearken.with_key(NARROW_KEY).get(path).expect(200).json();
        assert_eq!(list, json!({"object": "list", "data": []}), "{path}");
    }
}

#[test]
fn a_server_without_channels_lists_nothing() {
    let hearken = Hearken::builder().start();
    assert_eq!(hearken.get(WITH_CAPABILITIES).expect(200).json()["data"], Value::Array(Vec::new()));
    hearken.try_submit(json!({"model": "local-inspect"})).error(422, "no_available_model");
}
