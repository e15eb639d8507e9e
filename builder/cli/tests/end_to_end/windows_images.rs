//! Windows images, cross-built: their stages copy and set, stages of Linux before them run.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use orlop_fixtures::layout;
use orlop_fixtures::layout::Image;
use orlop_fixtures::registry::{self, Registry};
use orlop_fixtures::tarball::{self, Entry};
use orlop_fixtures::test_env::{Invocation, TestEnv};
use orlop_fixtures::tool::{run, tool};
use orlop_fixtures::windows_layer::{self as layer, Place, Record};
use serde_json::{Value, json};

use crate::{base_name, env};

/// `O:S-1-5-93-2-2 G:SY D:(A;OICI;FA;;;SY)`, by [MS-DTYP] 2.4.6: a descriptor that no builder would make up.
const OWN: &str = "AQAEgBQAAAAoAAAAAAAAADQAAAABAwAAAAAABV0AAAACAAAAAgAAAAEBAAAAAAAFEgAAAAIAHAABAAAAAAMUAP8BHwABAQAAAAAABRIAAAA=";
/// `O:BA G:SY D:(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)`.
const DIRECTORY: &str = "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAAxQA/wEfAAEBAAAAAAAFEgAAAAADGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAADGACpABIAAQIAAAAAAAUgAAAAIQIAAA==";

const VERSION: &str = "10.0.20348.587";

fn windows(version: &str) -> Image {
    let dir = |name: &str| Entry::dir(name).mode(0).pax("MSWINDOWS.fileattr", "16");
    let file = |name: &str, data: &str| Entry::file(name, data).mode(0).pax("MSWINDOWS.fileattr", "32");
    let mut image = Image::new().layer(&[
        dir("Files").pax("MSWINDOWS.rawsd", OWN),
        dir("Files/App").pax("LIBARCHIVE.creationtime", "1500000000.5").pax("MSWINDOWS.rawsd", OWN),
        file("Files/App/Settings.ini", "base"),
        dir("Files/Windows"),
        dir("Files/Windows/System32"),
        file("Files/Windows/System32/version.txt", version),
        dir("Hives"),
        file("Hives/Software_Base", "regf"),
    ]);
    image.config = json!({
        "architecture": "amd64",
        "os": "windows",
        "os.version": version,
        "os.features": ["win32k"],
        "config": {"Cmd": ["c:\\windows\\system32\\cmd.exe"], "Env": ["Path=C:\\Windows"], "ArgsEscaped": true},
        "history": [{"created_by": "written by hand"}],
    });
    image
}

fn filled(env: &TestEnv) -> Registry {
    let registry = registry::start();
    let dir = env.dir("windows-base");
    windows(VERSION).write(&dir);
    registry.fill(&dir, "windows:1");
    registry
}

fn build<'a>(env: &'a TestEnv, dockerfile: &str, platform: &str) -> Invocation<'a> {
    let file = env.file("Dockerfile", dockerfile);
    let context = env.dir("context");
    env.orlop(["build", "--progress=plain", "--platform", platform, "-t", "built", "-f"])
        .arg(file)
        .arg(context)
}

/// Manifest, config and layers of an image at a registry, as skopeo copies it.
fn fetched(env: &TestEnv, name: &str) -> (Value, Value, Vec<Vec<u8>>) {
    let dir = env.path("fetched");
    let _ = fs::remove_dir_all(&dir);
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "--override-os=windows", "--override-arch=amd64", "copy", "-q"]);
    skopeo.args(["--src-tls-verify=false", &format!("docker://{name}")]);
    run(skopeo.arg(format!("oci:{}:latest", dir.display())).env("TMPDIR", env.path("tmp")));
    let (manifest, config) = layout::read(&dir);
    let layers = layout::layers(&dir);
    (manifest, config, layers)
}

#[test]
fn a_linux_stage_runs_and_a_windows_stage_takes_what_it_made() {
    let (env, other) = (env(), crate::env());
    let registry = filled(&env);
    let context = env.dir("context");
    fs::write(context.join("extra.txt"), "extra").unwrap();
    fs::write(context.join("data.tar"), tarball::archive(&[Entry::file("in/side.txt", "inside")])).unwrap();
    let dockerfile = format!(
        "# escape=`\n\
         FROM --platform=$BUILDPLATFORM {} AS build\n\
         RUN mkdir -p /out/bin && echo made > /out/bin/app.exe && ln /out/bin/app.exe /out/bin/same.exe && \
         ln -s ../SETTINGS.ini /out/bin/link.ini && chmod 0700 /out/bin && chown 1234:5678 /out/bin/app.exe\n\
         FROM {}\n\
         LABEL made=by-hand\n\
         WORKDIR C:\\app\n\
         COPY --from=build /out/ .\\\n\
         COPY extra.txt c:/APP/Bin/\n\
         COPY extra.txt C:\\app\\SETTINGS.INI\n\
         ADD data.tar C:\\Dätä\\\n\
         ENV MODE=prod\n\
         ENTRYPOINT [\"C:\\\\app\\\\bin\\\\app.exe\"]\n",
        base_name(),
        registry.name("windows:1"),
    );
    let built = build(&env, &dockerfile, "windows/amd64").run().success();
    let name = registry.name("app:1");
    env.orlop(["tag", "built", &name]).run().success();
    env.orlop(["push", &name]).run().success();

    let (manifest, config, layers) = fetched(&env, &name);
    assert_eq!(config["os"], "windows");
    assert_eq!(config["os.version"], VERSION);
    assert_eq!(config["os.features"], json!(["win32k"]));
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["config"]["WorkingDir"], "C:\\app");
    assert_eq!(config["config"]["Entrypoint"], json!(["C:\\app\\bin\\app.exe"]));
    assert_eq!(config["config"]["Env"], json!(["Path=C:\\Windows", "MODE=prod"]));
    let inspect = |extra: &[&str]| {
        let mut skopeo = tool("skopeo");
        skopeo
            .args(["--insecure-policy", "--override-os=windows", "inspect", "--tls-verify=false"])
            .args(extra);
        let out = run(skopeo.arg(format!("docker://{name}")).env("TMPDIR", env.path("tmp"))).stdout;
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    assert_eq!(inspect(&[])["Os"], "windows");
    assert_eq!(inspect(&["--config"])["os.version"], VERSION);

    // The base's own bytes, untouched.
    let (base_manifest, _) = layout::read(&env.path("windows-base"));
    assert_eq!(manifest["layers"][0], base_manifest["layers"][0]);

    // What a Windows host would read, by an own reader.
    let mut files = std::collections::BTreeMap::new();
    for (i, tar) in layers.iter().enumerate().skip(1) {
        let records = layer::read(tar);
        layer::check(&records, Place::Upper);
        for record in records {
            files.insert(record.name.clone(), (i, record));
        }
    }
    let at = |name: &str| -> &Record {
        let (_, record) = files.get(name).unwrap_or_else(|| panic!("`{name}` is not in {:?}", files.keys()));
        record
    };
    let app = at("Files/App");
    assert_eq!(app.pax["MSWINDOWS.rawsd"], OWN, "the base's descriptor stays");
    assert_eq!(app.pax["LIBARCHIVE.creationtime"], "1500000000.5");
    assert_eq!(at("Files").pax["MSWINDOWS.rawsd"], OWN);
    assert_eq!(at("Files/App/bin").pax["MSWINDOWS.rawsd"], DIRECTORY);
    assert_eq!(at("Files/App/bin").pax["MSWINDOWS.fileattr"], "16");
    assert_eq!(at("Files/App/bin/app.exe").data, b"made\n");
    assert_eq!(at("Files/App/bin/app.exe").pax["MSWINDOWS.fileattr"], "32");
    assert_eq!(
        at("Files/App/bin/same.exe").data,
        b"made\n",
        "a copy: which name it has there is Windows's choice"
    );
    assert_eq!(at("Files/App/bin/extra.txt").data, b"extra");
    assert_eq!(at("Files/App/Settings.ini").data, b"extra", "one name, whatever its case");
    assert_eq!(at("Files/App/bin/link.ini").link, "..\\SETTINGS.ini");
    assert_eq!(at("Files/Dätä/in/side.txt").data, b"inside");
    assert!(
        !files
            .keys()
            .any(|name| name.to_lowercase().starts_with("files/app") && !name.starts_with("Files/App"))
    );

    let pulled = other.orlop(["pull", "--platform=windows/amd64", &name]).run().success();
    assert_eq!(pulled.stdout, built.stdout, "the same image ID");
    let again = build(&env, &dockerfile, "windows/amd64").run().success();
    assert_eq!(again.stdout, built.stdout, "all of it cached");
}

#[test]
fn a_build_that_only_adds_to_a_base_sends_and_fetches_no_layer_of_it() {
    let env = env();
    let registry = filled(&env);
    let dockerfile = format!("FROM {}\nENV A=1\nCMD [\"cmd\"]\n", registry.name("windows:1"));
    build(&env, &dockerfile, "windows/amd64").run().success();
    let name = registry.name("windows:2");
    env.orlop(["tag", "built", &name]).run().success();
    env.orlop(["push", &name]).run().success();
    let (manifest, _) = layout::read(&env.path("windows-base"));
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    assert!(!registry.log().contains(&format!("GET /v2/windows/blobs/{layer}")), "{}", registry.log());
    let (_, config, _) = fetched(&env, &name);
    assert_eq!((&config["os.version"], &config["config"]["Cmd"]), (&json!(VERSION), &json!(["cmd"])));
}

#[test]
fn run_in_a_windows_stage_is_refused_at_its_line() {
    let env = env();
    let registry = filled(&env);
    let dockerfile = format!("FROM {}\nENV A=1\nRUN dir\n", registry.name("windows:1"));
    let refused = build(&env, &dockerfile, "windows/amd64").run().code(1);
    refused.says("Dockerfile:3").says("RUN in a Windows stage needs Windows").says("hint:");
}

#[test]
fn a_stage_of_another_system_than_its_base_is_refused() {
    let env = env();
    let registry = filled(&env);
    let dockerfile = format!("FROM {}\n", registry.name("windows:1"));
    let refused = build(&env, &dockerfile, "linux/amd64").run().code(1);
    refused.says("is for windows/amd64").says("--platform=windows/amd64");
}

#[test]
fn names_that_windows_cannot_have_are_refused() {
    let env = env();
    let context = env.dir("context");
    fs::create_dir(context.join("many")).unwrap();
    for name in ["README", "Readme"] {
        fs::write(context.join("many").join(name), name).unwrap();
    }
    fs::create_dir(context.join("odd")).unwrap();
    fs::write(context.join("odd/what?"), "x").unwrap();
    let platform = "windows(10.0.20348.1)/amd64";
    let odd = build(&env, "FROM scratch\nCOPY odd C:/odd\n", platform).run().code(1);
    odd.says("what?").says("Dockerfile:2");
}

#[test]
fn from_scratch_names_the_version_that_was_asked_for() {
    let env = env();
    fs::write(env.dir("context").join("app.exe"), "MZ").unwrap();
    let dockerfile = "FROM scratch\nCOPY app.exe C:/app.exe\nUSER ContainerUser\n";
    let quiet = build(&env, dockerfile, "windows(10.0.20348.1)/amd64").run().success();
    quiet.never_says("names no version");
    let dest = env.path("out.oci");
    let out = format!("type=oci,dest={},tar=false", dest.display());
    build(&env, dockerfile, "windows(10.0.20348.1)/amd64").args(["-o", &out]).run().success();
    let (_, config) = layout::read(&dest);
    assert_eq!((&config["os"], &config["os.version"]), (&json!("windows"), &json!("10.0.20348.1")));
    let tars = layout::layers(&dest);
    let records = layer::read(&tars[0]);
    layer::check(&records, Place::Base);
    let names: Vec<_> = records.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["Files", "Hives", "Files/app.exe"]);
    let warned = build(&env, "FROM scratch\nCOPY app.exe C:/app.exe\n", "windows/amd64").run().success();
    warned.says("names no version of Windows");
}

#[test]
fn of_several_versions_the_one_that_was_asked_for() {
    let env = env();
    let registry = registry::start();
    let versions = ["10.0.17763.3650", "10.0.20348.9", "10.0.20348.1000"];
    let mut entries = Vec::new();
    for version in versions {
        let dir = env.dir(version);
        let digest = windows(version).write(&dir);
        registry.fill(&dir, &format!("windows:{version}"));
        let path = dir.join("blobs").join(digest.replace(':', "/"));
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": fs::metadata(path).unwrap().len(),
            "platform": {"os": "windows", "architecture": "amd64", "os.version": version},
        }));
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    registry.put_manifest("windows", "all", media_type, &index.to_string());
    let name = registry.name("windows:all");
    let chosen = |platform: &str| {
        let dest = env.path("chosen.oci");
        let _ = fs::remove_dir_all(&dest);
        let out = format!("type=oci,dest={},tar=false", dest.display());
        let dockerfile = format!("FROM {name}\nENV P={}\n", platform.len());
        build(&env, &dockerfile, platform).args(["-o", &out]).run().success();
        let (_, config) = layout::read(&dest);
        config["os.version"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(chosen("windows/amd64"), "10.0.20348.1000", "the newest, by number");
    assert_eq!(chosen("windows(10.0.17763)/amd64"), "10.0.17763.3650");
    assert_eq!(chosen("windows(10.0.20348.9)/amd64"), "10.0.20348.9");
    assert_eq!(chosen("windows(10.0.20348.77)/amd64"), "10.0.20348.1000", "of the same build");
    let none = build(&env, &format!("FROM {name}\n"), "windows(10.0.26100.1)/amd64").run().code(1);
    none.says("windows(10.0.17763.3650)/amd64, windows(10.0.20348.1000)/amd64, windows(10.0.20348.9)/amd64");
    let linux = build(&env, &format!("FROM {name}\n"), "linux/amd64").run().code(1);
    linux.says("no image for platform `linux/amd64`").says("FROM --platform=");
}

/// Serves one file over plain HTTP, and keeps what it was asked.
fn serve(bytes: Vec<u8>) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/layer.tar.gz?token=secret", listener.local_addr().unwrap());
    let (asked, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                request.push(byte[0]);
            }
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
            if asked.send(String::from_utf8_lossy(&request).into_owned()).is_err() {
                break;
            }
        }
    });
    (url, requests)
}

/// A base whose layer its registry does not keep, and what was asked of whoever keeps it.
fn foreign(
    env: &TestEnv,
    served: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> (Registry, std::sync::mpsc::Receiver<String>, String) {
    let registry = registry::start();
    let base = windows(VERSION);
    let (url, requests) = serve(served(base.blob()));
    let dir = env.dir("windows-base");
    base.foreign(&url).write(&dir);
    registry.fill(&dir, "windows:1");
    let (manifest, _) = layout::read(&dir);
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    assert!(!Path::new(&registry.blob(&digest)).exists(), "the registry does not have it");
    (registry, requests, url)
}

#[test]
fn a_foreign_layer_comes_from_its_url_where_allowed_and_is_never_pushed() {
    let env = env();
    let (registry, requests, url) = foreign(&env, |blob| blob);
    fs::write(env.dir("context").join("x"), "x").unwrap();
    let dockerfile = format!("FROM {}\nCOPY x C:/app/x\n", registry.name("windows:1"));
    let refused = build(&env, &dockerfile, "windows/amd64").run().code(1);
    refused
        .says("is not kept by registries, and `127.0.0.1`")
        .says("--foreign-layers-from 127.0.0.1")
        .never_says("token=secret");
    assert!(requests.try_recv().is_err(), "nobody was asked");

    let auth = env.file("auth.json", r#"{"auths": {"127.0.0.1": {"auth": "dTpwYXNzd29yZA=="}}}"#);
    let allowed = ["--foreign-layers-from", "127.0.0.1", "--authfile", auth.to_str().unwrap()];
    build(&env, &dockerfile, "windows/amd64").args(allowed).run().success();
    let request = requests.try_recv().unwrap().to_lowercase();
    assert!(!request.contains("authorization"), "{request}");

    let name = registry.name("app:1");
    env.orlop(["tag", "built", &name]).run().success();
    env.orlop(["push", &name]).run().success();
    let answer = registry.get("/v2/app/manifests/1");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let manifest: Value = serde_json::from_str(body).unwrap();
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    assert_eq!(layer["urls"], json!([url]));
    assert!(!registry.blob(layer["digest"].as_str().unwrap()).exists(), "it was not sent");
    env.orlop(["push", "--allow-nondistributable", &name]).run().success();
    assert!(registry.blob(layer["digest"].as_str().unwrap()).exists(), "it was asked for");
}

#[test]
fn a_foreign_layer_that_is_another_one_is_refused() {
    let env = env();
    let (registry, _requests, _) = foreign(&env, |mut blob| {
        let last = blob.len() - 9;
        blob[last] ^= 1;
        blob
    });
    fs::write(env.dir("context").join("x"), "x").unwrap();
    let dockerfile = format!("FROM {}\nCOPY x C:/app/x\n", registry.name("windows:1"));
    let refused =
        build(&env, &dockerfile, "windows/amd64").args(["--foreign-layers-from", "127.0.0.1"]).run().code(1);
    refused.says("sha256:").never_says("token=secret");
}

#[test]
fn what_leaves_as_a_tree_has_no_note_of_ours() {
    let env = env();
    let registry = filled(&env);
    let dest = env.path("tree");
    let dockerfile = format!("FROM {}\nWORKDIR C:\\\\new\n", registry.name("windows:1"));
    let out = format!("type=local,dest={}", dest.display());
    build(&env, &dockerfile, "windows/amd64").args(["-o", &out]).run().success();
    let list = run(tool("getfattr").args(["-R", "-d", "-m", "-"]).arg(&dest)).stdout;
    assert!(!String::from_utf8_lossy(&list).contains("orlop"), "{}", String::from_utf8_lossy(&list));
    assert!(dest.join("App/Settings.ini").exists() && dest.join("new").is_dir());
}
