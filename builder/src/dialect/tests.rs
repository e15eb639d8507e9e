use super::*;

fn shown(workdir: &str, text: &str) -> String {
    match Dialect::Windows.path(workdir, text) {
        Ok(path) => Dialect::Windows.show(&path),
        Err(error) => format!("{error} | {}", error.hint().unwrap_or_default()),
    }
}

#[test]
fn windows_paths_are_written_in_one_way() {
    for (workdir, text, path) in [
        ("", r"C:\app", r"C:\app"),
        ("", "c:/app/bin", r"C:\app\bin"),
        ("", r"\app", r"C:\app"),
        ("", "/app", r"C:\app"),
        ("", "app", r"C:\app"),
        (r"C:\a\b", r"c\d", r"C:\a\b\c\d"),
        (r"C:\a\b", r"..\c/./d\\e", r"C:\a\c\d\e"),
        (r"C:\a", r"..\..\..\x", r"C:\x"),
        (r"C:\a", r"C:\..\..\x", r"C:\x"),
        (r"C:\a", "", r"C:\a"),
        (r"\a\b", "c", r"C:\a\b\c"),
        ("/a", "/", r"C:\"),
        (r"C:\a", r"C:\", r"C:\"),
        (
            r"C:\a",
            "...",
            "`...` holds `...`: Windows drops the dot or space at its end | choose another name",
        ),
        ("", r"C:\Program Files (x86)\X", r"C:\Program Files (x86)\X"),
        ("", r"C:\Größe", r"C:\Größe"),
    ] {
        assert_eq!(shown(workdir, text), path, "{text} from {workdir}");
    }
}

#[test]
fn what_windows_has_no_place_for_is_refused() {
    for (text, part) in [
        (r"D:\x", "drive `D:`"),
        ("z:/x", "drive `Z:`"),
        ("C:", r"write `C:\` for the root"),
        ("C:app", "``# escape=` ``"),
        (r"\\server\share", "on the network or a device"),
        ("//server/share", "on the network or a device"),
        (r"\\?\C:\x", "on the network or a device"),
        (r"\\.\pipe\x", "on the network or a device"),
        (r"C:\a\nul", "`nul`, which is a device"),
        ("aux.txt", "`aux.txt`, which is a device"),
        ("COM1", "device"),
        ("lpt9 .x.y", "device"),
        ("com¹", "device"),
        ("CONIN$", "device"),
        (r"C:\a.\b", "drops the dot"),
        ("a ", "drops the dot or space"),
        ("ab:c", "stream"),
        (r"C:\a\b::$DATA", "stream"),
        ("a<b", "'<'"),
        ("a?b", "'?'"),
        ("a\u{7}b", r"'\u{7}'"),
        ("a\0b", r"'\0'"),
    ] {
        let error = shown("", text);
        assert!(error.contains(part) && error.contains(" | "), "{text}: {error}");
    }
    assert!(shown("", &"x".repeat(255)).ends_with('x'));
    assert!(shown("", &"x".repeat(256)).contains("256 characters"));
    for fine in ["com", "com10", "console", "nul_", "lpt", "auxiliary", ".git", "a.b c"] {
        assert_eq!(shown("", fine), format!(r"C:\{fine}"));
    }
}

#[test]
fn a_separator_at_the_end_says_directory() {
    let windows = |text| Dialect::Windows.path(r"C:\w", text).unwrap();
    for (text, slashes) in [
        (r"C:\a\", "/a/"),
        ("b/", "/w/b/"),
        ("b", "/w/b"),
        (".", "/w/"),
        (r"b\..", "/w/"),
        (r"C:\", "/"),
        ("", "/w/"),
    ] {
        assert_eq!(windows(text).with_slashes(), slashes, "{text}");
    }
    let linux = |text| Dialect::Linux.path("/w", text).unwrap().with_slashes();
    assert_eq!(linux("a/"), "/w/a/");
    assert_eq!(linux("/a//b/../c"), "/a/c");
    assert_eq!(linux(r"C:\x"), r"/w/C:\x");
    assert_eq!(linux("../../.."), "/");
}

#[test]
fn sources_lose_their_backslashes_and_drive() {
    let source = |text| Dialect::Windows.source(text).map_err(|e| e.to_string());
    assert_eq!(source(r"bin\Release\*.dll").as_deref(), Ok("bin/Release/*.dll"));
    assert_eq!(source(r"C:\app\.").as_deref(), Ok("/app/."));
    assert_eq!(source("a/b").as_deref(), Ok("a/b"));
    assert!(source(r"D:\x").unwrap_err().contains("drive `D:`"));
    assert!(source(r"\\server\x").unwrap_err().contains("network"));
    assert_eq!(Dialect::Linux.source(r"a\*").as_deref(), Ok(r"a\*"));
}

#[test]
fn variables_of_windows_have_no_case() {
    let mut list = vec![("Path".to_owned(), "1".to_owned()), ("x".to_owned(), "2".to_owned())];
    Dialect::Windows.set_variable(&mut list, "PATH", "3");
    Dialect::Windows.set_variable(&mut list, "y", "4");
    assert_eq!(list, [("PATH", "3"), ("x", "2"), ("y", "4")].map(|(n, v)| (n.to_owned(), v.to_owned())));
    Dialect::Linux.set_variable(&mut list, "Path", "5");
    assert_eq!(list.len(), 4);
    assert!(Dialect::Windows.same_variable("größe", "GRÖßE"));
    assert!(!Dialect::Windows.same_variable("a", "b"));
    assert_eq!(Dialect::Windows.canonical_variable("ProgramFiles(x86)"), "PROGRAMFILES(X86)");
    assert_eq!(Dialect::Windows.canonical_variable("größe"), "GRÖßE");
}

#[test]
fn volumes_are_directories_or_drives() {
    assert_eq!(windows::volume(r"c:/data").as_deref(), Ok(r"C:\data"));
    assert_eq!(windows::volume("/data").as_deref(), Ok(r"C:\data"));
    assert_eq!(windows::volume("d:").as_deref(), Ok("D:"));
    assert_eq!(windows::volume(r"D:\").as_deref(), Ok("D:"));
    for bad in ["data", "C:", r"C:\", r"D:\x", r"\\s\x", r"C:\nul"] {
        let error = windows::volume(bad).unwrap_err();
        assert!(error.hint().is_some(), "{bad}: {error}");
    }
}

#[test]
fn two_accounts_are_in_every_windows_image() {
    use orlop_runner::Account;
    assert_eq!(account(""), Ok(Account::Administrator));
    assert_eq!(account("containeradministrator"), Ok(Account::Administrator));
    assert_eq!(account("ContainerUser"), Ok(Account::User));
    assert_eq!(account(r"User Manager\ContainerUser"), Ok(Account::User));
    assert_eq!(account("1000"), Err(AccountError::Number("1000".to_owned())));
    assert_eq!(account("a:b"), Err(AccountError::Group("a:b".to_owned())));
    for unknown in ["root", "nobody", r"DOMAIN\me"] {
        assert_eq!(account(unknown), Err(AccountError::Unknown(unknown.to_owned())));
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_path_of_windows_or_refused(workdir in r"[a-zA-Z:/\\. é\x00*]{0,20}", text in r"[a-zA-Z:/\\. é\x00*~?<]{0,40}") {
        if let Ok(path) = Dialect::Windows.path(&workdir, &text) {
            let shown = Dialect::Windows.show(&path);
            // What is written in a config is read as the same path again.
            let again = Dialect::Windows.path("", &shown);
            proptest::prop_assert_eq!(again.map(|p| p.parts().to_vec()), Ok(path.parts().to_vec()));
            proptest::prop_assert!(path.parts().iter().all(|name| windows::name_fault(name).is_none() && name != ".."));
        }
        let _ = Dialect::Windows.source(&text);
        let _ = windows::volume(&text);
        let _ = crate::check::windows::literal_paths(&text, &workdir, crate::check::windows::Shell::Cmd);
        let _ = crate::check::windows::registry(&text, crate::check::windows::Shell::PowerShell);
        let _ = view::View::new(&workdir).variables(&mut [("A".to_owned(), text)]);
    }
}
