//! The name of a key in a token: a PKCS#11 URI (RFC 7512), strictly.
//!
//! `pkcs11:token=safe;object=unlock?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/fleet/pin`
//!
//! No error here repeats a value: somebody may have written a PIN where none belongs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What every such name begins with.
const SCHEME: &str = "pkcs11:";
/// The longest URI that is looked at, in bytes.
pub const URI_MAX: usize = 2_048;
/// Fields of a token in PKCS#11: label and manufacturer, then model and serial number.
const LABEL_MAX: usize = 32;
const SERIAL_MAX: usize = 16;
/// Longest label of a key, in bytes.
const OBJECT_MAX: usize = 128;
/// Longest id of a key, in bytes.
const ID_MAX: usize = 64;
/// Longest path of a module or a PIN file, in bytes.
const PATH_MAX: usize = 1_024;

/// A key in a token, or the token itself where no key is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUri {
    pub(crate) token: TokenName,
    object: Option<String>,
    id: Option<Vec<u8>>,
    module: PathBuf,
    pin_source: Option<PathBuf>,
}

/// What a token says of itself; every field that is named has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenName {
    pub(crate) label: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) model: Option<String>,
}

/// Why a text is not the name of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("is no PKCS#11 URI: it does not begin with `{SCHEME}`")]
    Scheme,
    #[error("is longer than {URI_MAX} bytes")]
    TooLong,
    #[error(
        "has `pin-value`: a PIN must not stand in settings or on a command line; name a file with pin-source=file:…"
    )]
    PinValue,
    #[error("has the attribute `{0}`, which is not used here")]
    Unknown(String),
    #[error("has a part that is not `attribute=value`")]
    Shape,
    #[error("has the attribute `{0}` twice")]
    Twice(&'static str),
    #[error("has `{0}` with a character that must be written as `%` and two hexadecimal digits")]
    Character(&'static str),
    #[error("has an empty or too long `{0}`, or one with control characters")]
    Value(&'static str),
    #[error("names no token: give token=… (its label) or serial=…")]
    NoToken,
    #[error("names no library: give module-path=/… (for example /usr/lib/softhsm/libsofthsm2.so)")]
    NoModule,
    #[error("has a module-path that is not absolute")]
    Module,
    #[error("has a pin-source that is not file:/…, an absolute path")]
    PinSource,
    #[error("has type=…; only private keys are named here, so leave it out or write type=private")]
    Type,
}

impl TokenUri {
    /// Whether a text is meant to be one, as opposed to the path of a file.
    pub fn is_meant(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// The label of the key.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The id of the key (CKA_ID).
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// Whether it names a key, and not only a token.
    pub fn names_a_key(&self) -> bool {
        self.object.is_some() || self.id.is_some()
    }

    /// The library that speaks to the token.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The file with the PIN.
    pub fn pin_source(&self) -> Option<&Path> {
        self.pin_source.as_deref()
    }

    /// Keys with this label in the same token.
    pub fn with_label(&self, object: &str) -> Result<Self, UriError> {
        Ok(Self { object: Some(text("object", object.as_bytes().to_vec(), OBJECT_MAX)?), id: None, ..self.clone() })
    }

    fn path_attribute(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        match name {
            "token" => set("token", &mut self.token.label, |bytes| text("token", bytes, LABEL_MAX), value),
            "serial" => set("serial", &mut self.token.serial, |bytes| text("serial", bytes, SERIAL_MAX), value),
            "model" => set("model", &mut self.token.model, |bytes| text("model", bytes, SERIAL_MAX), value),
            "manufacturer" => {
                set("manufacturer", &mut self.token.manufacturer, |bytes| text("manufacturer", bytes, LABEL_MAX), value)
            }
            "object" => set("object", &mut self.object, |bytes| text("object", bytes, OBJECT_MAX), value),
            "id" => set(
                "id",
                &mut self.id,
                |bytes| if bytes.len() > ID_MAX { Err(UriError::Value("id")) } else { Ok(bytes) },
                value,
            ),
            "type" if value == "private" => Ok(()),
            "type" => Err(UriError::Type),
            other => Err(unknown(other)),
        }
    }

    fn query_attribute(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        match name {
            "module-path" if !self.module.as_os_str().is_empty() => Err(UriError::Twice("module-path")),
            "module-path" => {
                let path = text("module-path", decode("module-path", value)?, PATH_MAX)?;
                if !path.starts_with('/') {
                    return Err(UriError::Module);
                }
                self.module = path.into();
                Ok(())
            }
            "pin-source" => {
                let path = |bytes| {
                    let source = text("pin-source", bytes, PATH_MAX)?;
                    let path = source.strip_prefix("file:").ok_or(UriError::PinSource)?;
                    let path = path.strip_prefix("//").unwrap_or(path);
                    // Two slashes in front would be read as a host the next time.
                    match path.starts_with('/') && !path.starts_with("//") {
                        true => Ok(path.into()),
                        false => Err(UriError::PinSource),
                    }
                };
                set("pin-source", &mut self.pin_source, path, value)
            }
            other => Err(unknown(other)),
        }
    }
}

#[cfg(feature = "pkcs11")]
impl TokenUri {
    /// The same with the key's id.
    pub(crate) fn with_id(&self, id: Vec<u8>) -> Self {
        Self { id: Some(id), ..self.clone() }
    }

    /// How a person finds the token.
    pub(crate) fn token_text(&self) -> String {
        let TokenName { label, serial, manufacturer, model } = &self.token;
        let fields = [("", label), ("serial number ", serial), ("model ", model), ("made by ", manufacturer)];
        let named = fields.into_iter().filter_map(|(what, value)| Some(format!("{what}`{}`", value.as_deref()?)));
        named.collect::<Vec<_>>().join(", ")
    }

    /// How a person finds the key.
    pub(crate) fn key_text(&self) -> String {
        let id = self.id.as_ref().map(|id| format!("id {}", data_encoding::HEXLOWER.encode(id)));
        let label = self.object.as_ref().map(|object| format!("`{object}`"));
        label.into_iter().chain(id).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        if uri.len() > URI_MAX {
            return Err(UriError::TooLong);
        }
        if !Self::is_meant(uri) {
            return Err(UriError::Scheme);
        }
        let (path, query) = match uri[SCHEME.len()..].split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&uri[SCHEME.len()..], None),
        };
        let mut read =
            Self { token: TokenName::default(), object: None, id: None, module: PathBuf::new(), pin_source: None };
        for part in path.split(';').filter(|_| !path.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(UriError::Shape)?;
            read.path_attribute(name, value)?;
        }
        for part in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = part.split_once('=').ok_or(UriError::Shape)?;
            read.query_attribute(name, value)?;
        }
        if read.token.label.is_none() && read.token.serial.is_none() {
            return Err(UriError::NoToken);
        }
        if read.module.as_os_str().is_empty() {
            return Err(UriError::NoModule);
        }
        Ok(read)
    }
}

/// As [`FromStr`] reads it. It holds no secret, only where one is.
impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenName { label, serial, manufacturer, model } = &self.token;
        let fields = [
            ("token", label),
            ("serial", serial),
            ("manufacturer", manufacturer),
            ("model", model),
            ("object", &self.object),
        ];
        let mut before = SCHEME;
        for (name, value) in fields {
            if let Some(value) = value {
                write!(f, "{before}{name}={}", Encoded(value.as_bytes()))?;
                before = ";";
            }
        }
        if let Some(id) = &self.id {
            write!(f, "{before}id=")?;
            for byte in id {
                write!(f, "%{byte:02x}")?;
            }
        }
        write!(f, "?module-path={}", Encoded(self.module.as_os_str().as_encoded_bytes()))?;
        if let Some(source) = &self.pin_source {
            write!(f, "&pin-source=file:{}", Encoded(source.as_os_str().as_encoded_bytes()))?;
        }
        Ok(())
    }
}

struct Encoded<'a>(&'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                    write!(f, "{}", char::from(*byte))?;
                }
                other => write!(f, "%{other:02X}")?,
            }
        }
        Ok(())
    }
}

fn set<T>(
    name: &'static str,
    place: &mut Option<T>,
    read: impl FnOnce(Vec<u8>) -> Result<T, UriError>,
    value: &str,
) -> Result<(), UriError> {
    if place.is_some() {
        return Err(UriError::Twice(name));
    }
    let bytes = decode(name, value)?;
    if bytes.is_empty() {
        return Err(UriError::Value(name));
    }
    *place = Some(read(bytes)?);
    Ok(())
}

/// The bytes of a value. What RFC 7512 wants written with `%` is not taken as it is, but for `/`, which every other
/// program writes in paths, and in no value means anything else.
fn decode(name: &'static str, value: &str) -> Result<Vec<u8>, UriError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let pair =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
                let [Some(high), Some(low)] = pair else { return Err(UriError::Character(name)) };
                bytes.push(u8::try_from(high << 4 | low).map_err(|_| UriError::Character(name))?);
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => bytes.push(byte),
            other if b"-._~:[]@!$'()*+,=/".contains(&other) => bytes.push(other),
            _ => return Err(UriError::Character(name)),
        }
    }
    Ok(bytes)
}

fn text(name: &'static str, bytes: Vec<u8>, max: usize) -> Result<String, UriError> {
    let fits = |text: &String| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    String::from_utf8(bytes).ok().filter(fits).ok_or(UriError::Value(name))
}

/// Names the attribute only if it looks like one: a PIN that stands in a wrong place is not repeated.
fn unknown(name: &str) -> UriError {
    match name {
        "pin-value" => UriError::PinValue,
        name if KNOWN_ELSEWHERE.contains(&name) => UriError::Unknown(name.to_owned()),
        _ => UriError::Shape,
    }
}

/// What RFC 7512 knows beside what is used here; `pin-source` and others in the wrong half of a URI are among them.
const KNOWN_ELSEWHERE: [&str; 15] = [
    "library-manufacturer",
    "library-description",
    "library-version",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
    "module-name",
    "module-path",
    "pin-source",
    "token",
    "serial",
    "manufacturer",
    "model",
    "object",
    "id",
];

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "?module-path=/usr/lib/softhsm/libsofthsm2.so";

    fn read(path: &str) -> Result<TokenUri, UriError> {
        format!("pkcs11:{path}{MODULE}").parse()
    }

    #[test]
    fn a_uri_names_token_key_library_and_the_file_of_the_pin() {
        let text = "pkcs11:token=My%20token;serial=0f1e;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;object=t%C3%BCr;\
                    id=%00%ff%41;type=private?module-path=/usr/lib/p11.so&pin-source=file:/etc/a%26b";
        let uri: TokenUri = text.parse().unwrap();
        assert_eq!(uri.token.label.as_deref(), Some("My token"));
        assert_eq!(uri.token.serial.as_deref(), Some("0f1e"));
        assert_eq!(uri.object(), Some("tür"));
        assert_eq!(uri.id(), Some(&[0, 0xff, b'A'][..]));
        assert_eq!(uri.module(), Path::new("/usr/lib/p11.so"));
        assert_eq!(uri.pin_source(), Some(Path::new("/etc/a&b")));
        assert_eq!(uri.to_string().parse::<TokenUri>().unwrap(), uri, "{uri}");
        let other_form = text.replace("file:/", "file:///");
        assert_eq!(other_form.parse::<TokenUri>().unwrap(), uri);
    }

    #[test]
    fn a_pin_is_refused_wherever_it_stands_and_never_repeated() {
        for bad in [
            "pkcs11:token=a?module-path=/m&pin-value=271828",
            "pkcs11:token=a;pin-value=271828?module-path=/m",
            "pkcs11:token=a?module-path=/m&pin=271828",
            "pkcs11:token=a?module-path=/m&271828=pin",
            "pkcs11:token=a?module-path=/m&271828",
            "pkcs11:token=a?module-path=/m&pin-source=271828",
            "pkcs11:token=a?module-path=/m&pin-source=271828%",
            "pkcs11:token=a?module-path=271828",
            "271828",
        ] {
            let error = bad.parse::<TokenUri>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("271828"), "{bad}: {error}");
        }
        let error = "pkcs11:token=a?module-path=/m&pin-value=1".parse::<TokenUri>().unwrap_err();
        assert_eq!(error, UriError::PinValue);
    }

    #[test]
    fn each_mistake_has_its_word() {
        use UriError::*;
        let long = "x".repeat(33);
        for (path, expected) in [
            ("", NoToken),
            ("object=a", NoToken),
            ("token=", Value("token")),
            (&format!("token={long}"), Value("token")),
            ("token=a%00", Value("token")),
            ("token=a%0a", Value("token")),
            ("token=%ff", Value("token")),
            ("token=a b", Character("token")),
            ("token=a%2", Character("token")),
            ("token=a%zz", Character("token")),
            ("token=a%+1", Character("token")),
            ("token=ä", Character("token")),
            ("token=a#b", Character("token")),
            ("token=a;token=a", Twice("token")),
            ("token=a;", Shape),
            (";token=a", Shape),
            ("token=a;;object=b", Shape),
            ("token=a;object", Shape),
            ("token=a;Object=b", Shape),
            ("token=a;x-vendor=b", Shape),
            ("token=a;object=b;object=c", Twice("object")),
            ("token=a;id=", Value("id")),
            (&format!("token=a;id={}", "%00".repeat(65)), Value("id")),
            (&format!("token=a;object={}", "o".repeat(129)), Value("object")),
            ("token=a;type=public", Type),
            ("token=a;slot-id=0", Unknown("slot-id".to_owned())),
            ("token=a;pin-source=file:/p", Unknown("pin-source".to_owned())),
        ] {
            assert_eq!(read(path).unwrap_err(), expected, "{path}");
        }
        for (uri, expected) in [
            ("/etc/key.pem", Scheme),
            ("pkcs11", Scheme),
            ("pkcs11:token=a", NoModule),
            ("pkcs11:token=a?", Shape),
            ("pkcs11:token=a?module-path=", Value("module-path")),
            ("pkcs11:token=a?module-path=lib.so", Module),
            ("pkcs11:token=a?module-path=/a&module-path=/b", Twice("module-path")),
            ("pkcs11:token=a?module-path=/a?b", Character("module-path")),
            ("pkcs11:token=a?module-path=/a&module-name=b", Unknown("module-name".to_owned())),
            ("pkcs11:token=a?module-path=/a&pin-source=/etc/pin", PinSource),
            ("pkcs11:token=a?module-path=/a&pin-source=%7Ccat%20pin", PinSource),
            ("pkcs11:token=a?module-path=/a&pin-source=file:pin", PinSource),
            ("pkcs11:token=a?module-path=/a&pin-source=file://host/pin", PinSource),
            ("pkcs11:token=a?module-path=/a&pin-source=file:////pin", PinSource),
            ("pkcs11:token=a?module-path=/a&object=b", Unknown("object".to_owned())),
        ] {
            assert_eq!(uri.parse::<TokenUri>().unwrap_err(), expected, "{uri}");
        }
        let endless = format!("pkcs11:token=a?module-path=/{}", "m".repeat(URI_MAX));
        assert_eq!(endless.parse::<TokenUri>().unwrap_err(), TooLong);
    }

    /// Whatever is read is written so that it is read as the same, also after any one byte was changed.
    #[test]
    fn what_is_written_is_read_again_as_the_same() {
        let good = "pkcs11:token=My%20t;object=a%3bb;id=%01%fe?module-path=/usr/lib/p11.so&pin-source=file:/etc/p";
        let mut read = 0;
        for at in 0..good.len() {
            for byte in 0x20..0x7f {
                let mut changed = good.as_bytes().to_vec();
                changed[at] = byte;
                let Ok(uri) = String::from_utf8(changed).unwrap().parse::<TokenUri>() else { continue };
                read += 1;
                let again = uri.to_string();
                assert_eq!(again.parse::<TokenUri>().as_ref(), Ok(&uri), "{again}");
                assert_eq!(again.parse::<TokenUri>().unwrap().to_string(), again);
            }
        }
        assert!(read > 1_000, "{read}");
    }

    #[test]
    fn a_path_is_told_from_a_uri() {
        assert!(TokenUri::is_meant("pkcs11:") && TokenUri::is_meant("PKCS11:token=a"));
        assert!(!TokenUri::is_meant("keys/pkcs11:") && !TokenUri::is_meant("pkcs1") && !TokenUri::is_meant("pkcs1ä:"));
    }
}
