//! Targets of links, between Windows's spelling and that of a tree on another system.

/// The target as a tree whose root is `C:\` has it: `C:\Users` is `/Users`, `..\x` is `../x`. What names another
/// drive or a volume stays as it is, and leads nowhere there.
pub fn to_unix(target: &[u8]) -> Vec<u8> {
    let mut rest = target;
    for prefix in [&br"\??\"[..], br"\\?\", br"\\.\"] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let slashes = |text: &[u8]| text.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect::<Vec<u8>>();
    match rest {
        [b'c' | b'C', b':'] => b"/".to_vec(),
        [b'c' | b'C', b':', b'\\' | b'/', tail @ ..] => [b"/", &slashes(tail)[..]].concat(),
        [_, b':', ..] => target.to_vec(),
        _ if rest.len() < target.len() || target.starts_with(br"\\") => target.to_vec(),
        _ => slashes(target),
    }
}

/// The target as Windows has it: the other way round.
pub fn to_windows(target: &[u8]) -> Vec<u8> {
    if target.starts_with(br"\\") || target.starts_with(br"\??\") || target.get(1) == Some(&b':') {
        return target.to_vec();
    }
    let back: Vec<u8> = target.iter().map(|b| if *b == b'/' { b'\\' } else { *b }).collect();
    if target.starts_with(b"/") { [b"C:", &back[..]].concat() } else { back }
}
