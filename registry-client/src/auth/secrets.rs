//! What must never be shown, and the mask over it.
//!
//! A server can send back what it was told: in an error's text, in a redirect, in a challenge. Whatever comes
//! from outside is therefore searched for our own secrets before anybody reads it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Credential;
use super::readings::readings;

/// What stands in a secret's place.
pub(crate) const MASK: &str = "[secret]";
/// Shorter ones would be found in words that are none, and so be told by what is missing.
const LEAST: usize = 4;
/// Shorter ones are masked as words of their own, and not in the middle of one: `test` in `test-1`, not in `latest`.
pub(super) const SURE: usize = 8;

/// The secrets of one client. All clones are one set.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<Vec<String>>>);

impl Secrets {
    /// Masks a credential in all forms that it is sent in.
    pub(crate) fn add_credential(&self, credential: &Credential) {
        match credential {
            Credential::Basic { user, password } => self.add_pair(user, password),
            Credential::IdentityToken { user, token } => {
                self.add_pair(user, token);
                self.add_pair(super::TOKEN_USER, token);
            }
            Credential::RegistryToken(token) => self.add(token),
        }
    }

    fn add_pair(&self, user: &str, password: &str) {
        self.add(password);
        let pair = format!("{user}:{password}");
        // Without padding, which may be missing where it is shown.
        self.add(&STANDARD_NO_PAD.encode(&pair));
        self.add(&URL_SAFE_NO_PAD.encode(&pair));
    }

    /// Masks the password in a URL, of a proxy for instance; its scheme may be missing.
    pub(crate) fn add_url(&self, text: &str) {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let Ok(url) = url::Url::parse(&text) else { return };
        if let Some(password) = url.password() {
            let plain = |text: &str| {
                let pair = format!("x={}", text.replace('+', "%2B"));
                url::form_urlencoded::parse(pair.as_bytes())
                    .next()
                    .map(|(_, v)| v.into_owned())
                    .unwrap_or_default()
            };
            self.add(password);
            self.add_pair(&plain(url.username()), &plain(password));
        }
    }

    /// Masks a text in every form that it may come back in: see [`forms`].
    pub(crate) fn add(&self, secret: &str) {
        if secret.len() < LEAST {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in forms(secret) {
            if !all.contains(&text) {
                all.push(text);
            }
        }
    }

    /// The text without any of them, however it quotes them.
    pub(crate) fn mask(&self, text: &str) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return text.to_owned();
        }
        let mut hidden = Vec::new();
        for reading in readings(text) {
            for secret in all.iter() {
                reading.find(secret.as_bytes(), &mut hidden);
            }
        }
        without(text, hidden)
    }
}

/// What a secret may look like where no quoting of a document or a URL is in the way: itself, its bytes in hexadecimal
/// digits, its base64, and the middle of every base64 that it may be a part of.
fn forms(secret: &str) -> Vec<String> {
    let mut out = vec![secret.to_owned()];
    if secret.contains(' ') {
        // As a form has it.
        out.push(secret.replace(' ', "+"));
    }
    out.push(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        out.push(engine.encode(secret));
        for before in 0..3 {
            let bytes = [&[0; 2][..before], secret.as_bytes()].concat();
            let coded = engine.encode(&bytes);
            // Digits that hold bits of what stands before or behind are not known, and few are found anywhere.
            let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            out.extend(coded.get(first..last).filter(|text| text.len() >= SURE).map(str::to_owned));
        }
    }
    out
}

/// The text with a mask over the parts that are hidden.
fn without(text: &str, mut hidden: Vec<Range<usize>>) -> String {
    hidden.sort_by_key(|part| part.start);
    let (mut out, mut done, mut masked) = (String::new(), 0, false);
    for part in hidden {
        if part.start > done || !masked {
            out.push_str(text.get(done..part.start).unwrap_or_default());
            out.push_str(MASK);
        }
        masked = true;
        done = done.max(part.end);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_form() {
        let secrets = Secrets::default();
        let password = "p ss/\"w?rd&+";
        secrets.add_credential(&Credential::Basic { user: "jo".into(), password: password.into() });
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("jo:{password}"));
        let mut url = url::Url::parse("http://h/").unwrap();
        url.set_path(&format!("x/{password}/y"));
        url.query_pairs_mut().append_pair("q", password);
        let json = serde_json::json!({"said": password}).to_string();
        for text in [password.to_owned(), basic, url.to_string(), json] {
            let masked = secrets.mask(&format!("<{text}>"));
            assert!(masked.contains(MASK), "{masked}");
            for part in ["p ss", "p%20ss", "p+ss", "w?rd", "w%3Frd", "am86"] {
                assert!(!masked.contains(part), "{part} in {masked}");
            }
        }
        assert_eq!(secrets.mask("nothing here"), "nothing here");
    }

    fn percent(text: &str) -> String {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    }

    fn json(text: &str) -> String {
        serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
    }

    /// As Python and Go write it: nothing but ASCII.
    fn ascii_json(text: &str) -> String {
        let one = |c: char| match c {
            '"' | '\\' => format!("\\{c}"),
            ' '..='~' if !"<>&".contains(c) => c.to_string(),
            c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        text.chars().map(one).collect()
    }

    fn html(text: &str) -> String {
        let one = |c: char| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '"' => "&#34;".to_owned(),
            '\'' => "&#x27;".to_owned(),
            c if c.is_ascii() => c.to_string(),
            c => format!("&#{};", u32::from(c)),
        };
        text.chars().map(one).collect()
    }

    fn hex(text: &str) -> String {
        text.bytes().map(|b| format!("{b:02X}")).collect()
    }

    fn base64(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    fn url_base64(text: &str) -> String {
        base64::engine::general_purpose::URL_SAFE.encode(text)
    }

    fn lower(text: &str) -> String {
        text.to_lowercase()
    }

    #[test]
    fn however_a_secret_is_quoted() {
        let password = "p\u{e4}\"ss w&rd+/=<x>\\z'\u{1f600}%41?~";
        let secrets = Secrets::default();
        secrets.add_credential(&Credential::Basic { user: "jo".into(), password: password.into() });
        let ways: [fn(&str) -> String; 6] =
            [str::to_owned, percent, json, ascii_json, html, |text| percent(text).to_lowercase()];
        let codes: [fn(&str) -> String; 4] = [base64, url_base64, hex, |text| lower(&hex(text))];
        let mut all = Vec::new();
        for one in ways {
            for two in ways {
                all.push(two(&one(password)));
                all.push(json(&two(&one(password))));
            }
        }
        for code in codes {
            all.extend([code(password), percent(&code(password)), json(&percent(&code(password)))]);
        }
        for code in [base64, url_base64] {
            let pair = code(&format!("jo:{password}"));
            all.extend([percent(&pair), json(&pair), pair]);
        }
        for text in all {
            let masked = secrets.mask(&format!("said: <{text}>, and more"));
            let left = masked.replace(MASK, "").replace("said: <", "").replace(">, and more", "");
            let padding = ["", "=", "==", "%3D", "%3d", "%3D%3D", "%3d%3d"];
            assert!(masked.contains(MASK) && padding.contains(&left.as_str()), "{text}: {masked}");
        }
        // In the middle of what else is coded, at every place.
        for before in ["", "x", "xy", "xyz"] {
            let text = base64(&format!("{{\"{before}\":\"{password}\"}}"));
            let masked = secrets.mask(&text);
            assert!(masked.contains(MASK) && masked.len() < text.len() / 2 + MASK.len(), "{text}: {masked}");
        }
        for harmless in ["a %zz & \\u12 \\ud800 &#; &#xffffffff; &; % \\", "100 %", "caf\u{e9}"] {
            assert_eq!(secrets.mask(harmless), harmless);
        }
    }

    #[test]
    fn a_host_is_shown_in_small_letters() {
        let secrets = Secrets::default();
        secrets.add("Hunter2Hunter2");
        let url = url::Url::parse("http://x.Hunter2Hunter2.example/").unwrap();
        assert_eq!(secrets.mask(url.as_str()), format!("http://x.{MASK}.example/"));
        assert_eq!(secrets.mask("Hunter2Hunter2Hunter2Hunter2"), MASK);
    }

    #[test]
    fn the_password_of_a_proxy_is_one() {
        let secrets = Secrets::default();
        secrets.add_url("jo:p%2Bss@proxy:3128");
        assert_eq!(secrets.mask("p+ss p%2Bss am86cCtzcw=="), format!("{MASK} {MASK} {MASK}=="));
        secrets.add_url("not a url");
    }

    #[test]
    fn one_secret_may_begin_another() {
        let secrets = Secrets::default();
        secrets.add("token");
        secrets.add("token-and-more");
        assert_eq!(secrets.mask("token-and-more token"), format!("{MASK} {MASK}"));
        secrets.add("abc");
        assert_eq!(secrets.mask("abc"), "abc");
        // A short one that is a word, too.
        secrets.add("test");
        assert_eq!(
            secrets.mask("test: latest/test-1 testé t=test"),
            format!("{MASK}: latest/{MASK}-1 testé t={MASK}")
        );
    }
}
