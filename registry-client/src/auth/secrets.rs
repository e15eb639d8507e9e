//! What must never be shown, and the mask over it.
//!
//! A server can send back what it was told: in an error's text, in a redirect, in a challenge. Whatever comes
//! from outside is therefore searched for our own secrets before anybody reads it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Credential;

/// What stands in a secret's place.
pub(crate) const MASK: &str = "[secret]";
/// Shorter ones would be found in words that are none, and so be told by what is missing.
const LEAST: usize = 4;
/// Shorter ones are masked as words of their own, and not in the middle of one: `test` in `test-1`, not in `latest`.
const SURE: usize = 8;

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

    /// Masks a text, as it is and as part of a URL, a form or a document in JSON.
    pub(crate) fn add(&self, secret: &str) {
        if secret.len() < LEAST {
            return;
        }
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut path = url::Url::parse("http://h/").expect("a URL that is written here");
        path.set_path(secret);
        let path = path.path().trim_start_matches('/').to_owned();
        let quoted = serde_json::Value::from(secret).to_string();
        let quoted = quoted.trim_matches('"').to_owned();
        let percent = form.replace('+', "%20");
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in [secret.to_owned(), form, percent, path, quoted] {
            if text.len() >= LEAST && !all.contains(&text) {
                all.push(text);
            }
        }
        // A secret may be the beginning of another: the longer one goes first.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// The text without any of them.
    pub(crate) fn mask(&self, text: &str) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = text.to_owned();
        for secret in all.iter() {
            if out.contains(secret.as_str()) {
                out = without(&out, secret);
            }
        }
        out
    }
}

/// The text with a mask over one secret.
fn without(text: &str, secret: &str) -> String {
    if secret.len() >= SURE {
        return text.replace(secret, MASK);
    }
    let (mut out, mut done) = (String::new(), 0);
    for (at, found) in text.match_indices(secret) {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        if before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric) {
            continue;
        }
        out.push_str(&text[done..at]);
        out.push_str(MASK);
        done = at + found.len();
    }
    out + &text[done..]
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
