//! Tests of errors in every form, and their meanings.

use serde_json::json;

use super::*;

fn response(status: u16, body: &str) -> UpstreamError {
    refusal(&ErrorResponse { status, retry_after: None, body: body.into() }, "hush")
}

fn facts(err: UpstreamError) -> (Fault, Option<u16>, String) {
    match err {
        UpstreamError::Refused { fault, status, message, .. } => (fault, status, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn error_responses_are_read_in_every_form() {
    for (status, body, fault, words) in [
        (
            400,
            r#"{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":null}}"#,
            Fault::Request,
            "bad",
        ),
        (
            401,
            r#"{"error":{"message":"no","code":"invalid_api_key","type":"invalid_request_error"}}"#,
            Fault::Credentials,
            "no",
        ),
        (
            429,
            r#"{"error":{"code":"RateLimitReached","message":"slow","details":"slow"}}"#,
            Fault::RateLimit,
            "slow",
        ),
        (
            429,
            r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"pay"}}"#,
            Fault::Quota,
            "pay",
        ),
        (
            402,
            r#"{"error":{"code":402,"message":"credits","metadata":{}},"user_id":"u"}"#,
            Fault::Quota,
            "credits",
        ),
        (401, r#"{"detail":"Invalid API Key"}"#, Fault::Credentials, "Invalid API Key"),
        (
            422,
            r#"{"detail":[{"loc":["body","file"],"msg":"Field required"},{"msg":"Too long"}]}"#,
            Fault::Request,
            "Field required; Too long",
        ),
        (500, r#"{"error":"it broke"}"#, Fault::Upstream, "it broke"),
        (
            400,
            r#"{"object":"error","message":"old","type":"BadRequestError","code":400}"#,
            Fault::Request,
            "old",
        ),
        (
            400,
            r#"[{"error":{"code":400,"message":"key","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
            Fault::Credentials,
            "key",
        ),
        (404, r#"{"message":"no route"}"#, Fault::NotServed, "no route"),
        (404, r#"{"error":{"message":"no such","code":"model_not_found"}}"#, Fault::NotServed, "no such"),
        (503, "\"overloaded\"", Fault::Upstream, "overloaded"),
        (503, "upstream is overloaded\n", Fault::Upstream, "upstream is overloaded"),
        (400, "data: {\"error\":{\"message\":\"too long\"}}\n\ndata: [DONE]\n\n", Fault::Request, "too long"),
        (400, ": ping\n\nevent: error\ndata: too long\n\n", Fault::Request, "too long"),
        (400, "error: {\"detail\":\"too long\"}\n", Fault::Request, "too long"),
        (400, r#"{"error":{"message":"half\ud83d","p":NaN}}"#, Fault::Request, "half\u{fffd}"),
        (400, "{\"error\":{\"mess", Fault::Request, "it answered with status 400"),
        (501, "not implemented: stream", Fault::NotServed, "not implemented: stream"),
        (502, "<html>Bad Gateway</html>", Fault::Upstream, "Bad Gateway"),
        (503, "", Fault::Upstream, "it answered with status 503"),
        (
            503,
            r#"{"error":{"message":"","code":"server_is_overloaded"}}"#,
            Fault::Upstream,
            "server_is_overloaded",
        ),
        (429, r#"{"error":{"message":"busy","type":"server_error"}}"#, Fault::RateLimit, "busy"),
        (500, r#"{"error":{"message":{"detail":"deep"}}}"#, Fault::Upstream, "deep"),
        (400, r#"{"errors":[{"message":"one"},{"message":"two"}]}"#, Fault::Request, "one; two"),
        (400, r#"{"error":["one","two"]}"#, Fault::Request, "one; two"),
        (400, r#"["one","two"]"#, Fault::Request, "one; two"),
        (400, r#"{"error":{"error":{"message":"deep"}}}"#, Fault::Request, "deep"),
        (400, r#"{"error":{"code":"400","message":{"text":"deep"},"status":5}}"#, Fault::Request, "deep"),
        (400, r#"{"error":{"message":"{\"error\":{\"message\":\"deep\"}}"}}"#, Fault::Request, "deep"),
        (400, r#"{"error_message":"words"}"#, Fault::Request, "words"),
        (
            400,
            r#"{"error":"invalid_request","error_description":"a sentence of words"}"#,
            Fault::Request,
            "a sentence of words",
        ),
        (
            400,
            r#"{"statusCode":400,"message":["too long","too loud"],"error":"Bad Request"}"#,
            Fault::Request,
            "too long; too loud",
        ),
        (400, r#"{"type":"about:blank","title":"Bad","detail":"words"}"#, Fault::Request, "words"),
        (400, r#"{"detail":{"error":"less","message":"words"}}"#, Fault::Request, "words"),
        (400, "<title>Bad</title><h1>Bad words</h1>", Fault::Request, "Bad: words"),
    ] {
        assert_eq!(facts(response(status, body)), (fault, Some(status), words.to_owned()), "{body}");
    }
}

#[test]
fn refused_content_is_recognised_by_its_code() {
    for body in [
        r#"{"error":{"code":"content_filter","message":"filtered","status":400}}"#,
        r#"{"error":{"code":"content_policy_violation","message":"filtered"}}"#,
        r#"{"error":{"code":null,"innererror":{"code":"ResponsibleAIPolicyViolation"},"message":"filtered"}}"#,
    ] {
        assert_eq!(response(400, body), UpstreamError::Blocked("filtered".into()), "{body}");
    }
}

#[test]
fn an_error_in_an_answer_has_its_own_status() {
    let of = |event: Value| facts(in_event(&event, "hush").unwrap());
    let both = json!({"error": {"code": 400, "message": "limit"}, "choices": [{"delta": {"content": ""}}]});
    assert_eq!(of(both), (Fault::Request, Some(400), "limit".into()));
    assert_eq!(of(json!({"error": {"status_code": 503, "message": "m"}})).1, Some(503));
    assert_eq!(of(json!({"error": {"code": "429", "message": "m"}})).0, Fault::RateLimit);
    assert_eq!(of(json!({"error": {"code": "1302", "message": "m"}})), (Fault::Upstream, None, "m".into()));
    assert_eq!(of(json!({"error": "hush, it broke"})), (Fault::Upstream, None, "[removed], it broke".into()));
    assert_eq!(of(json!({"error": {"type": "invalid_request_error", "message": "m"}})).0, Fault::Request);
    assert_eq!(
        of(json!({"error": {"type": "server_error", "message": "m", "code": null}})).0,
        Fault::Upstream
    );
    assert_eq!(of(json!({"object": "error", "message": "m", "code": 500})).1, Some(500));
    assert_eq!(of(json!({"detail": "m"})).2, "m");
    assert_eq!(of(json!({"detail": {}, "error": {"message": "inner"}})).2, "inner");
    assert_eq!(of(json!({"code": 500, "message": "m"})).1, Some(500));
    assert_eq!(of(json!({"error": true})).2, "no reason given");
    assert_eq!(of(json!({"choices": [{"error": {"code": 502, "message": "m"}}]})).1, Some(502));
    assert_eq!(of(json!({"choices": [], "x_groq": {"id": "r", "error": "m"}})).2, "m");
    for chunk in [
        json!({"choices": [], "error": null}),
        json!({"choices": [{"delta": {}}], "detail": "x"}),
        json!({"error": ""}),
        json!({"error": {}, "choices": []}),
        json!({"error": {"code": null, "message": "", "details": [null], "status": 0}, "choices": []}),
        json!({"error": {"message": null}, "candidates": []}),
        json!({"choices": [{"error": null}], "x_groq": {"error": null}}),
        json!({"type": "transcript.text.delta", "delta": "x"}),
        json!({"usage": {}}),
        json!({"message": "hello"}),
    ] {
        assert_eq!(in_event(&chunk, "hush"), None, "{chunk}");
    }
}

#[test]
fn a_declared_error_is_an_error_whatever_it_contains() {
    for (data, words) in [
        (r#"{"error":{"message":"a"}}"#, "a"),
        (r#"{"message":"a"}"#, "a"),
        (r#"[{"error":{"message":"a"}}]"#, "a"),
        (r#""a""#, "a"),
        ("a", "a"),
        ("", "no reason given"),
        ("{}", "no reason given"),
        ("[1,2]", "no reason given"),
        (r#"{"detail":{"x":1},"error":{"message":"a"}}"#, "a"),
    ] {
        assert_eq!(facts(declared(data, "hush")), (Fault::Upstream, None, words.to_owned()), "{data}");
    }
}

#[test]
fn protobuf_durations_are_read() {
    assert_eq!(protobuf_duration("48s"), Some(Duration::from_secs(48)));
    assert_eq!(protobuf_duration("34.4s"), Some(Duration::from_millis(34_400)));
    for text in ["48", "s", "-1s", "NaNs"] {
        assert_eq!(protobuf_duration(text), None, "{text}");
    }
}

#[test]
fn a_refused_account_or_region_is_not_the_requests_fault() {
    for (status, body) in [
        (
            400,
            r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
        ),
        (400, r#"{"error":{"code":400,"message":"User location is not supported for the API use."}}"#),
        (
            400,
            r#"[{"error":{"code":400,"message":"Please enable billing on project x.","status":"FAILED_PRECONDITION"}}]"#,
        ),
        (
            403,
            r#"{"error":{"message":"Country, region, or territory not supported","code":"unsupported_country_region_territory"}}"#,
        ),
        (429, r#"{"error":{"message":"Your account is not active","code":"billing_not_active"}}"#),
        (
            400,
            r#"{"error":{"message":"Your credit balance is too low to access the API. Please go to Plans & Billing."}}"#,
        ),
        (400, r#"{"error":{"message":"Insufficient balance"}}"#),
        (
            403,
            r#"{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}"#,
        ),
    ] {
        assert_eq!(facts(response(status, body)).0, Fault::Account, "{body}");
    }
    for message in [
        "Access denied, please make sure your account is in good standing.",
        "This organization has been disabled.",
        "Project has been suspended",
        "The account associated with this API key has been deactivated",
        "Payment required",
        "You must be a member of an organization to use the API",
        "账户余额不足",
    ] {
        let body = json!({"error": {"message": message, "code": null}}).to_string();
        assert_eq!(facts(response(400, &body)).0, Fault::Account, "{message}");
    }
    let arrears = r#"{"error":{"message":"x","type":"Arrearage","code":"Arrearage"}}"#;
    assert_eq!(facts(response(400, arrears)).0, Fault::Account);
    let page = "<html><body>This service is not permitted in your region</body></html>";
    assert_eq!(facts(response(400, page)).0, Fault::Account);
    let key = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}"#;
    assert_eq!(facts(response(400, key)).0, Fault::Credentials);
    for message in [
        "The audio region from 0:10 to 0:20 could not be decoded",
        "The speaker's account of the billing dispute was rejected: prompt too long",
        "The field project is not known",
    ] {
        let body = json!({"error": {"message": message}}).to_string();
        assert_eq!(facts(response(400, &body)).0, Fault::Request, "{message}");
    }
    let quoted = r#"{"error":{"message":"no field 'enable billing'"}}"#;
    assert_eq!(facts(response(503, quoted)).0, Fault::Upstream);
    assert_eq!(facts(response(400, r#"{"error":{"message":"a bad field"}}"#)).0, Fault::Request);
}

#[test]
fn error_texts_in_latin_1_are_kept_and_binary_data_is_not() {
    let of = |body: &[u8]| {
        facts(refusal(&ErrorResponse { status: 400, retry_after: None, body: body.into() }, "hush")).2
    };
    assert_eq!(of(b"Gr\xfc\xdfe, words"), "Gr\u{fc}\u{df}e, words");
    assert_eq!(of(b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00"), "it answered with status 400");
    assert_eq!(of(b"cut \xe2\x82"), "cut \u{fffd}");
}
