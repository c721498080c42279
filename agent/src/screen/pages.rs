//! The page itself, part of the program. It holds nothing secret and needs no key.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

use super::languages::Language;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = include_str!("page/index.html");
/// What the page says of its languages before it knows those of this screen.
const ALL_LANGUAGES: &str = r#"lang="en" data-languages="en de pl es zh" data-hotline="""#;

/// The page with these languages, of which the first is for whoever has chosen none.
pub(super) fn routes(languages: &[Language], hotline: &str) -> Router {
    let pages = Router::new()
        .route("/", get(([(CONTENT_TYPE, HTML)], index(languages, hotline))))
        .route("/app.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/app.js"))))
        .route("/cabinet.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/cabinet.js"))))
        .route("/staff.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/staff.js"))))
        .route("/pairing.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/pairing.js"))))
        .route("/parts.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/parts.js"))))
        .route("/deposit.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/deposit.js"))))
        .route("/courier.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/courier.js"))))
        .route("/texts.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/texts.js"))))
        .route("/walkin.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/walkin.js"))))
        .route("/style.css", get(([(CONTENT_TYPE, STYLE)], include_str!("page/style.css"))))
        .route("/speech.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/speech.js"))));
    Language::ALL.into_iter().fold(pages, |pages, language| {
        let texts = get(([(CONTENT_TYPE, JSON)], language.texts()));
        pages.route(&format!("/texts/{}.json", language.name()), texts)
    })
}

/// Languages and hotline stand in the page, which knows them so without a key and while doors cannot open.
fn index(languages: &[Language], hotline: &str) -> String {
    let names: Vec<&str> = languages.iter().map(|language| language.name()).collect();
    let first = names.first().copied().unwrap_or_default();
    let said = format!(r#"lang="{first}" data-languages="{}" data-hotline="{hotline}""#, names.join(" "));
    INDEX.replace(ALL_LANGUAGES, &said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_its_languages_and_begins_in_the_first() {
        assert_eq!(index(&Language::ALL, ""), INDEX);
        let page = index(&[Language::De, Language::Zh], "+49 30 1");
        assert!(page.contains(r#"<html lang="de" data-languages="de zh" data-hotline="+49 30 1">"#), "{page}");
    }
}
