//! The files of certs.d: authorities for one registry, and our own certificate for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};

use crate::error::Error;

/// A certificate file is never this long.
const PEM_CAP: u64 = 16 << 20;

/// What certs.d has for one registry.
pub(super) struct Certificates {
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) own: Option<CertifiedKey>,
}

/// What a file is there for.
#[derive(Clone, Copy)]
enum Role {
    Directory,
    Authority,
    Certificate,
    Key,
}

/// Reads one directory of certs.d.
struct Reader<'a> {
    dir: &'a Path,
    registry: &'a str,
    provider: &'a CryptoProvider,
}

impl Certificates {
    /// Reads `*.crt` as authorities and `NAME.cert` with `NAME.key` as our own certificate.
    pub(super) fn read(dir: &Path, registry: &str, provider: &CryptoProvider) -> Result<Self, Error> {
        Reader { dir, registry, provider }.all()
    }
}

impl Reader<'_> {
    fn all(&self) -> Result<Certificates, Error> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.dir)
            .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect())
            .map_err(|e| self.unreadable(self.dir, Role::Directory, &e))?;
        files.sort();
        let (mut authorities, mut own) = (Vec::new(), None);
        for path in files {
            match path.extension().and_then(|e| e.to_str()) {
                Some("crt") => authorities.extend(self.certificates(&path, Role::Authority)?),
                Some("cert") if own.is_none() => own = Some(self.own(&path)?),
                _ => {}
            }
        }
        Ok(Certificates { authorities, own })
    }

    /// Our own certificate, as the server will look at it: rustls would refuse one of version 1, which is what
    /// `openssl x509 -req` makes, only because it does not read such; here it need not be read but for its key.
    fn own(&self, path: &Path) -> Result<CertifiedKey, Error> {
        let chain = self.certificates(path, Role::Certificate)?;
        let secret = path.with_extension("key");
        let key = self.key(&secret)?;
        let own = CertifiedKey::new(chain, key);
        let fits = match own.keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => true,
            Err(TlsError::InconsistentKeys(_)) => false,
            Err(_) => match (own.cert.first(), own.key.public_key()) {
                (Some(certificate), Some(public)) => holds(certificate, &public),
                _ => true,
            },
        };
        if !fits {
            let (certificate, key) = (path.display(), secret.display());
            let hint = format!(
                "`openssl x509 -noout -pubkey -in {certificate}` and `openssl pkey -pubout -in {key}` have to say the same"
            );
            return Err(self.bad(path, Role::Certificate, format!("`{key}` is not its key"), hint));
        }
        Ok(own)
    }

    fn key(&self, path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, Error> {
        let bytes = self.bytes(path, Role::Key)?;
        let bad = |what: &str, hint: String| self.bad(path, Role::Key, what.to_owned(), hint);
        let shown = path.display();
        let pem = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
            let text = String::from_utf8_lossy(&bytes);
            if text.contains("ENCRYPTED") {
                let hint =
                    format!("orlop asks for no password; take it off: `openssl pkey -in {shown} -out NEW`");
                return bad("it is encrypted", hint);
            }
            bad("it holds no key in PEM", "a key begins with `-----BEGIN PRIVATE KEY-----`".to_owned())
        })?;
        self.provider.key_provider.load_private_key(pem).map_err(|_| {
            let hint = "keys of RSA, of ECDSA with P-256 or P-384, and of Ed25519 can be used".to_owned();
            bad("it is damaged, or of a kind that orlop does not know", hint)
        })
    }

    fn certificates(&self, path: &Path, role: Role) -> Result<Vec<CertificateDer<'static>>, Error> {
        let bytes = self.bytes(path, role)?;
        let hint = || {
            let shown = path.display();
            format!(
                "a certificate begins with `-----BEGIN CERTIFICATE-----`; of DER `openssl x509 -inform DER -in {shown} -out NEW` makes one"
            )
        };
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let all = all.map_err(|e| self.bad(path, role, format!("not a certificate in PEM: {e}"), hint()))?;
        if all.is_empty() {
            return Err(self.bad(path, role, "it holds no certificate in PEM".to_owned(), hint()));
        }
        Ok(all)
    }

    fn bytes(&self, path: &Path, role: Role) -> Result<Vec<u8>, Error> {
        let length = std::fs::metadata(path).map_err(|e| self.unreadable(path, role, &e))?.len();
        if length > PEM_CAP {
            let hint = "take it out of that directory".to_owned();
            return Err(self.bad(path, role, format!("{length} bytes are too long for that"), hint));
        }
        std::fs::read(path).map_err(|e| self.unreadable(path, role, &e))
    }

    fn unreadable(&self, path: &Path, role: Role, e: &io::Error) -> Error {
        let shown = path.display();
        let hint = match (role, e.kind()) {
            (Role::Key, io::ErrorKind::NotFound) => {
                let certificate = path.with_extension("cert");
                format!("put the key there that `{}` was made with, or take that away", certificate.display())
            }
            (_, io::ErrorKind::NotFound) => format!("`{shown}` leads nowhere: take it away"),
            (_, io::ErrorKind::PermissionDenied) => format!(
                "make it readable for whoever runs orlop, or put files of your own into \
                 `~/.config/containers/certs.d/{}/`",
                self.registry
            ),
            _ => format!("see what `{shown}` is"),
        };
        self.bad(path, role, e.to_string(), hint)
    }

    fn bad(&self, path: &Path, role: Role, what: String, hint: String) -> Error {
        let role = match role {
            Role::Directory => "the certificates",
            Role::Authority => "an authority",
            Role::Certificate => "our client certificate",
            Role::Key => "the key of our client certificate",
        };
        Error::Certificate {
            file: path.display().to_string(),
            role: format!("{role} for `{}`", self.registry),
            what,
            hint,
        }
    }
}

/// Whether a certificate that nobody here can read is for this public key: it has the very bytes of it.
fn holds(certificate: &CertificateDer<'_>, public: &[u8]) -> bool {
    !public.is_empty() && certificate.windows(public.len()).any(|part| part == public)
}
