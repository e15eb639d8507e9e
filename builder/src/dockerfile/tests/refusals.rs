use super::*;

/// A Dockerfile, where its error points, and parts of the message and of the hint.
type Case = (&'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    ("", "1:1", "no instructions", "FROM"),
    ("# only a comment\n", "2:1", "no instructions", "FROM"),
    ("ARG A\n", "2:1", "no FROM", "FROM"),
    ("RUN a\nFROM b\n", "1:1", "RUN stands before the first FROM", "only ARG"),
    ("ENV a=b\nFROM b\n", "1:1", "ENV stands before", ""),
    ("FORM a\n", "1:1", "unknown instruction `FORM`", "did you mean `FROM`?"),
    ("FROM a\n  runn b\n", "2:3", "unknown instruction `runn`", "did you mean `RUN`?"),
    (
        "FROM a\nRUN apt-get update\n  apt-get install x\n",
        "3:3",
        "unknown instruction `apt-get`",
        "line 2 ends with `&& \\`",
    ),
    ("FROM a\nRUN a\nFROM b\napt-get c\n", "4:1", "unknown instruction `apt-get`", "write `RUN apt-get …`"),
    ("FROM a\nENV a=b\nFROM b\nc=d\n", "4:1", "unknown instruction `c=d`", ""),
    ("FROM a\nRUN a \\\n b\n&& c\n", "4:1", "unknown instruction `&&`", "line 3 ends with"),
    ("FROM a\ncd /x\n", "2:1", "unknown instruction `cd`", "write `RUN cd …`"),
    (
        "FROM a\nENV A=b\n  C=d\n",
        "3:3",
        "unknown instruction `C=d`",
        "belong to the ENV before? Then line 2 ends",
    ),
    ("FROM a\nRUN <<E\nx\nE\n./y\n", "5:1", "unknown instruction `./y`", "line 4"),
    ("FROM a\nfoo: bar\n", "2:1", "unknown instruction `foo:`", ""),
    ("FROM\n", "1:1", "needs an image", ""),
    ("FROM a b\n", "1:1", "one or three", "AS name"),
    ("FROM a as b c\n", "1:1", "one or three", ""),
    ("FROM a as 1b\n", "1:11", "invalid stage name `1b`", ""),
    ("FROM a as b/c\n", "1:11", "invalid stage name `b/c`", ""),
    ("FROM --platfrom=x a\n", "1:6", "unknown flag `--platfrom` for FROM", "did you mean `--platform`?"),
    ("FROM --platform a\n", "1:6", "lacks its value", "--platform="),
    ("# escape=\\\n# escape=`\nFROM a\n", "2:3", "only one `escape`", ""),
    ("# escape=x\nFROM a\n", "1:10", "invalid escape", ""),
    ("FROM a\nCOPY a\n", "2:1", "source and a destination", ""),
    ("FROM a\nADD\n", "2:1", "source and a destination", ""),
    ("FROM a\nCOPY --form=x a b\n", "2:6", "unknown flag `--form`", "did you mean `--from`?"),
    ("FROM a\nCOPY --from=x --from=y a b\n", "2:15", "given twice", ""),
    ("FROM a\nCOPY --link=maybe a b\n", "2:6", "on or off", "--link=false"),
    ("FROM a\nCOPY --link= a b\n", "2:6", "on or off", ""),
    ("FROM a\nCOPY --from=$X a b\n", "2:13", "does not take variables", "stage of its own"),
    ("FROM a\nCOPY a <<EOF\nx\nEOF\n", "2:8", "as its destination", ""),
    ("FROM a\nCOPY <<E\u{a0}x /x\nE\n", "2:6", "only as a word of its own", "white space"),
    ("FROM a\nCOPY x <<'a b'\na b\n", "2:8", "as its destination", ""),
    ("FROM a\nCOPY [\"a\", 1]\n", "2:6", "strings only", ""),
    ("FROM a\nADD --parents a b\n", "2:5", "unknown flag `--parents` for ADD", "ADD has"),
    ("FROM a\nRUN <<EOF\nx\n", "2:5", "unterminated heredoc", "`EOF` alone"),
    ("FROM a\nRUN cat \\\n <<EOF x\n EOF\n", "3:2", "unterminated heredoc", ""),
    ("FROM a\nRUN []\n", "2:1", "needs a command", ""),
    ("FROM a\nRUN [1]\n", "2:5", "strings only", ""),
    ("FROM a\nRUN --network=hots x\n", "2:15", "unknown network mode `hots`", "did you mean `host`?"),
    ("FROM a\nRUN --security=no x\n", "2:16", "unknown security mode", "sandbox"),
    ("FROM a\nRUN --mount=type=bnid,target=/x y\n", "2:13", "unknown type `bnid`", "did you mean `bind`?"),
    ("FROM a\nRUN --mount=from=$X,target=/x y\n", "2:13", "does not take variables", "stage of its own"),
    ("FROM a\nRUN --mount=type=bind,\"target=/x y\n", "2:5", "`\"` in a flag of RUN has no end", "close it"),
    ("FROM a\nRUN --mount=type=bind,\\\"target=/x y\n", "2:5", "around a whole field", ""),
    ("FROM a\nRUN --device=a,b=c,d y\n", "2:14", "unknown field `b`", ""),
    ("FROM a\nENV\n", "2:1", "needs a name and a value", ""),
    ("FROM a\nENV A\n", "2:1", "needs a value for `A`", "ENV name=value"),
    ("FROM a\nENV A=b c\n", "2:9", "`c` has no `=`", "quotes"),
    ("FROM a\nENV =b\n", "2:5", "cannot be blank", ""),
    ("FROM a\nENV --x A=b\n", "2:5", "unknown flag `--x` for ENV", "ENV has no flags"),
    ("FROM a\nLABEL\n", "2:1", "needs a name", ""),
    ("FROM a\nLABEL a\n", "2:1", "needs a value", ""),
    ("ARG\nFROM a\n", "1:1", "needs a name", ""),
    ("ARG =x\nFROM a\n", "1:5", "cannot be blank", ""),
    ("FROM a\nWORKDIR\n", "2:1", "needs a path", ""),
    ("FROM a\nUSER  \n", "2:1", "needs a user", ""),
    ("FROM a\nEXPOSE\n", "2:1", "needs a port", ""),
    ("FROM a\nVOLUME\n", "2:1", "needs a path", ""),
    ("FROM a\nVOLUME [\"\"]\n", "2:9", "cannot be empty", ""),
    ("FROM a\nSTOPSIGNAL\n", "2:1", "needs a signal", ""),
    ("FROM a\nMAINTAINER\n", "2:1", "needs a name", ""),
    ("FROM a\nSHELL bash -c\n", "2:7", "JSON array", "SHELL ["),
    ("FROM a\nSHELL []\n", "2:1", "at least one", ""),
    ("FROM a\nSHELL\n", "2:1", "at least one", ""),
    ("FROM a\nHEALTHCHECK\n", "2:1", "needs `CMD`", ""),
    ("FROM a\nHEALTHCHECK curl x\n", "2:13", "unknown type `curl`", "HEALTHCHECK CMD"),
    ("FROM a\nHEALTHCHECK NONE x\n", "2:18", "takes no arguments", ""),
    ("FROM a\nHEALTHCHECK CMD\n", "2:1", "needs a command", ""),
    ("FROM a\nHEALTHCHECK CMD []\n", "2:1", "needs a command", ""),
    ("FROM a\nHEALTHCHECK --interval=3 CMD x\n", "2:24", "no duration", "30s"),
    ("FROM a\nHEALTHCHECK --timeout=1us CMD x\n", "2:23", "less than 1ms", ""),
    ("FROM a\nHEALTHCHECK --timeout=-1s CMD x\n", "2:23", "less than 1ms", ""),
    ("FROM a\nHEALTHCHECK --retries=-1 CMD x\n", "2:23", "no whole number", ""),
    ("FROM a\nHEALTHCHECK --retires=1 CMD x\n", "2:13", "unknown flag", "did you mean `--retries`?"),
    ("FROM a\nONBUILD\n", "2:1", "needs an instruction", ""),
    ("FROM a\nONBUILD ONBUILD RUN x\n", "2:9", "ONBUILD cannot be a trigger", ""),
    ("FROM a\nONBUILD from x\n", "2:9", "FROM cannot be a trigger", ""),
    ("FROM a\nONBUILD MAINTAINER x\n", "2:9", "MAINTAINER cannot be a trigger", ""),
    ("FROM a\nONBUILD CPOY x y\n", "2:9", "unknown instruction `CPOY`", "did you mean `COPY`?"),
    ("FROM a\nONBUILD COPY x\n", "2:9", "source and a destination", ""),
    ("FROM a\n\\\n", "2:1", "nothing to continue", ""),
];

#[test]
fn errors_say_what_where_and_what_instead() {
    for &(text, place, message, hint) in CASES {
        let error = refusal(text);
        assert_eq!(error.location().to_string(), place, "{text:?}: {error}");
        assert!(error.to_string().contains(message), "{text:?}: {error}");
        let given = error.hint().unwrap_or_default();
        assert!(given.contains(hint), "{text:?}: {error}: {given}");
    }
}

#[test]
fn triggers_of_a_base_image_are_single_instructions() {
    for (text, message) in [
        ("", "empty"),
        ("FROM x", "FROM cannot"),
        ("ONBUILD RUN x", "ONBUILD cannot"),
        ("MAINTAINER x", "MAINTAINER cannot"),
        ("RUN a\nRUN b", "single instruction"),
        ("NONSENSE", "unknown instruction"),
    ] {
        let error = parse_onbuild(&source(text), '\\').unwrap_err();
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
}

#[test]
fn long_text_is_cut_in_messages() {
    let error = refusal(&format!("FROM a\n{} b\n", "é".repeat(1 << 20)));
    assert!(error.to_string().len() < 200, "{}", error.to_string().len());
}

/// A comment may be in any encoding; the same line in a heredoc is content.
#[test]
fn only_comments_may_be_in_another_encoding() {
    let parse = |bytes: &[u8]| {
        let source = SourceFile::from_bytes("Dockerfile", bytes.to_vec()).map_err(|e| e.to_string())?;
        parse(Arc::new(source)).map_err(|e| format!("{} {}", e.location(), e.message))
    };
    let file = parse(b"# f\xfcr\nFROM a\nRUN b \\\n # gr\xfcn\n c\nRUN <<EOF\nd\nEOF\n").unwrap();
    assert_eq!(file.stages[0].instructions.len(), 2);
    let error = parse(b"FROM a\nRUN <<EOF\nd\n# f\xfcr\nEOF\n").unwrap_err();
    assert_eq!(error, "4:1 this line is not UTF-8");
    let error = parse(b"FROM a\nRUN \xfc\n").unwrap_err();
    assert_eq!(error, "`Dockerfile` is not UTF-8: byte 11 on line 2 is 0xfc");
}
