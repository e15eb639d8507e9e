//! As much HTTP/1.1 as a registry needs, and the ways to get it wrong.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Fault;

pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Request {
    /// Reads the head; nothing at the end of the connection.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        from.by_ref().take(65_536).read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else {
            return Ok(None);
        };
        // A proxy is given the whole URL.
        let path = target.strip_prefix("http://").and_then(|t| t.find('/').and_then(|at| t.get(at..)));
        let (method, target) = (method.to_owned(), path.unwrap_or(target).to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            from.by_ref().take(65_536).read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((k, v)) => headers.push((k.to_ascii_lowercase(), v.trim().to_owned())),
                None => return Ok(Some(Self { method, target, headers })),
            }
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    pub(super) fn queries(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, q)| q);
        form(query.as_bytes(), name)
    }

    /// Reads the body, or its first `limit` bytes.
    pub(super) fn body(&self, from: &mut impl BufRead, limit: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        if self.header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                from.by_ref().take(size).read_to_end(&mut out)?;
                from.read_line(&mut line)?;
                if size == 0 || out.len() as u64 >= limit {
                    return Ok(out);
                }
            }
        }
        let length: u64 = self.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        from.take(length.min(limit)).read_to_end(&mut out)?;
        if (out.len() as u64) < length.min(limit) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(out)
    }
}

/// The values of a parameter in a form.
pub(super) fn form(form: &[u8], name: &str) -> Vec<String> {
    url::form_urlencoded::parse(form).filter(|(k, _)| k == name).map(|(_, v)| v.into_owned()).collect()
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": format!("fake {code}")}]});
        Self::new(status).header("Content-Type", "application/json").body(body.to_string().into_bytes())
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(k, _)| !k.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// Writes the answer, bent by `fault`. True when the connection may go on.
    pub(super) fn write(
        mut self,
        to: &mut TcpStream,
        is_head: bool,
        fault: Option<&Fault>,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        let mut length = Some(self.body.len());
        let mut send = self.body.len();
        let mut chunked = false;
        match fault {
            Some(Fault::Cut(n) | Fault::Stall(n)) => {
                send = send.min(usize::try_from(*n).unwrap_or(usize::MAX))
            }
            Some(Fault::Shorten(n)) => {
                send = send.min(usize::try_from(*n).unwrap_or(usize::MAX));
                length = Some(send);
            }
            Some(Fault::Flip(at)) => {
                if let Some(byte) = self.body.get_mut(*at) {
                    *byte ^= 1;
                }
            }
            Some(Fault::Endless | Fault::NoLength) => length = None,
            Some(Fault::Chunked) => (length, chunked) = (None, true),
            Some(Fault::Header(name, value)) => {
                self = self.header(name, value.clone());
                self.headers.retain(|(_, v)| !v.is_empty());
            }
            _ => {}
        }
        let mut head = format!("HTTP/1.1 {} Fake\r\n", self.status);
        for (k, v) in &self.headers {
            head.push_str(&format!("{k}: {v}\r\n"));
        }
        if let Some(length) = length.filter(|_| !self.headers.iter().any(|(k, _)| k == "Content-Length")) {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        } else if chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else if length.is_none() {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        to.write_all(head.as_bytes())?;
        if is_head {
            return Ok(true);
        }
        if chunked {
            for piece in self.body.chunks(10_000) {
                to.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                to.write_all(piece)?;
                to.write_all(b"\r\n")?;
            }
            to.write_all(b"0\r\n\r\n")?;
            return Ok(true);
        }
        to.write_all(&self.body[..send])?;
        to.flush()?;
        match fault {
            Some(Fault::Stall(_)) => {
                while !stop() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(false)
            }
            Some(Fault::Endless) => {
                while !stop() {
                    to.write_all(&[0; 4096])?;
                }
                Ok(false)
            }
            Some(Fault::Cut(_) | Fault::NoLength) => Ok(false),
            _ => Ok(true),
        }
    }
}
