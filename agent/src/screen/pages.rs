//! The page itself, part of the program. It holds nothing secret and needs no key.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

pub(super) fn routes() -> Router {
    Router::new()
        .route("/", get(([(CONTENT_TYPE, HTML)], include_str!("page/index.html"))))
        .route("/app.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/app.js"))))
        .route("/cabinet.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/cabinet.js"))))
        .route("/staff.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/staff.js"))))
        .route("/parts.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/parts.js"))))
        .route("/deposit.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/deposit.js"))))
        .route("/courier.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/courier.js"))))
        .route("/texts.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/texts.js"))))
        .route("/walkin.js", get(([(CONTENT_TYPE, SCRIPT)], include_str!("page/walkin.js"))))
        .route("/style.css", get(([(CONTENT_TYPE, STYLE)], include_str!("page/style.css"))))
}
