//! How a process of a Windows image sees its root where nothing can show it as `C:`.
//!
//! On Windows a RUN is started in its root by working directory; `C:` stays the host's. So what the image's
//! config says of `C:\…` is put in terms of the root when the process starts, and only then: the config
//! itself, the step's key and the text of RUN are never touched. `C:\Windows` and what is in it stay the
//! host's, because the programs that run are.

use super::path::ImagePath;
use super::{Dialect, windows};

/// The root of a step as its processes can name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    root: String,
}

impl View {
    /// `root` is a directory of the host with the image's files, such as `D:\store\work\7\root`.
    pub fn new(root: &str) -> Self {
        // Programs, cmd first of all, do not take the long form as a working directory or in PATH.
        let root = match root.strip_prefix(r"\\?\") {
            Some(plain) if plain.as_bytes().get(1) == Some(&b':') => plain,
            _ => root,
        };
        Self { root: root.trim_end_matches(windows::is_separator).to_owned() }
    }

    /// A path of the image as the step's processes reach it.
    pub fn path(&self, path: &ImagePath) -> String {
        if windows::is_system(path) {
            return Dialect::Windows.show(path);
        }
        let end = if path.is_directory() && !path.parts().is_empty() { r"\" } else { "" };
        format!(r"{}\{}{end}", self.root, path.parts().join(r"\"))
    }

    /// Puts the values that are paths of the image in terms of the root: `C:\…`, and in a list with `;` each
    /// entry that is one. Returns the names of those that are changed.
    pub fn variables(&self, variables: &mut [(String, String)]) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, value) in variables {
            let new: Vec<String> =
                value.split(';').map(|part| self.value(part).unwrap_or_else(|| part.to_owned())).collect();
            let new = new.join(";");
            if new != *value {
                *value = new;
                changed.push(name.clone());
            }
        }
        changed
    }

    fn value(&self, text: &str) -> Option<String> {
        let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let path = self.image_path(quoted.unwrap_or(text))?;
        let path = self.path(&path);
        Some(if quoted.is_some() { format!("\"{path}\"") } else { path })
    }

    /// `text` as a path of the image that has to be translated. Only with the drive is it one for sure: `/x`
    /// may be an option.
    fn image_path(&self, text: &str) -> Option<ImagePath> {
        if !matches!(text.as_bytes(), [b'c' | b'C', b':', b'\\' | b'/', ..]) {
            return None;
        }
        let path = windows::path("", text).ok()?;
        (!windows::is_system(&path)).then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_image_lead_into_the_root() {
        let view = View::new(r"\\?\D:\store\work 7\");
        let mut variables: Vec<(String, String)> = [
            ("APP", r"C:\app"),
            ("ROOT", r"c:\"),
            ("DIR", r"C:/app/bin/"),
            ("Path", r#"C:\tools;C:\Windows\System32;c:\windows;"C:\Program Files\Git\cmd";%X%;D:\x;rel"#),
            ("FLAG", "/app"),
            ("UNC", r"\\server\share"),
            ("DRIVE", r"D:\app"),
            ("INSIDE", r"-Dhome=C:\app"),
            ("RELATIVE", "C:app"),
            ("EMPTY", ""),
            ("CLIMBS", r"C:\a\..\..\..\Windows\x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let changed = view.variables(&mut variables);
        assert_eq!(changed, ["APP", "ROOT", "DIR", "Path"]);
        let values: Vec<&str> = variables.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(
            values,
            [
                r"D:\store\work 7\app",
                r"D:\store\work 7\",
                r"D:\store\work 7\app\bin\",
                r#"D:\store\work 7\tools;C:\Windows\System32;c:\windows;"D:\store\work 7\Program Files\Git\cmd";%X%;D:\x;rel"#,
                "/app",
                r"\\server\share",
                r"D:\app",
                r"-Dhome=C:\app",
                "C:app",
                "",
                r"C:\a\..\..\..\Windows\x",
            ]
        );
    }
}
