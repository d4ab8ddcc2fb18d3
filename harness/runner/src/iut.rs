//! The implementation under test, resolved: what it claims, how it is run, what is expected of
//! it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use core::fmt;

use fotaproof_cases::ast::Role;
use fotaproof_cases::manifest::{ExpectedFailure, Manifest};
use fotaproof_cases::{Claims, Parameters};
use fotaproof_lwm2m::defects::Defect;
use fotaproof_lwm2m::definitions::Version;
use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_lwm2m::server_defects::{ServerDefect, ServerDefectSet};
use fotaproof_lwm2m::update_server::{UpdateServer, UpdateServerConfig};

/// An IUT that cases can be run on.
#[derive(Clone, Debug)]
pub struct Iut {
    /// Its name.
    pub name: String,
    /// What it claims.
    pub claims: Claims,
    /// Values of the cases' parameters.
    pub parameters: Parameters,
    /// Its manifest and the folder that the manifest is in.
    pub manifest: Option<(Arc<Manifest>, PathBuf)>,
    /// The manifest's file, as it was given.
    pub manifest_file: Option<String>,
    /// Failures that are expected of it.
    pub expected: Vec<ExpectedFailure>,
    /// How it is run.
    pub kind: IutKind,
    /// Its version, when the manifest can tell.
    pub version: Option<String>,
    /// The side of LwM2M that it is.
    pub role: Role,
    /// The IUT of the cases of the other role; the embedded device and the embedded server are run together.
    pub counterpart: Option<Box<Self>>,
}

/// A planted defect of an embedded peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// Of the embedded device.
    Device(Defect),
    /// Of the embedded server.
    Server(ServerDefect),
}

impl Planted {
    /// The defect of this name that an IUT of the role can have.
    #[must_use]
    pub fn find(name: &str, role: Role) -> Option<Self> {
        match role {
            Role::Client => name.parse().ok().map(Self::Device),
            Role::Server => name.parse().ok().map(Self::Server),
        }
    }

    /// All defects that an IUT of the role can have.
    #[must_use]
    pub fn all(role: Role) -> Vec<Self> {
        match role {
            Role::Client => Defect::all().map(Self::Device).collect(),
            Role::Server => ServerDefect::all().map(Self::Server).collect(),
        }
    }

    /// The name in kebab case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device(defect) => defect.name(),
            Self::Server(defect) => defect.name(),
        }
    }

    /// What goes wrong, in one sentence.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Device(defect) => defect.summary(),
            Self::Server(defect) => defect.summary(),
        }
    }

    /// Of which side it is.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Device(_) => Role::Client,
            Self::Server(_) => Role::Server,
        }
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Defect> for Planted {
    fn from(defect: Defect) -> Self {
        Self::Device(defect)
    }
}

impl From<ServerDefect> for Planted {
    fn from(defect: ServerDefect) -> Self {
        Self::Server(defect)
    }
}

/// How an IUT is run.
#[derive(Clone, Debug)]
pub enum IutKind {
    /// The embedded device, in virtual time.
    Embedded(Box<DeviceConfig>),
    /// The embedded server of updates, in virtual time, with what it does wrong on purpose.
    EmbeddedServer(ServerDefectSet),
    /// A process, a board or an adapter, in real time.
    Real,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IutError {
    /// A word of `embedded` that is none.
    #[error("`{word}` in `embedded` is no {what}")]
    Embedded {
        /// The word.
        word: String,
        /// What it had to be.
        what: &'static str,
    },
    /// The claims make no sense together.
    #[error("{0}")]
    Claims(String),
    /// Nothing says how it runs.
    #[error("the manifest needs one of `command`, `board`, `adapter` and `embedded`")]
    NoWayToRun,
}

fn version(word: &str) -> Result<Version, IutError> {
    match word {
        "1.0" => Ok(Version::V1_0),
        "1.1" => Ok(Version::V1_1),
        "1.2" => Ok(Version::V1_2),
        _ => Err(IutError::Embedded {
            word: word.to_owned(),
            what: "version (1.0, 1.1 or 1.2)",
        }),
    }
}

/// The settings of the embedded device of a case; address and seed are filled in later.
fn device(lwm2m: Version, object: Version) -> DeviceConfig {
    DeviceConfig {
        lwm2m,
        object5: object,
        model: crate::packages::MODEL.to_owned(),
        ..DeviceConfig::new("embedded", ([192, 0, 2, 1], 5683).into())
    }
}

/// What a manifest claims of an embedded device, and what it is like without anybody's claim: its packages, its means to be stopped and
/// started, and the versions that the manifest says nothing of.
fn with_means(mut claims: Claims, device: &Claims) -> Claims {
    for word in device.list() {
        let is_mean = match word.split_once('=') {
            Some((name, _)) => claims.highest(name).is_none(),
            None => word.starts_with("pkg:") || ["restart", "kill", "stop", "hook:digest"].contains(&word.as_str()),
        };
        if is_mean {
            let _ = claims.add(&word);
        }
    }
    claims
}

impl Iut {
    /// The embedded device as it is by default: object 5 version 1.2, LwM2M 1.2, no defect.
    #[must_use]
    pub fn embedded() -> Self {
        Self {
            counterpart: Some(Box::new(Self::embedded_server())),
            ..Self::of_device("embedded device", device(Version::V1_2, Version::V1_2))
        }
    }

    /// The embedded server as it is by default.
    #[must_use]
    pub fn embedded_server() -> Self {
        Self::of_server("embedded server", ServerDefectSet::new())
    }

    /// The embedded server with these defects.
    #[must_use]
    pub fn of_server(name: &str, defects: ServerDefectSet) -> Self {
        let address = ([192, 0, 2, 2], 5683).into();
        let words = UpdateServer::new(UpdateServerConfig::new(address)).claims();
        let mut claims = Claims::default();
        for word in &words {
            let _ = claims.add(word);
        }
        let _ = claims.add("pkg:valid");
        let _ = claims.add("srv:library");
        Self {
            name: name.to_owned(),
            claims,
            parameters: Parameters::default(),
            manifest: None,
            manifest_file: None,
            expected: Vec::new(),
            kind: IutKind::EmbeddedServer(defects),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            role: Role::Server,
            counterpart: None,
        }
    }

    /// The IUT of the cases of a role: itself or its counterpart.
    #[must_use]
    pub fn for_role(&self, role: Role) -> &Self {
        match &self.counterpart {
            Some(other) if self.role != role && other.role == role => other,
            _ => self,
        }
    }

    /// Whether it has cases of a role.
    #[must_use]
    pub fn has_role(&self, role: Role) -> bool {
        self.for_role(role).role == role
    }

    /// The embedded device with these settings.
    #[must_use]
    pub fn of_device(name: &str, config: DeviceConfig) -> Self {
        let words = config.claims();
        let mut claims = Claims::default();
        for word in &words {
            // a word that the case language does not know cannot be asked for either
            let _ = claims.add(word);
        }
        let _ = claims.add("pkg:valid");
        Self {
            name: name.to_owned(),
            claims,
            parameters: Parameters::default(),
            manifest: None,
            manifest_file: None,
            expected: Vec::new(),
            kind: IutKind::Embedded(Box::new(config)),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            role: Role::Client,
            counterpart: None,
        }
    }

    /// The same embedded IUT with one planted defect.
    #[must_use]
    pub fn with_defect(&self, defect: impl Into<Planted>) -> Self {
        let defect = defect.into();
        let mut other = self.clone();
        match (&mut other.kind, defect) {
            (IutKind::Embedded(config), Planted::Device(planted)) => {
                config.defects.insert(planted);
            }
            (IutKind::EmbeddedServer(defects), Planted::Server(planted)) => {
                defects.insert(planted);
            }
            _ => {
                if let Some(counterpart) = &mut other.counterpart {
                    **counterpart = counterpart.with_defect(defect);
                }
                return other;
            }
        }
        other.name = format!("{} with {defect}", self.name);
        other
    }

    /// The IUT of a manifest.
    ///
    /// # Errors
    /// When the manifest contradicts itself.
    pub fn of_manifest(
        file: &str,
        manifest: Manifest,
        mut claims: Claims,
        parameters: Parameters,
        expected: Vec<ExpectedFailure>,
    ) -> Result<Self, IutError> {
        // the parent of a bare name is empty
        let beside = Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = beside.unwrap_or_else(|| Path::new(".")).to_path_buf();
        let folder = folder.canonicalize().unwrap_or(folder);
        let mut iut = if let (Some(embedded), Role::Server) = (&manifest.embedded, manifest.role.value) {
            let mut defects = ServerDefectSet::new();
            for word in &embedded.value.defects {
                defects.insert(word.value.parse().map_err(|_| IutError::Embedded {
                    word: word.value.clone(),
                    what: "planted defect of the server",
                })?);
            }
            let mut server = Self::of_server(&manifest.name, defects);
            // what the manifest does not claim is not asked
            if !manifest.claims.is_empty() {
                server.claims = claims;
            }
            server
        } else if let Some(embedded) = &manifest.embedded {
            let e = &embedded.value;
            let object = e.object.as_ref().map_or(Ok(Version::V1_2), |v| version(&v.value))?;
            let lwm2m = e.lwm2m.as_ref().map_or(Ok(Version::V1_2), |v| version(&v.value))?;
            let mut config = device(lwm2m, object);
            for word in &e.defects {
                let defect = word.value.parse().map_err(|_| IutError::Embedded {
                    word: word.value.clone(),
                    what: "planted defect",
                })?;
                config.defects.insert(defect);
            }
            let has = |way: &str| e.delivery.is_empty() || e.delivery.iter().any(|d| d.value == way);
            config.delivery = match (has("push"), has("pull")) {
                (true, false) => 1,
                (false, true) => 0,
                _ => 2,
            };
            if let Some(lifetime) = manifest.lifetime {
                config.lifetime = lifetime;
            }
            let mut device = Self::of_device(&manifest.name, config);
            // what the manifest does not claim is not asked
            if !manifest.claims.is_empty() {
                device.claims = with_means(claims, &device.claims);
            }
            device
        } else if manifest.command.is_some() || manifest.board.is_some() || manifest.adapter.is_some() {
            for kind in manifest.packages.keys() {
                claims
                    .add(&format!("pkg:{kind}"))
                    .map_err(|error| IutError::Claims(error.to_string()))?;
            }
            Self {
                name: manifest.name.clone(),
                claims,
                parameters: Parameters::default(),
                manifest: None,
                manifest_file: None,
                expected: Vec::new(),
                kind: IutKind::Real,
                version: None,
                role: manifest.role.value,
                counterpart: None,
            }
        } else {
            return Err(IutError::NoWayToRun);
        };
        iut.parameters = parameters;
        iut.expected = expected;
        iut.manifest = Some((Arc::new(manifest), folder));
        iut.manifest_file = Some(file.to_owned());
        Ok(iut)
    }

    /// The highest claimed version of `object` or `lwm2m`, 1.0 if none is claimed.
    #[must_use]
    pub fn highest(&self, name: &str) -> (u8, u8) {
        self.claims.highest(name).map_or((1, 0), |v| (v.0, v.1))
    }

    /// Whether it runs in virtual time.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        matches!(self.kind, IutKind::Embedded(_) | IutKind::EmbeddedServer(_))
    }
}
