//! Content-Format numbers (RFC 7252, 12.3; LwM2M Transport 1.1).

macro_rules! formats {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $media:literal;)*) => {
        $($(#[$doc])* pub const $constant: u16 = $number;)*

        /// The media type; `None` for a number that is not known here.
        #[must_use]
        pub const fn name(number: u16) -> Option<&'static str> {
            match number {
                $($constant => Some($media),)*
                _ => None,
            }
        }
    };
}

formats! {
    /// Plain text.
    TEXT = 0, "text/plain";
    /// Link format (RFC 6690).
    LINK_FORMAT = 40, "application/link-format";
    /// XML.
    XML = 41, "application/xml";
    /// Opaque bytes.
    OPAQUE = 42, "application/octet-stream";
    /// JSON.
    JSON = 50, "application/json";
    /// CBOR (RFC 8949).
    CBOR = 60, "application/cbor";
    /// SenML JSON (RFC 8428).
    SENML_JSON = 110, "application/senml+json";
    /// SenML CBOR (RFC 8428).
    SENML_CBOR = 112, "application/senml+cbor";
    /// Missing blocks (RFC 9177).
    MISSING_BLOCKS = 272, "application/missing-blocks+cbor-seq";
    /// SenML-ETCH JSON (RFC 8790).
    SENML_ETCH_JSON = 320, "application/senml-etch+json";
    /// SenML-ETCH CBOR (RFC 8790).
    SENML_ETCH_CBOR = 322, "application/senml-etch+cbor";
    /// LwM2M text, from before the registration.
    LEGACY_TEXT = 1541, "application/vnd.oma.lwm2m+text";
    /// LwM2M TLV, from before the registration.
    LEGACY_TLV = 1542, "application/vnd.oma.lwm2m+tlv";
    /// LwM2M JSON, from before the registration.
    LEGACY_JSON = 1543, "application/vnd.oma.lwm2m+json";
    /// LwM2M TLV.
    TLV = 11542, "application/vnd.oma.lwm2m+tlv";
    /// LwM2M JSON, 1.0 only.
    LWM2M_JSON = 11543, "application/vnd.oma.lwm2m+json";
    /// LwM2M CBOR, since 1.2.
    LWM2M_CBOR = 11544, "application/vnd.oma.lwm2m+cbor";
}
