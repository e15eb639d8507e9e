//! The whole road once: a base from a registry, a Dockerfile of many steps, push, again, and Linux on the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orlop_fixtures::layout;
use orlop_fixtures::sha256;
use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::windows_layer::{self, Place};
use serde_json::Value;

use crate::{Wine, wine};

/// Fifteen steps: both forms, stages, COPY, a deletion, a tree of processes that outlive their parent.
pub(crate) const DOCKERFILE: &str = r#"# escape=`
ARG BASE
FROM ${BASE} AS made
RUN mkdir made && echo by cmd> made\cmd.txt
RUN ["load.exe", "write", "made\\exec.txt", "by exec, with \"quotes\" and a \\"]
RUN ["load.exe", "tree", "3", "600"]

FROM ${BASE}
LABEL kind=test
ENV GREETING="hello there" `
    DATA=C:\data
WORKDIR C:\app
COPY greeting.txt .
COPY --from=made C:\made\ C:\app\made\
RUN type greeting.txt > copy.txt
RUN echo %GREETING%> greeting-variable.txt
RUN load.exe write "%DATA%\by variable.txt" "a path of the image"
RUN del ..\ProgramData\removed.txt
RUN cd .. && echo in the root> root.txt
RUN load.exe say a "b c" "" > said.txt
SHELL ["cmd", "/V:ON", "/S", "/C"]
RUN set X=late&& echo !X!> late.txt
EXPOSE 80
CMD ["load.exe", "where"]
"#;

#[test]
fn an_image_built_on_windows_is_the_same_on_linux() {
    let wine = wine();
    wine.fill();
    wine.context("greeting.txt", "good day\r\n");
    let first = wine.build(DOCKERFILE, "app:1").arg("--push").run().success();
    wine.assert_quiet();
    let id = first.stdout.trim().to_owned();
    assert!(id.starts_with("sha256:"), "{first}");

    // Everything is known now, and the image is the same one.
    let again = wine.build(DOCKERFILE, "app:1").arg("--push").run().success();
    assert_eq!(again.stdout, first.stdout);
    assert!(again.stderr.contains(" 0 run"), "{again}");

    let there: Value =
        inspect(&wine.orlop(&["inspect", &wine.registry().name("app:1")]).run().success().stdout);
    let (here, linux_files) = on_linux(&wine, &id);
    assert_eq!(there, here, "the same digests and the same config");

    wine.context("Dockerfile", format!("FROM {}\n", wine.registry().name("app:1")));
    let out = ["build", "--pull=never", "-o", r"type=local,dest=C:\outside\files", r"C:\context"];
    wine.orlop(&out).run().success();
    assert_eq!(files(&wine.on_c("outside/files")), linux_files, "the same files");
    wine.assert_quiet();
}

/// Every path below a directory, with the content's digest where it is a file.
fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries =
            std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("cannot list `{}`: {e}", dir.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            let seen = if path.is_dir() {
                todo.push(path.clone());
                "a directory".to_owned()
            } else {
                sha256(
                    &std::fs::read(&path).unwrap_or_else(|e| panic!("cannot read `{}`: {e}", path.display())),
                )
            };
            out.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), seen);
        }
    }
    out
}

/// What is said of an image, but for sizes: of a layer's tar where nobody has unpacked it yet.
fn inspect(text: &str) -> Value {
    let mut document: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("no JSON: {e}: {text}"));
    document[0]["Size"].take();
    document[0]["Layers"].as_array_mut().into_iter().flatten().for_each(|layer| drop(layer["Size"].take()));
    document
}

/// Pulls the image with the Linux program, looks at its files, and gives what it says of the image.
fn on_linux(wine: &Wine, id: &str) -> (Value, BTreeMap<PathBuf, String>) {
    let env = TestEnv::new(env!("CARGO_BIN_EXE_orlop"));
    let name = wine.registry().name("app:1");
    let pulled = env.orlop(["pull", "--platform", "windows/amd64", &name]).run().success();
    assert!(pulled.stdout.contains("sha256:"), "{pulled}");
    let out = env.path("files");
    env.dir("empty");
    env.file("Dockerfile", format!("FROM {name}\n"));
    env.orlop(["build", "--platform", "windows/amd64", "-o"])
        .arg(&out)
        .arg("-f")
        .arg(env.path("Dockerfile"))
        .arg(env.path("empty"))
        .run()
        .success();
    let read = |path: &str| {
        std::fs::read_to_string(out.join(path)).unwrap_or_else(|e| panic!("cannot read `{path}`: {e}"))
    };
    for (path, content) in [
        ("app/made/cmd.txt", "by cmd\r\n"),
        ("app/made/exec.txt", "by exec, with \"quotes\" and a \\"),
        ("app/greeting.txt", "good day\r\n"),
        ("app/copy.txt", "good day\r\n"),
        ("app/greeting-variable.txt", "hello there\r\n"),
        ("data/by variable.txt", "a path of the image"),
        ("root.txt", "in the root\r\n"),
        ("app/said.txt", "[a]\n[b c]\n[]\n"),
        ("app/late.txt", "late\r\n"),
        ("ProgramData/base.txt", "from the base\r\n"),
        ("ProgramData/Case/MixedName.TXT", "mixed\r\n"),
    ] {
        assert_eq!(read(path), content, "{path}");
    }
    for gone in ["ProgramData/removed.txt", "made", "Hives", "Files"] {
        assert!(!out.join(gone).exists(), "{gone}");
    }
    layers_are_of_windows(&env, &name, id);
    (inspect(&env.orlop(["inspect", &name]).run().success().stdout), files(&out))
}

/// The archive of the image by its own format: `Files/` and `Hives/`, and the config's words.
fn layers_are_of_windows(env: &TestEnv, name: &str, id: &str) {
    let dir = env.path("layout");
    env.orlop(["save", "--format", "oci-dir", "-o"]).arg(&dir).arg(name).run().success();
    let (manifest, config) = layout::read(&dir);
    assert_eq!(manifest["config"]["digest"], id);
    assert_eq!((&config["os"], &config["architecture"]), (&Value::from("windows"), &Value::from("amd64")));
    assert_eq!(config["os.version"], orlop_fixtures::windows::OS_VERSION);
    let variables = config["config"]["Env"].to_string();
    assert!(variables.contains(r"DATA=C:\\data"), "paths stay the image's: {variables}");
    assert_eq!(config["config"]["WorkingDir"], r"C:\app");
    let layers = layout::layers(&dir);
    for (i, tar) in layers.iter().enumerate() {
        let place = if i == 0 { Place::Base } else { Place::Upper };
        windows_layer::check(&windows_layer::read(tar), place);
    }
    let all: Vec<String> = layers.iter().flat_map(|tar| layout::names(tar)).collect();
    assert!(all.contains(&"/Files/ProgramData/.wh.removed.txt".to_owned()), "an explicit whiteout: {all:?}");
}
