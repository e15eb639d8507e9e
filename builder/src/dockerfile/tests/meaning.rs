use super::*;

fn shell(command: &ShellOrExec) -> &str {
    match command {
        ShellOrExec::Shell(text) => &text.value,
        ShellOrExec::Exec(arguments) => panic!("exec form: {arguments:?}"),
    }
}

#[test]
fn stages_arguments_and_names() {
    let file = file(
        "# comment\nARG BASE=debian:12\narg A B=b\n\nfrom --platform=$BUILDPLATFORM ${BASE} As Build\nRUN a\n\
         FROM scratch\nFROM 0\nRUN b\nRUN c\n",
    );
    let args: Vec<_> = file
        .global_args()
        .map(|arg| (arg.name.value.as_str(), arg.default.as_ref().map(|d| d.value.as_str())))
        .collect();
    assert_eq!(args, [("BASE", Some("debian:12")), ("A", None), ("B", Some("b"))]);
    assert_eq!(file.stages.len(), 3);
    let first = &file.stages[0].from;
    assert_eq!(first.image.value, "${BASE}");
    assert_eq!(first.platform.as_ref().unwrap().value, "$BUILDPLATFORM");
    assert_eq!(first.name.as_ref().unwrap().value, "build");
    assert_eq!(file.stages[1].from.image.value, "scratch");
    assert_eq!(file.stages.iter().map(|stage| stage.instructions.len()).collect::<Vec<_>>(), [1, 0, 2]);
    assert!(file.warnings.is_empty(), "{:?}", file.warnings);
}

#[test]
fn directives_stand_at_the_very_top() {
    let file = file(
        "\u{feff}# Syntax = docker/dockerfile:1 extra \r\n#ESCAPE=`\r\n# check=skip=all;error=true\r\nFROM a`\r\n\r\n",
    );
    assert_eq!(file.directives.syntax.as_ref().unwrap().value, "docker/dockerfile:1");
    assert_eq!(file.directives.escape, '`');
    assert_eq!(file.directives.check.as_ref().unwrap().value, "skip=all;error=true");
}

#[test]
fn directives_after_anything_else_are_comments() {
    for head in ["# a comment\n", "\n", "#\n", "# unknown=x\n", "FROM a\n", "# escape=\n"] {
        let text = format!("{head}# escape=`\n# syntax=x\nFROM b\n");
        let file = file(&text);
        assert_eq!(file.directives, Directives::default(), "{head:?}");
    }
    let file = file("#!/usr/bin/env build\n# escape=`\nFROM b\\\n\n");
    assert_eq!(file.directives.escape, '\\');
    let file = super::file("#!/usr/bin/env build\n# syntax=x\nFROM b\n");
    assert_eq!(file.directives.syntax.unwrap().value, "x");
}

#[test]
fn continuations_join_without_anything_between() {
    let file = file(
        "FROM scratch\n  RUN a \\\n    b\\\nc \\  \n# comment \\\n   # another\n\n \t\n  d \\\n\nRUN e \\",
    );
    let commands: Vec<_> = file.stages[0].instructions.iter().map(|i| i.original.as_str()).collect();
    assert_eq!(commands, ["RUN a     bc   d RUN e"]);
    let kinds: Vec<_> = file.warnings.iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, [WarningKind::SpaceAfterEscape, WarningKind::EmptyContinuation]);
}

#[test]
fn a_doubled_escape_character_continues_nothing() {
    let file = file("FROM scratch\nENV A a\\\\\nENV B b\\\\  \nENV C \\\n c\n");
    let names: Vec<_> = file.stages[0].instructions.iter().map(|i| i.original.as_str()).collect();
    assert_eq!(names, ["ENV A a\\\\", "ENV B b\\\\", "ENV C  c"]);
}

#[test]
fn line_breaks_may_be_windows_ones() {
    let file = file("FROM scratch\r\nRUN a \\\r\n  b\r\nCOPY <<X /x\r\none\r\nX\r\nRUN c\r\n");
    let kinds: Vec<_> = file.stages[0].instructions.iter().map(|i| i.original.as_str()).collect();
    assert_eq!(kinds, ["RUN a   b", "COPY <<X /x", "RUN c"]);
    let Kind::Copy(copy) = &file.stages[0].instructions[1].kind else { panic!() };
    assert_eq!(copy.heredocs[0].content, "one\r\n");
}

#[test]
fn env_has_two_forms() {
    assert_eq!(
        expanded(r#"ENV k=v k2="a b" k3=a\ b k4='c d' k5= k6="" "k7"=x k8=a=b"#),
        owned(&[
            ("k", "v"),
            ("k2", "a b"),
            ("k3", "a b"),
            ("k4", "c d"),
            ("k5", ""),
            ("k6", ""),
            ("k7", "x"),
            ("k8", "a=b"),
        ])
    );
    assert_eq!(pairs("ENV k the rest  of it  "), owned(&[("k", "the rest  of it")]));
    assert_eq!(pairs("ENV k \"the rest\" a=b"), owned(&[("k", "\"the rest\" a=b")]));
    assert_eq!(pairs("ENV\tk\tv"), owned(&[("k", "v")]));
    assert_eq!(pairs("ENV k =v"), owned(&[("k", "=v")]));
    assert_eq!(pairs("ENV a=b\\"), owned(&[("a", "b")]));
    assert_eq!(pairs("ENV a='x\\' b=c"), owned(&[("a", "'x\\'"), ("b", "c")]));
    assert_eq!(pairs("ENV a=\"x\\\" y\" b=c"), owned(&[("a", "\"x\\\" y\""), ("b", "c")]));
}

#[test]
fn labels_are_like_env() {
    assert_eq!(
        expanded("LABEL \"com.example a\"=\"b c\" x.y=1 \\\n  multi=\"one \\\ntwo\""),
        owned(&[("com.example a", "b c"), ("x.y", "1"), ("multi", "one two")])
    );
    assert_eq!(expanded("LABEL description This is text"), owned(&[("description", "This is text")]));
}

#[test]
fn env_expansion_of_a_chain_of_lines() {
    // What `ENV` sees is the state before its line.
    let file = file(concat!(
        "FROM x\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n",
        r#"ENV E1=\$abc E2="\$abc" E3='$abc' E4="a b" E5=a\ b E6="q\"q" E7=${abc}x E8=${none:-dflt} E9=${abc:+alt} E10=${none:+no}"#,
        "\nENV OLD form with   spaces = and $abc\nENV EMPTY= AFTER=1\nENV NEST=${none:-${abc}-in}\n"
    ));
    let mut state: Vec<(String, String)> = Vec::new();
    for instruction in &file.stages[0].instructions {
        let Kind::Env(pairs) = &instruction.kind else { panic!() };
        let before = state.clone();
        let lookup =
            |name: &str| before.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        for (name, value) in pairs {
            state.push((name.value.clone(), variables::expand(&value.value, '\\', &lookup).unwrap()));
        }
    }
    for (name, value) in [
        ("abc", "bye"),
        ("def", "hello"),
        ("ghi", "bye"),
        ("E1", "$abc"),
        ("E2", "$abc"),
        ("E3", "$abc"),
        ("E4", "a b"),
        ("E5", "a b"),
        ("E6", "q\"q"),
        ("E7", "byex"),
        ("E8", "dflt"),
        ("E9", "alt"),
        ("E10", ""),
        ("OLD", "form with   spaces = and bye"),
        ("EMPTY", ""),
        ("AFTER", "1"),
        ("NEST", "bye-in"),
    ] {
        let found = state.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(found, Some(value), "{name}");
    }
}

#[test]
fn arguments_have_defaults_and_docs() {
    let Kind::Arg(args) = one("# A is for apples\n# and\n# B b\nARG A B=\"x y\" C=").kind else { panic!() };
    let args: Vec<_> = args
        .iter()
        .map(|a| (a.name.value.as_str(), a.default.as_ref().map(|d| d.value.as_str()), a.doc.as_deref()))
        .collect();
    assert_eq!(
        args,
        [("A", None, Some("is for apples")), ("B", Some("\"x y\""), Some("b")), ("C", Some(""), None)]
    );
}

#[test]
fn commands_are_json_or_text() {
    let exec = |arguments: &[&str]| ShellOrExec::Exec(arguments.iter().map(|&a| a.to_owned()).collect());
    assert_eq!(one("CMD [\"a\", \"b c\"]").kind, Kind::Cmd(exec(&["a", "b c"])));
    assert_eq!(one("CMD   [ \"a\" ,\t\"\\u00e9\\\"\" ]  ").kind, Kind::Cmd(exec(&["a", "é\""])));
    assert_eq!(one("CMD []").kind, Kind::Cmd(exec(&[])));
    assert_eq!(one("ENTRYPOINT [\"a\", \\\n # no\n \"b\"]").kind, Kind::Entrypoint(exec(&["a", "b"])));
    let Kind::Cmd(command) = one("CMD echo  \"$HOME\" \\\n x").kind else { panic!() };
    assert_eq!(shell(&command), "echo  \"$HOME\"  x");
    for text in ["CMD ['a']", "CMD [\"a\",]", "CMD [\"a\"", "CMD [a]", "CMD [\"a\"] x", "CMD"] {
        assert!(matches!(one(text).kind, Kind::Cmd(ShellOrExec::Shell(_))), "{text}");
    }
    assert_eq!(one("SHELL [\"/bin/bash\", \"-c\"]").kind, Kind::Shell(vec!["/bin/bash".into(), "-c".into()]));
    let warned = |text: &str| {
        file(&format!("FROM x\n{text}"))
            .warnings
            .iter()
            .any(|warning| warning.kind == WarningKind::JsonFallback)
    };
    assert!(warned("CMD ['a', 'b']"));
    assert!(warned("COPY [\"a\" \"b\"]"));
    assert!(!warned("RUN [ -f /x ] && echo"));
    assert!(!warned("RUN [ \"$A\" = b ] && echo"));
}

#[test]
fn copy_and_add_have_words_and_flags() {
    let parsed = copy(
        "COPY --from=build --chown=1:2 --chmod=755 --link --parents=false --exclude=*.o --exclude=\"a b\" a b\t c/",
    );
    assert_eq!(values(&parsed.sources), ["a", "b"]);
    assert_eq!(parsed.dest.value, "c/");
    assert_eq!(parsed.from.unwrap().value, "build");
    assert_eq!(parsed.chown.unwrap().value, "1:2");
    assert_eq!(parsed.chmod.unwrap().value, "755");
    assert_eq!(values(&parsed.exclude), ["*.o", "a b"]);
    assert!(parsed.link && !parsed.parents);
    let parsed = copy("COPY [\"a b\", \"c\", \"/d e/\"]");
    assert_eq!((values(&parsed.sources), parsed.dest.value.as_str()), (vec!["a b", "c"], "/d e/"));
    let parsed = copy("COPY -- --odd /x");
    assert_eq!(values(&parsed.sources), ["--odd"]);
    let Kind::Add(add) = one("ADD --checksum=sha256:0 --keep-git-dir --unpack=False https://x/y /z").kind
    else {
        panic!()
    };
    assert_eq!(add.checksum.unwrap().value, "sha256:0");
    assert_eq!((add.keep_git_dir, add.unpack), (Some(true), Some(false)));
}

#[test]
fn other_instructions() {
    let Kind::Expose(ports) = one("EXPOSE 80 443/tcp $P 8000-8010/udp").kind else { panic!() };
    assert_eq!(values(&ports), ["80", "443/tcp", "$P", "8000-8010/udp"]);
    let Kind::Volume(paths) = one("VOLUME /a /b").kind else { panic!() };
    assert_eq!(values(&paths), ["/a", "/b"]);
    let Kind::Volume(paths) = one("VOLUME [\"/a b\", \" /c \"]").kind else { panic!() };
    assert_eq!(values(&paths), ["/a b", "/c"]);
    assert!(matches!(one("WORKDIR /a b").kind, Kind::Workdir(path) if path.value == "/a b"));
    assert!(matches!(one("USER 1000:$G").kind, Kind::User(user) if user.value == "1000:$G"));
    assert!(matches!(one("STOPSIGNAL SIGKILL").kind, Kind::Stopsignal(signal) if signal.value == "SIGKILL"));
    assert!(matches!(one("MAINTAINER A <a@b>").kind, Kind::Maintainer(name) if name.value == "A <a@b>"));
    assert_eq!(one("HEALTHCHECK none").kind, Kind::Healthcheck(Healthcheck::None));
    let Kind::Healthcheck(Healthcheck::Cmd { interval, timeout, start_period, start_interval, retries, command }) =
        one("HEALTHCHECK --interval=1m30s --timeout=3s --start-period=0s --start-interval=1ms --retries=5 cmd [\"a\"]").kind
    else {
        panic!()
    };
    assert_eq!(
        (interval, timeout, start_period, start_interval),
        (90_000_000_000, 3_000_000_000, 0, 1_000_000)
    );
    assert_eq!((retries, command), (5, ShellOrExec::Exec(vec!["a".into()])));
}

#[test]
fn run_has_flags() {
    let parsed = run(
        "RUN --mount=type=cache,target=/root/.cache --mount=type=bind,from=build,source=$A,target=/x --network=none \
         --security=insecure --device=vendor.com/gpu=all,required make --jobs",
    );
    assert_eq!(parsed.mounts.len(), 2);
    assert_eq!(parsed.mounts[1].from.as_ref().unwrap().value, "build");
    assert_eq!(parsed.network.unwrap().value, RunNetwork::None);
    assert_eq!(parsed.security.unwrap().value, RunSecurity::Insecure);
    assert_eq!(parsed.devices[0].value, Device { name: "vendor.com/gpu=all".into(), required: true });
    assert_eq!(shell(&parsed.command), "make --jobs");
}

#[test]
fn triggers_are_checked_and_kept() {
    let instruction = one("ONBUILD   run  a \\\n  b");
    let Kind::Onbuild(onbuild) = &instruction.kind else { panic!() };
    assert_eq!((onbuild.trigger.value.as_str(), onbuild.keyword), ("run  a   b", "RUN"));
    let Kind::Onbuild(onbuild) = one("ONBUILD COPY <<A <<-B /x\none\nA\n\ttwo\n\tB\n").kind else { panic!() };
    assert_eq!(onbuild.trigger.value, "COPY <<A <<-B /x\none\nA\n\ttwo\nB");
    let trigger = parse_onbuild(&source(&onbuild.trigger.value), '\\').unwrap();
    let Kind::Copy(copy) = trigger.kind else { panic!() };
    assert_eq!(copy.heredocs.iter().map(Heredoc::text).collect::<Vec<_>>(), ["one\n", "two\n"]);
}

#[test]
fn heredocs_of_copy() {
    let lookup = |name: &str| (name == "WHO").then(|| "world".to_owned());
    let texts = |copy: &Copy| -> Vec<(String, String)> {
        copy.heredocs.iter().map(|h| (h.name.clone(), h.file(&lookup).unwrap().text)).collect()
    };
    let line = "a \"quoted\" 'single' ${WHO} \\${WHO}\n";
    assert_eq!(
        texts(&copy(&format!("COPY <<EOF /plain\n{line}EOF\n"))),
        owned(&[("EOF", "a \"quoted\" 'single' world ${WHO}\n")])
    );
    assert_eq!(texts(&copy(&format!("COPY <<\"EOF\" /raw\n{line}EOF\n"))), owned(&[("EOF", line)]));
    assert_eq!(texts(&copy(&format!("COPY <<'EOF' /raw\n{line}EOF\n"))), owned(&[("EOF", line)]));
    assert_eq!(
        texts(&copy("COPY <<-TABS /tabs\n\tone\n\t  two\n\tTABS\n")),
        owned(&[("TABS", "one\n  two\n")])
    );
    let parsed = copy("COPY --chown=1 <<a.txt real <<b.txt /two/\nfirst\na.txt\nsecond\nb.txt\n");
    assert_eq!(texts(&parsed), owned(&[("a.txt", "first\n"), ("b.txt", "second\n")]));
    assert_eq!((values(&parsed.sources), parsed.dest.value.as_str()), (vec!["real"], "/two/"));
    let parsed = copy("COPY <<'a b' real << C /two/\n1\na b\n2\nC\n");
    assert_eq!(texts(&parsed), owned(&[("a b", "1\n"), ("C", "2\n")]));
    assert_eq!((values(&parsed.sources), parsed.dest.value.as_str()), (vec!["real"], "/two/"));
    let parsed = copy("COPY [\"<<EOF\", \"/x\"]");
    assert_eq!((values(&parsed.sources), parsed.heredocs.len()), (vec!["<<EOF"], 0));
}

#[test]
fn heredocs_of_run() {
    let invocation = |text: &str| run(text).invocation();
    let shell = |text: &str| Invocation::Shell(text.to_owned());
    assert_eq!(invocation("RUN <<EOF\n# a\necho $x\nEOF\n"), shell("# a\necho $x\n"));
    assert_eq!(invocation("RUN <<-EOF\n\techo\n\t\tx\n\tEOF\n"), shell("echo\nx\n"));
    assert_eq!(invocation("RUN 3<<E\nx\nE\n"), shell("x\n"));
    assert_eq!(invocation("RUN << EOF\nx\nEOF\n"), shell("x\n"));
    assert_eq!(
        invocation("RUN --network=none <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n"),
        Invocation::Script { name: "EOF".into(), content: "#!/usr/bin/env python3\nprint(1)\n".into() }
    );
    assert_eq!(invocation("RUN cat <<EOF > /x\na\nEOF\n"), shell("cat <<EOF > /x\na\nEOF"));
    assert_eq!(
        invocation("RUN cat <<A - <<-'B C' \\\n  > /x\na\nA\n\tb\n\tB C\n"),
        shell("cat <<A - <<-'B C'   > /x\na\nA\n\tb\nB C")
    );
    assert_eq!(invocation("RUN echo \"<<EOF\""), shell("echo \"<<EOF\""));
    assert_eq!(invocation("RUN a <<< b"), shell("a <<< b"));
    assert_eq!(invocation("RUN echo $((1<<2))"), shell("echo $((1<<2))"));
    assert_eq!(invocation("RUN it's <<EOF"), shell("it's <<EOF"));
    assert_eq!(invocation("RUN [\"<<EOF\"]"), Invocation::Exec(vec!["<<EOF".into()]));
}

#[test]
fn delimiters_of_heredocs() {
    for (head, name, expand, fd) in [
        ("<<EOF", "EOF", true, 0),
        ("4<<EOF", "EOF", true, 4),
        ("<<'EOF'", "EOF", false, 0),
        ("<<EO\"F\"", "EOF", false, 0),
        ("<<eo\\'f", "eo'f", true, 0),
        ("<<'e'o\\'f", "eo'f", false, 0),
        ("<<'one two'", "one two", false, 0),
        ("<<$EOF", "$EOF", true, 0),
        ("<<${EOF:-x}", "${EOF:-x}", true, 0),
        ("<< -EOF", "-EOF", true, 0),
        ("<<\tEOF", "EOF", true, 0),
    ] {
        let parsed = run(&format!("RUN {head} sh\n{name}\n"));
        let heredoc = &parsed.heredocs[0];
        assert_eq!((heredoc.name.as_str(), heredoc.expand, heredoc.fd), (name, expand, fd), "{head}");
        assert_eq!(heredoc.content, "");
    }
}

#[test]
fn only_run_copy_and_add_take_heredocs() {
    let file = file("FROM x\nUSER <<EOF\nENV a=<<EOF\nCMD <<EOF\nLABEL a <<EOF\n");
    assert_eq!(file.stages[0].instructions.len(), 4);
}

#[test]
fn a_backslash_in_a_flag_is_one_where_it_escapes_nothing() {
    let target = |head: &str, flag: &str| {
        let file = parse(source(&format!("{head}FROM a\nRUN {flag} b\n"))).unwrap();
        let Kind::Run(run) = &file.stages[0].instructions[0].kind else { panic!() };
        run.mounts[0].raw.clone()
    };
    for (written, plain, escaped) in [
        (r"--mount=target=C:\cache", r"target=C:\cache", "target=C:cache"),
        (r"--mount=target=C:\\cache", r"target=C:\cache", r"target=C:\cache"),
        (r#"--mount="target=C:\a b""#, r"target=C:\a b", "target=C:a b"),
        (r#"--mount=\"target=a\""#, r#""target=a""#, r#""target=a""#),
    ] {
        assert_eq!(target("# escape=`\n", written), plain, "{written}");
        assert_eq!(target("", written), escaped, "{written}");
    }
}

#[test]
fn a_trigger_is_read_with_the_escape_character_of_who_builds_on_it() {
    let trigger = parse_onbuild(&source(r"COPY . C:\app\"), '`').unwrap();
    let Kind::Copy(copy) = trigger.kind else { panic!() };
    assert_eq!(copy.dest.value, r"C:\app\");
}

#[test]
fn text_that_was_meant_as_json_is_shown_with_its_backslashes_doubled() {
    let hint = |line: &str| {
        let file = parse(source(&format!("# escape=`\nFROM a\n{line}\n"))).unwrap();
        file.warnings[0].hint.clone().unwrap()
    };
    assert!(hint(r#"ENTRYPOINT ["C:\app\app.exe"]"#).ends_with(r#"`["C:\\app\\app.exe"]`"#));
    assert!(hint(r#"COPY ["a b", "C:\x y\"]"#).ends_with(r#"`["a b", "C:\\x y\\"]`"#));
    assert!(hint(r#"CMD ['a', 'b']"#).contains("double quotes"));
}
