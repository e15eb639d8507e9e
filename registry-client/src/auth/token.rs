//! The token protocol: what a registry's `WWW-Authenticate` asks for, and how a token is had for it
//! (distribution's "Token Authentication Specification" and its OAuth2 variant).

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;

use super::{Credential, TOKEN_USER, basic, secret_header};
use crate::error::Error;
use crate::retry::{http_date, rfc3339};
use crate::transport::{Body, Request, Route, Transport};

/// Bytes of a token server's answer that are read.
const TOKEN_CAP: usize = 1 << 20;
/// How we call ourselves to token servers.
const CLIENT_ID: &str = "orlop";

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String>, scopes: Vec<String> },
}

/// The challenges of an answer that we can meet, the one that we prefer first; and why the others cannot be met, for
/// when there are none. `base` resolves a relative realm.
pub(crate) fn challenges(headers: &HeaderMap, base: &Url) -> (Vec<Challenge>, String) {
    let mut out = Vec::new();
    let mut unusable = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for (scheme, params) in parse(&text) {
            let get = |key: &str| params.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            if scheme.eq_ignore_ascii_case("basic") {
                out.push(Challenge::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer") {
                match realm(get("realm"), base) {
                    Ok(realm) => {
                        let scopes = get("scope").unwrap_or_default();
                        let scopes = scopes.split_whitespace().map(str::to_owned).collect();
                        let service = get("service").filter(|s| !s.is_empty());
                        out.push(Challenge::Bearer { realm, service, scopes });
                    }
                    Err(why) => unusable = Some(why),
                }
            } else {
                let why = || format!("it asks for `{scheme}`, and orlop knows `Basic` and `Bearer`");
                unusable.get_or_insert_with(why);
            }
        }
    }
    out.sort_by_key(|c| matches!(c, Challenge::Basic));
    let why = "it does not say what for a login it wants (`WWW-Authenticate`)";
    (out, unusable.unwrap_or_else(|| why.to_owned()))
}

/// The token server of a challenge, or why there is none.
fn realm(given: Option<String>, base: &Url) -> Result<Url, String> {
    let given = given.filter(|realm| !realm.is_empty());
    let given = given.ok_or("its `Bearer` challenge names no token server (`realm`)")?;
    let url = base.join(&given).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| format!("the token server that it names, `{given}`, is no HTTP URL"))
}

/// Splits `Bearer realm="…",service=x, Basic realm=y` (RFC 9110, 11.6.1) into schemes and parameters.
fn parse(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut out: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let trimmed = after.trim_start();
        if let (Some(value), false) = (trimmed.strip_prefix('='), word.is_empty()) {
            let (value, left) = value_of(value.trim_start());
            if let Some((_, params)) = out.last_mut() {
                params.push((word.to_ascii_lowercase(), value));
            }
            rest = left;
        } else {
            if !word.is_empty() {
                out.push((word.to_owned(), Vec::new()));
            }
            rest = trimmed;
        }
        let next = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        // A lone `=` starts no word; step over it, so that every round gets on.
        rest = if next.starts_with('=') && end == 0 { &next[1..] } else { next };
    }
    out
}

/// A quoted string or a token, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// A bearer token and how long it may be used.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: String,
    good_until: Instant,
    /// What was given with it to get further ones.
    pub(crate) identity: Option<String>,
}

impl Token {
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.good_until
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    /// A number; some servers write it as text.
    expires_in: Option<serde_json::Value>,
    /// As RFC 3339 has it.
    issued_at: Option<serde_json::Value>,
}

impl Answer {
    /// Seconds that the token may still be used, seen from the answer. No lifetime means 60 s (the specification's
    /// words). A token that the server had at hand has lived already: by the server's own clock, as ours may be
    /// another.
    fn life(&self, date: Option<u64>) -> f64 {
        let seconds = match &self.expires_in {
            Some(serde_json::Value::Number(n)) => n.as_f64(),
            Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        let life = seconds.filter(|s| s.is_finite() && *s > 0.0).unwrap_or(60.0).min(86_400.0);
        let issued = self.issued_at.as_ref().and_then(serde_json::Value::as_str).and_then(rfc3339);
        let age = issued.zip(date).map_or(0, |(issued, date)| date.saturating_sub(issued));
        (life - age as f64).max(0.0)
    }
}

/// What a token is asked for.
pub(crate) struct Ask<'a> {
    pub(crate) realm: &'a Url,
    pub(crate) service: Option<&'a str>,
    pub(crate) scopes: &'a [String],
    /// An identity token as well.
    pub(crate) offline: bool,
}

impl Ask<'_> {
    fn query(&self, account: Option<&str>) -> Url {
        let mut url = self.realm.clone();
        {
            let mut pairs = url.query_pairs_mut();
            if let Some(account) = account {
                pairs.append_pair("account", account);
            }
            if let Some(service) = self.service {
                pairs.append_pair("service", service);
            }
            for scope in self.scopes {
                pairs.append_pair("scope", scope);
            }
            if self.offline {
                pairs.append_pair("offline_token", "true").append_pair("client_id", CLIENT_ID);
            }
        }
        url
    }

    fn form(&self, grant: &[(&str, &str)]) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(grant).append_pair("client_id", CLIENT_ID);
        if let Some(service) = self.service {
            form.append_pair("service", service);
        }
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        form.finish()
    }
}

/// Fetches a token: with a password by GET, with an identity token by POST, else anonymously. A server that has not
/// the one method is asked by the other.
pub(crate) async fn fetch(
    transport: &Transport,
    route: &Route<'_>,
    ask: &Ask<'_>,
    credential: Option<&Credential>,
) -> Result<Token, Error> {
    let asked = Instant::now();
    let (request, other) = match credential {
        Some(Credential::Basic { user, password }) => {
            let mut grant = vec![("grant_type", "password"), ("username", user), ("password", password)];
            if ask.offline {
                grant.push(("access_type", "offline"));
            }
            (by_get(ask, user, password)?, Some(by_post(ask, &grant)))
        }
        Some(Credential::IdentityToken { user, token }) => {
            let user = if user.is_empty() { TOKEN_USER } else { user };
            let grant = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
            (by_post(ask, &grant), Some(by_get(ask, user, token)?))
        }
        Some(Credential::RegistryToken(_)) | None => (Request::new(Method::GET, ask.query(None)), None),
    };
    let mut response = transport.send(request, route).await?;
    if let (404 | 405, Some(other)) = (response.status().as_u16(), other) {
        let refused = response.into_error().await;
        response = transport.send(other, route).await?;
        if matches!(response.status().as_u16(), 404 | 405) {
            return Err(refused);
        }
    }
    let response = response.success().await?;
    let date = response.text("date").and_then(http_date);
    let bad = response.protocol("the token server did not answer in JSON");
    let none = response.protocol("the token server's answer holds no token");
    let unfit = response.protocol("the token server's answer holds a token that cannot stand in a header");
    let bytes = response.bytes(TOKEN_CAP).await?;
    // The message of serde_json may quote the answer, which holds the token.
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| bad)?;
    let life = answer.life(date);
    let some = |text: Option<String>| text.filter(|t| !t.is_empty());
    let value = some(answer.token).or(some(answer.access_token)).ok_or(none)?;
    let identity = some(answer.refresh_token);
    for secret in std::iter::once(&value).chain(&identity) {
        transport.secrets().add(secret);
    }
    if secret_header(&format!("Bearer {value}")).is_none() {
        return Err(unfit);
    }
    // A tenth is kept back for the way there.
    Ok(Token { value, good_until: asked + Duration::from_secs_f64(life * 0.9), identity })
}

/// The token specification's own way.
fn by_get(ask: &Ask<'_>, user: &str, password: &str) -> Result<Request, Error> {
    let mut request = Request::new(Method::GET, ask.query(Some(user)));
    request.headers.insert(AUTHORIZATION, basic(user, password)?);
    Ok(request)
}

/// OAuth2's way.
fn by_post(ask: &Ask<'_>, grant: &[(&str, &str)]) -> Request {
    let mut request = Request::new(Method::POST, ask.realm.clone());
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    request.body = Body::Bytes(ask.form(grant).into());
    request.secret = true;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for v in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(v.as_bytes()).unwrap());
        }
        challenges(&headers, &Url::parse("https://r.example/v2/").unwrap()).0
    }

    fn unusable(value: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        let (offered, why) = challenges(&headers, &Url::parse("https://r.example/v2/").unwrap());
        assert_eq!(offered, [], "{value}");
        why
    }

    #[test]
    fn what_cannot_be_met_is_told() {
        for (value, why) in [
            ("Negotiate", "it asks for `Negotiate`"),
            ("Negotiate abc==", "it asks for `Negotiate`"),
            ("Digest realm=\"x\", nonce=\"y\"", "it asks for `Digest`"),
            ("Bearer", "names no token server"),
            ("Bearer realm=\"\"", "names no token server"),
            ("Bearer service=\"x\"", "names no token server"),
            ("Negotiate, Bearer service=\"x\"", "names no token server"),
            ("Bearer realm=\"file:///etc/passwd\"", "`file:///etc/passwd`, is no HTTP URL"),
            ("Bearer realm=\"http://[\"", "`http://[`, is no HTTP URL"),
            ("", "does not say"),
        ] {
            assert!(unusable(value).contains(why), "{value}: {}", unusable(value));
        }
        assert_eq!(read(&["Negotiate", "Basic realm=x"]), [Challenge::Basic]);
    }

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Challenge {
        Challenge::Bearer {
            realm: Url::parse(realm).unwrap(),
            service: service.map(str::to_owned),
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    #[test]
    fn challenges_of_all_forms() {
        let full = r#"Bearer realm="https://a.example/t?x=1",service="s p",scope="repository:a/b:pull,push repository:c:pull",error="invalid_token""#;
        let want = bearer(
            "https://a.example/t?x=1",
            Some("s p"),
            &["repository:a/b:pull,push", "repository:c:pull"],
        );
        assert_eq!(read(&[full]), [want]);
        let plain = bearer("https://r.example/token", None, &[]);
        assert_eq!(
            read(&["Basic realm=\"x, y=\\\"z\\\"\", bearer realm=/token"]),
            [plain.clone(), Challenge::Basic]
        );
        assert_eq!(read(&["basic", "BEARER realm = \"/token\" , service="]), [plain, Challenge::Basic]);
        for nonsense in [
            "",
            "=",
            "===,,=",
            "Bearer",
            "Bearer realm=",
            "Negotiate abc==",
            "Bearer realm=\"ftp://x/\"",
            "\"",
            "a=\"",
        ] {
            read(&[nonsense]);
        }
        assert!(read(&["Bearer realm=\"ftp://x/\""]).is_empty());
    }

    #[test]
    fn scopes_are_asked_one_by_one_or_as_a_list() {
        let realm = Url::parse("https://a.example/t?keep=1").unwrap();
        let scopes = ["repository:a:pull,push".to_owned(), "repository:b:pull".to_owned()];
        let ask = Ask { realm: &realm, service: Some("s"), scopes: &scopes, offline: false };
        assert_eq!(
            ask.query(Some("u")).as_str(),
            "https://a.example/t?keep=1&account=u&service=s&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull"
        );
        assert!(
            ask.form(&[("grant_type", "refresh_token")]).ends_with(
                "client_id=orlop&service=s&scope=repository%3Aa%3Apull%2Cpush+repository%3Ab%3Apull"
            )
        );
    }

    #[test]
    fn a_token_lives_as_long_as_its_server_says() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        for (json, life) in [
            (r#"{}"#, 60.0),
            (r#"{"expires_in":300}"#, 300.0),
            (r#"{"expires_in":"300"}"#, 300.0),
            (r#"{"expires_in":null,"issued_at":null}"#, 60.0),
            (r#"{"expires_in":-1}"#, 60.0),
            (r#"{"expires_in":1e99}"#, 86_400.0),
            // Issued 40 s ago, or a little ahead of the server's own clock, or in a form that nobody knows.
            (r#"{"expires_in":300,"issued_at":"1994-11-06T08:48:57Z"}"#, 260.0),
            (r#"{"expires_in":300,"issued_at":"1994-11-06T09:49:38.123456789+01:00"}"#, 300.0),
            (r#"{"expires_in":30,"issued_at":"1994-11-06T08:00:00Z"}"#, 0.0),
            (r#"{"expires_in":300,"issued_at":"yesterday"}"#, 300.0),
        ] {
            let answer: Answer = serde_json::from_str(json).unwrap();
            assert_eq!(answer.life(date), life, "{json}");
            assert!(answer.life(None) >= life, "{json}");
        }
    }
}
