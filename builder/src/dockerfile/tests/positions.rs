use super::*;

/// The text that a word's span covers.
fn at<'a>(file: &'a Dockerfile, word: &Word) -> &'a str {
    file.source.slice(word.span)
}

#[test]
fn words_know_their_place_across_continuations() {
    let file = file(
        "\u{feff}FROM --platform=linux/amd64 debian AS b\nCOPY --from=x --chmod=\"6 4\" \\\n  # comment\n  one \\\n\n \
         two /é\nENV a=1 \\\n  b='2 3'\nRUN --mount=type=tmpfs,target=/x a\\\nb\nCOPY [\"p q\", \"r\"]\n",
    );
    let stage = &file.stages[0];
    assert_eq!(at(&file, &stage.from.image), "debian");
    assert_eq!(at(&file, stage.from.platform.as_ref().unwrap()), "linux/amd64");
    assert_eq!(at(&file, stage.from.name.as_ref().unwrap()), "b");
    let [copy, env, run, json] = stage.instructions.as_slice() else { panic!() };
    let Kind::Copy(copy_kind) = &copy.kind else { panic!() };
    assert_eq!(at(&file, copy_kind.from.as_ref().unwrap()), "x");
    assert_eq!(at(&file, copy_kind.chmod.as_ref().unwrap()), "--chmod=\"6 4\"");
    assert_eq!(copy_kind.sources.iter().map(|word| at(&file, word)).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(at(&file, &copy_kind.dest), "/é");
    assert_eq!(file.source.lines_of(copy.span), (2, 6));
    assert_eq!(at(&file, &copy.keyword), "COPY");
    let Kind::Env(pairs) = &env.kind else { panic!() };
    assert_eq!((at(&file, &pairs[1].0), at(&file, &pairs[1].1)), ("b", "'2 3'"));
    let Kind::Run(run) = &run.kind else { panic!() };
    assert_eq!(file.source.slice(run.mounts[0].span), "type=tmpfs,target=/x");
    let ShellOrExec::Shell(text) = &run.command else { panic!() };
    assert_eq!((text.value.as_str(), at(&file, text)), ("ab", "a\\\nb"));
    let Kind::Copy(json) = &json.kind else { panic!() };
    assert_eq!(at(&file, &json.sources[0]), "\"p q\"");
    assert_eq!(file.source.location(stage.span.start).line, 1);
}

#[test]
fn heredocs_know_their_place() {
    let file = file("FROM x\nCOPY <<'A' \\\n <<B /x\none\nA\nB\nRUN y\n");
    let copy = &file.stages[0].instructions[0];
    let Kind::Copy(kind) = &copy.kind else { panic!() };
    let spans: Vec<_> = kind.heredocs.iter().map(|h| file.source.slice(h.span)).collect();
    assert_eq!(spans, ["<<'A'", "<<B"]);
    assert_eq!(file.source.slice(kind.heredocs[0].content_span), "one\n");
    assert_eq!(file.source.slice(kind.heredocs[1].content_span), "");
    assert_eq!(file.source.lines_of(copy.span), (2, 6));
    assert_eq!(file.stages[0].span.end, file.source.text().len() - 1);
}

#[test]
fn warnings_point_at_what_they_mean() {
    let file = file("FROM x\nRUN a \\ \t\n\n b\nCMD ['a']\n");
    let at: Vec<_> =
        file.warnings.iter().map(|w| (w.kind, file.source.location(w.span.start).to_string())).collect();
    assert_eq!(
        at,
        [
            (WarningKind::SpaceAfterEscape, "2:8".to_owned()),
            (WarningKind::EmptyContinuation, "3:1".to_owned()),
            (WarningKind::JsonFallback, "5:5".to_owned()),
        ]
    );
}
