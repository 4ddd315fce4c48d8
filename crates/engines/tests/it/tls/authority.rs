//! An authority that signs certificates for 127.0.0.1.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// The files of an authority and of a certificate that it signed, for a server as well as for a client.
pub struct Authority {
    pub ca: String,
    pub certificate: String,
    pub key: String,
    /// The certificate and its key in one file.
    pub both: String,
}

impl Authority {
    /// Writes the files into a folder of this name.
    pub fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signing_key = KeyPair::generate().unwrap();
        let ca = authority.self_signed(&signing_key).unwrap();
        let mut own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        own.distinguished_name.push(DnType::CommonName, "it");
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = own.signed_by(&key, &Issuer::new(authority, signing_key)).unwrap();
        let write = |file: &str, content: String| {
            let path = folder.join(file);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        Self {
            ca: write("ca.pem", ca.pem()),
            certificate: write("certificate.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
            both: write("both.pem", key.serialize_pem() + &certificate.pem()),
        }
    }
}
