//! The operator's own name, logo and colours on the screen, from the settings. What nobody could read is refused
//! at start; a logo that is not to be had then is not worth a door that stays shut.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fleet_settings::Checks;
use serde::{Deserialize, Serialize};
use tracing::error;

/// Signs of the name. More have no place beside the state of the smallest screen.
const NAME_MAX: usize = 40;
const LOGO_BYTES_MAX: u64 = 256 * 1024;
/// Of its width and of its height. Unpacked it must not take the memory of a small cabinet.
const LOGO_SIDE_MAX: u32 = 2_048;
/// WCAG 2.2 AA for text (1.4.3), and for the shape of a button (1.4.11).
const TEXT_CONTRAST_MIN: f64 = 4.5;
const SHAPE_CONTRAST_MIN: f64 = 3.0;
/// What buttons stand on.
const PAPER: Colour = Colour([0xff; 3]);

/// `[screen.brand]`. Empty: as the pages are without.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandSection {
    /// Read out in the place of the logo, or shown where there is none.
    pub name: String,
    /// A PNG file. Nothing else: an SVG may hold scripts and addresses of others.
    pub logo: PathBuf,
    /// `#rrggbb`, of the head of each page and of the button that goes on.
    pub colour: String,
    /// `#rrggbb`, of what is written on it.
    pub text_colour: String,
}

impl Default for BrandSection {
    fn default() -> Self {
        Self { name: String::new(), logo: PathBuf::new(), colour: String::new(), text_colour: "#ffffff".into() }
    }
}

impl BrandSection {
    pub(crate) fn check(&mut self, base: &Path, problems: &mut Checks) {
        if let Err(what) = name(&self.name) {
            problems.problem("screen.brand.name", what);
        }
        self.check_colours(problems);
        if self.logo.as_os_str().is_empty() {
            return;
        }
        problems.path("screen.brand.logo", &mut self.logo, base);
        if self.name.is_empty() {
            problems.problem("screen.brand.name", "is missing: it is read out to whoever cannot see the logo");
        }
    }

    fn check_colours(&self, problems: &mut Checks) {
        let parsed = |text: &str| text.parse::<Colour>();
        let text = parsed(&self.text_colour);
        if let Err(error) = &text {
            problems.problem("screen.brand.text_colour", error.to_string());
        }
        if self.colour.is_empty() {
            return;
        }
        match (parsed(&self.colour), text) {
            (Err(error), _) => problems.problem("screen.brand.colour", error.to_string()),
            (Ok(colour), Ok(text)) => {
                let mut least = |other: Colour, of: &str, min: f64| {
                    let contrast = colour.contrast(other);
                    if contrast < min {
                        let what = format!("has a contrast of {contrast:.2} to {of}; people need {min} at least");
                        problems.problem("screen.brand.colour", what);
                    }
                };
                least(text, "`screen.brand.text_colour`", TEXT_CONTRAST_MIN);
                least(PAPER, "the white page", SHAPE_CONTRAST_MIN);
            }
            (Ok(_), Err(_)) => {}
        }
    }
}

fn name(text: &str) -> Result<(), String> {
    let signs = text.chars().count();
    if signs > NAME_MAX {
        return Err(format!("has {signs} signs; {NAME_MAX} is the most"));
    }
    if text.trim() != text {
        return Err("begins or ends with a space".to_owned());
    }
    match text.chars().find(|sign| is_unseen(*sign)) {
        Some(sign) => Err(format!("has U+{:04X} in it, which nobody sees", u32::from(sign))),
        None => Ok(()),
    }
}

/// Control characters, and those that turn the direction of what stands beside them or take no room.
fn is_unseen(sign: char) -> bool {
    let unseen = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}'];
    let ranges = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{fff0}'..='\u{fffb}'];
    sign.is_control() || unseen.contains(&sign) || ranges.iter().any(|range| range.contains(&sign))
}

/// A colour of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Colour([u8; 3]);

#[derive(Debug, thiserror::Error)]
#[error("is no colour: write it as \"#0b4aa8\", # and six hexadecimal digits")]
struct NotAColour;

impl std::str::FromStr for Colour {
    type Err = NotAColour;

    fn from_str(text: &str) -> Result<Self, NotAColour> {
        let digits = text.strip_prefix('#').ok_or(NotAColour)?;
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| NotAColour)?;
        bytes.try_into().map(Self).map_err(|_| NotAColour)
    }
}

impl Colour {
    /// Relative luminance of WCAG 2.2, 0 to 1.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// Contrast ratio of WCAG 2.2, 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }
}

/// Why a file cannot be the logo.
#[derive(Debug, thiserror::Error)]
enum LogoError {
    #[error("read it: {0}")]
    Read(#[from] io::Error),
    #[error("it is no file")]
    NoFile,
    #[error("it has more than {} KiB", LOGO_BYTES_MAX / 1024)]
    TooLarge,
    #[error("it is no PNG image")]
    NotPng,
    #[error("it is damaged")]
    Damaged,
    #[error("it moves; a logo is one picture")]
    Moves,
    #[error("it is {wide} x {high} pixels; {LOGO_SIDE_MAX} are the most at each side")]
    TooWide { wide: u32, high: u32 },
}

fn read_logo(path: &Path) -> Result<Vec<u8>, LogoError> {
    // A pipe would hold up the start until somebody writes into it.
    if !fs::metadata(path)?.is_file() {
        return Err(LogoError::NoFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LOGO_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LOGO_BYTES_MAX {
        return Err(LogoError::TooLarge);
    }
    check_png(&bytes)?;
    Ok(bytes)
}

/// Whole chunks from the head to the end, with nothing behind it that another program could take for something else.
fn check_png(bytes: &[u8]) -> Result<(), LogoError> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n").ok_or(LogoError::NotPng)?;
    let mut has_pixels = false;
    let mut is_first = true;
    loop {
        let (kind, data, behind) = chunk(rest).ok_or(LogoError::Damaged)?;
        rest = behind;
        match kind {
            b"IHDR" if is_first => check_size(data)?,
            _ if is_first => return Err(LogoError::Damaged),
            b"acTL" => return Err(LogoError::Moves),
            b"IDAT" => has_pixels = true,
            b"IEND" if data.is_empty() && rest.is_empty() && has_pixels => return Ok(()),
            b"IEND" | b"IHDR" => return Err(LogoError::Damaged),
            _ => {}
        }
        is_first = false;
    }
}

fn check_size(head: &[u8]) -> Result<(), LogoError> {
    let (wide, behind) = head.split_first_chunk().ok_or(LogoError::Damaged)?;
    let (high, behind) = behind.split_first_chunk().ok_or(LogoError::Damaged)?;
    let (wide, high) = (u32::from_be_bytes(*wide), u32::from_be_bytes(*high));
    if behind.len() != 5 || wide == 0 || high == 0 {
        return Err(LogoError::Damaged);
    }
    if wide.max(high) > LOGO_SIDE_MAX {
        return Err(LogoError::TooWide { wide, high });
    }
    Ok(())
}

/// Kind and data of the first chunk, and what follows it. None if it is cut off or its sum is wrong.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (length, summed) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (summed, behind) = summed.split_at_checked(length.checked_add(4)?)?;
    let (sum, behind) = behind.split_first_chunk()?;
    let (kind, data) = summed.split_first_chunk()?;
    (crc32(summed) == u32::from_be_bytes(*sum)).then_some((kind, data, behind))
}

/// As PNG has it (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| bit(sum)))
}

/// What the pages get of it.
#[derive(Debug)]
pub(super) struct Brand {
    /// What stands at the head of each page, as HTML. Empty without a name.
    pub(super) head: String,
    pub(super) style: String,
    pub(super) logo: Option<Vec<u8>>,
}

impl Brand {
    /// The settings are checked. A file may be gone or cut off by a power cut since somebody looked: then the name is shown.
    pub(super) fn read(settings: &BrandSection) -> Self {
        let file = Some(&settings.logo).filter(|path| !path.as_os_str().is_empty());
        let logo = file.and_then(|path| {
            let told = |error: LogoError| {
                error!(file = %path.display(), "the screen shows the name in the place of the logo, which cannot be shown: {error}");
            };
            read_logo(path).map_err(told).ok()
        });
        let name = escaped(&settings.name);
        let head = match &logo {
            Some(_) => format!(r#"<img src="/logo.png" alt="{name}">"#),
            None => name,
        };
        Self { head, style: style(&settings.colour, &settings.text_colour), logo }
    }
}

/// Whoever wants larger type or more contrast gets the colours that everybody can see.
fn style(colour: &str, text: &str) -> String {
    let (Ok(Colour(colour)), Ok(Colour(text))) = (colour.parse(), text.parse()) else { return String::new() };
    let [colour, text] = [colour, text].map(|bytes| data_encoding::HEXLOWER.encode(&bytes));
    format!(
        "@media not (prefers-contrast: more) {{\n  html:not(.large) {{ --head: #{colour}; --on-head: #{text}; \
         --head-ring: #{text}; --soft: transparent; --go: #{colour}; --on-go: #{text}; }}\n}}\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk_of(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let summed = [kind.as_slice(), data].concat();
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [length.as_slice(), &summed, &crc32(&summed).to_be_bytes()].concat()
    }

    fn head(wide: u32, high: u32) -> Vec<u8> {
        let rest: &[u8] = &[8, 0, 0, 0, 0];
        chunk_of(b"IHDR", &[&wide.to_be_bytes(), &high.to_be_bytes(), rest].concat())
    }

    fn png(chunks: &[&[u8]]) -> Vec<u8> {
        [b"\x89PNG\r\n\x1a\n".as_slice(), &chunks.concat()].concat()
    }

    #[test]
    fn a_logo_is_one_whole_png_of_a_bearable_size() {
        let (pixels, end) = (chunk_of(b"IDAT", &[1, 2, 3]), chunk_of(b"IEND", &[]));
        let moves = chunk_of(b"acTL", &[0; 8]);
        let good = png(&[&head(2_048, 1), &pixels, &end]);
        check_png(&good).unwrap();
        assert_eq!(crc32(b"IEND"), 0xae42_6082, "as at the end of every PNG");
        let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>1</script></svg>".to_vec();
        let mut flipped = good.clone();
        flipped[20] ^= 1;
        for (wrong, said) in [
            (svg, "no PNG"),
            (Vec::new(), "no PNG"),
            (b"\xff\xd8\xff\xe0JFIF".to_vec(), "no PNG"),
            (good[..good.len() - 1].to_vec(), "damaged"),
            (flipped, "damaged"),
            ([good.as_slice(), b"<script>"].concat(), "damaged"),
            (png(&[&pixels, &end]), "damaged"),
            (png(&[&head(1, 1), &end]), "damaged"),
            (png(&[&head(1, 1), &head(1, 1), &pixels, &end]), "damaged"),
            (png(&[&head(0, 1), &pixels, &end]), "damaged"),
            (png(&[&chunk_of(b"IHDR", &[0, 0, 0, 1]), &pixels, &end]), "damaged"),
            (png(&[&head(1, 1), &moves, &pixels, &end]), "moves"),
            (png(&[&head(2_049, 1), &pixels, &end]), "2049 x 1 pixels"),
            (png(&[&head(1, u32::MAX), &pixels, &end]), "pixels"),
        ] {
            let error = check_png(&wrong).unwrap_err().to_string();
            assert!(error.contains(said), "{wrong:?}: {error}");
        }
        // A length that reaches far beyond the file.
        assert!(check_png(&png(&[&[0xff; 12]])).is_err());
    }

    #[test]
    fn a_logo_that_cannot_be_shown_costs_nobody_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| folder.path().join(name);
        fs::write(named("empty.png"), b"").unwrap();
        fs::write(named("large.png"), vec![0; 256 * 1024 + 1]).unwrap();
        fs::write(named("image.svg"), b"<svg/>").unwrap();
        for (logo, said) in [
            ("none.png", "No such file"),
            (".", "it is no file"),
            ("empty.png", "no PNG"),
            ("large.png", "more than 256 KiB"),
            ("image.svg", "no PNG"),
        ] {
            let path = named(logo);
            let error = read_logo(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{logo}: {error}");
            let section = BrandSection { name: "Müller".into(), logo: path, ..BrandSection::default() };
            let brand = Brand::read(&section);
            assert!(brand.logo.is_none() && brand.head == "Müller", "{logo}: {brand:?}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let colour = |text: &str| text.parse::<Colour>().unwrap();
        let near = |one: &str, other: &str, ratio: f64| {
            let found = colour(one).contrast(colour(other));
            assert!((found - ratio).abs() < 0.01, "{one} on {other}: {found}");
        };
        near("#000000", "#ffffff", 21.0);
        near("#777777", "#ffffff", 4.48);
        near("#767676", "#FFFFFF", 4.54);
        near("#ff0000", "#0000ff", 2.15);
        near("#123456", "#123456", 1.0);
    }

    #[test]
    fn a_name_is_text_and_no_markup() {
        let section = BrandSection { name: "<b>M\"ü\"ller's & Co".into(), ..BrandSection::default() };
        assert_eq!(
            Brand::read(&section).head,
            "&lt;b&gt;M&quot;ü&quot;ller&#39;s &amp; Co",
            "as text of an element and of an attribute"
        );
    }

    #[test]
    fn without_colours_there_is_no_style_and_with_them_it_holds_nothing_else() {
        assert_eq!(style("", "#ffffff"), "");
        assert_eq!(style("#0B4AA8;}", "#ffffff"), "");
        let style = style("#0B4AA8", "#FFFFFF");
        assert!(style.contains("--go: #0b4aa8; --on-go: #ffffff;") && style.contains("html:not(.large)"), "{style}");
    }
}
