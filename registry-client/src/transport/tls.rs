//! Whom we believe: the system's authorities, the caller's, and those of certs.d.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use url::Url;

use super::certificates::Certificates;
use super::{ClientKey, Transport};
use crate::error::Error;
use crate::hosts::Authorities;

impl Transport {
    /// The directory of certs.d for a URL's host, if there is one, else that for the registry which leads there.
    pub(super) fn certificates_of(&self, url: &Url, registry: Option<&str>) -> Option<PathBuf> {
        self.directory_of(url).or_else(|| {
            let registry = Url::parse(&format!("https://{}/", registry?)).ok()?;
            self.directory_of(&registry)
        })
    }

    fn directory_of(&self, url: &Url) -> Option<PathBuf> {
        let host = url.host_str()?;
        let port = url.port_or_known_default().unwrap_or(443);
        let mut names = vec![format!("{host}:{port}")];
        if port == 443 {
            names.push(host.to_owned());
            if host == "registry-1.docker.io" {
                names.push("docker.io".into());
            }
        }
        if cfg!(windows) {
            // No file name there holds a colon; Docker's directories are named without it.
            names.iter_mut().for_each(|name| name.retain(|c| c != ':'));
        }
        let dirs = self.hosts.certs_dirs.iter();
        dirs.flat_map(|dir| names.iter().map(move |n| dir.join(n))).find(|dir| dir.is_dir())
    }

    /// How TLS is spoken; `host` is whom it is spoken to, for messages.
    pub(super) fn tls_config(
        &self,
        key: &ClientKey,
        host: &str,
        http2: bool,
        asked: Option<Arc<AtomicBool>>,
    ) -> Result<ClientConfig, Error> {
        let bad = |e: &dyn std::fmt::Display| Error::Config { name: "TLS".into(), what: e.to_string() };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&e))?;
        let of_host = match key.certificates.as_ref().filter(|_| key.tls) {
            Some(dir) => Certificates::read(dir, host, &provider)?,
            None => Certificates { authorities: Vec::new(), own: None },
        };
        let builder = if !key.tls {
            builder.with_root_certificates(RootCertStore::empty())
        } else if key.insecure {
            let everybody = Verifier { trusted: None, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(everybody))
        } else {
            let mut trusted = self
                .roots
                .get_or_init(|| Trusted::system(&self.hosts.extra_ca))
                .clone()
                .map_err(|what| Error::Config { name: "certificate authorities".into(), what })?;
            trusted.add(of_host.authorities);
            let verifier = trusted.verifier(provider).map_err(|e| bad(&e))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut config = match (of_host.own, asked) {
            (Some(own), _) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            (None, Some(asked)) => builder.with_client_cert_resolver(Arc::new(Asked(asked))),
            (None, None) => builder.with_no_client_auth(),
        };
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(config)
    }
}

/// Certificates that are believed: of authorities, and those that servers have made for themselves.
#[derive(Clone)]
pub(super) struct Trusted {
    roots: RootCertStore,
    own: Vec<CertificateDer<'static>>,
}

impl Trusted {
    /// The system's authorities with the caller's, or Mozilla's list where the system has none.
    fn system(extra: &Authorities) -> Result<Self, String> {
        let mut out = Self { roots: RootCertStore::empty(), own: Vec::new() };
        out.add(rustls_native_certs::load_native_certs().certs);
        if out.roots.is_empty() {
            out.roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in &extra.read()? {
            let mut last = "no PEM certificate in it".to_owned();
            let before = out.own.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                // A directory of a system may hold a few that are too old to be read.
                let added = certificate.map_err(|e| format!("not a PEM certificate: {e}")).and_then(|c| {
                    out.roots.add(c.clone()).map_err(|e| format!("cannot be used: {e}"))?;
                    Ok(c)
                });
                match added {
                    Ok(certificate) => out.own.push(certificate),
                    Err(why) => last = why,
                }
            }
            if out.own.len() == before {
                return Err(format!("a file that `SSL_CERT_FILE` or `SSL_CERT_DIR` names: {last}"));
            }
        }
        Ok(out)
    }

    fn add(&mut self, certificates: Vec<CertificateDer<'static>>) {
        self.own.extend(certificates.iter().cloned());
        self.roots.add_parsable_certificates(certificates);
    }

    fn verifier(self, provider: Arc<CryptoProvider>) -> Result<Verifier, VerifierBuilderError> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots), Arc::clone(&provider));
        Ok(Verifier { trusted: Some((builder.build()?, self.own)), provider })
    }
}

/// Believes authorities, and a server whose very certificate is among what is trusted. `openssl req -x509` makes one
/// that calls itself an authority, registries are set up with that by Docker's manual, and webpki alone refuses it.
#[derive(Debug)]
struct Verifier {
    /// Authorities, and servers' own certificates; none where everybody is believed: a registry that configuration
    /// calls insecure.
    trusted: Option<(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>)>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some((authorities, own)) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(certificate, chain, name, ocsp, now) {
            // Its time has been looked at before this is said; see `check_issuer_independent_properties` of webpki.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
                if format!("{other:?}").contains("CaUsedAsEndEntity") && own.contains(certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Has no certificate of ours, and notes that one was asked for.
#[derive(Debug)]
struct Asked(Arc<AtomicBool>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
