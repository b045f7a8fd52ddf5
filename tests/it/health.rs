//! `/healthz` and `/readyz`, as probes ask them. What happens to them in a drain is told in `drain.rs`.

use crate::support::hearken::Hearken;

#[test]
fn probes_need_no_key() {
    let hearken = Hearken::builder().local().start();
    let nobody = hearken.without_key();
    for path in ["/healthz", "/readyz"] {
        let reply = nobody.get(path).expect(200);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.json().is_object());
        let head = nobody.call("HEAD", path, &[], None).expect(200);
        assert!(head.body.is_empty());
        let reply = nobody.call("DELETE", path, &[], None);
        reply.error(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    }
}
