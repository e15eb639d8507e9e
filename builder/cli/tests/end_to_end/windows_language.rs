//! The language of a Windows stage as people write it: what it means, what is warned of at its line, what is refused.

use std::fs;

use orlop_fixtures::layout;
use orlop_fixtures::test_env::{Invocation, Run, TestEnv};
use orlop_fixtures::windows_layer::{self, Place};
use serde_json::{Value, json};

use crate::env;

const PLATFORM: &str = "windows(10.0.20348.1)/amd64";

fn build<'a>(env: &'a TestEnv, dockerfile: &str) -> Invocation<'a> {
    let context = env.dir("context");
    fs::create_dir_all(context.join("sub")).unwrap();
    fs::write(context.join("a.txt"), "a").unwrap();
    fs::write(context.join("a b"), "ab").unwrap();
    fs::write(context.join("sub/c.txt"), "c").unwrap();
    let file = env.file("Dockerfile", dockerfile);
    env.orlop(["build", "--progress=plain", "--platform", PLATFORM, "-t", "built", "-f"])
        .arg(file)
        .arg(context)
}

/// The image's config.
fn config(env: &TestEnv, dockerfile: &str) -> Value {
    let dest = env.path("image");
    let _ = fs::remove_dir_all(&dest);
    build(env, dockerfile)
        .args(["-o", &format!("type=oci,dest={},tar=false", dest.display())])
        .run()
        .success();
    layout::read(&dest).1
}

/// Lines of standard error that are one warning and its hint, or the error and its hint.
fn said(run: &Run) -> Vec<String> {
    let lines = run
        .stderr
        .lines()
        .filter(|line| ["warning: ", "error: ", "hint: "].iter().any(|start| line.starts_with(start)));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_is_likely_a_mistake_is_warned_of_at_its_line() {
    let env = env();
    // Dockerfile, what is said of it, and the hint.
    for (dockerfile, warning, hint) in [
        (
            "FROM scratch\nCOPY a.txt x\\\nWORKDIR C:/y\n",
            "Dockerfile:2: the `\\` at the end of `x\\`",
            "escape=`",
        ),
        (
            "FROM scratch\nCOPY a.txt bin\\Release\\\nENV A=b\n",
            "Dockerfile:2: the `\\` at the end of `bin\\Release\\`",
            "escape=`",
        ),
        ("FROM scratch\nWORKDIR app\\bin\n", "Dockerfile:2: `app\\bin` is read as `appbin`", "escape=`"),
        ("FROM scratch\nENV APP=C:\\app\n", "Dockerfile:2: `APP` is `C:app`", "escape=`"),
        ("FROM scratch\nENV P=\"%PATH%;x\"\n", "Dockerfile:2: `%PATH%` means nothing in ENV", "`${PATH}`"),
        ("FROM scratch\nENV P=$env:TEMP\n", "Dockerfile:2: `$env:TEMP` means nothing in ENV", "`${TEMP}`"),
        (
            "FROM scratch\nENV PATH=${PATH};x\n",
            "Dockerfile:2: the base sets no `PATH`",
            "C:\\Windows\\System32",
        ),
        (
            "# escape=`\nFROM scratch\nENTRYPOINT [\"C:\\app\\x.exe\"]\n",
            "Dockerfile:3: `[\"C:\\app\\x.exe\"]` is no JSON array",
            "`[\"C:\\\\app\\\\x.exe\"]`",
        ),
        (
            "FROM scratch\nENTRYPOINT [\"x.exe\"]\nCMD y z\n",
            "Dockerfile:3: the ENTRYPOINT and the CMD are in two forms",
            "JSON",
        ),
        ("FROM scratch\nUSER app\n", "Dockerfile:2: user `app` is not known", "ContainerUser"),
    ] {
        let run = build(&env, dockerfile).run();
        let lines = said(&run);
        let at = lines.iter().position(|line| line.contains(warning));
        let next = at.and_then(|at| lines.get(at + 1)).map(String::as_str).unwrap_or_default();
        assert!(next.starts_with("hint: ") && next.contains(hint), "{dockerfile}: {lines:#?}");
    }
}

#[test]
fn what_no_windows_image_can_have_is_refused_with_a_way_out() {
    let env = env();
    for (dockerfile, error, hint) in [
        ("FROM scratch\nCOPY a.txt C:\\app\\\n", "`C:app` has no `\\` after the drive", "escape=`"),
        (
            "# escape=`\nFROM scratch\nWORKDIR C:app\n",
            "`C:app` has no `\\` after the drive",
            "write `C:\\app`",
        ),
        ("# escape=`\nFROM scratch\nWORKDIR D:\\x\n", "is on drive `D:`", "C:"),
        ("# escape=`\nFROM scratch\nWORKDIR \\\\host\\share\n", "network", "C:"),
        ("# escape=`\nFROM scratch\nCOPY a.txt C:\\app\\nul\n", "device", "another name"),
        ("# escape=`\nFROM scratch\nVOLUME [\"C:\\data\"]\n", "is not absolute", "written twice"),
        ("# escape=`\nFROM scratch\nVOLUME data\n", "is not absolute", "`C:\\data`"),
        ("# escape=`\nFROM scratch\nCOPY [\"a b\", \"C:\\x y\\\"]\n", "no end", "written twice"),
        ("# escape=`\nFROM scratch\nCOPY a.txt \"C:\\Program Files\\x\"\n", "no end", "JSON"),
        ("FROM scratch\nENV B=\"C:\\x\\\"\n", "no end", "escape=`"),
        ("FROM scratch\nCOPY --chown=app a.txt C:/\n", "user `app` is not known", "--chown=ContainerUser"),
        ("FROM scratch\nCOPY --chown=1:2 a.txt C:/\n", "names a group", "--chown=ContainerUser"),
        ("FROM scratch\nADD --chown=ContainerUser a.txt C:/\n", "`ADD --chown`", "COPY --from="),
        ("FROM scratch\nADD --chmod=755 a.txt C:/\n", "`--chmod` has no meaning", "remove the flag"),
        ("FROM scratch\nSTOPSIGNAL SIGTERM\n", "Windows has no signals", "delete the line"),
        ("FROM scratch\nUSER 1000\n", "no numbers for users", "ContainerUser"),
        ("FROM scratch\nUSER a:b\n", "names a group", "ContainerUser"),
        ("FROM scratch\nRUN dir\n", "needs Windows", "COPY --from="),
    ] {
        let run = build(&env, dockerfile).run().code(1);
        let lines = said(&run);
        let [.., what, next] = lines.as_slice() else { panic!("{dockerfile}: {run}") };
        assert!(what.starts_with("error: ") && what.contains(error), "{dockerfile}: {lines:#?}");
        assert!(next.starts_with("hint: ") && next.contains(hint), "{dockerfile}: {lines:#?}");
        assert!(run.stderr.contains("/Dockerfile:"), "{dockerfile}: {run}");
    }
}

#[test]
fn paths_are_written_in_many_ways_and_mean_one() {
    let env = env();
    let config = config(
        &env,
        "# escape=`\nFROM scratch\n\
         WORKDIR app\nWORKDIR \\App\\sub\nWORKDIR ..\nWORKDIR \"C:\\Program Files\\x\"\nWORKDIR c:/APP/\n\
         COPY a.txt .\\\nCOPY sub\\*.txt C:\\app\\t\\\nCOPY [\"a b\", \"C:\\\\x y\\\\\"]\nCOPY a.txt /x\n\
         VOLUME C:\\data c:/logs\nVOLUME [\"C:\\\\more\", \"D:\"]\n\
         ARG Version=1\nENV PATH=C:\\a Path=\"C:\\b\" V=${VERSION}\nENV pAtH=\"${PATH};C:\\c\"\nWORKDIR C:\\v$version\n",
    );
    let image = &config["config"];
    assert_eq!(image["WorkingDir"], r"C:\v1");
    let volumes = image["Volumes"].as_object().unwrap();
    assert_eq!(volumes.keys().collect::<Vec<_>>(), [r"C:\data", r"C:\logs", r"C:\more", "D:"]);
    assert_eq!(image["Env"], json!([r"pAtH=C:\b;C:\c", "V=1"]));
}

#[test]
fn a_config_says_how_its_command_line_is_to_be_read() {
    let env = env();
    let of = |lines: &str| {
        let config = config(&env, &format!("# escape=`\nFROM scratch\n{lines}\n"));
        let image = &config["config"];
        (
            image["Entrypoint"].clone(),
            image["Cmd"].clone(),
            image["ArgsEscaped"].as_bool().unwrap_or_default(),
        )
    };
    let shell = json!(["cmd /S /C app.exe \"a b\" %X%"]);
    assert_eq!(of(r#"ENTRYPOINT app.exe "a b" %X%"#), (shell.clone(), Value::Null, true));
    assert_eq!(of(r#"CMD app.exe "a b" %X%"#), (Value::Null, shell, true));
    let exec = json!([r"C:\app.exe", "a b"]);
    assert_eq!(of(r#"CMD ["C:\\app.exe", "a b"]"#), (Value::Null, exec.clone(), false));
    assert_eq!(of("CMD x\nENTRYPOINT [\"C:\\\\app.exe\", \"a b\"]"), (exec, json!(["cmd /S /C x"]), false));
    let powershell = json!(["powershell -Command $x = 'y'; Get-Item \"z\""]);
    let lines = "SHELL [\"powershell\", \"-Command\", \"$x = 'y';\"]\nCMD Get-Item \"z\"";
    assert_eq!(of(lines), (Value::Null, powershell, true));
}

#[test]
fn a_file_from_an_editor_of_windows_is_read_or_called_by_its_name() {
    let env = env();
    let text = "# escape=`\r\nFROM scratch\r\nCOPY a.txt `\r\n  C:\\app\\\r\nENV A=b\r\n";
    assert_eq!(config(&env, &format!("\u{feff}{text}"))["config"]["Env"], json!(["A=b"]));
    let wide: Vec<u8> = "\u{feff}FROM scratch\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let context = env.dir("context");
    fs::write(context.join("Dockerfile"), &wide).unwrap();
    let run = env.orlop(["build"]).arg(&context).run().code(1);
    run.says("`Dockerfile` is UTF-16 and not UTF-8").says("Set-Content -Encoding utf8");
    fs::write(context.join("Dockerfile"), "FROM scratch\n").unwrap();
    fs::write(context.join(".dockerignore"), &wide).unwrap();
    env.orlop(["build"]).arg(&context).run().code(1).says(".dockerignore` is UTF-16");
}

#[test]
fn triggers_of_a_windows_base_are_read_as_its_child_is_written() {
    let env = env();
    let base = "# escape=`\nFROM scratch\nONBUILD WORKDIR C:\\ob\nONBUILD COPY a.txt C:\\ob\\x\\\nONBUILD ENV X=%PATH%\n";
    build(&env, base).run().success();
    env.orlop(["tag", "built", "base"]).run().success();
    let warned = build(&env, "# escape=`\nFROM base\n").run().success();
    warned.says("Dockerfile:2: in an ONBUILD trigger of the base image: `%PATH%` means nothing");
    let refused = build(&env, "FROM base\n").run().code(1);
    refused.says("ONBUILD trigger `WORKDIR C:\\ob` of the base image: `C:ob` has no").says("escape=`");
}

#[test]
fn whose_files_are_is_said_by_user_and_chown_as_docker_does() {
    // `S-1-5-93-2-2`, ContainerUser, by [MS-DTYP] 2.4.2.2.
    const USER: [u8; 20] = [1, 3, 0, 0, 0, 0, 0, 5, 93, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
    let env = env();
    let dest = env.path("image");
    let out = format!("type=oci,dest={},tar=false", dest.display());
    let dockerfile = "# escape=`\nFROM scratch\nWORKDIR C:\\before\nUSER ContainerUser\nWORKDIR C:\\mine\\deep\n\
                      COPY a.txt .\nCOPY --chown=containeruser sub new\\sub\nWORKDIR C:\\before\n\
                      COPY --chown=ContainerAdministrator a.txt admin.txt\n";
    build(&env, dockerfile).args(["-o", &out]).run().success();
    let mut own = Vec::new();
    let mut all = Vec::new();
    for (i, tar) in layout::layers(&dest).iter().enumerate() {
        let records = windows_layer::read(tar);
        windows_layer::check(&records, if i == 0 { Place::Base } else { Place::Upper });
        for record in records {
            let security = record.security();
            // The owner stands at the place that the descriptor says, and the list holds it once more.
            let owner = usize::from(security[4]);
            if security[owner..].starts_with(&USER) {
                assert_eq!(security.windows(20).filter(|part| *part == USER).count(), 2, "`{}`", record.name);
                own.push(record.name.clone());
            }
            all.push(record.name);
        }
    }
    own.dedup();
    let names = ["mine", "mine/deep", "mine/deep/new", "mine/deep/new/sub", "mine/deep/new/sub/c.txt"];
    let expected: std::collections::BTreeSet<_> = names.iter().map(|name| format!("Files/{name}")).collect();
    assert_eq!(own.into_iter().collect::<std::collections::BTreeSet<_>>(), expected);
    assert!(
        ["Files/before", "Files/before/admin.txt", "Files/mine/deep/a.txt"]
            .iter()
            .all(|name| all.contains(&(*name).to_owned()))
    );
    // Another owner is another step; the same one again is known.
    let again = build(&env, dockerfile).run().success();
    assert_eq!(again.stderr.matches("CACHED").count(), 6, "{again}");
    let other = build(&env, &dockerfile.replace("--chown=containeruser ", "")).run().success();
    assert!(other.stderr.matches("CACHED").count() < 6, "{other}");
}

#[test]
fn an_ignore_file_of_windows_that_means_nothing_on_linux_says_what_to_write() {
    let env = env();
    fs::write(env.dir("context").join(".dockerignore"), "bin\\\n").unwrap();
    let run = build(&env, "FROM scratch\nCOPY a.txt /\n").run().code(1);
    run.says(".dockerignore`: line 1 of the ignore file, `bin\\`")
        .says("Caused by: ")
        .says("hint: write `/`");
    fs::write(env.dir("context").join(".dockerignore"), "# a\\b\r\nobj\\bin\r\n*.tmp\r\n\\!x\r\n").unwrap();
    let run = build(&env, "FROM scratch\nCOPY a.txt /\n").run().success();
    assert_eq!(run.stderr.matches("warning: ").count(), 1, "{run}");
    run.says(".dockerignore:2: in `obj\\bin` a `\\` separates nothing here").says("hint: write `/`");
}
