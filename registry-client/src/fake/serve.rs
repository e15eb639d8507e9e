//! What the registry does with a request when nothing goes wrong.

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_store::Digest;

use super::http::{Answer, Request, form};
use super::{Content, FakeAuth, Fault, Logged, State};

/// Serves one connection to its end.
pub(super) fn connection(state: &State, stream: TcpStream, storage: bool) {
    // Whatever goes wrong here is the client's doing: it closed.
    let _closed = requests(state, &stream, storage);
    let _ = stream.shutdown(Shutdown::Both);
}

fn requests(state: &State, stream: &TcpStream, storage: bool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream.try_clone()?;
    while let Some(request) = Request::read(&mut from)? {
        let fault = state.lock().fault(&request.method, &request.target);
        let mut log = Logged {
            storage,
            method: request.method.clone(),
            target: request.target.clone(),
            status: 0,
            headers: request.headers.clone(),
            body: 0,
        };
        let limit = match &fault {
            Some(Fault::CutUpload(n, _)) => *n,
            _ => u64::MAX,
        };
        if matches!(fault, Some(Fault::Close)) {
            state.lock().log.push(log);
            return Ok(());
        }
        let body = request.body(&mut from, limit)?;
        log.body = body.len() as u64;
        if let Some(Fault::CutUpload(_, keep)) = fault {
            let mut content = state.lock();
            if let Some(upload) = content.uploads.get_mut(upload_id(&request)).filter(|_| keep) {
                upload.extend_from_slice(&body);
            }
            content.log.push(log);
            return Ok(());
        }
        if let Some(Fault::Delay(time)) = fault {
            std::thread::sleep(time);
        }
        let answer = match &fault {
            Some(Fault::Status(status, code, headers)) => {
                headers.iter().fold(Answer::error(*status, code), |a, (k, v)| a.header(k, v.clone()))
            }
            Some(Fault::Redirect(status, to)) => Answer::new(*status).header("Location", to.clone()),
            _ => answer(state, &request, body, storage),
        };
        log.status = answer.status;
        let forget = matches!(fault, Some(Fault::Forget));
        if forget {
            log.status = 0;
        }
        state.lock().log.push(log);
        if forget {
            return Ok(());
        }
        if matches!(fault, Some(Fault::Garbage)) {
            to.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n")?;
            return Ok(());
        }
        let stop = || state.stopped.load(Ordering::SeqCst);
        if !answer.write(&mut to, request.method == "HEAD", fault.as_ref(), &stop)? {
            return Ok(());
        }
    }
    Ok(())
}

fn upload_id(request: &Request) -> &str {
    request.path().rsplit('/').next().unwrap_or_default()
}

fn answer(state: &State, request: &Request, body: Vec<u8>, storage: bool) -> Answer {
    let mut content = state.lock();
    let path = request.path().to_owned();
    if storage {
        if path == "/token" {
            return token(state, &mut content, request, &body);
        }
        // The storage behind a signed URL: no login, and none wanted.
        let found = path.strip_prefix("/store/").and_then(|p| p.rsplit_once('/'));
        let Some((repo, digest)) = found else { return Answer::error(404, "NOT_FOUND") };
        return blob(state, &content, request, repo, digest, false);
    }
    if let Some(refused) = unauthorized(state, &mut content, request) {
        return refused;
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return Answer::error(404, "NOT_FOUND") };
    if rest.is_empty() {
        return Answer::new(200).body(b"{}".to_vec());
    }
    if request.method == "HEAD" && !state.config.head {
        return Answer::error(405, "UNSUPPORTED");
    }
    if state.config.max_body.is_some_and(|max| body.len() as u64 > max) {
        return Answer::error(413, "TOO_LARGE");
    }
    if let Some((repo, id)) = rest.split_once("/blobs/uploads/") {
        return upload(state, &mut content, request, repo, id, body);
    }
    if let Some((repo, digest)) = rest.rsplit_once("/blobs/") {
        return blob(state, &content, request, repo, digest, state.config.redirect_blobs);
    }
    if let Some((repo, which)) = rest.rsplit_once("/manifests/") {
        return manifest(state, &mut content, request, repo, which, body);
    }
    if let Some(repo) = rest.strip_suffix("/tags/list") {
        return tags(state, &content, request, repo);
    }
    if let Some((repo, digest)) = rest.rsplit_once("/referrers/").filter(|_| state.config.referrers) {
        return referrers(&content, repo, digest);
    }
    Answer::error(404, "NOT_FOUND")
}

/// The scope that a request needs.
fn needed(request: &Request) -> Option<String> {
    let rest = request.path().strip_prefix("/v2/")?;
    let end = ["/blobs/", "/manifests/", "/tags/", "/referrers/"].iter().find_map(|m| rest.find(m))?;
    let action = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" if !rest.contains("/uploads/") => "delete",
        _ => "push",
    };
    Some(format!("{} {action}", &rest[..end]))
}

fn unauthorized(state: &State, content: &mut Content, request: &Request) -> Option<Answer> {
    let given = request.header("authorization").unwrap_or_default();
    match &state.config.auth {
        FakeAuth::None => None,
        FakeAuth::Basic(user, password) => {
            let right = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            (given != right).then(|| {
                Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"fake\"")
            })
        }
        FakeAuth::Bearer { .. } => {
            let need = needed(request);
            let token = given.strip_prefix("Bearer ").unwrap_or_default();
            if let Some((scopes, uses)) = content.tokens.get_mut(token).filter(|(_, uses)| *uses > 0) {
                let mount_from = request.query("from").map(|from| format!("{from} pull"));
                let all = [need.clone(), mount_from];
                if all.iter().flatten().all(|n| scopes.contains(n)) {
                    *uses -= 1;
                    return None;
                }
            }
            let scope = need
                .as_deref()
                .and_then(|n| n.split_once(' '))
                .map(|(repo, action)| {
                    let actions = if action == "push" { "pull,push" } else { action };
                    format!(",scope=\"repository:{repo}:{actions}\"")
                })
                .unwrap_or_default();
            let challenge =
                format!("Bearer realm=\"http://{}/token\",service=\"fake\"{scope}", state.storage);
            Some(Answer::error(401, "UNAUTHORIZED").header("WWW-Authenticate", challenge))
        }
    }
}

fn token(state: &State, content: &mut Content, request: &Request, body: &[u8]) -> Answer {
    let FakeAuth::Bearer { login, identity, field, promised, uses } = &state.config.auth else {
        return Answer::error(404, "NOT_FOUND");
    };
    let mut asked = request.queries("scope");
    let post = request.method == "POST";
    let first = |name: &str| form(body, name).first().cloned();
    let password = login.as_ref().is_none_or(|(user, password)| {
        let right = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let posted = first("grant_type").is_some_and(|grant| grant == "password")
            && first("username").as_ref() == Some(user)
            && first("password").as_ref() == Some(password);
        if post { posted } else { request.header("authorization") == Some(&right) }
    });
    let token = match identity {
        Some(identity) if post => first("refresh_token").as_ref() == Some(identity),
        Some(identity) => {
            let right = format!("Basic {}", STANDARD.encode(format!("u:{identity}")));
            request.header("authorization") == Some(&right)
        }
        None => false,
    };
    if post {
        asked = form(body, "scope").iter().flat_map(|s| s.split(' ')).map(str::to_owned).collect();
    }
    let right = password || token;
    if !right {
        return Answer::new(401).body(br#"{"details":"incorrect username or password"}"#.to_vec());
    }
    let mut scopes = Vec::new();
    for scope in &asked {
        if let ["repository", repo, actions] = scope.splitn(3, ':').collect::<Vec<_>>().as_slice() {
            scopes.extend(actions.split(',').map(|a| format!("{repo} {a}")));
        }
    }
    let token = content.name("token-");
    content.tokens.insert(token.clone(), (scopes, *uses));
    let mut body = serde_json::json!({*field: token, "expires_in": promised});
    let offline = request.query("offline_token").is_some_and(|v| v == "true")
        || first("access_type").is_some_and(|v| v == "offline");
    if let Some(identity) = identity.as_ref().filter(|_| offline) {
        body["refresh_token"] = identity.as_str().into();
    }
    Answer::new(200).header("Content-Type", "application/json").body(body.to_string().into_bytes())
}

fn blob(
    state: &State,
    content: &Content,
    request: &Request,
    repo: &str,
    digest: &str,
    redirect: bool,
) -> Answer {
    let found = digest.parse::<Digest>().ok().and_then(|d| content.blobs.get(&(repo.to_owned(), d)));
    let Some(bytes) = found else { return Answer::error(404, "BLOB_UNKNOWN") };
    if request.method == "DELETE" {
        return Answer::new(202);
    }
    if redirect && request.method == "GET" {
        let to = format!("http://{}/store/{repo}/{digest}?signature=secret", state.storage);
        return Answer::new(307).header("Location", to);
    }
    let mut answer = Answer::new(200).header("Content-Type", "application/octet-stream");
    if state.config.digest_header {
        answer = answer.header("Docker-Content-Digest", digest);
    }
    let range = request.header("range").and_then(|r| r.strip_prefix("bytes="));
    let start =
        range.and_then(|r| r.trim_end_matches('-').parse::<usize>().ok()).filter(|_| state.config.ranges);
    match start {
        Some(start) if start >= bytes.len() => Answer::error(416, "RANGE_INVALID"),
        Some(start) => {
            answer.status = 206;
            let said = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            answer.header("Content-Range", said).body(bytes[start..].to_vec())
        }
        None => answer.body(bytes.clone()),
    }
}

fn upload(
    state: &State,
    content: &mut Content,
    request: &Request,
    repo: &str,
    id: &str,
    body: Vec<u8>,
) -> Answer {
    let commit = |content: &mut Content, bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        if request.query("digest").as_deref() != Some(&digest.to_string()) {
            return Answer::error(400, "DIGEST_INVALID");
        }
        content.blobs.insert((repo.to_owned(), digest), bytes);
        Answer::new(201).header("Docker-Content-Digest", digest.to_string())
    };
    if request.method == "POST" {
        if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from")) {
            let key = digest.parse::<Digest>().ok().map(|d| (from, d));
            let found = key.and_then(|key| Some((key.1, content.blobs.get(&key)?.clone())));
            match (state.config.mount, found) {
                (201, Some((digest, bytes))) => {
                    content.blobs.insert((repo.to_owned(), digest), bytes);
                    return Answer::new(201).header("Docker-Content-Digest", digest.to_string());
                }
                (201 | 202, _) => {}
                (status, _) => return Answer::error(status, "UNSUPPORTED"),
            }
        }
        let id = content.name("up");
        content.uploads.insert(id.clone(), Vec::new());
        return at(state, Answer::new(202), repo, &id, 0);
    }
    let Some(have) = content.uploads.get(id).map(|u| u.len() as u64) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    // Only the last Location that was given out is right.
    if request.query("_state").as_deref() != Some(&format!("{id}-{have}")) && request.method != "GET" {
        return Answer::error(400, "BLOB_UPLOAD_INVALID");
    }
    match request.method.as_str() {
        "GET" => at(state, Answer::new(204), repo, id, have),
        "DELETE" => {
            content.uploads.remove(id);
            Answer::new(204)
        }
        "PATCH" => {
            let range = request.header("content-range").and_then(|r| r.split_once('-'));
            let starts = range.and_then(|(s, _)| s.parse::<u64>().ok());
            if starts.is_some_and(|s| s != have) {
                return at(state, Answer::error(416, "BLOB_UPLOAD_INVALID"), repo, id, have);
            }
            let upload = content.uploads.entry(id.to_owned()).or_default();
            // Too small a chunk is only found out when another one follows it.
            if have > 0 && have % state.config.min_chunk.max(1) != 0 {
                return Answer::error(416, "BLOB_UPLOAD_INVALID");
            }
            upload.extend_from_slice(&body);
            let have = upload.len() as u64;
            at(state, Answer::new(202), repo, id, have)
        }
        "PUT" => {
            if let Some(status) = state.config.refuse_whole.filter(|_| !body.is_empty()) {
                return Answer::error(status, "UNSUPPORTED");
            }
            let mut bytes = content.uploads.remove(id).unwrap_or_default();
            bytes.extend_from_slice(&body);
            commit(content, bytes)
        }
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}

/// Where an upload stands: a relative `Location` with a query, and `Range`.
fn at(state: &State, answer: Answer, repo: &str, id: &str, have: u64) -> Answer {
    let answer = answer
        .header("Location", format!("/v2/{repo}/blobs/uploads/{id}?_state={id}-{have}"))
        .header("Range", format!("0-{}", have.saturating_sub(1)));
    match state.config.min_chunk {
        0 => answer,
        min => answer.header("OCI-Chunk-Min-Length", min.to_string()),
    }
}

fn manifest(
    state: &State,
    content: &mut Content,
    request: &Request,
    repo: &str,
    which: &str,
    body: Vec<u8>,
) -> Answer {
    let tagged = content.tags.iter().find(|(r, t, _)| r == repo && t == which).map(|(_, _, d)| *d);
    let digest = which.parse::<Digest>().ok().or(tagged);
    if request.method == "PUT" {
        let made = Digest::of(&body);
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        let subject = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let subject = subject.and_then(|m| m.get("subject")?.get("digest")?.as_str().map(str::to_owned));
        let changed = tagged.is_some_and(|now| {
            let stale = request.header("if-match").is_some_and(|asked| asked != format!("\"{now}\""));
            stale || request.header("if-none-match") == Some("*")
        });
        if state.config.etags && changed {
            return Answer::error(412, "PRECONDITION_FAILED");
        }
        content.manifests.insert((repo.to_owned(), made), (kind, body));
        if which.parse::<Digest>().is_err() {
            content.tags.retain(|(r, t, _)| r != repo || t != which);
            content.tags.push((repo.to_owned(), which.to_owned(), made));
        }
        let answer = Answer::new(201).header("Docker-Content-Digest", made.to_string());
        return match subject.filter(|_| state.config.referrers) {
            Some(subject) => answer.header("OCI-Subject", subject),
            None => answer,
        };
    }
    let Some(digest) = digest.filter(|d| content.manifests.contains_key(&(repo.to_owned(), *d))) else {
        return Answer::error(404, "MANIFEST_UNKNOWN");
    };
    let key = (repo.to_owned(), digest);
    if request.method == "DELETE" {
        content.manifests.remove(&key);
        content.tags.retain(|(r, _, d)| r != repo || *d != digest);
        return Answer::new(202);
    }
    let Some((kind, bytes)) = content.manifests.get(&key) else {
        return Answer::error(404, "MANIFEST_UNKNOWN");
    };
    let mut answer = Answer::new(200).body(bytes.clone());
    if state.config.etags {
        answer = answer.header("ETag", format!("\"{digest}\""));
    }
    if !kind.is_empty() {
        answer = answer.header("Content-Type", kind.clone());
    }
    if state.config.digest_header {
        answer = answer.header("Docker-Content-Digest", digest.to_string());
    }
    answer
}

fn tags(state: &State, content: &Content, request: &Request, repo: &str) -> Answer {
    let mut tags: Vec<&str> =
        content.tags.iter().filter(|(r, _, _)| r == repo).map(|(_, t, _)| t.as_str()).collect();
    if tags.is_empty() {
        return Answer::error(404, "NAME_UNKNOWN");
    }
    tags.sort_unstable();
    if let Some(last) = request.query("last") {
        tags.retain(|t| *t > last.as_str());
    }
    let more = tags.len() > state.config.page;
    tags.truncate(state.config.page);
    let body = serde_json::json!({"name": repo, "tags": tags}).to_string().into_bytes();
    match tags.last().filter(|_| more) {
        Some(last) => {
            let link = format!("</v2/{repo}/tags/list?last={last}&n={}>; rel=\"next\"", state.config.page);
            Answer::new(200).header("Link", link).body(body)
        }
        None => Answer::new(200).body(body),
    }
}

fn referrers(content: &Content, repo: &str, subject: &str) -> Answer {
    let mut found = Vec::new();
    for ((r, digest), (kind, bytes)) in &content.manifests {
        let json: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        if r == repo && json["subject"]["digest"] == subject {
            found.push(serde_json::json!({"mediaType": kind, "digest": digest.to_string(),
                "size": bytes.len(), "artifactType": json["artifactType"]}));
        }
    }
    let body = serde_json::json!({"schemaVersion": 2, "manifests": found}).to_string().into_bytes();
    Answer::new(200).header("Content-Type", "application/vnd.oci.image.index.v1+json").body(body)
}
