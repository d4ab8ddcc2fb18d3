//! Registrations of devices: what a Register says, and the table of them keyed by endpoint name (Core, Register).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use fotaproof_wire::LwPath;
use fotaproof_wire::coap::Code;
use fotaproof_wire::link_format::{self, Link, ObjectLinks};

use crate::definitions::{ParseVersionError, Version, Versions};

/// The lifetime of a registration that names none, in seconds (Core, Register: `lt`).
pub const DEFAULT_LIFETIME: u32 = 86_400;

/// What is wrong with a Register or an Update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// `ep` is missing.
    #[error("no endpoint name: the ep parameter is missing")]
    NoEndpoint,
    /// `ep` is empty.
    #[error("the endpoint name is empty")]
    EmptyEndpoint,
    /// `lwm2m` is missing.
    #[error("the lwm2m parameter is missing")]
    NoVersion,
    /// `lwm2m` is not a version.
    #[error("lwm2m: {0}")]
    Version(#[from] ParseVersionError),
    /// A version that the server does not know.
    #[error("version {0} of LwM2M is not supported")]
    UnsupportedVersion(Version),
    /// `lt` is no number of seconds.
    #[error("lt={0} is not a lifetime")]
    Lifetime(String),
    /// A query option is not UTF-8.
    #[error("a query option is not UTF-8")]
    NotUtf8,
    /// A parameter comes twice.
    #[error("the parameter {0} comes twice")]
    Twice(String),
    /// The object list is no link format.
    #[error("the object list cannot be read: {0}")]
    Links(String),
    /// The object list is missing or empty.
    #[error("the object list is missing")]
    NoLinks,
    /// The payload has another Content-Format than 40.
    #[error("Content-Format {0} instead of 40")]
    ContentFormat(u16),
    /// The location belongs to no registration.
    #[error("no registration at this location")]
    UnknownLocation,
}

impl RegistrationError {
    /// The code that answers it (Core, Register and Update: response codes).
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::UnsupportedVersion(_) => Code::PRECONDITION_FAILED,
            Self::UnknownLocation => Code::NOT_FOUND,
            Self::ContentFormat(_) => Code::UNSUPPORTED_CONTENT_FORMAT,
            _ => Code::BAD_REQUEST,
        }
    }
}

/// The parameters and the object list of a Register or an Update, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistrationRequest {
    /// `ep`.
    pub endpoint: Option<String>,
    /// `lt`.
    pub lifetime: Option<u32>,
    /// `lwm2m`.
    pub lwm2m: Option<Version>,
    /// `b`.
    pub binding: Option<String>,
    /// `Q`, or a Q in `b` (LwM2M 1.0).
    pub queue: bool,
    /// `sms`.
    pub sms: Option<String>,
    /// Parameters of other names, verbatim.
    pub other: Vec<String>,
    /// The object list; `None` without a payload.
    pub objects: Option<Vec<Link>>,
}

impl RegistrationRequest {
    /// Reads the Uri-Query options and the payload.
    ///
    /// # Errors
    /// For a parameter that cannot be read or comes twice, and for a payload that is no link format.
    pub fn parse<'a>(queries: impl IntoIterator<Item = &'a [u8]>, payload: &[u8]) -> Result<Self, RegistrationError> {
        let mut request = Self::default();
        for query in queries {
            let query = core::str::from_utf8(query).map_err(|_| RegistrationError::NotUtf8)?;
            let (name, value) = query.split_once('=').unwrap_or((query, ""));
            let twice = match name {
                "ep" => request.endpoint.replace(value.to_owned()).is_some(),
                "lt" => {
                    let lifetime = value
                        .parse()
                        .map_err(|_| RegistrationError::Lifetime(value.to_owned()))?;
                    request.lifetime.replace(lifetime).is_some()
                }
                "lwm2m" => request.lwm2m.replace(value.parse()?).is_some(),
                "b" => {
                    request.queue |= value.contains('Q');
                    request.binding.replace(value.to_owned()).is_some()
                }
                "Q" => {
                    request.queue = true;
                    false
                }
                "sms" => request.sms.replace(value.to_owned()).is_some(),
                _ => {
                    request.other.push(query.to_owned());
                    false
                }
            };
            if twice {
                return Err(RegistrationError::Twice(name.to_owned()));
            }
        }
        if !payload.is_empty() {
            request.objects =
                Some(link_format::parse(payload).map_err(|error| RegistrationError::Links(error.to_string()))?);
        }
        Ok(request)
    }
}

/// One registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Endpoint name: the identity of the device, whatever its address.
    pub endpoint: String,
    /// Where its last Register or Update came from; requests go there.
    pub address: SocketAddr,
    /// The Location-Path segments that it was given.
    pub location: Vec<String>,
    /// Lifetime in seconds; 0 is without end.
    pub lifetime: u32,
    /// Version of the enabler.
    pub lwm2m: Version,
    /// Binding; `U` when none was named.
    pub binding: String,
    /// Queue mode.
    pub queue: bool,
    /// Telephone number for SMS.
    pub sms: Option<String>,
    /// Parameters that this server does not know.
    pub other: Vec<String>,
    /// The object list, as sent.
    pub objects: Vec<Link>,
    /// The object list by paths, below the root path that it names (Core, Register: alternate path).
    pub links: ObjectLinks,
    /// When it registered.
    pub registered_at: Duration,
    /// When it last registered or updated.
    pub seen_at: Duration,
    /// How often this endpoint name has registered, this one counted.
    pub generation: u32,
    /// Updates since it registered.
    pub updates: u32,
}

impl Registration {
    /// When the registration ends without an Update; `None` when never.
    #[must_use]
    pub fn expires_at(&self) -> Option<Duration> {
        (self.lifetime > 0).then(|| self.seen_at + Duration::from_secs(u64::from(self.lifetime)))
    }

    /// The path of the location, such as `/rd/a7`.
    #[must_use]
    pub fn location_path(&self) -> String {
        self.location
            .iter()
            .fold(String::new(), |path, segment| path + "/" + segment)
    }

    /// Whether the list names the object or one of its instances.
    #[must_use]
    pub fn has_object(&self, object: u16) -> bool {
        self.links.objects.iter().any(|link| link.path.object == Some(object))
    }

    /// Whether the list names this instance.
    #[must_use]
    pub fn has_instance(&self, object: u16, instance: u16) -> bool {
        self.links.contains(&LwPath::instance(object, instance))
    }

    /// The `ver` attribute of an object, as sent; `None` where the list has none (Core, object versioning).
    #[must_use]
    pub fn object_version(&self, object: u16) -> Option<&str> {
        self.links.version(object)
    }

    /// The versions of its objects: as announced, else the defaults of its enabler.
    #[must_use]
    pub fn versions(&self) -> Versions {
        let announced = self.links.objects.iter().filter_map(|link| {
            let object = link.path.object?;
            Some((object, self.links.version(object)?.parse().ok()?))
        });
        Versions {
            lwm2m: self.lwm2m,
            announced: announced.collect(),
        }
    }
}

/// What a Register did to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The new registration.
    pub registration: Registration,
    /// The one that it replaced: same endpoint name, whatever the address (Core, Register).
    pub replaced: Option<Registration>,
}

/// The registrations, keyed by endpoint name.
#[derive(Debug, Default)]
pub struct Registry {
    by_endpoint: BTreeMap<String, Registration>,
    by_location: BTreeMap<Vec<String>, String>,
    /// The endpoint that was last seen at each address.
    by_address: BTreeMap<SocketAddr, String>,
    /// The ends of the registrations that have one.
    ends: BTreeSet<(Duration, String)>,
    generations: BTreeMap<String, u32>,
}

impl Registry {
    /// Takes a Register. The location is made by `location` from the endpoint name.
    ///
    /// # Errors
    /// When the request lacks what a Register needs or names a version that is not among `versions`.
    pub fn register(
        &mut self,
        now: Duration,
        from: SocketAddr,
        request: RegistrationRequest,
        versions: &[Version],
        location: Vec<String>,
    ) -> Result<Registered, RegistrationError> {
        let lwm2m = request.lwm2m.ok_or(RegistrationError::NoVersion)?;
        if !versions.contains(&lwm2m) {
            return Err(RegistrationError::UnsupportedVersion(lwm2m));
        }
        let endpoint = request.endpoint.ok_or(RegistrationError::NoEndpoint)?;
        if endpoint.is_empty() {
            return Err(RegistrationError::EmptyEndpoint);
        }
        let objects = request.objects.ok_or(RegistrationError::NoLinks)?;
        let replaced = self.remove(&endpoint);
        let generation = self.generations.entry(endpoint.clone()).or_insert(0);
        *generation += 1;
        let registration = Registration {
            endpoint: endpoint.clone(),
            address: from,
            location: location.clone(),
            lifetime: request.lifetime.unwrap_or(DEFAULT_LIFETIME),
            lwm2m,
            binding: request.binding.unwrap_or_else(|| "U".to_owned()),
            queue: request.queue,
            sms: request.sms,
            other: request.other,
            links: ObjectLinks::from_links(&objects),
            objects,
            registered_at: now,
            seen_at: now,
            generation: *generation,
            updates: 0,
        };
        // A set location that two endpoints share belongs to the later one.
        self.by_location.insert(location, endpoint.clone());
        self.by_address.insert(from, endpoint.clone());
        self.ends
            .extend(registration.expires_at().map(|end| (end, endpoint.clone())));
        self.by_endpoint.insert(endpoint, registration.clone());
        Ok(Registered { registration, replaced })
    }

    /// Takes an Update to a location. The address becomes that of the sender (Core, Update).
    ///
    /// # Errors
    /// When the location is unknown.
    pub fn update(
        &mut self,
        now: Duration,
        from: SocketAddr,
        location: &[String],
        request: RegistrationRequest,
    ) -> Result<&Registration, RegistrationError> {
        let endpoint = self
            .by_location
            .get(location)
            .ok_or(RegistrationError::UnknownLocation)?;
        let registration = self
            .by_endpoint
            .get_mut(endpoint)
            .ok_or(RegistrationError::UnknownLocation)?;
        if let Some(end) = registration.expires_at() {
            self.ends.remove(&(end, endpoint.clone()));
        }
        if registration.address != from {
            if self.by_address.get(&registration.address) == Some(endpoint) {
                self.by_address.remove(&registration.address);
            }
            self.by_address.insert(from, endpoint.clone());
        }
        registration.address = from;
        registration.seen_at = now;
        registration.updates += 1;
        if let Some(lifetime) = request.lifetime {
            registration.lifetime = lifetime;
        }
        if let Some(binding) = request.binding {
            registration.queue = request.queue;
            registration.binding = binding;
        }
        if request.sms.is_some() {
            registration.sms = request.sms;
        }
        if let Some(objects) = request.objects {
            registration.links = ObjectLinks::from_links(&objects);
            registration.objects = objects;
        }
        self.ends
            .extend(registration.expires_at().map(|end| (end, endpoint.clone())));
        Ok(registration)
    }

    /// Takes a De-register.
    ///
    /// # Errors
    /// When the location is unknown.
    pub fn deregister(&mut self, location: &[String]) -> Result<Registration, RegistrationError> {
        let endpoint = self
            .by_location
            .get(location)
            .cloned()
            .ok_or(RegistrationError::UnknownLocation)?;
        self.remove(&endpoint).ok_or(RegistrationError::UnknownLocation)
    }

    /// Drops a registration by its endpoint name.
    pub fn remove(&mut self, endpoint: &str) -> Option<Registration> {
        let registration = self.by_endpoint.remove(endpoint)?;
        if let Some(end) = registration.expires_at() {
            self.ends.remove(&(end, endpoint.to_owned()));
        }
        if self
            .by_address
            .get(&registration.address)
            .is_some_and(|owner| owner == endpoint)
        {
            self.by_address.remove(&registration.address);
        }
        if self
            .by_location
            .get(&registration.location)
            .is_some_and(|owner| owner == endpoint)
        {
            self.by_location.remove(&registration.location);
        }
        Some(registration)
    }

    /// Drops one registration whose lifetime is over at `now`.
    pub fn expire(&mut self, now: Duration) -> Option<Registration> {
        let (_, endpoint) = self.ends.first().filter(|(end, _)| *end <= now)?.clone();
        self.remove(&endpoint)
    }

    /// When the next registration ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// The registration of an endpoint name.
    #[must_use]
    pub fn get(&self, endpoint: &str) -> Option<&Registration> {
        self.by_endpoint.get(endpoint)
    }

    /// The registration that was last seen at an address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<&Registration> {
        self.by_endpoint.get(self.by_address.get(&address)?)
    }

    /// Whether a location is one of a registration.
    #[must_use]
    pub fn has_location(&self, location: &[String]) -> bool {
        self.by_location.contains_key(location)
    }

    /// All registrations, by endpoint name.
    pub fn iter(&self) -> impl Iterator<Item = &Registration> {
        self.by_endpoint.values()
    }
}

#[cfg(test)]
mod tests {
    use super::{Registration, RegistrationError, RegistrationRequest, Registry};
    use crate::definitions::Version;
    use core::time::Duration;
    use std::net::SocketAddr;

    const LINKS: &[u8] = b"</>;rt=\"oma.lwm2m\";ct=110,</1/0>,</3/0>,</5>;ver=1.1,</5/0>";

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn request(query: &str, payload: &[u8]) -> Result<RegistrationRequest, RegistrationError> {
        RegistrationRequest::parse(query.split('&').map(str::as_bytes), payload)
    }

    fn register(
        table: &mut Registry,
        now: u64,
        port: u16,
        query: &str,
        location: &str,
    ) -> Result<Registration, RegistrationError> {
        let location = vec!["rd".to_owned(), location.to_owned()];
        let versions = [Version(1, 0), Version(1, 1)];
        table
            .register(
                Duration::from_secs(now),
                address(port),
                request(query, LINKS)?,
                &versions,
                location,
            )
            .map(|registered| registered.registration)
    }

    #[test]
    fn a_register_is_read_whole() {
        let registration = register(
            &mut Registry::default(),
            7,
            1000,
            "ep=dev&lt=60&lwm2m=1.1&b=U&Q&x=1",
            "a7",
        )
        .unwrap();
        assert_eq!(registration.endpoint, "dev");
        assert_eq!(registration.lifetime, 60);
        assert_eq!(registration.lwm2m, Version(1, 1));
        assert!(registration.queue);
        assert_eq!(registration.other, ["x=1"]);
        assert_eq!(registration.location_path(), "/rd/a7");
        assert_eq!(registration.expires_at(), Some(Duration::from_secs(67)));
        assert!(registration.has_object(5) && registration.has_instance(5, 0) && registration.has_instance(3, 0));
        assert!(!registration.has_object(0) && !registration.has_instance(5, 1));
        assert_eq!(registration.object_version(5), Some("1.1"));
        assert_eq!(registration.object_version(3), None);
        assert_eq!(registration.versions().object(5), Version::V1_1);
    }

    #[test]
    fn an_alternate_root_is_cut_off() {
        let mut table = Registry::default();
        let links = b"</lwm2m>;rt=\"oma.lwm2m\",</lwm2m/5>;ver=1.0,</lwm2m/5/0>,</3/0>";
        let request = request("ep=dev&lwm2m=1.0", links).unwrap();
        let registered = table
            .register(Duration::ZERO, address(1), request, &[Version(1, 0)], vec!["rd".into()])
            .unwrap();
        assert_eq!(registered.registration.links.root.trim_matches('/'), "lwm2m");
        assert!(registered.registration.has_instance(5, 0));
        assert!(!registered.registration.has_object(3), "outside the root");
    }

    #[test]
    fn each_flaw_has_its_code() {
        for (query, code) in [
            ("ep=dev&lwm2m=9.9", "4.12"),
            ("ep=dev&lwm2m=1.2", "4.12"),
            ("lwm2m=1.1", "4.00"),
            ("ep=&lwm2m=1.1", "4.00"),
            ("ep=dev", "4.00"),
            ("ep=dev&lwm2m=one", "4.00"),
            ("ep=dev&lwm2m=1.1&lt=soon", "4.00"),
            ("ep=dev&lwm2m=1.1&lt=-1", "4.00"),
            ("ep=dev&ep=dev&lwm2m=1.1", "4.00"),
        ] {
            let error = register(&mut Registry::default(), 0, 1, query, "a").unwrap_err();
            assert_eq!(error.code().to_string(), code, "{query}: {error}");
        }
        assert!(matches!(
            request("ep=dev&lwm2m=1.1", b"</5"),
            Err(RegistrationError::Links(_))
        ));
        assert!(matches!(
            RegistrationRequest::parse([&b"ep=\xff"[..]], b""),
            Err(RegistrationError::NotUtf8)
        ));
    }

    #[test]
    fn a_known_name_replaces_whatever_the_address() {
        let mut table = Registry::default();
        register(&mut table, 0, 1000, "ep=dev&lwm2m=1.1", "old").unwrap();
        let second = register(&mut table, 5, 2000, "ep=dev&lwm2m=1.1", "new").unwrap();
        assert_eq!(second.generation, 2);
        assert_eq!(
            table.get("dev").map(|registration| registration.address),
            Some(address(2000))
        );
        let old = ["rd".to_owned(), "old".to_owned()];
        let update = table.update(
            Duration::from_secs(6),
            address(1000),
            &old,
            RegistrationRequest::default(),
        );
        assert_eq!(update.unwrap_err(), RegistrationError::UnknownLocation);
    }

    #[test]
    fn an_update_moves_address_and_lifetime() {
        let mut table = Registry::default();
        register(&mut table, 0, 1000, "ep=dev&lwm2m=1.1&lt=60", "a").unwrap();
        let location = ["rd".to_owned(), "a".to_owned()];
        let updated = table
            .update(
                Duration::from_secs(50),
                address(2000),
                &location,
                request("lt=120", b"").unwrap(),
            )
            .unwrap();
        assert_eq!(
            (updated.address, updated.updates, updated.lifetime),
            (address(2000), 1, 120)
        );
        assert!(table.expire(Duration::from_secs(169)).is_none());
        assert_eq!(table.next_expiry(), Some(Duration::from_secs(170)));
        assert!(table.expire(Duration::from_secs(170)).is_some());
        assert_eq!(
            table.deregister(&location).unwrap_err(),
            RegistrationError::UnknownLocation
        );
    }

    #[test]
    fn lifetime_zero_has_no_end() {
        let mut table = Registry::default();
        register(&mut table, 0, 1, "ep=dev&lwm2m=1.0&lt=0", "a").unwrap();
        assert_eq!(table.next_expiry(), None);
    }

    proptest::proptest! {
        /// The indices give what a look at every registration would.
        #[test]
        fn addresses_and_ends_are_those_of_the_table(steps in proptest::collection::vec((0..4_u8, 0..5_u16, 0..60_u64, 0..4_u32), 0..60)) {
            let mut table = Registry::default();
            let mut now = 0;
            for (kind, device, wait, lifetime) in steps {
                now += wait;
                let at = Duration::from_secs(now);
                while table.expire(at).is_some() {}
                let name = format!("dev-{device}");
                let location = [String::from("rd"), name.clone()];
                // Ports are never shared: each device has its own range.
                let port = 1000 * (device + 1) + lifetime as u16;
                match kind {
                    0 | 1 => {
                        let query = format!("ep={name}&lt={}&lwm2m=1.1", lifetime * 30);
                        register(&mut table, now, port, &query, &name).unwrap();
                    }
                    2 => {
                        let update = request(&format!("lt={}", lifetime * 40), b"").unwrap();
                        let _ = table.update(at, address(port), &location, update);
                    }
                    _ => {
                        let _ = table.deregister(&location);
                    }
                }
                proptest::prop_assert_eq!(table.next_expiry(), table.iter().filter_map(Registration::expires_at).min());
                for registration in table.iter() {
                    proptest::prop_assert_eq!(table.at(registration.address), Some(registration));
                }
                proptest::prop_assert_eq!(table.by_address.len(), table.iter().count());
            }
        }
    }
}
