//! One example of each message, with the rule of `cabinet.cddl` that describes it and the decoder that reads it.

use schemas::cbor::{self, Blob, CborError};
use schemas::ids::Name;
use schemas::messages::*;

/// A message on the wire, without its Rust type.
pub(crate) struct Example {
    /// `<rule>` or `<rule>/<variant>`, unique.
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Decodes with the type of the message and encodes what was understood.
    pub reencode: fn(&[u8]) -> Result<Vec<u8>, CborError>,
}

impl Example {
    fn new<T: serde::Serialize + serde::de::DeserializeOwned>(name: &'static str, message: &T) -> Self {
        Self {
            name,
            bytes: cbor::encode(message),
            reencode: |bytes| cbor::decode::<T>(bytes).map(|message| cbor::encode(&message)),
        }
    }

    /// The rule of the grammar.
    pub(crate) fn rule(&self) -> &'static str {
        self.name.split('/').next().unwrap_or(self.name)
    }
}

pub(crate) const BOOT: BootId = BootId([0xb0; 8]);
pub(crate) const EPOCH: Epoch = Epoch([0xe0; 8]);
pub(crate) const INSTANCE: Instance = Instance([0x11; 16]);
pub(crate) const COMMAND: CommandId = CommandId([0xc0; 16]);
pub(crate) const SALT: Salt = Salt([0x5a; 16]);
pub(crate) const CHALLENGE: Challenge = Challenge { boot: BOOT, counter: 7, nonce: Nonce([0xcc; 8]) };
const CREDENTIAL: CredentialId = CredentialId([0xcd; 8]);
const VERIFIER: Verifier = Verifier([0x5e; 32]);
/// 2026-11-22T20:15:00.007Z
pub(crate) const NOW: FleetMillis = 1_795_378_500_007;
const REQUESTER: &str = "operator:acme:eve";

fn order() -> OrderKey {
    "shop/A17".parse().unwrap()
}

fn staff() -> Name {
    "kim".parse().unwrap()
}

fn compartment(number: u16) -> Compartment {
    Compartment::new(number).unwrap()
}

/// Every message of the protocol, every kind of every union, every optional key with and without.
pub(crate) fn all() -> Vec<Example> {
    let mut all = uplinks();
    all.extend(downlinks());
    all.extend(signed());
    all.extend(events());
    all
}

fn hello() -> Hello {
    Hello {
        minor: PROTOCOL_MINOR,
        agent: "0.1.0".into(),
        instance: INSTANCE,
        boot: BOOT,
        challenge: CHALLENGE,
        epoch: EPOCH,
        newest: 300,
        oldest: 12,
        book: 4,
        keyset: 1,
        compartments: vec![
            CompartmentInfo {
                number: compartment(1),
                size: Size::M,
                attributes: Attributes { refrigerated: true, restricted: false, accessible: true },
                in_service: true,
            },
            CompartmentInfo {
                number: compartment(Compartment::MAX),
                size: Size::Xl,
                attributes: Attributes::default(),
                in_service: false,
            },
        ]
        .into(),
        pepper: Some(PepperOffer { version: 1, salt: SALT, sealed: Blob(vec![0xd8; 3]) }),
        open_commands: vec![COMMAND],
        app: None,
        errands: None,
        shares: None,
        couriers: None,
    }
}

fn uplinks() -> Vec<Example> {
    let empty =
        Hello { newest: 0, oldest: 1, compartments: vec![].into(), pepper: None, open_commands: vec![], ..hello() };
    let state = |number, door, occupancy| CompartmentState {
        number: compartment(number),
        door,
        occupancy,
        allocated: door == DoorState::Closed,
        fault: None,
    };
    let faulty = CompartmentState { fault: Some(true), ..state(1, DoorState::Closed, Occupancy::Empty) };
    let telemetry = Telemetry {
        challenge: CHALLENGE,
        at: stamp(),
        compartments: vec![
            state(1, DoorState::Closed, Occupancy::Occupied),
            state(2, DoorState::Forced, Occupancy::Unknown),
        ]
        .into(),
        boards_silent: 1,
        outbox: 300,
        book: 4,
        wrong_codes_today: 3,
        disk_low: None,
    };
    let record = event(Started { agent: "0.1.0".into(), down_since: None });
    let uplink = Uplink { challenge: CHALLENGE, epoch: EPOCH, n: 300, record: Blob(cbor::encode(&record)) };
    vec![
        Example::new("hello", &hello()),
        Example::new("hello/with-tokens", &Hello { app: Some(true), ..hello() }),
        Example::new("hello/with-errands", &Hello { errands: Some(true), ..hello() }),
        Example::new("hello/with-shares", &Hello { shares: Some(true), ..hello() }),
        Example::new("hello/with-couriers", &Hello { couriers: Some(true), ..hello() }),
        Example::new("hello/new-cabinet", &empty),
        Example::new("uplink", &uplink),
        Example::new("challenge", &CHALLENGE),
        Example::new("telemetry", &telemetry),
        Example::new("telemetry/disk-low", &Telemetry { disk_low: Some(true), ..telemetry.clone() }),
        Example::new("telemetry/fault", &Telemetry { compartments: vec![faulty].into(), ..telemetry.clone() }),
    ]
}

fn downlinks() -> Vec<Example> {
    let envelope = || Blob(vec![0x84, 0x40, 0xa0, 0x40, 0x40]);
    let down = |name, message: Down| Example::new(name, &message);
    vec![
        down("down/welcome", Welcome { epoch: EPOCH, high_water: 299 }.into()),
        down("down/command", Signed { envelope: envelope() }.into()),
        down("down/codes", CodesEnvelope { envelope: envelope() }.into()),
        down("down/ask", Ask {}.into()),
        down("down/keyset", KeysetUpdate { envelope: envelope() }.into()),
        down("down/config", ConfigEnvelope { envelope: envelope() }.into()),
        down("down/personal", PersonalCommand { envelope: envelope(), delegation: envelope() }.into()),
    ]
}

pub(crate) fn command() -> Command {
    let unlock = Unlock { compartment: compartment(12), expects: Expect::order(order()) };
    Command { id: COMMAND, challenge: CHALLENGE, issued: NOW, action: unlock.into(), requester: REQUESTER.into() }
}

fn signed() -> Vec<Example> {
    let empty = Unlock { compartment: compartment(1), expects: Expect::empty() };
    let errand = |action: Action| Command { action, ..command() };
    let load_into_one = LoadOrder { order: order(), compartment: Some(compartment(12)), size: None };
    let load_into_larger = LoadOrder { order: order(), compartment: None, size: Some(Size::L) };
    let confirm = ConfirmOrder { order: order(), inside: true, retrieving: false };
    let book = |version, base, changes| CodesMessage::from(Book { version, base, issued: NOW, changes });
    let key = |byte, purpose, length| Key { id: KeyId([byte; 8]), purpose, public: Blob([byte].repeat(length)) };
    let keys = vec![
        key(0x01, KeyPurpose::Unlock, 32),
        key(0x02, KeyPurpose::Codes, 32),
        key(0x03, KeyPurpose::Config, 32),
        key(0x04, KeyPurpose::Update, 32),
        key(0x05, KeyPurpose::Pepper, 65),
    ];
    let keyset = Keyset::new("acme".parse().unwrap(), 2, NOW, keys);
    let delegation = Delegation {
        tenant: "acme".parse().unwrap(),
        person: REQUESTER.parse().unwrap(),
        public: Blob(vec![0x08; 32]),
        scope: DelegatedTenant {}.into(),
        epoch: 3,
        not_after: NOW,
    };
    let receipt = Receipt {
        tenant: "acme".parse().unwrap(),
        cabinet: "berlin-01".parse().unwrap(),
        instance: INSTANCE,
        command: COMMAND,
        requester: REQUESTER.into(),
        at: Some(NOW),
        orders: 12,
        credentials: 24,
        staff: 3,
        events: 1_024,
        unsent: 2,
    };
    let some = DelegatedCabinets { cabinets: vec!["berlin-01".parse().unwrap()] };
    let roots = Roots { first: key(0x06, KeyPurpose::Keyset, 32), second: key(0x07, KeyPurpose::Keyset, 32) };
    vec![
        Example::new("command", &command()),
        Example::new("command/empty", &Command { action: empty.into(), ..command() }),
        Example::new("command/load", &errand(LoadOrder { order: order(), compartment: None, size: None }.into())),
        Example::new("command/load-into-one", &errand(load_into_one.into())),
        Example::new("command/load-into-a-larger-one", &errand(load_into_larger.into())),
        Example::new("command/confirm", &errand(confirm.into())),
        Example::new("command/retrieve", &errand(RetrieveOrder { order: order() }.into())),
        Example::new(
            "config-command",
            &ConfigCommand {
                id: COMMAND,
                challenge: CHALLENGE,
                issued: NOW,
                action: Wipe {}.into(),
                requester: REQUESTER.into(),
            },
        ),
        Example::new("receipt", &receipt),
        Example::new("receipt/without-time", &Receipt { at: None, ..receipt.clone() }),
        Example::new("codes-message/book", &book(5, 4, book_changes())),
        Example::new("codes-message/book-with-orders-to-take-back", &book(7, 6, orders_to_take_back())),
        Example::new("codes-message/book-with-a-quarantined-order", &book(7, 6, quarantined_order())),
        Example::new("codes-message/book-with-a-bundle", &book(8, 7, vec![bundle_credential().into()])),
        Example::new("codes-message/book-with-deposits", &book(8, 7, deposits())),
        Example::new("codes-message/book-with-break-glass", &book(6, 5, rules_with_break_glass())),
        Example::new("codes-message/book-with-a-guarded-credential", &book(9, 8, guarded_credential())),
        Example::new("codes-message/book-with-a-second-factor", &book(9, 8, second_factor())),
        Example::new("codes-message/book-with-codes-of-letters", &book(8, 7, codes_of_letters())),
        Example::new("codes-message/book-with-a-part-of-an-order", &book(9, 8, part_of_an_order())),
        Example::new("codes-message/book-with-an-order-that-shares", &book(9, 8, sharing())),
        Example::new("codes-message/staff-book", &book(6, 5, vec![put_staff(Some(NOW), Some(VERIFIER)).into()])),
        Example::new("codes-message/book-with-couriers", &book(6, 5, couriers())),
        Example::new("codes-message/empty-book", &book(1, 0, vec![])),
        Example::new(
            "codes-message/time",
            &CodesMessage::from(FleetTime { challenge: CHALLENGE, now: NOW, mark: None }),
        ),
        Example::new(
            "codes-message/time-with-mark",
            &CodesMessage::from(FleetTime {
                challenge: CHALLENGE,
                now: NOW,
                mark: Some(EventMark { epoch: EPOCH, high_water: 7 }),
            }),
        ),
        Example::new(
            "codes-message/open",
            &CodesMessage::from(OpenOrder {
                id: COMMAND,
                challenge: CHALLENGE,
                issued: NOW,
                order: order(),
                compartment: compartment(12),
                token: "KXQ7-M2PD".parse().unwrap(),
                requester: "integration:acme:shop".into(),
            }),
        ),
        Example::new("keyset", &keyset),
        Example::new("keyset/with-roots", &Keyset { roots: Some(roots), ..keyset.clone() }),
        Example::new("keyset/with-epoch", &Keyset { epoch: Some(3), ..keyset }),
        Example::new("delegation", &delegation),
        Example::new("delegation/cabinets", &Delegation { scope: some.into(), ..delegation.clone() }),
    ]
}

fn put_staff(until: Option<FleetMillis>, badge: Option<Verifier>) -> PutStaff {
    PutStaff { name: staff(), verifier: VERIFIER, pepper: 1, until, badge }
}

fn couriers() -> Vec<BookChange> {
    let put = |until, badge| PutCourier { id: CREDENTIAL, name: staff(), verifier: VERIFIER, pepper: 1, until, badge };
    vec![put(None, None).into(), put(Some(NOW), Some(VERIFIER)).into(), DropCourier { name: staff() }.into()]
}

fn found(from: Option<Compartment>) -> Found {
    Found { order: order(), compartment: compartment(12), from, staff: staff() }
}

fn depositing(courier: Option<Name>) -> Depositing {
    Depositing { order: order(), compartment: compartment(12), credential: CREDENTIAL, courier }
}

fn book_changes() -> Vec<BookChange> {
    let put_order = |reserved| PutOrder {
        order: order(),
        size: Size::L,
        category: Category::Pharmacy,
        wants: Attributes { refrigerated: true, ..Attributes::default() },
        reserved,
        take_back: None,
        deposit: None,
        part: None,
        shares: None,
    };
    let put_credential = |kind, expires| PutCredential {
        id: CREDENTIAL,
        kind,
        verifier: VERIFIER,
        orders: vec![order()],
        generation: 2,
        expires,
        needs_time: true,
        pepper: 1,
        rights: None,
    };
    vec![
        put_order(Some(compartment(12))).into(),
        put_order(None).into(),
        DropOrder { order: order() }.into(),
        put_credential(CredentialKind::Digits, Some(NOW)).into(),
        put_credential(CredentialKind::Qr, None).into(),
        DropCredential { id: CREDENTIAL }.into(),
        put_staff(None, None).into(),
        DropStaff { name: staff() }.into(),
        Rules { code_digits: 8, break_glass: None, code_letters: None }.into(),
    ]
}

fn bundle_credential() -> PutCredential {
    let right = |order, expires, needs_time| BundleRight { order, expires, needs_time };
    let other: OrderKey = "shop/A18".parse().unwrap();
    PutCredential {
        id: CREDENTIAL,
        kind: CredentialKind::Qr,
        verifier: VERIFIER,
        orders: vec![order(), other.clone()],
        generation: 2,
        expires: Some(NOW),
        needs_time: true,
        pepper: 1,
        rights: Some(vec![right(order(), Some(NOW), true), right(other, None, false)]),
    }
}

fn orders_to_take_back() -> Vec<BookChange> {
    orders_put(&[TakeBack::Recalled, TakeBack::Overdue])
}

fn quarantined_order() -> Vec<BookChange> {
    orders_put(&[TakeBack::Quarantined])
}

fn orders_put(why: &[TakeBack]) -> Vec<BookChange> {
    let (category, wants) = (Category::Retail, Attributes::default());
    let order = |why| PutOrder {
        order: order(),
        size: Size::M,
        category,
        wants,
        reserved: None,
        take_back: Some(why),
        deposit: None,
        part: None,
        shares: None,
    };
    why.iter().map(|why| order(*why).into()).collect()
}

fn deposits() -> Vec<BookChange> {
    let order_by = |deposit, take_back| PutOrder {
        order: order(),
        size: Size::M,
        category: Category::Laundry,
        wants: Attributes::default(),
        reserved: Some(compartment(12)),
        take_back,
        deposit: Some(deposit),
        part: None,
        shares: None,
    };
    let put_deposit = |kind, expires| PutDeposit {
        id: CREDENTIAL,
        kind,
        verifier: VERIFIER,
        order: order(),
        generation: 1,
        expires,
        pepper: 1,
    };
    vec![
        order_by(DepositKind::Courier, None).into(),
        order_by(DepositKind::DropOff, Some(TakeBack::DroppedOff)).into(),
        put_deposit(CredentialKind::Digits, Some(NOW)).into(),
        put_deposit(CredentialKind::Qr, None).into(),
    ]
}

fn sharing() -> Vec<BookChange> {
    let shares = Some("customer-4711".parse().unwrap());
    let puts = orders_put(&[TakeBack::Recalled]);
    puts.into_iter()
        .filter_map(|put| if let BookChange::PutOrder(put) = put { Some(put) } else { None })
        .map(|put| PutOrder { shares: shares.clone(), take_back: None, ..put }.into())
        .collect()
}

fn part_of_an_order() -> Vec<BookChange> {
    let (category, wants) = (Category::Retail, Attributes::default());
    let part = Some(PartOf { whole: "shop/A17".parse().unwrap(), number: 2, of: 3 });
    let order: OrderKey = "shop/A17.2".parse().unwrap();
    vec![
        PutOrder {
            order,
            size: Size::M,
            category,
            wants,
            reserved: None,
            take_back: None,
            deposit: None,
            part,
            shares: None,
        }
        .into(),
    ]
}

fn rules_with_break_glass() -> Vec<BookChange> {
    let glass = BreakGlass { id: CREDENTIAL, verifier: Verifier([0x0c; 32]), pepper: 1 };
    vec![Rules { code_digits: 8, break_glass: Some(glass), code_letters: None }.into()]
}

fn guarded_credential() -> Vec<BookChange> {
    let credential = bundle_credential();
    let guarded = vec![credential.orders[1].clone()];
    vec![PutGuarded { credential, guarded, factor: None }.into()]
}

fn second_factor() -> Vec<BookChange> {
    let credential = PutCredential { orders: vec![order()], rights: None, ..bundle_credential() };
    let factor = Some(Factor { prompt: Prompt::BirthDate, verifier: VERIFIER, release: true });
    vec![PutGuarded { guarded: credential.orders.clone(), credential, factor }.into()]
}

fn codes_of_letters() -> Vec<BookChange> {
    let (kind, verifier) = (CredentialKind::Letters, VERIFIER);
    let deposit =
        PutDeposit { id: CREDENTIAL, kind, verifier, order: order(), generation: 1, expires: None, pepper: 1 };
    let pickup = PutCredential { kind, verifier, rights: None, orders: vec![order()], ..bundle_credential() };
    vec![Rules { code_digits: 8, break_glass: None, code_letters: Some(7) }.into(), pickup.into(), deposit.into()]
}

fn stamp() -> Stamp {
    Stamp { boot: BOOT, boot_millis: 86_400_000, fleet_millis: Some(NOW), uncertainty_millis: Some(250) }
}

fn event(fact: impl Into<Fact>) -> Event {
    Event { at: stamp(), fact: fact.into() }
}

fn errand_taken(errand: Errand) -> ErrandTaken {
    ErrandTaken { id: COMMAND, requester: REQUESTER.into(), order: order(), compartment: compartment(12), errand }
}

fn events() -> Vec<Example> {
    let fact = |name, fact: Fact| Example::new(name, &event(fact));
    let c = compartment(12);
    let command = || Actor::from(ActorCommand { id: COMMAND, requester: REQUESTER.into() });
    let without_time = Event {
        at: Stamp { fleet_millis: None, uncertainty_millis: None, ..stamp() },
        fact: DoorForced { compartment: c }.into(),
    };
    vec![
        fact("event/started", Started { agent: "0.1.0".into(), down_since: None }.into()),
        fact("event/started/down", Started { agent: "0.1.0".into(), down_since: Some(NOW) }.into()),
        fact("event/door-opened-by-command", DoorOpened { compartment: c, by: command() }.into()),
        fact(
            "event/door-opened-by-credential",
            DoorOpened { compartment: c, by: ActorCredential { id: CREDENTIAL }.into() }.into(),
        ),
        fact(
            "event/door-opened-by-staff",
            DoorOpened { compartment: c, by: ActorStaff { name: staff() }.into() }.into(),
        ),
        fact("event/door-opened-by-nobody", DoorOpened { compartment: c, by: ActorNobody {}.into() }.into()),
        fact("event/door-closed", DoorClosed { compartment: c, occupancy: Occupancy::Empty }.into()),
        fact("event/door-forced", DoorForced { compartment: c }.into()),
        fact("event/door-held-open", DoorHeldOpen { compartment: c, stage: HeldStage::Technician }.into()),
        fact("event/door-fault", DoorFault { compartment: c, by: command(), attempts: 2 }.into()),
        fact("event/wrong-door", WrongDoor { pulsed: c, opened: compartment(13), by: None }.into()),
        fact("event/wrong-door-by", WrongDoor { pulsed: c, opened: compartment(13), by: Some(command()) }.into()),
        fact("event/loading", Loading { order: order(), compartment: c, staff: staff() }.into()),
        fact(
            "event/loading-beside",
            LoadingBeside {
                order: order(),
                compartment: c,
                staff: staff(),
                others: vec!["shop/A18".parse().unwrap(), "shop/A19".parse().unwrap()],
            }
            .into(),
        ),
        fact("event/stored", Stored { order: order(), compartment: c, by: StoredBy::Staff, staff: staff() }.into()),
        fact("event/load-aborted", LoadAborted { order: order(), compartment: c }.into()),
        fact(
            "event/collected",
            Collected { order: order(), compartment: c, credential: CREDENTIAL, confirmed: true }.into(),
        ),
        fact("event/retrieved", Retrieved { order: order(), compartment: c, staff: staff() }.into()),
        fact(
            "event/unlock-done",
            UnlockDone { id: COMMAND, compartment: c, outcome: UnlockOutcome::OutcomeUnknown }.into(),
        ),
        fact("event/command-refused", CommandRefused { id: Some(COMMAND), reason: RefusalReason::AlreadyOpen }.into()),
        fact("event/command-refused-without-id", CommandRefused { id: None, reason: RefusalReason::Malformed }.into()),
        fact(
            "event/credential-refused",
            CredentialRefused { id: CREDENTIAL, reason: RefusalReason::TimeUnknown }.into(),
        ),
        fact(
            "event/credential-refused-for-a-wrong-answer",
            CredentialRefused { id: CREDENTIAL, reason: RefusalReason::WrongAnswer }.into(),
        ),
        fact("event/typing-locked", TypingLocked { until_boot_millis: 86_700_000, wrong_today: 5 }.into()),
        fact("event/staff-logged-in", StaffLoggedIn { staff: staff() }.into()),
        fact("event/book-applied", BookApplied { version: 5 }.into()),
        fact("event/book-refused", BookRefused { version: Some(5), reason: RefusalReason::WrongBase }.into()),
        fact(
            "event/book-refused-without-version",
            BookRefused { version: None, reason: RefusalReason::BadSignature }.into(),
        ),
        fact("event/keyset-applied", KeysetApplied { version: 2, root: KeyId([0x0f; 8]) }.into()),
        fact("event/keyset-refused", KeysetRefused { version: Some(2), reason: RefusalReason::OldVersion }.into()),
        fact(
            "event/keyset-refused-without-version",
            KeysetRefused { version: None, reason: RefusalReason::UnknownKey }.into(),
        ),
        fact("event/board-health", BoardHealth { board: 1, answering: false }.into()),
        fact("event/audit-required", AuditRequired { compartment: c, order: Some(order()) }.into()),
        fact("event/audit-required-without-order", AuditRequired { compartment: c, order: None }.into()),
        fact("event/break-glass-used", BreakGlassUsed { id: CREDENTIAL, begun: 1 }.into()),
        fact("event/wiped", Wiped { receipt: Blob(vec![0x84, 0x40, 0xa0, 0x40, 0x40]) }.into()),
        fact(
            "event/audited",
            Audited { compartment: c, staff: staff(), found: Finding::Missing, order: Some(order()) }.into(),
        ),
        fact(
            "event/audited-without-order",
            Audited { compartment: c, staff: staff(), found: Finding::AsBooked, order: None }.into(),
        ),
        fact("event/cleaning", Cleaning { compartment: c, staff: staff(), needed: true }.into()),
        fact("event/emergency-opened", EmergencyOpened { staff: staff(), passed_over: vec![c] }.into()),
        fact("event/not-taken", NotTaken { order: order(), compartment: c, credential: CREDENTIAL }.into()),
        fact(
            "event/swapped",
            Swapped {
                one: order(),
                one_in: c,
                other: "shop/A18".parse().unwrap(),
                other_in: compartment(13),
                staff: staff(),
            }
            .into(),
        ),
        fact("event/service", Service { compartment: c, staff: staff(), in_service: false }.into()),
        fact("event/maintenance", Maintenance { staff: staff(), minutes: 30 }.into()),
        fact("event/found", found(Some(compartment(13))).into()),
        fact("event/found-of-no-book", found(None).into()),
        fact("event/depositing", depositing(None).into()),
        fact("event/depositing-by-a-courier", depositing(Some(staff())).into()),
        fact(
            "event/deposited",
            Deposited { order: order(), compartment: c, credential: CREDENTIAL, seen: true, courier: None }.into(),
        ),
        fact(
            "event/deposited-by-a-courier",
            Deposited { order: order(), compartment: c, credential: CREDENTIAL, seen: false, courier: Some(staff()) }
                .into(),
        ),
        fact(
            "event/credential-refused-without-room",
            CredentialRefused { id: CREDENTIAL, reason: RefusalReason::NoFittingCompartment }.into(),
        ),
        Example::new("event/without-time", &without_time),
        fact(
            "event/walk-in",
            WalkIn {
                order: OrderKey::walk_in("A17-0123456789".parse().unwrap()),
                size: Size::M,
                category: Category::Retail,
                wants: Attributes::default(),
                phone: Blob(vec![0xd8; 3]),
                staff: staff(),
                courier: None,
            }
            .into(),
        ),
        fact(
            "event/walk-in-by-a-courier",
            WalkIn {
                order: OrderKey::walk_in("A17-0123456789".parse().unwrap()),
                size: Size::M,
                category: Category::Courier,
                wants: Attributes::default(),
                phone: Blob(vec![0xd8; 3]),
                staff: BY_COURIER_NAME.parse().unwrap(),
                courier: Some(staff()),
            }
            .into(),
        ),
        fact(
            "event/walk-in-dropped",
            WalkInDropped {
                order: OrderKey::walk_in("A17-0123456789".parse().unwrap()),
                staff: staff(),
                courier: None,
            }
            .into(),
        ),
        fact(
            "event/walk-in-dropped-by-a-courier",
            WalkInDropped {
                order: OrderKey::walk_in("A17-0123456789".parse().unwrap()),
                staff: BY_COURIER_NAME.parse().unwrap(),
                courier: Some(staff()),
            }
            .into(),
        ),
        fact("event/courier-came", CourierCame { courier: staff() }.into()),
        fact(
            "event/courier-turned-away",
            CourierTurnedAway { courier: staff(), order: Some(order()), size: Size::L }.into(),
        ),
        fact(
            "event/courier-turned-away-with-a-parcel",
            CourierTurnedAway { courier: staff(), order: None, size: Size::L }.into(),
        ),
        fact(
            "event/door-opened-by-a-courier",
            DoorOpened { compartment: c, by: ActorCourier { name: staff() }.into() }.into(),
        ),
        fact("event/app-closed", AppClosed { until_boot_millis: 86_700_000, wrong: 5 }.into()),
        fact(
            "event/door-opened-by-app",
            DoorOpened {
                compartment: c,
                by: ActorApp { id: COMMAND, requester: "integration:acme:shop".into() }.into(),
            }
            .into(),
        ),
        fact(
            "event/command-refused-for-its-token",
            CommandRefused { id: Some(COMMAND), reason: RefusalReason::NoSuchToken }.into(),
        ),
        fact("event/load-by-command", errand_taken(Errand::Load).into()),
        fact("event/word-by-command", errand_taken(Errand::NotInside).into()),
        fact(
            "event/command-refused-for-its-order",
            CommandRefused { id: Some(COMMAND), reason: RefusalReason::NotToBeRetrieved }.into(),
        ),
        fact(
            "event/released",
            Released { order: order(), compartment: c, credential: CREDENTIAL, staff: staff() }.into(),
        ),
        fact("event/reported", Reported { order: order(), compartment: Some(c), credential: CREDENTIAL }.into()),
        fact(
            "event/reported-without-a-door",
            Reported { order: order(), compartment: None, credential: CREDENTIAL }.into(),
        ),
    ]
}
