//! What `dockerfile-parser` 0.9 accepts comes out the same from ours, where BuildKit's rules accept it too.

use dockerfile_parser as other;
use proptest::prelude::*;

use super::*;

/// An instruction as both parsers can tell it.
type Told = (String, Vec<String>);

fn told(keyword: &str, arguments: impl IntoIterator<Item = impl AsRef<str>>) -> Told {
    (keyword.to_owned(), arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect())
}

fn told_by_other(text: &str) -> Option<Vec<Told>> {
    let file = other::Dockerfile::parse(text).ok()?;
    Some(file.instructions.iter().map(other_instruction).collect())
}

fn other_instruction(instruction: &other::Instruction) -> Told {
    use other::Instruction as I;
    let command = |keyword, expr: &other::ShellOrExecExpr| match expr {
        other::ShellOrExecExpr::Shell(text) => told(keyword, ["shell", text.to_string().trim()]),
        other::ShellOrExecExpr::Exec(array) => {
            told(keyword, std::iter::once("exec").chain(array.as_str_vec()).map(str::to_owned))
        }
    };
    match instruction {
        I::From(from) => {
            let mut parts: Vec<String> =
                from.flags.iter().map(|flag| format!("{}={}", flag.name, flag.value)).collect();
            parts.push(from.image.content.clone());
            parts.extend(from.alias.iter().map(|alias| alias.content.to_lowercase()));
            told("FROM", parts)
        }
        I::Arg(arg) => {
            told("ARG", std::iter::once(&arg.name).chain(arg.value.as_ref()).map(|part| &part.content))
        }
        I::Label(label) => {
            told("LABEL", label.labels.iter().flat_map(|label| [&label.name.content, &label.value.content]))
        }
        I::Env(env) => {
            told("ENV", env.vars.iter().flat_map(|var| [var.key.content.clone(), var.value.to_string()]))
        }
        I::Run(run) => command("RUN", &run.expr),
        I::Cmd(cmd) => command("CMD", &cmd.expr),
        I::Entrypoint(entrypoint) => command("ENTRYPOINT", &entrypoint.expr),
        I::Copy(copy) => {
            let mut parts: Vec<String> =
                copy.flags.iter().map(|flag| format!("{}={}", flag.name, flag.value)).collect();
            parts.sort();
            parts.extend(copy.sources.iter().chain([&copy.destination]).map(|word| word.content.clone()));
            told("COPY", parts)
        }
        I::Misc(misc) => told(&misc.instruction.content.to_uppercase(), [misc.arguments.to_string().trim()]),
    }
}

fn told_by_us(text: &str) -> Vec<Told> {
    let file = file(text);
    let mut all = Vec::new();
    for arg in file.global_args() {
        all.push(arg_told(arg));
    }
    for stage in &file.stages {
        let from = &stage.from;
        let mut parts: Vec<String> =
            from.platform.iter().map(|word| format!("platform={}", word.value)).collect();
        parts.push(from.image.value.clone());
        parts.extend(from.name.iter().map(|name| name.value.clone()));
        all.push(told("FROM", parts));
        all.extend(stage.instructions.iter().flat_map(our_instruction));
    }
    all
}

/// The other parser undoes quotes as it parses, and leaves variables alone.
fn plain(word: &str) -> String {
    let expander = variables::Expander { keep_unset: true, ..variables::Expander::new('\\') };
    expander.expand(word, &|_| None).unwrap().text
}

fn arg_told(arg: &ArgDecl) -> Told {
    let default = arg.default.iter().map(|word| plain(&word.value));
    told("ARG", std::iter::once(arg.name.value.clone()).chain(default))
}

fn our_instruction(instruction: &Instruction) -> Vec<Told> {
    let keyword = instruction.kind.keyword();
    let command = |command: &ShellOrExec| match command {
        ShellOrExec::Shell(text) => told(keyword, ["shell", &text.value]),
        ShellOrExec::Exec(arguments) => {
            told(keyword, std::iter::once("exec").chain(arguments.iter().map(String::as_str)))
        }
    };
    let one = match &instruction.kind {
        Kind::Arg(args) => return args.iter().map(arg_told).collect(),
        Kind::Env(pairs) | Kind::Label(pairs) => {
            told(keyword, pairs.iter().flat_map(|(name, value)| [plain(&name.value), plain(&value.value)]))
        }
        Kind::Run(run) => command(&run.command),
        Kind::Cmd(line) | Kind::Entrypoint(line) => command(line),
        Kind::Copy(copy) => {
            let flag =
                |name: &str, word: &Option<Word>| word.as_ref().map(|word| format!("{name}={}", word.value));
            let flags = [flag("chmod", &copy.chmod), flag("chown", &copy.chown), flag("from", &copy.from)];
            let words = copy.sources.iter().chain([&copy.dest]).map(|word| word.value.clone());
            told(keyword, flags.into_iter().flatten().chain(words))
        }
        _ => {
            let rest = instruction.original.get(instruction.keyword.value.len()..).unwrap();
            told(keyword, [rest.trim()])
        }
    };
    vec![one]
}

const FILES: &[&str] = &[
    "FROM alpine:3.11 as builder\nRUN echo \"hello world\" > /hello-world\n\nFROM scratch\nCOPY --from=builder /hello-world /hello-world\n",
    "ARG TAG=latest\nARG REG\nFROM --platform=linux/amd64 $REG/debian:${TAG}\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"a b\", \"c\"]\n",
    "FROM debian\nENV A=1 B=\"two words\" C='three words'\nENV OLD the rest  of it\nLABEL \"com.example\"=\"a b\" x.y=1\nLABEL single word\n",
    "# comment\n\nFROM debian\n\n# another\nRUN apt-get update && \\\n    # in between\n    apt-get install -y \\\n        curl \\\n        git && \\\n    rm -rf /var/lib/apt/lists/*\n",
    "from node:18\nworkdir /app\ncopy package.json package-lock.json ./\nrun npm ci\nexpose 3000 3001/tcp\nuser node\ncmd npm start\n",
    "FROM x\nCOPY --chown=1:2 --from=0 a b \\\n  c /d/\nVOLUME [\"/a\", \"/b\"]\nSTOPSIGNAL SIGTERM\nHEALTHCHECK --interval=5m CMD curl -f http://localhost/ || exit 1\nSHELL [\"/bin/bash\", \"-c\"]\nONBUILD RUN make\nMAINTAINER a <b@c>\nADD a.tar.gz /\n",
];

#[test]
fn both_agree_on_ordinary_files() {
    for text in FILES {
        let theirs = told_by_other(text).unwrap_or_else(|| panic!("no opinion on: {text}"));
        assert_eq!(told_by_us(text), theirs, "{text}");
    }
}

fn word() -> impl Strategy<Value = String> + Clone {
    "[a-z/$._][a-z0-9/.:_-]{0,8}"
}

fn name() -> impl Strategy<Value = String> + Clone {
    "[A-Z][A-Z0-9_]{0,6}"
}

/// A value, plain or in quotes, as both take it.
fn value() -> impl Strategy<Value = String> + Clone {
    prop_oneof![word(), "\"[a-z =$]{0,8}\"", "'[a-z =$]{0,8}'"]
}

fn gap() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![" ", "  ", "\t", " \\\n  "])
}

fn joined(head: &'static str, parts: impl Strategy<Value = Vec<String>>) -> impl Strategy<Value = String> {
    (parts, gap())
        .prop_map(move |(parts, gap)| parts.iter().fold(head.to_owned(), |line, part| line + gap + part))
}

fn instruction() -> impl Strategy<Value = String> {
    let pair = (name(), value()).prop_map(|(name, value)| format!("{name}={value}"));
    let pairs = proptest::collection::vec(pair.clone(), 1..4);
    let words = proptest::collection::vec(word(), 2..5);
    let json = proptest::collection::vec("[a-z $'/-]{0,6}", 0..4)
        .prop_map(|words| serde_json::to_string(&words).unwrap());
    prop_oneof![
        joined("ENV", pairs.clone()),
        joined("LABEL", pairs),
        joined("ARG", pair.prop_map(|pair| vec![pair])),
        joined("RUN", words.clone()),
        joined("Copy", words.clone()),
        joined("CMD", words.clone()),
        joined("user", words.clone().prop_map(|words| words.into_iter().take(1).collect::<Vec<_>>())),
        joined("EXPOSE", proptest::collection::vec("[1-9][0-9]{1,3}(/tcp|/udp)?", 1..4)),
        joined("WORKDIR", word().prop_map(|word| vec![word])),
        joined("ARG", name().prop_map(|name| vec![name])),
        joined("LABEL", (name(), "[a-z]{1,8}").prop_map(|(name, value)| vec![format!("{name} {value}")])),
        joined("COPY --chown=1:2 --from=x", words),
        ("[a-z]{1,8}", "# [a-z ]{0,8}")
            .prop_map(|(word, comment)| format!("RUN {word} \\\n{comment}\n  && {word} \\\n  {word}")),
        json.clone().prop_map(|json| format!("ENTRYPOINT {json}")),
        json.prop_map(|json| format!("RUN {json} ")),
        Just("# comment".to_owned()),
        Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_agree_on_made_up_files(lines in proptest::collection::vec(instruction(), 0..8)) {
        let text = format!("FROM scratch AS x\n{}\n", lines.join("\n"));
        // A `RUN []` is refused: there is nothing to run.
        prop_assume!(!text.contains("RUN []"));
        let theirs = told_by_other(&text);
        prop_assert!(theirs.is_some(), "no opinion on: {text}");
        prop_assert_eq!(Some(told_by_us(&text)), theirs, "{}", text);
    }
}
