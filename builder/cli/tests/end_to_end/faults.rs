//! Pull, push and build against a registry behind a proxy that does harm: they end well, with the right content, or in
//! one clear error. The wide table of faults is the client's own test, `registry-client/tests/client/faults/`; here is
//! what the user sees of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop_fixtures::fault_proxy::{self, Fault, FaultProxy, Framing, Hook, Kind, Phase, Reply};
use orlop_fixtures::registry::{self, Registry};
use orlop_fixtures::test_env::{Run, TestEnv};
use orlop_fixtures::tool::{run, tool};
use serde_json::json;

use crate::{FROM, Opened, build, env, snapshot};

struct Place {
    registry: Arc<Registry>,
    proxy: FaultProxy,
    env: TestEnv,
}

impl Place {
    /// A registry with the base in it, a proxy before it, and an image here to push.
    fn new() -> Self {
        let registry = Arc::new(registry::start());
        registry.fill(crate::base(), "team/base:1");
        let proxy = fault_proxy::start(&registry.host());
        Self { registry, proxy, env: env() }
    }

    /// Another image each time, so that the registry has none of it; larger than what sockets hold.
    fn image(&self, mark: &str) -> String {
        let name = self.proxy.name(&format!("team/{mark}:1"));
        let noise: String =
            (0..16_000).map(|n| orlop_fixtures::sha256(format!("{mark}{n}").as_bytes())).collect();
        self.env.file("context/noise", noise);
        crate::build_as(&self.env, &format!("{FROM}COPY noise /{mark}\n"), &crate::base_name(), &name)
            .run()
            .success();
        name
    }

    fn pull(&self) -> Run {
        let name = self.proxy.name("team/base:1");
        self.env.orlop(["rmi", "--force", &name]).run();
        self.env.orlop(["pull", &name]).patience(Duration::from_secs(60)).run()
    }

    fn push(&self, name: &str) -> Run {
        self.env.orlop(["push", name]).patience(Duration::from_secs(60)).run()
    }

    /// What the registry has under the name of an image of [`Place::image`], as skopeo sees it.
    fn is_there(&self, mark: &str) {
        let name = self.registry.name(&format!("team/{mark}:1"));
        assert!(Opened::from(&format!("docker://{name}")).has(mark), "{mark}");
    }

    fn check(&self) {
        self.env.orlop(["store", "check"]).run().success();
    }
}

/// One message with everything that one needs to know, and nothing that one must not.
#[track_caller]
fn clear(run: Run, place: &Place, name: &str, parts: &[&str]) {
    let run = run.code(1).never_says("hunter2").never_says("secret-token");
    assert_eq!(run.stderr.matches("\nerror: ").count(), 1, "one error: {run}");
    let run = run.says(&place.proxy.host()).says(name);
    for part in parts {
        assert!(run.stderr.contains(part), "no `{part}` in {run}");
    }
}

#[test]
fn pulls_that_end_well() {
    let place = Place::new();
    let answer = |status| Fault::Answer(Reply::new(status, "UNKNOWN"));
    for (what, kind, fault, told) in [
        ("connection refused to speak", Kind::Any, Fault::Cut(Phase::Connected), true),
        ("manifest cut", Kind::GetManifest, Fault::Cut(Phase::AnswerBody(100)), true),
        ("manifest damaged", Kind::GetManifest, Fault::Flip(30), false),
        ("config cut", Kind::GetBlob, Fault::Cut(Phase::AnswerHead), true),
        ("layer cut", Kind::GetBlob, Fault::Cut(Phase::AnswerBody(400_000)), true),
        ("layer short", Kind::GetBlob, Fault::Truncate(400_000, Framing::Lie), true),
        ("layer without an end", Kind::GetBlob, Fault::Truncate(400_000, Framing::Chunks), true),
        ("layer damaged", Kind::GetBlob, Fault::Flip(300_000), true),
        ("layer damaged at its end", Kind::GetBlob, Fault::Flip(700_000), true),
        ("layer refused", Kind::GetBlob, answer(500), true),
        ("a gateway's page", Kind::GetManifest, Fault::Answer(Reply::page(502)), true),
        ("HTTP/1.0", Kind::GetBlob, Fault::Old, false),
        (
            "elsewhere",
            Kind::GetBlob,
            Fault::Redirect(307, format!("http://{}", place.proxy.elsewhere())),
            false,
        ),
    ] {
        place.proxy.behave();
        // Of blobs the layer, which comes after the config.
        let skip = u32::from(what.starts_with("layer") || what == "HTTP/1.0");
        let before = place.proxy.fired();
        place.proxy.rule(kind, skip, 1, fault);
        let pulled = place.pull();
        assert!(pulled.status.success(), "{what}: {pulled}");
        assert_eq!(place.proxy.fired() - before, 1, "{what}: the fault did not happen");
        assert_eq!(pulled.stderr.contains("trying again in"), told, "{what}: {pulled}");
        place.check();
    }
}
