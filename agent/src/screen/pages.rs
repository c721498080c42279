//! The page itself, part of the program. It holds nothing secret and needs no key.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

use super::brand::Brand;
use super::languages::Language;
use crate::settings::ScreenSection;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";
const PNG: &str = "image/png";

const INDEX: &str = include_str!("page/index.html");
/// What the page says of its settings before it knows those of this screen.
const ANY_SCREEN: &str =
    r#"lang="en" data-languages="en de pl es zh" data-hotline="" data-volume="50" data-old-hours="72""#;
const ANY_BRAND: &str = r#"<span id="brand"></span>"#;

/// The page of this screen. The settings are checked.
pub(super) fn routes(settings: &ScreenSection, brand: Brand) -> Router {
    let page = index(settings, &brand.head);
    let pages = Router::new()
        .route("/", get(([(CONTENT_TYPE, HTML)], page)))
        .route("/app.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/app.js"))))
        .route("/cabinet.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/cabinet.js"))))
        .route("/staff.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/staff.js"))))
        .route("/pairing.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/pairing.js"))))
        .route("/parts.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/parts.js"))))
        .route("/deposit.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/deposit.js"))))
        .route("/courier.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/courier.js"))))
        .route("/texts.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/texts.js"))))
        .route("/walkin.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/walkin.js"))))
        .route("/sounds.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/sounds.js"))))
        .route("/brand.css", get(([(CONTENT_TYPE, STYLE)], brand.style)))
        .route("/style.css", get(([(CONTENT_TYPE, STYLE)], include_str!("page/style.css"))))
        .route("/speech.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/speech.js"))));
    let pages = match brand.logo.map(Bytes::from) {
        Some(logo) => pages.route("/logo.png", get(([(CONTENT_TYPE, PNG)], logo))),
        None => pages,
    };
    Language::ALL.into_iter().fold(pages, |pages, language| {
        let texts = get(([(CONTENT_TYPE, JSON)], language.texts()));
        pages.route(&format!("/texts/{}.json", language.name()), texts)
    })
}

/// Settings stand in the page, which knows them so without a key and while doors cannot open. `brand` is HTML.
fn index(settings: &ScreenSection, brand: &str) -> String {
    let names: Vec<&str> = settings.languages.iter().map(|language| language.name()).collect();
    let first = names.first().copied().unwrap_or_default();
    let ScreenSection { hotline, volume, book_old_hours, .. } = settings;
    let said = format!(
        r#"lang="{first}" data-languages="{}" data-hotline="{hotline}" data-volume="{volume}" data-old-hours="{book_old_hours}""#,
        names.join(" ")
    );
    let head = ANY_BRAND.replace("></", &format!(">{brand}</"));
    INDEX.replace(ANY_SCREEN, &said).replace(ANY_BRAND, &head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_its_languages_and_begins_in_the_first() {
        assert_eq!(index(&ScreenSection::default(), ""), INDEX);
        let settings = ScreenSection {
            languages: vec![Language::De, Language::Zh],
            hotline: "+49 30 1".into(),
            volume: 0,
            book_old_hours: 24,
            ..ScreenSection::default()
        };
        let page = index(&settings, "Lock &amp; Go");
        let root =
            r#"<html lang="de" data-languages="de zh" data-hotline="+49 30 1" data-volume="0" data-old-hours="24">"#;
        assert!(page.contains(root), "{page}");
        assert!(page.contains(r#"<span id="brand">Lock &amp; Go</span>"#), "{page}");
    }
}
