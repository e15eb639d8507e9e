//! A Dockerfile as a Windows developer writes it: words on their way through `cmd`, batch files and programs, names
//! with drives, mounts, the commands that do not get into an image, and what is said of each.

use std::fs;

use orlop_fixtures::layout;
use serde_json::Value;

use crate::{Wine, wine};

const FROM: &str = "# escape=`\nARG BASE=scratch\nFROM ${BASE}\n";

/// What a step wrote, line by line, without when.
fn lines(stderr: &str) -> Vec<&str> {
    let output = stderr.lines().filter_map(|line| {
        let (at, text) = line.strip_prefix('#')?.split_once(' ')?.1.split_once(' ')?;
        at.contains('.').then_some(text).filter(|_| at.parse::<f64>().is_ok())
    });
    output.collect()
}

#[test]
fn words_of_an_exec_form_reach_the_program_as_they_are() {
    let wine = wine();
    wine.fill();
    let words = [
        "",
        "a b",
        "a\"b",
        "a\\\"b",
        "\\",
        "\\\\",
        "a b\\",
        "a\\\\b",
        "%PATH%",
        "^",
        "&",
        "|",
        "<>",
        "'",
        "`",
        "é ü",
        "*",
        "--x=\"y z\"",
        "$env:X",
        "!x!",
        "\"",
        "\\\"",
        "d:\\a b\\",
        "=",
        ";",
        ",",
        "\"\"",
    ];
    let json = serde_json::to_string(&[&["load.exe", "say"], &words[..]].concat()).expect("text is JSON");
    let run = wine.build(&format!("{FROM}RUN {json}\n"), "x:1").run().success();
    let expected: Vec<_> = words.iter().map(|word| format!("[{word}]")).collect();
    assert_eq!(lines(&run.stderr), expected, "{run}");
    wine.assert_quiet();
}

#[test]
fn programs_are_found_as_windows_finds_them() {
    let wine = wine();
    wine.fill();
    let dockerfile = format!(
        "{FROM}WORKDIR C:\\Program Files\\My App\n\
         RUN echo @echo batch [%1] [%2]> p.cmd\n\
         RUN [\"p.cmd\", \"one\", \"two & echo three\"]\n\
         RUN [\"P\", \"pathext\"]\n\
         RUN p shell \"form\"\n\
         RUN [\"LOAD\", \"say\", \"by PATH\"]\n\
         RUN [\"C:\\\\tools\\\\load.exe\", \"say\", \"by its path in the image\"]\n\
         RUN [\"..\\\\..\\\\tools\\\\load.exe\", \"say\", \"relative\"]\n\
         ENV Greeting=\"hello there\"\nARG Who=me\n\
         RUN echo %GREETING%, %who%\n"
    );
    let run = wine.build(&dockerfile, "x:1").run().success().never_says("warning:");
    let expected = [
        "batch [one] [\"two & echo three\"]",
        "batch [pathext] []",
        "batch [shell] [\"form\"]",
        "[by PATH]",
        "[by its path in the image]",
        "[relative]",
        "hello there, me",
    ];
    assert_eq!(lines(&run.stderr), expected, "{run}");
    wine.assert_quiet();
}

#[test]
fn a_file_of_windows_with_heredocs_triggers_and_mounts() {
    let wine = wine();
    wine.fill();
    wine.context("a.txt", "from the context\r\n");
    fs::write(wine.on_c("outside/secret.txt"), "hidden").expect("a secret");
    let text = format!(
        "{FROM}WORKDIR C:\\app\\\nCOPY a.txt `\n    C:\\app\\\n\
         RUN <<EOF\necho one \"%%~dp0\" & echo two\nfor %%i in (3 4) do echo %%i\nEOF\n\
         RUN --mount=type=secret,id=key,target=C:\\keys\\key type %ORLOP_ROOT%\\keys\\key\n\
         RUN --mount=type=secret,id=key,env=KEY echo [%KEY%]\n\
         RUN --mount=type=bind,target=C:\\src type %ORLOP_ROOT%\\src\\a.txt\n\
         RUN if exist %ORLOP_ROOT%\\keys (echo left) else (echo gone)\n"
    );
    let run = wine
        .build(&format!("\u{feff}{}", text.replace('\n', "\r\n")), "x:1")
        .args(["--secret", r"id=key,src=C:\outside\secret.txt"])
        .run()
        .success();
    let said = lines(&run.stderr);
    for line in ["3", "4", "hidden", "[hidden]", "from the context", "gone"] {
        assert!(said.contains(&line), "`{line}`: {run}");
    }
    assert!(said[0].starts_with("one ") && said[1] == "two", "{run}");
    // No file system of Wine takes a junction, and what is written through one cannot be had otherwise.
    let cache =
        wine.build(&format!("{FROM}RUN --mount=type=cache,target=C:\\cache dir\n"), "x:1").run().code(1);
    cache.says("writable mount on `C:\\cache`").says("Dockerfile:4").says("hint: do without the cache mount");
    wine.assert_quiet();
}

#[test]
fn what_does_not_get_into_the_image_is_said_at_its_line_and_where_to_put_it() {
    let wine = wine();
    wine.fill();
    let dockerfile = format!(
        "{FROM}WORKDIR C:\\app\n\
         RUN echo path=C:\\data> app.ini\n\
         RUN echo x> C:\\outside\\x.txt & dir C:\\Windows\\System32 > nul\n\
         RUN setx /M PATH \"%PATH%;C:\\app\" & `\n    reg query HKLM\\Software > nul\n\
         RUN [\"cmd\", \"/C\", \"type C:\\\\app\\\\app.ini & echo \\\"quoted\\\"\"]\n"
    );
    let run = wine.build(&dockerfile, "x:1").run();
    let warnings: Vec<_> = run
        .stderr
        .lines()
        .zip(run.stderr.lines().skip(1))
        .filter_map(|(line, hint)| Some((line.strip_prefix("warning: Dockerfile:")?, hint)))
        .collect();
    let expected = [
        ("6: `C:\\outside\\x.txt` in RUN is the host's", "%ORLOP_ROOT%\\outside\\x.txt"),
        ("7: `setx` writes variables to the registry", "ENV NAME=value"),
        ("9: `cmd` reads a quote", "shell form"),
        ("9: `C:\\app\\app.ini` in RUN is the host's", "`app.ini` relative to WORKDIR"),
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    // And in the report of the step itself.
    let note = "note: `setx /M PATH \"%PATH%;C:\\app\"` is for a registry";
    assert_eq!(run.stderr.matches(note).count(), 1, "{run}");
    for ((line, hint), (text, instead)) in warnings.iter().zip(expected) {
        assert!(line.starts_with(text) && hint.contains(instead), "{text}: {line}\n{hint}");
    }
    wine.assert_quiet();
}

#[test]
fn a_command_that_is_not_there_has_a_way_out() {
    let wine = wine();
    wine.fill();
    for (lines, hint) in [
        (
            "RUN [\"nosuch.exe\"]\n",
            "WORKDIR, in the machine's own `C:\\Windows\\System32`, and the image's `PATH`",
        ),
        ("RUN [\"C:\\\\nosuch.exe\"]\n", "COPY the program there first"),
        ("SHELL [\"pwsh\", \"-Command\"]\nRUN Get-Date\n", "install PowerShell"),
        ("RUN nosuch\n", "the image's `PATH`"),
    ] {
        let run = wine.build(&format!("{FROM}{lines}"), "x:1").run().code(1);
        let said = run.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(said.contains(hint), "{lines}: {run}");
    }
    let run = wine.build(&format!("{FROM}USER app\nRUN echo x\n"), "x:1").run().code(1);
    run.says("Dockerfile:5").says("user `app` is not known").says("ContainerUser");
    wine.assert_quiet();
}

#[test]
fn files_that_cannot_be_given_to_an_account_are_said_to_be_the_administrators() {
    let wine = wine();
    wine.context("a.txt", "a");
    wine.context(
        "Dockerfile",
        "# escape=`\nFROM scratch\nUSER ContainerUser\nWORKDIR C:\\mine\nCOPY --chown=ContainerUser a.txt .\n",
    );
    // Wine's files keep the descriptor that Linux lets them have, and it is read back.
    let run = wine.orlop(&["build", "--progress=plain", r"C:\context"]).run().success();
    run.says(r"the owner of `C:\mine` could not be kept here: files belong to Administrators")
        .says("the owner or attributes of 1 files could not be kept here");
}

#[test]
fn an_image_of_nothing_names_the_version_of_the_machine() {
    let wine = wine();
    let version = |args: &[&str]| {
        let dir = wine.on_c("outside/image");
        let _ = fs::remove_dir_all(&dir);
        wine.context("Dockerfile", "FROM scratch\nENV A=b\n");
        let out = r"type=oci,tar=false,dest=C:\outside\image";
        wine.orlop(&[&["build", "-o", out], args, &[r"C:\context"]].concat())
            .run()
            .success()
            .never_says("names no version");
        let (_, config) = layout::read(&dir);
        let index: Value =
            serde_json::from_slice(&fs::read(dir.join("index.json")).expect("an index")).expect("JSON");
        assert_eq!(index["manifests"][0]["platform"]["os.version"], config["os.version"]);
        config["os.version"].as_str().unwrap_or_default().to_owned()
    };
    let own = version(&[]);
    assert!(own.split('.').count() >= 3 && own.split('.').all(|n| n.parse::<u32>().is_ok()), "{own}");
    assert!(wine.orlop(&["info"]).run().success().stdout.contains(&format!("Windows {own} ")), "{own}");
    assert_eq!(version(&["--platform", "windows(10.0.20348.587)/amd64"]), "10.0.20348.587");
    named_layout(&wine);
}

/// A layout is found by a path of this system, and one that is not there is called by the name it was given.
fn named_layout(wine: &Wine) {
    wine.context("Dockerfile", "# escape=`\nFROM oci-layout://C:\\outside\\image\nENV B=c\n");
    wine.orlop(&["build", "--platform", "windows/amd64", r"C:\context"]).run().success();
    wine.context("Dockerfile", "FROM oci-layout://C:\\outside\\image\n");
    wine.orlop(&["build", r"C:\context"]).run().code(1).says("escape=`");
    wine.context("Dockerfile", "FROM oci-layout://C:/outside/none\n");
    wine.orlop(&["build", r"C:\context"]).run().code(1).says("cannot open `C:/outside/none`");
    wine.orlop(&["load", "-i", r"C:\outside\none.tar"]).run().code(1).says(r"`C:\outside\none.tar`");
    wine.orlop(&["login", "registry"]).run().code(2).says("--password-stdin");
}
