//! Every kind of `-o`, and `save` and `load`.

use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::tool::{run, tool};
use orlop_fixtures::{layout, tree};

use crate::{FROM, Opened, build, env};

fn dockerfile() -> String {
    format!(
        "{FROM}RUN mkdir /d && echo built > /d/file && chown 12:34 /d/file && ln -s file /d/link\nENV A=1\n"
    )
}

fn output(env: &TestEnv, spec: &str) {
    build(env, &dockerfile()).args(["-o", spec]).run().success();
}

fn check(opened: &Opened) {
    assert_eq!(opened.text("/d/file"), "built\n");
    assert_eq!((opened.at("/d/file").uid, opened.at("/d/file").gid), (12, 34));
    assert_eq!(opened.at("/d/link").link.as_deref(), Some("file"));
    let variables = opened.settings()["Env"].as_array().cloned().unwrap_or_default();
    assert!(variables.contains(&"A=1".into()), "{variables:?}");
}

fn media_types(opened: &Opened) -> Vec<String> {
    let layers = opened.manifest["layers"].as_array().cloned().unwrap_or_default();
    layers.iter().map(|l| l["mediaType"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn oci_archive() {
    let env = env();
    let dest = env.path("out.tar");
    output(&env, &format!("type=oci,dest={},name=example.org/app:v1", dest.display()));
    let opened = Opened::archive(&dest);
    check(&opened);
    assert!(media_types(&opened).iter().all(|t| t == "application/vnd.oci.image.layer.v1.tar+gzip"));
    let index = run(tool("tar").arg("-xOf").arg(&dest).arg("index.json")).stdout;
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    let notes = &index["manifests"][0]["annotations"];
    assert_eq!(notes["org.opencontainers.image.ref.name"], "v1", "{index}");
    assert_eq!(notes["io.containerd.image.name"], "example.org/app:v1", "{index}");
}

#[test]
fn oci_directory() {
    let env = env();
    let dest = env.path("layout");
    output(&env, &format!("type=oci,dest={},tar=false", dest.display()));
    assert!(dest.join("oci-layout").is_file());
    assert!(layout::layers(&dest).len() >= 2);
    let name = format!("oci:{}", dest.display());
    check(&Opened::from(&name));
    // What we write, we can build on.
    let on_top = crate::build_over(
        &env,
        "ARG BASE\nFROM ${BASE}\nRUN cat /d/file\n",
        &format!("oci-layout://{}", dest.display()),
    );
    on_top.run().success().says("built");
}

#[test]
fn docker_archive() {
    let env = env();
    let dest = env.path("docker.tar");
    output(&env, &format!("type=docker,dest={},name=example.org/app:v1", dest.display()));
    check(&Opened::from(&format!("docker-archive:{}", dest.display())));
    let manifest = run(tool("tar").arg("-xOf").arg(&dest).arg("manifest.json")).stdout;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["example.org/app:v1"]));
}

#[test]
fn compressions() {
    let env = env();
    let kinds =
        [("gzip,compression-level=3", "+gzip"), ("zstd,compression-level=3", "+zstd"), ("uncompressed", "")];
    for (name, suffix) in kinds {
        let dest = env.path(&format!("layout{suffix}"));
        output(
            &env,
            &format!("type=oci,dest={},tar=false,compression={name},force-compression=true", dest.display()),
        );
        let (manifest, _) = layout::read(&dest);
        for layer in manifest["layers"].as_array().cloned().unwrap_or_default() {
            assert_eq!(
                layer["mediaType"],
                format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
                "{manifest}"
            );
        }
        assert!(layout::layers(&dest).len() >= 2);
    }
}

#[test]
fn local_directory() {
    let env = env();
    let dest = env.path("local");
    output(&env, &format!("type=local,dest={}", dest.display()));
    let have = tree::read(&dest);
    assert_eq!(have["/d/file"].content.as_deref(), Some("built\n"));
    assert_eq!(have["/d/link"].link.as_deref(), Some("file"));
    assert_eq!(have["/bin/sh"].link.as_deref(), Some("busybox"));
    let short = env.path("short");
    output(&env, &short.to_string_lossy());
    let short = tree::read(&short);
    assert!(tree::differences(&have, &short).is_empty(), "`-o DIR` is `type=local`");
}

#[test]
fn tar_file_and_standard_output() {
    let env = env();
    let dest = env.path("root.tar");
    output(&env, &format!("type=tar,dest={}", dest.display()));
    let bytes = std::fs::read(&dest).expect("the tar");
    let names = layout::names(&bytes);
    for name in ["/d/file", "/d/link", "/bin/busybox", "/etc/passwd"] {
        assert!(names.iter().any(|n| n == name), "{name} is missing");
    }
    assert!(!names.iter().any(|n| n.contains(".wh.")), "whiteouts in a flat tar");
    let script = format!(
        "exec {} --root {} build --build-arg BASE={} -f {} -o - {} > {}",
        crate::ORLOP,
        env.store().display(),
        crate::base_name(),
        env.path("Dockerfile").display(),
        env.path("context").display(),
        env.path("stdout.tar").display()
    );
    run(tool("sh").args(["-c", &script]).env("HOME", env.path("home")));
    let names = layout::names(&std::fs::read(env.path("stdout.tar")).expect("the tar"));
    assert!(names.iter().any(|n| n == "/d/file"), "{names:?}");
}

#[test]
fn image_in_the_store_under_several_names() {
    let env = env();
    output(&env, "type=image,name=one.example/a:1");
    build(&env, &dockerfile()).args(["-t", "two.example/b", "-t", "short"]).run().success();
    let list = env.orlop(["images"]).run().success().stdout;
    for name in ["one.example/a", "two.example/b", "short"] {
        assert!(list.contains(name), "{name} is missing: {list}");
    }
}

#[test]
fn registry_by_output_and_by_flag() {
    let env = env();
    let registry = orlop_fixtures::registry::start();
    output(&env, &format!("type=registry,name={}", registry.name("by-type:1")));
    output(&env, &format!("type=image,name={},push=true", registry.name("by-push:1")));
    let by_flag = registry.name("by-flag:1");
    crate::build_as(&env, &dockerfile(), &crate::base_name(), &by_flag).arg("--push").run().success();
    for name in ["by-type:1", "by-push:1", "by-flag:1"] {
        check(&Opened::from(&format!("docker://{}", registry.name(name))));
    }
}

#[test]
fn several_outputs_of_one_build() {
    let env = env();
    let (oci, tar) = (env.path("a.tar"), env.path("b.tar"));
    build(&env, &dockerfile())
        .arg("-o")
        .arg(format!("type=oci,dest={}", oci.display()))
        .arg("-o")
        .arg(format!("type=tar,dest={}", tar.display()))
        .run()
        .success();
    check(&Opened::archive(&oci));
    assert!(tar.is_file());
}

#[test]
fn save_and_load() {
    let env = env();
    build(&env, &dockerfile()).run().success();
    let other = crate::env();
    for format in ["oci-archive", "docker-archive"] {
        let file = env.path(&format!("saved-{format}.tar"));
        env.orlop(["save", "--format", format, "-o"]).arg(&file).arg("built").run().success();
        check(&Opened::from(&format!("{format}:{}", file.display())));
        let run = other.orlop(["load", "-i"]).arg(&file).run().success();
        assert!(run.stdout.contains("built"), "{run}");
        let run = other.orlop(["run", "--rm", "built", "cat", "/d/file"]).run().success();
        assert_eq!(run.stdout, "built\n");
        other.orlop(["rmi", "built"]).run().success();
    }
}

#[test]
fn load_takes_what_skopeo_writes() {
    let env = env();
    let docker = env.path("skopeo.tar");
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "copy", "-q"]).arg(format!("oci:{}:latest", crate::base().display()));
    run(skopeo
        .arg(format!("docker-archive:{}:example.org/from-skopeo:3", docker.display()))
        .env("TMPDIR", env.path("tmp")));
    env.orlop(["load"]).input(&docker).run().success();
    let run = env.orlop(["run", "--rm", "example.org/from-skopeo:3", "echo", "loaded"]).run().success();
    assert_eq!(run.stdout, "loaded\n");
}

#[test]
fn an_output_that_nobody_knows_is_a_usage_error() {
    let env = env();
    let run = build(&env, FROM).args(["-o", "type=cd-rom,dest=/dev/sr0"]).run().code(2).says("cd-rom");
    crate::snapshot::check(&env, "output-unknown-type", &run);
    let run = build(&env, FROM).args(["-o", "type=local"]).run().code(2).says("dest");
    crate::snapshot::check(&env, "output-without-dest", &run);
}

#[test]
fn an_archive_without_a_destination_goes_to_standard_output_alone() {
    let env = env();
    let file = env.path("piped.tar");
    let script = r#"exec "$0" --root "$1" build -q --build-arg "BASE=$2" -o type=oci -f "$3" "$4" > "$5""#;
    let dockerfile = env.file("Dockerfile", FROM);
    run(tool("sh")
        .args(["-c", script, crate::ORLOP])
        .arg(env.store())
        .arg(crate::base_name())
        .arg(dockerfile)
        .arg(env.dir("context"))
        .arg(&file));
    assert!(Opened::archive(&file).has("/bin/busybox"));
}
