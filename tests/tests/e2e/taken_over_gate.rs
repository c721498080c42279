//! Somebody has taken over the gate: he holds the server's TLS key, the store, the settings and the signer's socket, and asks the
//! signer for everything that its protocol has. The table in THREAT-MODEL.md says what he gets and what not; here it is tried.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use certs::{Authority, LeafKey, Subject, Summary};
use data_encoding::{BASE64, HEXLOWER};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Stage};
use fleet_core::signing::{
    IssueCertificate, MakeSealed, MakeSecrets, Reveal, SecretItem, SignBook, SignCommand, SignConfig, SignTime,
    SignerReply,
};
use fleet_tests::{Look, Site, World, until};
use p256::SecretKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::envelope::{self, Scope, public_entry};
use schemas::crypto::seal;
use schemas::ids::{CabinetId, Role, TenantId};
use schemas::messages::{
    Action, Book, BootId, Challenge, Command, CommandId, Compartment, ConfigCommand, CredentialId, CredentialKind,
    Down, Expect, FleetTime, Instance, Key, KeyPurpose, Nonce, PepperOffer, Salt, Signed, Unlock, Wipe,
};
use tokio::net::UnixStream;

use crate::signer_talk::{Talk, frame};

const INSTANCE: Instance = Instance([4; 16]);
/// Largest frame that the signer reads.
const FRAME_MAX: usize = 128 * 1024;

/// What he holds.
struct Loot {
    socket: PathBuf,
    tenant: TenantId,
    cabinet: CabinetId,
}

impl Loot {
    fn of(stage: &Stage) -> anyhow::Result<Self> {
        let layout = stage.layout();
        // He needs neither for what follows: the signer knows him by the user that he is.
        certs::read_p256(&layout.broker().join("server.key"), None)?;
        Ok(Self {
            socket: layout.signer().join("signer.sock"),
            tenant: layout.settings().tenant.clone(),
            cabinet: "berlin-01".parse()?,
        })
    }

    async fn talk(&self) -> anyhow::Result<Talk<UnixStream>> {
        Talk::to(&self.socket).await
    }

    fn command(&self, challenge: Challenge, issued: u64) -> anyhow::Result<SignCommand> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let unlock = Unlock { compartment: Compartment::new(1).context("a door")?, expects: Expect::empty() };
        let command = Command {
            id: CommandId(id),
            challenge,
            issued,
            action: Action::Unlock(unlock),
            requester: "operator:acme:nobody".into(),
        };
        Ok(SignCommand { tenant: self.tenant.clone(), cabinet: self.cabinet.clone(), instance: INSTANCE, command })
    }

    fn any_command(&self) -> anyhow::Result<SignCommand> {
        self.command(challenge(), now()?)
    }

    fn wipe(&self, issued: u64) -> anyhow::Result<SignConfig> {
        let command = self.command(challenge(), issued)?.command;
        let Command { id, challenge, issued, requester, .. } = command;
        let command = ConfigCommand { id, challenge, issued, action: Wipe {}.into(), requester };
        Ok(SignConfig { tenant: self.tenant.clone(), cabinet: self.cabinet.clone(), instance: INSTANCE, command })
    }

    fn time(&self, now: u64) -> SignTime {
        let time = FleetTime { challenge: challenge(), now, mark: None };
        SignTime { tenant: self.tenant.clone(), cabinet: self.cabinet.clone(), instance: INSTANCE, time }
    }

    fn book(&self) -> anyhow::Result<SignBook> {
        let book = Book { version: 99, base: 0, issued: now()?, changes: Vec::new() };
        Ok(SignBook { tenant: self.tenant.clone(), cabinet: self.cabinet.clone(), instance: INSTANCE, book })
    }

    fn certificate(&self, now: u64) -> anyhow::Result<IssueCertificate> {
        let key = LeafKey::from(&certs::generate_p256()?).spki_der()?;
        Ok(IssueCertificate { tenant: self.tenant.clone(), cabinet: self.cabinet.clone(), key: Blob(key), now })
    }

    fn sealed(&self) -> MakeSealed {
        MakeSealed { tenant: self.tenant.clone(), kind: CredentialKind::Digits, digits: 8 }
    }

    /// He makes the pepper up, so that he can check any verifier he gets.
    fn secrets(&self, stage: &Stage, count: u8) -> anyhow::Result<MakeSecrets> {
        let to = certs::read_p256(&stage.layout().signer().join("pepper.key"), None)?.public_key();
        let salt = Salt([5; 16]);
        let aad = seal::pepper_aad(&self.tenant, &self.cabinet, INSTANCE, 1, salt);
        let entropy = seal::Entropy { ephemeral: SecretKey::from_slice(&[8; 32])?, nonce: [6; 12] };
        let pepper = PepperOffer { version: 1, salt, sealed: Blob(seal::seal(&[7; 32], &to, &aad, &entropy)?) };
        let item = |n| SecretItem {
            id: CredentialId([n; 8]),
            kind: CredentialKind::Qr,
            digits: 0,
            sealed: None,
            answers: None,
        };
        Ok(MakeSecrets {
            tenant: self.tenant.clone(),
            cabinet: self.cabinet.clone(),
            instance: INSTANCE,
            pepper,
            items: (0..count).map(item).collect(),
        })
    }
}

fn challenge() -> Challenge {
    Challenge { boot: BootId([1; 8]), counter: 1, nonce: Nonce([2; 8]) }
}

fn now() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// A signer alone, with these lines in place of its own limits.
async fn signer(limits: &str) -> anyhow::Result<(Stage, Loot)> {
    let mut stage = Stage::set_up("acme")?;
    let path = stage.layout().signer_toml();
    let text = fs::read_to_string(&path)?;
    let own = text.lines().filter(|line| limits.is_empty() || !line.contains("_per_minute"));
    fs::write(&path, format!("{limits}\n{}\n", own.collect::<Vec<_>>().join("\n")))?;
    stage.start_signer().await?;
    let loot = Loot::of(&stage)?;
    Ok((stage, loot))
}

fn said(stage: &Stage) -> anyhow::Result<String> {
    Ok(stage.signer().context("a signer")?.output())
}

fn lines(stage: &Stage, texts: &[&str]) -> anyhow::Result<usize> {
    Ok(said(stage)?.lines().filter(|line| texts.iter().all(|text| line.contains(text))).count())
}

/// All private keys that the signer holds, as the bytes that matter.
fn secrets_of(stage: &Stage) -> anyhow::Result<Vec<[u8; 32]>> {
    let file = |name: &str| stage.layout().signer().join(name);
    let mut all = Vec::new();
    for name in ["unlock.key", "codes.key", "secrets.key"] {
        all.push(certs::read_ed25519(&file(name), None)?.to_bytes());
    }
    for name in ["pepper.key", "cabinets.key"] {
        all.push(certs::read_p256(&file(name), None)?.to_bytes().into());
    }
    Ok(all)
}

fn holds_no_key(stage: &Stage, bytes: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(bytes);
    for key in secrets_of(stage)? {
        ensure!(!bytes.windows(16).any(|part| part == &key[..16] || part == &key[16..]), "key bytes");
        // Not from the first byte on, because base64 depends on where it begins.
        let written = [HEXLOWER.encode(&key), BASE64.encode(&key), BASE64.encode(&key[1..]), BASE64.encode(&key[2..])];
        ensure!(!written.iter().any(|one| text.contains(&one[..24])), "key bytes in a text");
    }
    Ok(())
}

#[tokio::test]
async fn he_opens_doors_while_he_is_there_and_each_is_in_the_log_of_the_signer() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let loot = Loot::of(&world.stage)?;
    let challenge = site.carrier()?.until_challenge(None).await?;
    let mut ask = loot.command(challenge, now()?)?;
    ask.instance = site.cabinet.instance();
    let id = ask.command.id.to_string();
    let SignerReply::Envelope(made) = loot.talk().await?.ask(ask).await? else { anyhow::bail!("not signed") };
    site.carrier()?.inject(&cbor::encode(&Down::from(Signed { envelope: made.envelope }))).await?;
    site.until_opened_remotely(Compartment::new(1).context("a door")?, 1).await?;
    ensure!(lines(&world.stage, &["sign command", &id, "operator:acme:nobody", "cabinet=\"berlin-01\""])? == 1);
    // The owner of the fleet takes the unlock key away: from then on he gets none.
    people_only(&mut world, &loot, &site).await
}

async fn people_only(world: &mut World, loot: &Loot, site: &Site) -> anyhow::Result<()> {
    let path = world.stage.layout().signer_toml();
    let text = fs::read_to_string(&path)?.replace("unlock = \"unlock.key\"", "unlock = []");
    fs::write(&path, text)?;
    world.stage.reload_signer().await?;
    let mut ask = loot.any_command()?;
    ask.instance = site.cabinet.instance();
    let reason = loot.talk().await?.refused(ask).await?;
    ensure!(reason.contains("people open with keys of their own"), "{reason}");
    ensure!(lines(&world.stage, &["request refused", "sign command", "keys of their own"])? == 1);
    site.no_more_pulses()
}

#[tokio::test]
async fn what_he_gets_is_limited_counted_and_logged() -> anyhow::Result<()> {
    let limits = "commands_per_minute = 4\ncertificates_per_minute = 3\ncodes_per_minute = 8\nreveals_per_minute = 2\n\
                  signatures_per_minute = 5\nwipes_per_minute = 2\n";
    let (stage, loot) = signer(limits).await?;
    let mut talk = loot.talk().await?;
    let begun = std::time::Instant::now();
    let SignerReply::Sealed(sealed) = talk.ask(loot.sealed()).await? else { anyhow::bail!("not made") };
    let mut got = [0u32; 6];
    let mut reasons = Vec::new();
    for _ in 0..12 {
        let reveal = Reveal { tenant: loot.tenant.clone(), sealed: sealed.sealed.clone() };
        let replies = [
            talk.ask(loot.any_command()?).await?,
            talk.ask(loot.certificate(now()?)?).await?,
            talk.ask(loot.secrets(&stage, 3)?).await?,
            talk.ask(reveal).await?,
            talk.ask(loot.time(now()?)).await?,
            talk.ask(loot.wipe(now()?)?).await?,
        ];
        for (got, reply) in got.iter_mut().zip(replies) {
            if let SignerReply::Failed(failed) = reply {
                reasons.push(failed.reason);
            } else {
                *got += 1;
            }
        }
    }
    // A bucket fills evenly: what the seconds of this test have brought is allowed.
    let more = |limit: u64| u32::try_from(limit * begun.elapsed().as_secs().div_ceil(1) / 60 + 1).unwrap_or(u32::MAX);
    for (got, limit, kind) in [
        (got[0], 4, "commands"),
        (got[1], 3, "certificates"),
        (got[2], 2, "codes"),
        (got[3], 2, "reveals"),
        (got[4], 5, "signatures"),
        (got[5], 2, "wipes"),
    ] {
        ensure!((limit..=limit + more(limit.into())).contains(&got), "{got} {kind} of {limit}");
        ensure!(reasons.contains(&format!("limit of {kind} per minute reached")), "{reasons:?}");
        ensure!(lines(&stage, &["WARN", &format!("limit of {kind} per minute reached"), "refused="])? >= 1);
    }
    // Each one that was done is in the log, with its running number; what was refused is told by its number and not line by line.
    ensure!(lines(&stage, &["sign command", "requester=\"operator:acme:nobody\""])? == got[0] as usize);
    for (kind, last) in [
        ("sign command", got[0]),
        ("issue certificate", got[1]),
        ("reveal", got[3]),
        ("sign time", got[4]),
        ("sign config command", got[5]),
    ] {
        ensure!(lines(&stage, &[kind, &format!("n={last}")])? == 1, "{kind} {last}: {}", said(&stage)?);
    }
    let told = lines(&stage, &["per minute reached"])?;
    ensure!(told as u64 <= 6 * (begun.elapsed().as_secs() + 1), "{told} lines about refusals");
    holds_no_key(&stage, said(&stage)?.as_bytes())
}

#[tokio::test]
async fn he_gets_no_key_and_nothing_for_another_purpose_tenant_role_or_time() -> anyhow::Result<()> {
    let (stage, loot) = signer("").await?;
    let (other_stage, other) = {
        let mut other = Stage::set_up("umbra")?;
        other.start_signer().await?;
        let loot = Loot::of(&other)?;
        (other, loot)
    };
    let mut talk = loot.talk().await?;
    let umbra: TenantId = "umbra".parse()?;
    let foreign = "another tenant";
    let reasons = [
        talk.refused(SignCommand { tenant: umbra.clone(), ..loot.any_command()? }).await?,
        talk.refused(SignBook { tenant: umbra.clone(), ..loot.book()? }).await?,
        talk.refused(SignConfig { tenant: umbra.clone(), ..loot.wipe(now()?)? }).await?,
        talk.refused(SignTime { tenant: umbra.clone(), ..loot.time(now()?) }).await?,
        talk.refused(MakeSecrets { tenant: umbra.clone(), ..loot.secrets(&stage, 1)? }).await?,
        talk.refused(MakeSealed { tenant: umbra.clone(), ..loot.sealed() }).await?,
        talk.refused(IssueCertificate { tenant: umbra.clone(), ..loot.certificate(now()?)? }).await?,
    ];
    ensure!(reasons.iter().all(|reason| reason.contains(foreign)), "{reasons:?}");

    // Clocks: ten minutes in either direction, and years.
    for far in [now()? - 600_000, now()? + 600_000, 0, u64::MAX] {
        let asked = [
            talk.refused(loot.command(challenge(), far)?).await?,
            talk.refused(loot.time(far)).await?,
            talk.refused(loot.wipe(far)?).await?,
            talk.refused(loot.certificate(far)?).await?,
        ];
        ensure!(asked.iter().all(|reason| reason.contains("clocks")), "{far}: {asked:?}");
    }

    // Codes that are not this signer's: of another fleet, and altered in each byte.
    let SignerReply::Sealed(theirs) = other.talk().await?.ask(other.sealed()).await? else { anyhow::bail!("no seal") };
    let SignerReply::Sealed(ours) = talk.ask(loot.sealed()).await? else { anyhow::bail!("no seal") };
    let mut wrong = vec![theirs.sealed.0, Vec::new(), ours.sealed.0[..ours.sealed.0.len() - 1].to_vec()];
    wrong.extend((0..ours.sealed.0.len()).map(|at| {
        let mut altered = ours.sealed.0.clone();
        altered[at] ^= 1;
        altered
    }));
    for sealed in wrong {
        let reveal = Reveal { tenant: loot.tenant.clone(), sealed: Blob(sealed) };
        let reason = talk.refused(reveal).await?;
        ensure!(reason.contains("not sealed by this signer"), "{reason}");
    }

    // Certificates: a cabinet's and nothing else, whatever he calls it.
    let ask = IssueCertificate { cabinet: "admin".parse()?, ..loot.certificate(now()?)? };
    let SignerReply::Certificate(made) = talk.ask(ask).await? else { anyhow::bail!("not issued") };
    let summary = Summary::read(&made.certificate.0.clone().into())?;
    let Subject::Leaf(identity) = summary.subject else { anyhow::bail!("{:?}", summary.subject) };
    ensure!((identity.role, Authority::of(identity.role)) == (Role::Cabinet, Authority::Cabinets), "{identity}");
    for key in [vec![], vec![0x30], vec![0; 91]] {
        let reason = talk.refused(IssueCertificate { key: Blob(key), ..loot.certificate(now()?)? }).await?;
        ensure!(reason.contains("P-256"), "{reason}");
    }

    // Envelopes: what was signed as one thing is good for no other. There is no request for keysets and delegations.
    let mut envelopes = Vec::new();
    for (own, reply) in [
        (KeyPurpose::Unlock, talk.ask(loot.any_command()?).await?),
        (KeyPurpose::Codes, talk.ask(loot.book()?).await?),
        (KeyPurpose::Codes, talk.ask(loot.time(now()?)).await?),
        (KeyPurpose::Config, talk.ask(loot.wipe(now()?)?).await?),
    ] {
        let SignerReply::Envelope(made) = reply else { anyhow::bail!("not signed: {reply:?}") };
        envelopes.push((own, made.envelope.0));
    }
    worth_nothing_elsewhere(&stage, &loot, &envelopes)?;

    holds_no_key(&stage, &talk.heard)?;
    holds_no_key(&stage, said(&stage)?.as_bytes())?;
    holds_no_key(&other_stage, said(&other_stage)?.as_bytes())
}

fn worth_nothing_elsewhere(stage: &Stage, loot: &Loot, envelopes: &[(KeyPurpose, Vec<u8>)]) -> anyhow::Result<()> {
    let purposes = [
        KeyPurpose::Unlock,
        KeyPurpose::Codes,
        KeyPurpose::Config,
        KeyPurpose::Update,
        KeyPurpose::Keyset,
        KeyPurpose::Admin,
    ];
    let held = [KeyPurpose::Unlock, KeyPurpose::Codes, KeyPurpose::Config].map(|held| stage.signing_key(held));
    let held = held.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (umbra, other): (TenantId, CabinetId) = ("umbra".parse()?, "berlin-02".parse()?);
    // Even a cabinet that took each key for every purpose, and for a root.
    let keys: Vec<Key> =
        purposes.iter().flat_map(|purpose| held.iter().map(|key| public_entry(key, *purpose))).collect();
    for (at, (own, bytes)) in envelopes.iter().enumerate() {
        let mut good = 0;
        for purpose in purposes {
            for (tenant, cabinet, instance) in [
                (&loot.tenant, &loot.cabinet, INSTANCE),
                (&umbra, &loot.cabinet, INSTANCE),
                (&loot.tenant, &other, INSTANCE),
                (&loot.tenant, &loot.cabinet, Instance([9; 16])),
            ] {
                let scope = Scope::Cabinet { tenant, cabinet, instance, purpose };
                if envelope::open(bytes, scope, &keys).is_ok() {
                    good += 1;
                    ensure!((tenant, cabinet, instance) == (&loot.tenant, &loot.cabinet, INSTANCE) && purpose == *own);
                }
            }
            let whole = Scope::Tenant { tenant: &loot.tenant, purpose };
            ensure!(envelope::open(bytes, whole, &keys).is_err(), "envelope {at} is good for the whole tenant");
        }
        ensure!(good == 1, "envelope {at} is good for {good} things");
    }
    Ok(())
}

#[tokio::test]
async fn frames_that_are_no_requests_end_their_connection_and_sign_nothing() -> anyhow::Result<()> {
    let (stage, loot) = signer("").await?;
    let good = cbor::encode(&(1u64, fleet_core::signing::SignerRequest::from(loot.any_command()?)));
    let nested = [vec![0x81; 60_000], vec![0x00]].concat();
    let mut longer = good.clone();
    longer.push(0);
    let mut unknown = Vec::new();
    for kind in 9..=23u8 {
        // [1, [kind, {}]]
        unknown.push(frame(&[0x82, 0x01, 0x82, kind, 0xa0]));
    }
    let mut hostile = vec![
        u32::MAX.to_be_bytes().to_vec(),
        frame(&vec![0; FRAME_MAX + 1]),
        frame(&[]),
        frame(&[0xff; 64]),
        frame(&nested),
        frame(&longer),
        frame(&good[..good.len() - 1]),
        frame(b"GET / HTTP/1.1\r\n\r\n"),
        // An identity of another role in a cabinet's place: the separator is in no name.
        frame(&replaced(&good, b"berlin-01", b"operator:")),
    ];
    hostile.extend(unknown);
    for (at, bytes) in hostile.iter().enumerate() {
        let mut talk = loot.talk().await?;
        // The signer may close before it has all of it.
        let _ = talk.say(bytes).await;
        ensure!(talk.until_closed().await? == 0, "frame {at} was answered");
    }
    ensure!(lines(&stage, &["sign command"])? == 0 && !said(&stage)?.contains("panicked"), "{}", said(&stage)?);
    ensure!(matches!(loot.talk().await?.ask(loot.any_command()?).await?, SignerReply::Envelope(_)));
    holds_no_key(&stage, said(&stage)?.as_bytes())
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|part| part == from).unwrap_or_default();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[tokio::test]
async fn many_connections_and_halves_of_frames_take_bounded_memory_and_keep_nobody_out() -> anyhow::Result<()> {
    let (stage, loot) = signer("").await?;
    let process = stage.signer().and_then(fleet_cli::stage::Process::id).context("a signer")?;
    loot.talk().await?.ask(loot.any_command()?).await?;
    let before = resident(process)?;
    let mut held = Vec::new();
    for at in 0..400usize {
        let mut talk = loot.talk().await?;
        // Nothing, half a length, and the largest frame but for its last byte.
        let half = [vec![], vec![0, 1], frame(&vec![0xa0; FRAME_MAX])[..FRAME_MAX].to_vec()];
        // One whose place the next one has already.
        let _ = talk.say(&half[at % 3]).await;
        held.push(talk);
    }
    // Who comes then is answered, beside all of them.
    let mut talk = loot.talk().await?;
    ensure!(matches!(talk.ask(loot.any_command()?).await?, SignerReply::Envelope(_)));
    let grown = resident(process)?.saturating_sub(before);
    ensure!(grown < 32 * 1024, "the signer has grown by {grown} KiB");
    // Those whose places were taken end as soon as they run.
    until("few descriptors", async || {
        let open = fs::read_dir(format!("/proc/{process}/fd"))?.count();
        Ok(Look::at((open < 64).then_some(()), || format!("{open} descriptors")))
    })
    .await?;
    // A frame that is never ended ends, although the connection is the only one.
    drop(held);
    let mut half = loot.talk().await?;
    half.say(&[0, 0]).await?;
    ensure!(half.until_closed().await? == 0);
    let ended = "a frame was begun and not ended within 10 s";
    stage.signer().context("a signer")?.wait_for_line(ended, PATIENCE).await?;
    ensure!(
        matches!(talk.ask(loot.any_command()?).await?, SignerReply::Envelope(_)),
        "a connection that rests was closed"
    );
    Ok(())
}

/// In KiB.
fn resident(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[tokio::test]
async fn answers_that_nobody_takes_end_the_connection_and_not_the_signer() -> anyhow::Result<()> {
    let (stage, loot) = signer("signatures_per_minute = 1000000\n").await?;
    let process = stage.signer().and_then(fleet_cli::stage::Process::id).context("a signer")?;
    let mut deaf = loot.talk().await?;
    let flood = tokio::spawn({
        let frame = frame(&cbor::encode(&(1u64, fleet_core::signing::SignerRequest::from(loot.book()?))));
        async move { while deaf.say(&frame).await.is_ok() {} }
    });
    until("the deaf connection is ended", async || {
        let ended = lines(&stage, &["nobody takes the answers"])? == 1;
        ensure!(resident(process)? < 256 * 1024, "{} KiB", resident(process)?);
        Ok(Look::at(ended.then_some(()), || format!("{} KiB", resident(process).unwrap_or(0))))
    })
    .await?;
    tokio::time::timeout(Duration::from_secs(10), flood).await.context("it goes on")??;
    ensure!(matches!(loot.talk().await?.ask(loot.any_command()?).await?, SignerReply::Envelope(_)));
    Ok(())
}
