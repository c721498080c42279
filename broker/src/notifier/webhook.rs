//! Webhooks by the Standard Webhooks convention: three headers, and a signature over id, time and body.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use fleet_core::{Codes, Dispatch, Outcome};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustls::ClientConfig;
use schemas::web::WebUrl;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::failed;
use super::http::{Post, outcome_of, post};
use super::secret::Secret;

/// Bytes of a key, by the convention.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

pub(super) async fn send(
    dispatch: &Dispatch,
    codes: &Codes,
    url: &WebUrl,
    secret: &Secret,
    tls: Option<&Arc<ClientConfig>>,
    now: SystemTime,
) -> Outcome {
    let Some(key) = key(secret) else { return failed("the secret is no `whsec_` with 24 to 64 bytes in base64") };
    let body = dispatch.webhook_body(codes);
    let seconds = now.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    let headers = vec![
        ("webhook-id", dispatch.id.clone()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", format!("v1,{}", signature(&key, &dispatch.id, seconds, &body))),
    ];
    match post(Post { url, content_type: "application/json", headers, body: body.to_vec() }, tls).await {
        Ok(answer) if (200..300).contains(&answer.status) => Outcome::Accepted { reference: None },
        // Whoever says that wants no more of this; the next channel is told.
        Ok(answer) => outcome_of(answer.status, None),
        Err(outcome) => outcome,
    }
}

fn key(secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.reveal().strip_prefix("whsec_")?;
    let key = Zeroizing::new(BASE64.decode(text.as_bytes()).ok()?);
    KEY_BYTES.contains(&key.len()).then_some(key)
}

fn signature(key: &[u8], id: &str, seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    BASE64.encode(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the convention's specification.
    #[test]
    fn the_signature_is_that_of_the_convention() {
        let key = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
