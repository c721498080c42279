//! What a client of the enrolment port reads: bundles of certificates, or one line that says what is wrong.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use certs::{BundleError, CertificateDer, CsrError, bundle};
use fleet_core::enrolment::EnrolRefusal;

/// RFC 7030, 4.1.3 and 4.2.3.
const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";

/// Why a request gets no certificate. Shown to the client as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the body has to be `application/pkcs10`, base64 of a certification request in DER")]
    MediaType,
    #[error("the body is no base64")]
    Base64,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the certification request is refused: {0}")]
    Csr(#[from] CsrError),
    #[error(
        "authenticate with HTTP Basic: the user is `<tenant>/<cabinet>`, the password the secret of an enrolment token"
    )]
    NoToken,
    #[error("a certificate is renewed with a client certificate of a cabinet in the TLS handshake")]
    NoCertificate,
    #[error("this certificate may not be renewed: {0}")]
    NotAdmitted(String),
    #[error("{0}")]
    Core(EnrolRefusal),
    #[error("the fleet is busy or restarting; ask again in some seconds")]
    Unavailable,
    #[error("certificates cannot be encoded")]
    Encode(#[from] BundleError),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Base64 | Self::Csr(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoToken | Self::NoCertificate => StatusCode::UNAUTHORIZED,
            Self::NotAdmitted(_) => StatusCode::FORBIDDEN,
            Self::Core(refusal) => match refusal {
                EnrolRefusal::UnknownToken => StatusCode::UNAUTHORIZED,
                EnrolRefusal::ExpiredToken
                | EnrolRefusal::UsedToken
                | EnrolRefusal::OtherDevice
                | EnrolRefusal::Revoked => StatusCode::FORBIDDEN,
                EnrolRefusal::Busy | EnrolRefusal::NotSigned(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Encode(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, format!("{self}\n")).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"cabinet enrolment\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Certificates as EST sends them: base64 of a certs-only PKCS#7, in lines.
pub(super) fn certificates(list: &[CertificateDer<'_>]) -> Result<Response, Refused> {
    let text = data_encoding::BASE64.encode(&bundle(list)?);
    let lines: Vec<u8> = text.as_bytes().chunks(64).flat_map(|line| [line, b"\r\n"].concat()).collect();
    let encoding = header::HeaderName::from_static("content-transfer-encoding");
    Ok(([(header::CONTENT_TYPE, CERTS_ONLY), (encoding, "base64")], lines).into_response())
}
