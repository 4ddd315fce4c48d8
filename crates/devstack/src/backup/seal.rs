//! The files of a backup: encrypted if there is a passphrase, and hashed as they are on the disk.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::iter::once;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use age::secrecy::{ExposeSecret, SecretString};
use age::stream::StreamWriter;
use age::{Decryptor, Encryptor, Identity, Recipient, scrypt};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The binary logarithm of the work that a guess of the passphrase costs: half a second and 256 MB.
const WORK: u8 = 18;

/// A shorter passphrase can be guessed.
const MIN_PASSPHRASE: usize = 16;

/// The secret with which a backup is encrypted. The files can be read with `age --decrypt` too.
pub struct Passphrase(SecretString);

impl Passphrase {
    /// Reads the only line of a file.
    pub fn of_file(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let line = text.trim();
        if line.len() < MIN_PASSPHRASE || line.contains('\n') {
            bail!("{} must be one line of {MIN_PASSPHRASE} characters or more", file.display());
        }
        Ok(Self(line.to_owned().into()))
    }

    fn recipient(&self) -> scrypt::Recipient {
        let mut recipient = scrypt::Recipient::new(self.copy());
        recipient.set_work_factor(WORK);
        recipient
    }

    fn identity(&self) -> scrypt::Identity {
        let mut identity = scrypt::Identity::new(self.copy());
        identity.set_max_work_factor(WORK);
        identity
    }

    fn copy(&self) -> SecretString {
        self.0.expose_secret().to_owned().into()
    }
}

/// The size in bytes and the SHA-256 digest of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub bytes: u64,
    pub sha256: String,
}

impl Fingerprint {
    pub fn of(file: &File) -> Result<Self> {
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut BufReader::new(file), &mut hashed)?;
        Ok(hashed.fingerprint())
    }
}

/// Counts and hashes what is written.
pub struct Hashed<W> {
    to: W,
    bytes: u64,
    digest: Sha256,
}

impl<W: Write> Hashed<W> {
    fn new(to: W) -> Self {
        Self { to, bytes: 0, digest: Sha256::new() }
    }

    fn fingerprint(self) -> Fingerprint {
        Fingerprint { bytes: self.bytes, sha256: hex::encode(self.digest.finalize()) }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.to.write(data)?;
        self.digest.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A new file, which only its owner can read.
pub enum Sealer {
    Plain(HashedFile),
    Encrypted(StreamWriter<HashedFile>),
}

type HashedFile = Hashed<BufWriter<File>>;

impl Sealer {
    pub fn create(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        let file = Hashed::new(BufWriter::new(file));
        let Some(passphrase) = passphrase else { return Ok(Self::Plain(file)) };
        let recipient = passphrase.recipient();
        let encryptor = Encryptor::with_recipients(once(&recipient as &dyn Recipient))?;
        Ok(Self::Encrypted(encryptor.wrap_output(file)?))
    }

    /// Completes the file, and returns once it is on the disk.
    pub fn finish(self) -> Result<Fingerprint> {
        let mut file = match self {
            Self::Plain(file) => file,
            Self::Encrypted(stream) => stream.finish()?,
        };
        file.flush()?;
        file.to.get_ref().sync_all()?;
        Ok(file.fingerprint())
    }
}

impl Write for Sealer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(data),
            Self::Encrypted(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

/// Opens a file that a [`Sealer`] wrote.
pub fn unseal(file: File, passphrase: Option<&Passphrase>) -> Result<Box<dyn Read>> {
    let file = BufReader::new(file);
    let Some(passphrase) = passphrase else { return Ok(Box::new(file)) };
    let identity = passphrase.identity();
    let stream = Decryptor::new_buffered(file)?.decrypt(once(&identity as &dyn Identity));
    Ok(Box::new(stream.context("the passphrase is not that of the backup")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_sha256sum_writes_it() {
        let mut hashed = Hashed::new(io::sink());
        hashed.write_all(b"abc").unwrap();
        // The first example of FIPS 180-2.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(hashed.fingerprint(), Fingerprint { bytes: 3, sha256 });
    }
}
