//! Rows of the streams as they lie in the store. A notification holds its code sealed; only [`render_row`] shows it.

use schemas::api::{
    BundleDoor, Notification, NotificationKind, OrderState, PartStatus, Recipient, RejectReason, Reply, Rfc3339,
    Status, StatusPage,
};
use schemas::cbor::{self, Blob, CborError};
use schemas::cbor_map;
use schemas::crypto::codes::Secret;
use schemas::ids::{CabinetId, Name, OrderId};
use schemas::messages::{Compartment, FleetMillis, Prompt, Size};
use schemas::step::Row;
use schemas::topics::Stream;

use crate::notify::instruction;

/// Most rows in an answer to `rows`.
pub const ROWS_PAGE: usize = 50;

cbor_map! {
    /// A row of the `status` stream.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct StatusRow {
        1 => n: u64,
        2 => order: OrderId,
        3 => state: OrderState,
        4 => at: FleetMillis,
        5 => time_unverified: bool,
        6 opt => cabinet: Option<CabinetId>,
        7 opt => compartment: Option<Compartment>,
        8 opt => reason: Option<RejectReason>,
        9 opt => content: Option<[String; 2]>,
        10 opt => until: Option<FleetMillis>,
        11 opt => bundle: Option<OrderId>,
        20 opt => walk_in: Option<bool>,
        /// Of an order in several compartments.
        28 opt => parts: Option<Vec<PartRow>>,
        70 opt => courier: Option<Name>,
    }
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct PartRow {
        1 => size: Size,
        2 => state: OrderState,
        3 opt => compartment: Option<Compartment>,
    }
}

impl From<PartRow> for PartStatus {
    fn from(row: PartRow) -> Self {
        Self { size: row.size, state: row.state, compartment: row.compartment }
    }
}

cbor_map! {
    /// Personal data of an order. Dropped when the order is over.
    #[derive(Clone, PartialEq, Eq, Default)]
    pub(crate) struct RecipientRow {
        1 opt => phone: Option<String>,
        2 opt => email: Option<String>,
        3 opt => language: Option<String>,
    }
}

impl std::fmt::Debug for RecipientRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecipientRow(..)")
    }
}

impl From<Recipient> for RecipientRow {
    fn from(from: Recipient) -> Self {
        Self { phone: from.phone, email: from.email, language: from.language }
    }
}

impl From<RecipientRow> for Recipient {
    fn from(from: RecipientRow) -> Self {
        Self { phone: from.phone, email: from.email, language: from.language }
    }
}

cbor_map! {
    /// A row of the `notifications` stream.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct NotificationRow {
        1 => n: u64,
        2 => id: String,
        3 => order: OrderId,
        4 => at: FleetMillis,
        5 => cabinet: CabinetId,
        6 opt => compartment: Option<Compartment>,
        7 => place: String,
        8 => code: Blob,
        9 => qr: Blob,
        10 => recipient: RecipientRow,
        /// Left out: the code for the first time.
        11 opt => kind: Option<NotificationKind>,
        12 opt => until: Option<FleetMillis>,
        /// Of a bundle its name; of a bundle and of an order in several compartments, what the credential opens.
        13 opt => bundle: Option<OrderId>,
        14 opt => doors: Option<Vec<DoorRow>>,
        20 opt => walk_in: Option<bool>,
        /// `until` by the clock of the site, and its zone.
        30 opt => until_local: Option<String>,
        31 opt => zone: Option<String>,
        /// What the screen asks for behind the code.
        50 opt => second_factor: Option<Prompt>,
    }
}

cbor_map! {
    /// Where an order of a bundle waits.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct DoorRow {
        1 => order: OrderId,
        2 => cabinet: CabinetId,
        3 => compartment: Compartment,
        4 => place: String,
        5 opt => until: Option<FleetMillis>,
        6 opt => until_local: Option<String>,
        7 opt => zone: Option<String>,
    }
}

/// Why a row cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum RenderError<E: std::error::Error + 'static> {
    #[error("row of the {stream} stream cannot be read")]
    Row {
        stream: Stream,
        #[source]
        source: CborError,
    },
    #[error("the code of a notification was not revealed")]
    Reveal(#[source] E),
}

/// The JSON that an integration gets for a row of table [`STREAM`](crate::STREAM). `reveal` opens a sealed secret
/// of the row's tenant; it is called for notifications only.
pub fn render_row<E: std::error::Error + 'static>(
    stream: Stream,
    value: &[u8],
    mut reveal: impl FnMut(&Blob) -> Result<Secret, E>,
) -> Result<Vec<u8>, RenderError<E>> {
    let unreadable = |source| RenderError::Row { stream, source };
    match stream {
        Stream::Status => Ok(json(&status(cbor::decode(value).map_err(unreadable)?))),
        Stream::Notifications => {
            let row: NotificationRow = cbor::decode(value).map_err(unreadable)?;
            let code = reveal(&row.code).map_err(RenderError::Reveal)?;
            let qr = reveal(&row.qr).map_err(RenderError::Reveal)?;
            Ok(json(&notification(row, code.reveal(), qr.reveal())))
        }
    }
}

/// The sealed secrets that [`render_row`] will ask for, in order: so that a shell whose signer answers
/// asynchronously can have them revealed first.
pub fn sealed_in_row(stream: Stream, value: &[u8]) -> Result<Vec<Blob>, CborError> {
    match stream {
        Stream::Status => Ok(Vec::new()),
        Stream::Notifications => {
            let row: NotificationRow = cbor::decode(value)?;
            Ok(vec![row.code, row.qr])
        }
    }
}

/// The answer to [`Effect::ReplyRows`](crate::Effect::ReplyRows) from rows of the status stream; `newest` is the
/// stream's newest number.
pub fn status_page(rows: &[Row], newest: u64) -> Result<Reply, CborError> {
    let rows = rows
        .iter()
        .take(ROWS_PAGE)
        .map(|(_, value)| cbor::decode(value).map(status))
        .collect::<Result<Vec<Status>, CborError>>()?;
    let more = rows.last().is_some_and(|last| last.n < newest);
    Ok(Reply::Statuses(StatusPage { rows, more }))
}

fn status(row: StatusRow) -> Status {
    Status {
        n: row.n,
        order: row.order,
        state: row.state,
        at: Rfc3339(row.at),
        time_unverified: row.time_unverified,
        cabinet: row.cabinet,
        compartment: row.compartment,
        reason: row.reason,
        until: row.until.map(Rfc3339),
        walk_in: row.walk_in == Some(true),
        content: row.content,
        bundle: row.bundle,
        parts: row.parts.unwrap_or_default().into_iter().map(PartStatus::from).collect(),
        courier: row.courier,
    }
}

pub(crate) fn notification(row: NotificationRow, code: &str, qr: &str) -> Notification {
    let kind = row.kind.unwrap_or(NotificationKind::PickupCode);
    let instruction = instruction("en", kind, &row);
    Notification {
        n: row.n,
        id: row.id,
        kind,
        order: row.order,
        at: Rfc3339(row.at),
        cabinet: row.cabinet,
        compartment: row.compartment,
        place: row.place,
        instruction,
        code: code.to_owned(),
        qr: qr.to_owned(),
        until: row.until.map(Rfc3339),
        until_local: row.until_local,
        zone: row.zone,
        walk_in: row.walk_in == Some(true),
        recipient: row.recipient.into(),
        bundle: row.bundle,
        doors: row.doors.unwrap_or_default().into_iter().map(BundleDoor::from).collect(),
        second_factor: row.second_factor.filter(|_| kind != NotificationKind::DepositCode),
    }
}

/// # Panics
/// Never: serialising fails only for maps with keys that are no text, and the types of schemas::api have none.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| unreachable!("replies always serialise: {error}"))
}

#[cfg(test)]
mod tests {
    use schemas::crypto::codes::NotASecret;

    use super::*;

    fn row() -> NotificationRow {
        NotificationRow {
            n: 3,
            id: "n1".into(),
            order: "A17".parse().unwrap(),
            at: 0,
            cabinet: "c1".parse().unwrap(),
            compartment: Compartment::new(7),
            place: "Main Street 1".into(),
            code: Blob(vec![1]),
            qr: Blob(vec![2]),
            recipient: RecipientRow::default(),
            kind: None,
            until: None,
            bundle: None,
            doors: None,
            walk_in: None,
            until_local: None,
            zone: None,
            second_factor: None,
        }
    }

    #[test]
    fn an_instruction_names_the_end_by_the_clock_of_the_site_where_there_is_one() {
        let (berlin, kolkata) = ("2026-11-25 20:00 CET", "2026-11-26 09:30 IST");
        let with = |kind, end: Option<&str>| {
            instruction("en", kind, &NotificationRow { until_local: end.map(str::to_owned), ..row() })
        };
        for (kind, said) in [
            (NotificationKind::PickupCode, " It is kept until 2026-11-25 20:00 CET."),
            (NotificationKind::Reminder, " It is kept until 2026-11-25 20:00 CET."),
            (NotificationKind::DepositCode, " The code is good until 2026-11-25 20:00 CET."),
        ] {
            assert!(with(kind, Some(berlin)).ends_with(said), "{kind}");
            assert!(!with(kind, None).contains("until"), "{kind}");
        }
        let door = |door, place: &str, end: &str| DoorRow {
            order: "A17".parse().unwrap(),
            cabinet: "c1".parse().unwrap(),
            compartment: Compartment::new(door).unwrap(),
            place: place.into(),
            until: Some(0),
            until_local: Some(end.into()),
            zone: None,
        };
        let bundle = |doors| {
            let (until_local, doors) = (Some(berlin.to_owned()), Some(doors));
            instruction("en", NotificationKind::BundleCode, &NotificationRow { until_local, doors, ..row() })
        };
        let same = bundle(vec![door(1, "Hall", berlin), door(2, "Hall", berlin)]);
        assert!(same.ends_with("open: Hall: 1, 2. Please close them again. They are kept until 2026-11-25 20:00 CET."));
        let apart = bundle(vec![door(1, "Hall", berlin), door(2, "Mill", kolkata)]);
        let ends = "Hall: 1 until 2026-11-25 20:00 CET; Mill: 2 until 2026-11-26 09:30 IST. Please close them again.";
        assert!(apart.ends_with(ends), "{apart}");
    }

    #[test]
    fn a_notification_shows_its_code_only_through_reveal() {
        let value = cbor::encode(&row());
        let json = render_row(Stream::Notifications, &value, |sealed| {
            if sealed.0 == [1] { Secret::parse("12345678") } else { Ok(Secret::token_from(&[5; 16])) }
        })
        .unwrap();
        let shown: Notification = serde_json::from_slice(&json).unwrap();
        assert_eq!((shown.code.as_str(), shown.n), ("12345678", 3));
        assert!(shown.qr.starts_with('Q') && shown.instruction.contains("Door 7 opens"));
        assert_eq!(sealed_in_row(Stream::Notifications, &value).unwrap(), [Blob(vec![1]), Blob(vec![2])]);
    }

    #[test]
    fn a_row_that_cannot_be_read_or_revealed_is_an_error() {
        let refuse = |_: &Blob| Err::<Secret, _>(NotASecret);
        assert!(matches!(render_row(Stream::Status, &[0xff], refuse), Err(RenderError::Row { .. })));
        let value = cbor::encode(&row());
        assert!(matches!(render_row(Stream::Notifications, &value, refuse), Err(RenderError::Reveal(NotASecret))));
    }
}
