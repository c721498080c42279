//! First contact: tokens, the enrolment port as other EST clients see it, and everything that is refused there.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use fleet_cli::setup::{self, CabinetFolder, CabinetOptions};
use fleet_cli::stage::{PATIENCE, Process};
use fleet_tests::{Look, World, until};
use schemas::api::Reply;
use schemas::enrolment::{CACERTS, SIMPLE_ENROLL, SIMPLE_REENROLL, user_name};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::machine::tool;

const SERIAL: &str = "LF-0007";

/// A cabinet's files, and its token known to the fleet.
async fn offered(world: &World, name: &str, valid_for: Duration) -> anyhow::Result<CabinetFolder> {
    let named = (name.parse()?, "mall".parse()?);
    let port = world.stage.folder().join("no-such-port");
    let mut options = CabinetOptions::new(world.stage.layout(), named, SERIAL, "1-2:S".parse()?, port);
    options.valid_for = valid_for;
    let folder = setup::cabinet(&options)?;
    let reply = world.operator.request(&folder.registration("Main Street".into())).await?;
    ensure!(reply == Reply::Done, "{reply:?}");
    Ok(folder)
}

/// Runs `cabinet-agent enroll` to its end: exit code, and what it said.
async fn enroll(world: &World, folder: &Path, token: &str, serial: &str) -> anyhow::Result<(Option<i32>, String)> {
    let file = folder.join("given.token");
    let _ = std::fs::remove_file(&file);
    certs::create_private(&file, token.as_bytes())?;
    let settings = folder.join("agent.toml");
    let words = ["enroll", "--settings", path(&settings)?, "--token-file", path(&file)?, "--serial", serial];
    let agent = &world.stage.binaries().agent;
    let mut process = Process::start("enroll", agent, words.map(Into::into), folder.join("enroll.log"))?;
    let code = process.exit_code(PATIENCE).await?;
    Ok((code, process.output()))
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is text")
}

/// A folder beside the cabinet's, for another device.
fn other_device(folder: &CabinetFolder, name: &str) -> anyhow::Result<PathBuf> {
    let other = folder.path.with_file_name(name);
    certs::ensure_private_dir(&other)?;
    Ok(other)
}

#[tokio::test]
async fn a_token_enrols_one_device_once() -> anyhow::Result<()> {
    let world = World::start().await?;
    let folder = offered(&world, "berlin-01", setup::TOKEN_LIFE).await?;
    let token = folder.token.to_string();

    let (code, said) = enroll(&world, &folder.path, &token, "LF-0008").await?;
    ensure!(code == Some(1) && said.contains("LF-0007") && said.contains("LF-0008"), "{said}");
    let (code, said) = enroll(&world, &folder.path, &token[..token.len() - 5], SERIAL).await?;
    ensure!(code == Some(1) && said.contains("copy all of it again"), "{said}");

    let (code, said) = enroll(&world, &folder.path, &token.to_lowercase(), SERIAL).await?;
    ensure!(code == Some(0) && said.contains("Enrolled as cabinet berlin-01 of acme at mall"), "{said}");
    let identity = folder.path.join("identity");
    let mode = |name: &str| -> anyhow::Result<u32> {
        use std::os::unix::fs::PermissionsExt as _;
        Ok(std::fs::metadata(identity.join(name))?.permissions().mode() & 0o777)
    };
    ensure!((mode("current.pem")?, mode("identity.toml")?, mode(".")?) == (0o600, 0o600, 0o700));
    ensure!(!identity.join("request.key").exists(), "the key is in one place");
    ensure!(!said.contains(&folder.token.secret.password()));

    let (code, said) = enroll(&world, &folder.path, &token, SERIAL).await?;
    ensure!(code == Some(1) && said.contains("this cabinet is enrolled"), "{said}");
    // Somebody who has copied the token, and has a label printed.
    let thief = other_device(&folder, "thief")?;
    let (code, said) = enroll(&world, &thief, &token, SERIAL).await?;
    ensure!(code == Some(1) && said.contains("was used already"), "{said}");
    ensure!(!thief.join("identity/current.pem").exists());
    let log = std::fs::read_to_string(world.stage.log("broker"))?;
    ensure!(log.contains("somebody tried to enrol as cabinet acme/berlin-01"), "nobody was told");
    ensure!(!log.contains(&folder.token.secret.password()), "a secret in the log");
    Ok(())
}

#[tokio::test]
async fn an_expired_token_and_one_of_another_fleet_are_refused() -> anyhow::Result<()> {
    let (world, other) = (World::start().await?, World::start().await?);
    let short = offered(&world, "berlin-01", Duration::from_secs(2)).await?;
    let expires = SystemTime::UNIX_EPOCH + Duration::from_millis(short.token.expires);
    until("the token has expired", async || {
        Ok(Look::at((SystemTime::now() > expires).then_some(()), || "it is good yet".to_owned()))
    })
    .await?;
    let (code, said) = enroll(&world, &short.path, &short.token.to_string(), SERIAL).await?;
    ensure!(code == Some(1) && said.contains("has expired"), "{said}");

    // A server that somebody put into the fleet's place: its certificates are in order, but they are another fleet's.
    let mut foreign = offered(&other, "berlin-02", setup::TOKEN_LIFE).await?;
    foreign.token.enrolment_port = world.stage.layout().settings().enrolment_port;
    let (code, said) = enroll(&world, &foreign.path, &foreign.token.to_string(), SERIAL).await?;
    ensure!(code == Some(1) && said.contains("the token was not sent"), "{said}");
    let log = std::fs::read_to_string(world.stage.log("broker"))?;
    ensure!(!log.contains("berlin-02"), "the other fleet heard of the token");
    // The same token, at the same fleet, for a cabinet that it was not made for.
    let good = offered(&world, "berlin-03", setup::TOKEN_LIFE).await?;
    let mut crossed = good.token.clone();
    crossed.cabinet = "berlin-01".parse()?;
    let (code, said) = enroll(&world, &good.path, &crossed.to_string(), SERIAL).await?;
    ensure!(code == Some(1) && said.contains("is not known"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_fleet_that_is_away_is_waited_for_and_then_named() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let folder = offered(&world, "berlin-01", setup::TOKEN_LIFE).await?;
    // Without the signer there is no certificate, and the token stays good.
    world.stage.kill_signer().await?;
    let (code, said) = enroll(&world, &folder.path, &folder.token.to_string(), SERIAL).await?;
    ensure!(code == Some(1) && said.contains("cannot be made now"), "{said}");
    world.stage.start_signer().await?;
    let (code, said) = enroll(&world, &folder.path, &folder.token.to_string(), SERIAL).await?;
    ensure!(code == Some(0), "{said}");
    Ok(())
}

/// curl and openssl against the enrolment port.
struct Other<'a> {
    world: &'a World,
    folder: PathBuf,
}

impl Other<'_> {
    /// `None` where the tools are missing.
    fn new(world: &World) -> anyhow::Result<Option<Other<'_>>> {
        if !tool("curl")? || !tool("openssl")? {
            return Ok(None);
        }
        let folder = world.stage.folder().join("other");
        certs::ensure_private_dir(&folder)?;
        Ok(Some(Other { world, folder }))
    }

    async fn openssl(&self, words: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
        run("openssl", &self.folder, words, input).await
    }

    /// Makes a key and a request in base64.
    async fn request(&self, key: &str, subject: &str) -> anyhow::Result<()> {
        let kind = if key == "rsa" { ["rsa", "rsa_keygen_bits:2048"] } else { ["ec", "ec_paramgen_curve:P-256"] };
        let file = format!("{key}.key");
        self.openssl(&["genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", &file], b"").await?;
        let der = self.openssl(&["req", "-new", "-key", &file, "-subj", subject, "-outform", "DER"], b"").await?;
        Ok(std::fs::write(self.folder.join(format!("{key}.b64")), data_encoding::BASE64.encode(&der))?)
    }

    /// Status and body.
    async fn curl(&self, path: &str, more: &[&str]) -> anyhow::Result<(u16, String)> {
        let layout = self.world.stage.layout();
        let url = format!("https://127.0.0.1:{}{path}", layout.settings().enrolment_port);
        let root = layout.public().join("root.crt");
        let mut words = vec!["-sS", "--cacert", root.to_str().context("a path")?, "-w", "\n%{http_code}"];
        words.extend(more);
        words.push(&url);
        let out = String::from_utf8(run("curl", &self.folder, &words, b"").await?)?;
        let (body, status) = out.rsplit_once('\n').context("a status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    async fn post(&self, path: &str, more: &[&str], file: &str) -> anyhow::Result<(u16, String)> {
        let body = format!("@{file}");
        let fixed = ["-H", "Content-Type: application/pkcs10", "--data-binary", &body];
        self.curl(path, &[more, &fixed].concat()).await
    }

    /// The certificates of an answer, in PEM, as openssl prints them.
    async fn certificates(&self, body: &str) -> anyhow::Result<String> {
        let plain: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        let der = data_encoding::BASE64.decode(plain.as_bytes()).context("base64")?;
        Ok(String::from_utf8(self.openssl(&["pkcs7", "-inform", "DER", "-print_certs"], &der).await?)?)
    }
}

async fn run(program: &str, folder: &Path, words: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut child = Command::new(program)
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let mut stdin = child.stdin.take().context("its input")?;
    stdin.write_all(input).await?;
    drop(stdin);
    let out = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
    ensure!(out.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout)
}

#[tokio::test]
async fn another_est_client_enrols_and_renews() -> anyhow::Result<()> {
    let world = World::start().await?;
    let Some(other) = Other::new(&world)? else { return Ok(()) };
    let folder = offered(&world, "berlin-01", setup::TOKEN_LIFE).await?;
    let token = &folder.token;
    let user = format!("{}:{}", user_name(&token.tenant, &token.cabinet), token.secret.password());

    let (status, body) = other.curl(CACERTS, &[]).await?;
    ensure!(status == 200, "{body}");
    std::fs::write(other.folder.join("ca.pem"), other.certificates(&body).await?)?;

    // What the request says of itself is not looked at, but for the device's serial number.
    other.request("one", "/CN=operator admin/O=umbra/serialNumber=LF-0007").await?;
    let (status, body) = other.post(SIMPLE_ENROLL, &["-u", &user], "one.b64").await?;
    ensure!(status == 200, "{body}");
    std::fs::write(other.folder.join("one.crt"), other.certificates(&body).await?)?;
    let checked = other.openssl(&["verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "one.crt"], b"").await?;
    ensure!(String::from_utf8_lossy(&checked).contains("OK"));
    let shown = other.openssl(&["x509", "-in", "one.crt", "-noout", "-ext", "subjectAltName,extendedKeyUsage"], b"");
    let shown = String::from_utf8(shown.await?)?;
    ensure!(shown.contains("URI:urn:locker-fleet:cabinet:acme:berlin-01") && !shown.contains("umbra"), "{shown}");

    other.request("two", "/CN=next").await?;
    let own = ["--cert", "one.crt", "--key", "one.key"];
    let (status, body) = other.post(SIMPLE_REENROLL, &own, "two.b64").await?;
    ensure!(status == 200, "{body}");
    let renewed = other.certificates(&body).await?;
    ensure!(renewed != std::fs::read_to_string(other.folder.join("one.crt"))?);

    // The token was used; the next key needs a certificate.
    let (status, body) = other.post(SIMPLE_ENROLL, &["-u", &user], "two.b64").await?;
    ensure!(status == 403, "{status} {body}");
    Ok(())
}

#[tokio::test]
async fn a_bad_request_gets_a_clear_word_and_no_certificate() -> anyhow::Result<()> {
    let world = World::start().await?;
    let Some(other) = Other::new(&world)? else { return Ok(()) };
    let folder = offered(&world, "berlin-01", setup::TOKEN_LIFE).await?;
    let token = &folder.token;
    let user = format!("{}:{}", user_name(&token.tenant, &token.cabinet), token.secret.password());
    let auth = ["-u", user.as_str()];
    other.request("good", "/serialNumber=LF-0007").await?;
    other.request("rsa", "/serialNumber=LF-0007").await?;
    other.request("nameless", "/CN=x").await?;
    let good = std::fs::read(other.folder.join("good.b64"))?;
    let mut broken = data_encoding::BASE64.decode(&good)?;
    let last = broken.len() - 1;
    broken[last] ^= 1;
    for (file, bytes) in [
        ("broken.b64", data_encoding::BASE64.encode(&broken).into_bytes()),
        ("text.b64", b"please".to_vec()),
        ("empty.b64", Vec::new()),
        ("long.b64", vec![b'A'; 9_000]),
    ] {
        std::fs::write(other.folder.join(file), bytes)?;
    }
    for (file, status, word) in [
        ("broken.b64", 400, "not signed with the key"),
        ("rsa.b64", 400, "not on P-256"),
        ("text.b64", 400, "base64"),
        ("empty.b64", 400, "PKCS#10"),
        ("long.b64", 413, "larger than"),
        ("nameless.b64", 403, "another serial number"),
    ] {
        let (found, body) = other.post(SIMPLE_ENROLL, &auth, file).await?;
        ensure!(found == status && body.contains(word), "{file}: {found} {body}");
    }
    let wrong = ["-H", "Content-Type: application/json", "--data-binary", "@good.b64", auth[0], auth[1]];
    let (status, body) = other.curl(SIMPLE_ENROLL, &wrong).await?;
    ensure!(status == 415 && body.contains("application/pkcs10"), "{status} {body}");
    for (more, word) in [
        (vec![], "authenticate"),
        (vec!["-u", "acme/berlin-01:AAAAAAAAAAAAAAAAAAAAAAAAAA"], "is not known"),
        (vec!["-u", "acme/nowhere:AAAAAAAAAAAAAAAAAAAAAAAAAA"], "is not known"),
        (vec!["-u", "acme:x"], "authenticate"),
        (vec!["-H", "Authorization: Bearer abc"], "authenticate"),
    ] {
        let (status, body) = other.post(SIMPLE_ENROLL, &more, "good.b64").await?;
        ensure!(status == 401 && body.contains(word), "{more:?}: {status} {body}");
    }
    let (status, body) = other.post(SIMPLE_REENROLL, &auth, "good.b64").await?;
    ensure!(status == 401 && body.contains("client certificate"), "a token does not renew: {status} {body}");
    let (status, _) = other.curl(SIMPLE_ENROLL, &[]).await?;
    ensure!(status == 405);
    let (status, _) = other.curl("/.well-known/est/serverkeygen", &[]).await?;
    ensure!(status == 404, "keys are made on the device only");
    // An operator's certificate is good for the gate, and for nothing here.
    let operator = world.stage.layout().people().join("operator-admin");
    let (certificate, key) = (operator.join("person.crt"), operator.join("person.key"));
    let own = ["--cert", path(&certificate)?, "--key", path(&key)?];
    ensure!(other.post(SIMPLE_REENROLL, &own, "good.b64").await.is_err(), "an operator renewed as a cabinet");
    // Nothing of all that has used the token.
    let (status, body) = other.post(SIMPLE_ENROLL, &auth, "good.b64").await?;
    ensure!(status == 200, "{body}");
    Ok(())
}
