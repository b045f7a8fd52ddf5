//! `/healthz` and `/readyz`, as probes call them. `drain.rs` tests them during a drain.

use crate::support::hearken::Hearken;

#[test]
fn probes_need_no_key() {
    let hearken = Hearken::builder().local().start();
    let anonymous = hearken.without_key();
    for path in ["/healthz", "/readyz"] {
        let reply = anonymous.get(path).expect(200);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.json().is_object());
        let head = anonymous.call("HEAD", path, &[], None).expect(200);
        assert!(head.body.is_empty());
        let reply = anonymous.call("DELETE", path, &[], None);
        reply.error(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    }
}
