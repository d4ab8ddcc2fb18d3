//! The firmware package of the reference device: a small documented format that can carry each failure an update may meet.
//!
//! # Layout
//! | bytes | meaning |
//! |---|---|
//! | 0 to 15 times `00` | preamble, skipped; lets a package begin with the byte that alone would reset the firmware object |
//! | 8 | magic `FOTAPKG1` |
//! | 4 | length of the header, big-endian, at most [`HEADER_LIMIT`] |
//! | that many | the header: one canonical JSON object, then spaces as padding |
//! | the rest | the body |
//!
//! The header's keys in their canonical order, without white space: `model`, `version`, `size` (length of the whole package, preamble and magic included), `directives` (list of
//! texts), `sha256` (64 hexadecimal digits), `crc32` (ISO-HDLC, a number), `signature` (128 hexadecimal digits, Ed25519; left out when unsigned).
//!
//! The *signed content* is the canonical header with `sha256` empty, `crc32` 0 and no `signature`, followed by the body. `sha256` and `crc32` are taken over the signed content, and
//! the signature signs its SHA-256. As a header that is not canonical is refused, a change of any byte of a package is noticed.
//!
//! # Directives
//! `no-flash`, `no-ram` (refused as soon as the header is known), `fail-install`, `fail-boot`, `bad-at-install`, `slow-install:SECONDS`, `slow-flash:ERASE_MS[:WRITE_MS[:TENTH_MS]]`,
//! `defer`, `drop-object:ID`. A device ignores what it does not know.
//!
//! The signing key is a published test key: it protects nothing and makes signature handling testable.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first bytes of a package, after the preamble.
pub const MAGIC: &[u8; 8] = b"FOTAPKG1";
/// Most bytes that a header may have.
pub const HEADER_LIMIT: usize = 4096;
/// Most zero bytes that may precede the magic.
pub const PREAMBLE_LIMIT: usize = 15;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
const TEST_KEY: [u8; 32] = *b"fotaproof published test key #1!";

/// What stands in the header of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The device model that the package is made for.
    pub model: String,
    /// The firmware version that runs once the package is installed.
    pub version: String,
    /// Length of the whole package in bytes.
    pub size: u64,
    /// What the device is made to do with it (module documentation).
    pub directives: Vec<String>,
    /// SHA-256 of the signed content, hexadecimal.
    pub sha256: String,
    /// CRC-32 (ISO-HDLC) of the signed content.
    pub crc32: u32,
    /// Ed25519 signature over the SHA-256 of the signed content, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// What the directives of a package come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directives {
    /// There is not enough flash for it.
    pub no_flash: bool,
    /// There is not enough memory for it.
    pub no_ram: bool,
    /// The installation fails.
    pub fail_install: bool,
    /// It is installed, does not boot, and the old image comes back.
    pub fail_boot: bool,
    /// The integrity check fails while it is installed.
    pub bad_at_install: bool,
    /// The installation takes this long.
    pub install_time: Option<Duration>,
    /// Erasing the flash for it takes this long.
    pub erase: Duration,
    /// Writing one block takes this long.
    pub write: Duration,
    /// Writing every tenth block takes this long instead.
    pub tenth: Option<Duration>,
    /// The user puts the update off.
    pub defer: bool,
    /// Objects that the new firmware no longer has.
    pub dropped_objects: Vec<u16>,
}

/// Why a package is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PackageError {
    /// The magic is wrong: not a package of this kind of device.
    #[error("not a firmware package: no magic at byte {0}")]
    Magic(usize),
    /// The header is too long, not JSON or not canonical.
    #[error("header at byte {0} is damaged")]
    Header(usize),
    /// Its length is not the one that the header states.
    #[error("package has {have} bytes where the header states {stated}")]
    Length {
        /// Bytes at hand.
        have: u64,
        /// The header's `size`.
        stated: u64,
    },
    /// The CRC-32 does not fit.
    #[error("checksum does not fit")]
    Checksum,
    /// The SHA-256 does not fit.
    #[error("digest does not fit")]
    Digest,
    /// The signature is malformed or not of the vendor's key.
    #[error("signature does not fit")]
    Signature,
}

/// Why a package cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The wanted size leaves no room for a header and one byte of body.
    #[error("a {kind} package needs at least {least} bytes, asked for {asked}")]
    TooSmall {
        /// The kind asked for.
        kind: PackageKind,
        /// The least size for this kind, version and model.
        least: usize,
        /// The size asked for.
        asked: usize,
    },
    /// A name that is no kind.
    #[error("unknown package kind `{0}`")]
    UnknownKind(String),
}

/// The kinds of packages that a case can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageKind {
    /// Installs.
    Valid,
    /// A byte of the body was changed: checksum and digest do not fit.
    Corrupt,
    /// Begins with another magic.
    WrongType,
    /// Made for another model.
    OtherModel,
    /// Does not fit into the flash.
    TooBig,
    /// Needs more memory than there is.
    NoRam,
    /// Fails while it is installed.
    FailInstall,
    /// Installs, does not boot; the old image comes back.
    FailBoot,
    /// Its integrity check fails while it is installed.
    BadAtInstall,
    /// Takes that many seconds to install.
    SlowInstall(u32),
    /// Erasing takes `erase` ms, each block `write` ms, each tenth block `tenth` ms.
    SlowFlash {
        /// Milliseconds for erasing.
        erase: u32,
        /// Milliseconds for a block.
        write: u32,
        /// Milliseconds for each tenth block.
        tenth: u32,
    },
    /// The user defers it.
    Defer,
    /// Carries version 0.1.0, well signed.
    Older,
    /// Carries no signature.
    Unsigned,
    /// One bit of the body flipped after signing, checksums made right again.
    Tampered,
    /// The new firmware lacks an object (4, Connectivity Monitoring).
    ObjectDropped,
    /// Begins with a zero byte and holds every byte value, runs of FF and line ends.
    Binary,
}

/// The version that a package of kind `older` carries.
pub const OLDER_VERSION: &str = "0.1.0";
/// The object that the firmware of an `object-dropped` package lacks.
pub const DROPPED_OBJECT: u16 = 4;

impl PackageKind {
    /// Every kind once, with the default figures of those that take one.
    pub const ALL: [Self; 17] = [
        Self::Valid,
        Self::Corrupt,
        Self::WrongType,
        Self::OtherModel,
        Self::TooBig,
        Self::NoRam,
        Self::FailInstall,
        Self::FailBoot,
        Self::BadAtInstall,
        Self::SlowInstall(10),
        Self::SlowFlash {
            erase: 5000,
            write: 0,
            tenth: 0,
        },
        Self::Defer,
        Self::Older,
        Self::Unsigned,
        Self::Tampered,
        Self::ObjectDropped,
        Self::Binary,
    ];

    /// The name without figures, as the claims `pkg:KIND` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Corrupt => "corrupt",
            Self::WrongType => "wrong-type",
            Self::OtherModel => "other-model",
            Self::TooBig => "too-big",
            Self::NoRam => "no-ram",
            Self::FailInstall => "fail-install",
            Self::FailBoot => "fail-boot",
            Self::BadAtInstall => "bad-at-install",
            Self::SlowInstall(_) => "slow-install",
            Self::SlowFlash { .. } => "slow-flash",
            Self::Defer => "defer",
            Self::Older => "older",
            Self::Unsigned => "unsigned",
            Self::Tampered => "tampered",
            Self::ObjectDropped => "object-dropped",
            Self::Binary => "binary",
        }
    }

    /// The version that a package of this kind carries when `version` is asked for.
    pub fn version(self, version: &str) -> &str {
        if self == Self::Older { OLDER_VERSION } else { version }
    }

    fn directives(self) -> Vec<String> {
        match self {
            Self::TooBig => vec!["no-flash".to_owned()],
            Self::NoRam => vec!["no-ram".to_owned()],
            Self::FailInstall => vec!["fail-install".to_owned()],
            Self::FailBoot => vec!["fail-boot".to_owned()],
            Self::BadAtInstall => vec!["bad-at-install".to_owned()],
            Self::SlowInstall(seconds) => vec![format!("slow-install:{seconds}")],
            Self::SlowFlash { .. } => vec![self.to_string()],
            Self::Defer => vec!["defer".to_owned()],
            Self::ObjectDropped => vec![format!("drop-object:{DROPPED_OBJECT}")],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for PackageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::SlowInstall(seconds) => write!(f, ":{seconds}"),
            Self::SlowFlash {
                erase,
                write: 0,
                tenth: 0,
            } => write!(f, ":{erase}"),
            Self::SlowFlash { erase, write, tenth: 0 } => write!(f, ":{erase}:{write}"),
            Self::SlowFlash { erase, write, tenth } => write!(f, ":{erase}:{write}:{tenth}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for PackageKind {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        let unknown = || BuildError::UnknownKind(text.to_owned());
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let figures = parts
            .map(str::parse)
            .collect::<Result<Vec<u32>, _>>()
            .map_err(|_| unknown())?;
        let kind = Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(unknown)?;
        match (kind, figures.as_slice()) {
            (kind, []) => Ok(kind),
            (Self::SlowInstall(_), &[seconds]) => Ok(Self::SlowInstall(seconds)),
            (Self::SlowFlash { .. }, &[erase]) => Ok(Self::SlowFlash {
                erase,
                write: 0,
                tenth: 0,
            }),
            (Self::SlowFlash { .. }, &[erase, write]) => Ok(Self::SlowFlash { erase, write, tenth: 0 }),
            (Self::SlowFlash { .. }, &[erase, write, tenth]) => Ok(Self::SlowFlash { erase, write, tenth }),
            _ => Err(unknown()),
        }
    }
}

impl Header {
    /// What the directives come to; unknown ones are ignored.
    pub fn effects(&self) -> Directives {
        let mut effects = Directives::default();
        for directive in &self.directives {
            let (name, argument) = directive.split_once(':').unwrap_or((directive, ""));
            match name {
                "no-flash" => effects.no_flash = true,
                "no-ram" => effects.no_ram = true,
                "fail-install" => effects.fail_install = true,
                "fail-boot" => effects.fail_boot = true,
                "bad-at-install" => effects.bad_at_install = true,
                "defer" => effects.defer = true,
                "slow-install" => {
                    effects.install_time = argument
                        .parse()
                        .ok()
                        .map(|seconds: u32| Duration::from_secs(seconds.into()));
                }
                "drop-object" => effects.dropped_objects.extend(argument.parse::<u16>()),
                "slow-flash" => {
                    let mut figures = argument
                        .split(':')
                        .map(|figure| Duration::from_millis(figure.parse::<u32>().unwrap_or(0).into()));
                    effects.erase = figures.next().unwrap_or_default();
                    effects.write = figures.next().unwrap_or_default();
                    effects.tenth = figures.next();
                }
                _ => {}
            }
        }
        effects
    }

    fn canonical(&self) -> Vec<u8> {
        // Only texts and numbers: serialisation has no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn signed_form(&self) -> Vec<u8> {
        Self {
            sha256: String::new(),
            crc32: 0,
            signature: None,
            ..self.clone()
        }
        .canonical()
    }
}

/// A header read from the first bytes of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The header.
    pub header: Header,
    /// Where the body begins.
    pub body: usize,
}

/// Reads the header from the first bytes of a package: `None` while bytes are missing.
pub fn parse(bytes: &[u8]) -> Result<Option<Parsed>, PackageError> {
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    if start > PREAMBLE_LIMIT {
        return Err(PackageError::Magic(PREAMBLE_LIMIT));
    }
    let rest = &bytes[start..];
    let known = rest.len().min(MAGIC.len());
    if let Some(at) = rest[..known].iter().zip(MAGIC).position(|(have, want)| have != want) {
        return Err(PackageError::Magic(start + at));
    }
    let Some((length, rest)) = rest[known..].split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    let at = start + MAGIC.len() + 4;
    if length > HEADER_LIMIT {
        return Err(PackageError::Header(at - 4));
    }
    let Some(text) = rest.get(..length) else {
        return Ok(None);
    };
    let used = text.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
    let header: Header = serde_json::from_slice(&text[..used]).map_err(|_| PackageError::Header(at))?;
    if header.canonical() != text[..used] {
        return Err(PackageError::Header(at));
    }
    Ok(Some(Parsed {
        header,
        body: at + length,
    }))
}

/// Checks a whole package: form, length, checksum, digest, and the signature where there is one.
pub fn verify(bytes: &[u8]) -> Result<Header, PackageError> {
    let have = bytes.len() as u64;
    let Some(Parsed { header, body }) = parse(bytes)? else {
        return Err(PackageError::Length { have, stated: 0 });
    };
    if header.size != have {
        return Err(PackageError::Length {
            have,
            stated: header.size,
        });
    }
    let form = header.signed_form();
    let (checksum, digest) = sums(&form, &bytes[body..]);
    if checksum != header.crc32 {
        return Err(PackageError::Checksum);
    }
    if hex(&digest) != header.sha256 {
        return Err(PackageError::Digest);
    }
    if let Some(signature) = &header.signature {
        let signature = unhex(signature)
            .and_then(|bytes| ed25519_dalek::Signature::from_slice(&bytes).ok())
            .ok_or(PackageError::Signature)?;
        verifying_key()
            .verify(&digest, &signature)
            .map_err(|_| PackageError::Signature)?;
    }
    Ok(header)
}

/// The least total size of a package of this kind, version and model.
pub fn least_size(kind: PackageKind, version: &str, model: &str) -> usize {
    frame_length(&template(kind, version, model, u64::from(u32::MAX))) + usize::from(kind == PackageKind::Binary) + 1
}

/// Makes a package of exactly `total_size` bytes; the same arguments give the same bytes.
pub fn build(
    kind: PackageKind,
    version: &str,
    model: &str,
    total_size: usize,
    seed: u64,
) -> Result<Vec<u8>, BuildError> {
    let least = least_size(kind, version, model);
    if total_size < least {
        return Err(BuildError::TooSmall {
            kind,
            least,
            asked: total_size,
        });
    }
    let preamble = usize::from(kind == PackageKind::Binary);
    let mut header = template(kind, version, model, total_size as u64);
    let body_at = preamble + frame_length(&header);
    let mut package = vec![0; total_size];
    fastrand::Rng::with_seed(seed).fill(&mut package[body_at..]);
    if kind == PackageKind::Binary {
        let pattern = (0..=255).chain([0xff; 64]).chain(*b"\r\n\r\n\r\n\r\n");
        for (byte, value) in package[body_at..].iter_mut().zip(pattern.cycle()) {
            *byte = value;
        }
    }
    let form = header.signed_form();
    let (checksum, digest) = sums(&form, &package[body_at..]);
    if kind != PackageKind::Unsigned {
        header.signature = Some(hex(&signing_key().sign(&digest).to_bytes()));
    }
    let (mut checksum, mut digest) = (checksum, digest);
    let last = total_size - 1;
    match kind {
        PackageKind::Corrupt => package[last] ^= 0x01,
        PackageKind::Tampered => {
            package[last] ^= 0x01;
            (checksum, digest) = sums(&form, &package[body_at..]);
        }
        _ => {}
    }
    header.crc32 = checksum;
    header.sha256 = hex(&digest);
    let text = header.canonical();
    let magic_at = preamble;
    let text_at = magic_at + MAGIC.len() + 4;
    package[magic_at..magic_at + MAGIC.len()].copy_from_slice(if kind == PackageKind::WrongType {
        b"OTHERPKG"
    } else {
        MAGIC
    });
    package[magic_at + MAGIC.len()..text_at].copy_from_slice(&((body_at - text_at) as u32).to_be_bytes());
    package[text_at..body_at].fill(b' ');
    package[text_at..text_at + text.len()].copy_from_slice(&text);
    Ok(package)
}

/// SHA-256 of some bytes.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String has no way to fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The public half of the published test key.
pub fn verifying_key() -> VerifyingKey {
    signing_key().verifying_key()
}

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&TEST_KEY)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    // One spelling only: a change of case is a change.
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

fn sums(form: &[u8], body: &[u8]) -> (u32, [u8; 32]) {
    let mut checksum = CRC.digest();
    checksum.update(form);
    checksum.update(body);
    (
        checksum.finalize(),
        Sha256::new().chain_update(form).chain_update(body).finalize().into(),
    )
}

/// A header whose variable parts have their greatest length, so that the frame's length is known before the sums are.
fn template(kind: PackageKind, version: &str, model: &str, size: u64) -> Header {
    Header {
        model: if kind == PackageKind::OtherModel {
            format!("not-{model}")
        } else {
            model.to_owned()
        },
        version: kind.version(version).to_owned(),
        size,
        directives: kind.directives(),
        sha256: "0".repeat(64),
        crc32: u32::MAX,
        signature: (kind != PackageKind::Unsigned).then(|| "0".repeat(128)),
    }
}

fn frame_length(header: &Header) -> usize {
    MAGIC.len() + 4 + header.canonical().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 20_480;

    fn built(kind: PackageKind) -> Vec<u8> {
        build(kind, "2.0.0", "model-a", SIZE, 7).unwrap()
    }

    #[test]
    fn every_kind_has_exactly_the_size_asked_for_and_its_own_verdict() {
        for kind in PackageKind::ALL {
            let package = built(kind);
            assert_eq!(package.len(), SIZE, "{kind}");
            let verdict = verify(&package).map(|header| header.signature.is_some());
            let expected = match kind {
                PackageKind::Corrupt => Err(PackageError::Checksum),
                PackageKind::WrongType => Err(PackageError::Magic(0)),
                PackageKind::Tampered => Err(PackageError::Signature),
                PackageKind::Unsigned => Ok(false),
                _ => Ok(true),
            };
            assert_eq!(verdict, expected, "{kind}");
        }
    }

    #[test]
    fn least_size_is_the_boundary() {
        for kind in PackageKind::ALL {
            let least = least_size(kind, "2.0.0", "model-a");
            assert!(build(kind, "2.0.0", "model-a", least, 1).is_ok(), "{kind}");
            assert_eq!(
                build(kind, "2.0.0", "model-a", least - 1, 1),
                Err(BuildError::TooSmall {
                    kind,
                    least,
                    asked: least - 1
                })
            );
        }
        assert!(least_size(PackageKind::Valid, "2.0.0", "model-a") < 500);
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let package = build(PackageKind::Binary, "2.0.0", "m", 600, 3).unwrap();
        assert!(verify(&package).is_ok());
        for at in 0..package.len() {
            let mut changed = package.clone();
            changed[at] ^= 0x20;
            assert!(verify(&changed).is_err(), "byte {at}");
        }
        assert!(verify(&package[..599]).is_err());
        assert!(verify(&package[1..]).is_err(), "the preamble counts");
    }

    #[test]
    fn the_header_is_known_as_soon_as_its_last_byte_is_there() {
        let package = built(PackageKind::SlowFlash {
            erase: 10,
            write: 20,
            tenth: 30,
        });
        let body = parse(&package).unwrap().unwrap().body;
        assert_eq!(parse(&package[..body - 1]), Ok(None));
        let effects = parse(&package[..body]).unwrap().unwrap().header.effects();
        assert_eq!(
            (
                effects.erase.as_millis(),
                effects.write.as_millis(),
                effects.tenth.unwrap().as_millis()
            ),
            (10, 20, 30)
        );
        assert_eq!(parse(b"A"), Err(PackageError::Magic(0)));
        assert_eq!(parse(b"F"), Ok(None));
        assert_eq!(parse(&[0; 16]), Err(PackageError::Magic(15)));
    }

    #[test]
    fn kinds_read_back_from_their_names() {
        for kind in PackageKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(
                kind.name().parse::<PackageKind>().map(PackageKind::name),
                Ok(kind.name())
            );
        }
        assert_eq!("slow-install:42".parse(), Ok(PackageKind::SlowInstall(42)));
        for wrong in ["", "Valid", "valid:1", "slow-install:x", "slow-flash:1:2:3:4"] {
            assert_eq!(
                wrong.parse::<PackageKind>(),
                Err(BuildError::UnknownKind(wrong.to_owned()))
            );
        }
    }

    #[test]
    fn a_binary_package_begins_with_nul_and_has_every_byte_value() {
        let package = built(PackageKind::Binary);
        assert_eq!(package[0], 0);
        assert!((0..=255).all(|value: u8| package.contains(&value)));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            let _ = verify(&bytes);
            let mut framed = MAGIC.to_vec();
            framed.extend(&bytes);
            let _ = verify(&framed);
        }
    }
}
