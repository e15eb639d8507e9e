use super::*;

fn found(text: &str, shell: Shell) -> Vec<(String, String)> {
    literal_paths(text, r"C:\app", shell).into_iter().map(|f| (text[f.range].to_owned(), f.hint)).collect()
}

#[test]
fn paths_that_are_not_the_images_are_found() {
    let one = |text: &str, path: &str, hint: &str| {
        assert_eq!(found(text, Shell::Cmd), [(path.to_owned(), hint.to_owned())], "{text}");
    };
    one(r"type C:\data\x.txt", r"C:\data\x.txt", r"write `%ORLOP_ROOT%\data\x.txt`");
    one(
        r#"copy "C:\App\my file" ."#,
        r"C:\App\my file",
        r"write `%ORLOP_ROOT%\App\my file`, or `my file` relative to WORKDIR",
    );
    one("dir c:/x&&y", "c:/x", r"write `%ORLOP_ROOT%\x`");
    one(r"del C:\app\*.tmp", r"C:\app\*.tmp", r"write `%ORLOP_ROOT%\app\*.tmp`");
    one(r"x /out:C:\y", r"C:\y", r"write `%ORLOP_ROOT%\y`");
    one(r"dir C:\", r"C:\", r"write `%ORLOP_ROOT%\`");
    for nothing in [
        r"C:\Windows\System32\where.exe x",
        r"curl https://example.org/C:/x",
        r"reg query HKLM:\Software",
        "echo a:b c:",
        r"dir \x",
        "",
    ] {
        assert_eq!(found(nothing, Shell::Cmd), [], "{nothing}");
    }
    for nothing in [
        r"echo path=C:\data> app.ini",
        r"rem C:\x",
        r"type C:\Windows\win.ini",
        r"copy C:\Windows\win.ini .",
        r"echo %ORLOP_ROOT%\C:\x",
    ] {
        assert_eq!(found(nothing, Shell::Cmd), [], "{nothing}");
    }
    for host in [r"copy a.dll C:\Windows\System32\", r"del C:\Windows\Temp\x", r"echo x> c:\windows\x"] {
        let found = literal_paths(host, "", Shell::Cmd);
        assert!(
            found.len() == 1 && found[0].message.contains("nothing of it gets into the image"),
            "{host}: {found:?}"
        );
    }
    let single = found(r"Copy-Item 'C:\x y' .", Shell::PowerShell);
    assert_eq!(single, [(r"C:\x y".to_owned(), r"write `($env:ORLOP_ROOT + '\x y')`".to_owned())]);
    assert_eq!(found(r"del C:\x, D:\y", Shell::PowerShell).len(), 2);
    assert!(found(r"del C:\x", Shell::PowerShell)[0].1.contains(r"$env:ORLOP_ROOT\x"));
    assert!(found(r"C:\app\x.exe", Shell::None)[0].1.ends_with("write `x.exe` relative to WORKDIR"));
}

#[test]
fn any_text_is_looked_through() {
    for text in ["C:\\", "C:", "é:\\x", "C:\\é\u{3000}x", "\"C:\\", "aC:\\x", "C:\\é"] {
        let _ = literal_paths(text, "", Shell::Cmd);
        let _ = registry(text, Shell::Cmd);
    }
    assert_eq!(found("C:\\é\u{3000}x", Shell::Cmd)[0].0, "C:\\é");
}

#[test]
fn shells_are_known_by_their_program() {
    let of = |text: &str| Shell::of(&[text.to_owned()]);
    assert_eq!(of("cmd"), Shell::Cmd);
    assert_eq!(of(r"C:\Windows\System32\CMD.EXE"), Shell::Cmd);
    assert_eq!(of("pwsh.exe"), Shell::PowerShell);
    assert_eq!(of("C:/Program Files/PowerShell/7/pwsh.exe"), Shell::PowerShell);
    assert_eq!(of("bash"), Shell::None);
    assert_eq!(Shell::of(&[]), Shell::None);
}

#[test]
fn writes_to_the_registry_are_found() {
    for (text, hint) in [
        (r"setx /M PATH C:\x", "ENV"),
        (r"echo x && setx.exe A b", "ENV"),
        (r"[Environment]::SetEnvironmentVariable('A', 'b', 'Machine')", "ENV"),
        (r"reg add HKLM\Software\X /v a", "Hives"),
        (r"REG.EXE import x.reg", "Hives"),
        (r"Set-ItemProperty -Path 'HKLM:\System\X' -Name A -Value 1", "Hives"),
        (r"New-Item -Path HKCU:\X", "Hives"),
    ] {
        let found = registry(text, Shell::Cmd);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].hint.contains(hint), "{text}: {found:?}");
    }
    for nothing in [
        "reg query HKLM",
        "echo setx",
        "echo setx A b",
        r"rem reg add HKLM\Software\X /v a",
        "set X=1",
        "New-Item -Path x; Get-ItemProperty HKLM:\\X",
        "regsvr32 x",
        "$env:A = 'b'",
        "[Environment]::SetEnvironmentVariable('A', 'b')",
    ] {
        assert_eq!(registry(nothing, Shell::Cmd), [], "{nothing}");
    }
}
