//! Deliberate mistakes of a shell or of a disk: each must be found by the invariant that is named beside it.

/// A mistake that is made in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The bus gets a pulse before its step is committed.
    PulseBeforeCommit,
    /// The bus carries a pulse out twice.
    DoublePulse,
    /// The same, for whoever stands at the cabinet only.
    DoublePulseForPeople,
    /// From the healing on no lock moves.
    DeadLocks,
    /// Whoever owns the bus has the codes key.
    CodesKeyStolen,
    /// A cabinet with a new disk counts its events under the epoch of the old one.
    EpochReused,
    /// No acknowledgement of an event reaches a cabinet.
    AcksLost,
    /// From half an hour on no book reaches a cabinet.
    BooksLost,
    /// A kept command is carried out without asking the core, and so without its check of the challenge.
    StaleCommand,
    /// The bus does not look at the age of a pulse again.
    LatePulse,
    /// The fleet acknowledges before its commit.
    AckBeforeCommit,
    /// The cabinet acknowledges before its commit.
    CabinetAckBeforeCommit,
    /// A lock is pulsed although the commit of its step failed.
    SpeakAfterFailedCommit,
    /// A row of this table is not written, by the fleet or by a cabinet.
    FleetForgets(&'static str),
    CabinetForgets(&'static str),
    /// What a compartment holds is not written when staff load it.
    CabinetForgetsLoads,
    /// The same when somebody collects.
    CabinetForgetsCollections,
    /// Of several orders that were collected together one is not told.
    OneOfSeveralLeft,
    /// A backend's words for who shares with whom are all the same on the way.
    OneWord,
    /// A row of a stream is passed over.
    SkipRow,
    /// The core's ticks do not reach it.
    NoTicks,
    /// A cabinet's hello claims books that it never got.
    BookClaimed,
    /// The count of wrong codes is not written.
    LockoutForgotten,
    /// What is due is done before its time.
    HastyTimer,
    /// Backends are told of one compartment only, wherever an order is.
    OneCompartment,
    /// Backends are told of all doors but one of an order in several compartments.
    HalfAWhole,
    /// They are told that all of it is stored when a part is.
    WholeTooSoon,
    /// A backup is put back, and the fleet is not told.
    RestoreUntold,
    /// A cabinet tells its whole history again, under another epoch.
    HistoryAgain,
    /// What a courier presses is done in the session of staff.
    CourierIsStaff,
    /// Any answer is taken for the right one.
    AnswersBelieved,
    /// A shell tries answers by itself, and counts none.
    AnswersTriedByShell,
    /// The token of a screen is learned although nobody can have read it there.
    ScreenDark,
    /// An order is left out where a preview says what would change.
    PreviewShort,
    /// Backends do not hear that an order has become another.
    ChangesUntold,
    /// The sizes of a cabinet's compartments are those of others in its settings.
    SizesMixedUp,
    /// That somebody came in by a break-glass code is not written.
    GlassMended,
    /// A gateway is given another code than that of its notification.
    CodesMixedUp,
    /// That a gateway has a message does not reach the fleet.
    OutcomeUntold,
    /// A gateway says that it has what it has not.
    GatewayLies,
    /// Something that does not come from the seed decides.
    Undetermined,
}

/// Each mistake and the invariant that has to find it.
pub const SABOTAGES: &[(Sabotage, &str)] = &[
    (Sabotage::PulseBeforeCommit, "no_door_without_authority"),
    (Sabotage::DoublePulse, "at_most_one_pulse_per_command"),
    (Sabotage::DoublePulseForPeople, "at_most_three_pulses_per_use"),
    (Sabotage::CabinetForgetsCollections, "collected_once"),
    (Sabotage::CodesKeyStolen, "nothing_unsigned_takes_effect"),
    (Sabotage::EpochReused, "no_event_lost_or_doubled"),
    (Sabotage::AcksLost, "outbox_empties"),
    (Sabotage::BooksLost, "fleet_book_held"),
    (Sabotage::DeadLocks, "stored_orders_are_collectable"),
    (Sabotage::StaleCommand, "no_door_without_authority"),
    (Sabotage::LatePulse, "no_door_without_authority"),
    (Sabotage::AckBeforeCommit, "acknowledged_is_stored"),
    (Sabotage::CabinetAckBeforeCommit, "acknowledged_is_stored"),
    (Sabotage::SpeakAfterFailedCommit, "no_door_without_authority"),
    (Sabotage::FleetForgets("events"), "acknowledged_is_stored"),
    (Sabotage::FleetForgets("orders"), "acknowledged_is_stored"),
    (Sabotage::CabinetForgets("events"), "no_event_lost_or_doubled"),
    (Sabotage::CabinetForgets("bays"), "no_order_lost"),
    (Sabotage::CabinetForgetsLoads, "no_compartment_with_two_orders"),
    (Sabotage::OneOfSeveralLeft, "what_lies_together_goes_together"),
    (Sabotage::OneWord, "only_what_says_so_lies_together"),
    (Sabotage::CabinetForgets("credentials"), "code_works_offline"),
    (Sabotage::CabinetForgets("uses"), "every_accepted_command_has_one_outcome"),
    (Sabotage::SkipRow, "rows_in_order_without_gaps"),
    (Sabotage::NoTicks, "poll_timeout_moves"),
    (Sabotage::BookClaimed, "notification_only_after_stored_and_book_held"),
    (Sabotage::LockoutForgotten, "guess_budget_holds"),
    (Sabotage::HastyTimer, "early_tick_is_empty"),
    (Sabotage::RestoreUntold, "rows_in_order_without_gaps"),
    (Sabotage::HistoryAgain, "collection_told_once"),
    (Sabotage::OneCompartment, "fleet_puts_one_order_in_a_compartment"),
    (Sabotage::HalfAWhole, "whole_announced_once_when_all_is_inside"),
    (Sabotage::WholeTooSoon, "whole_told_as_its_parts"),
    (Sabotage::CourierIsStaff, "courier_only_puts_in"),
    (Sabotage::CabinetForgets("couriers"), "courier_comes_by_the_book"),
    (Sabotage::CabinetForgets("staff"), "staff_come_by_the_book"),
    (Sabotage::AnswersBelieved, "second_factor_is_asked"),
    (Sabotage::AnswersTriedByShell, "ten_wrong_answers_at_most"),
    (Sabotage::ScreenDark, "app_opens_by_the_screen"),
    (Sabotage::FleetForgets("sites"), "window_ends_by_the_site"),
    (Sabotage::FleetForgets("policies"), "window_ends_by_the_site"),
    (Sabotage::PreviewShort, "preview_names_what_changes"),
    (Sabotage::ChangesUntold, "order_is_what_its_backend_said"),
    (Sabotage::SizesMixedUp, "order_gets_what_fits"),
    (Sabotage::GlassMended, "break_glass_lets_in_once"),
    (Sabotage::CodesMixedUp, "message_says_what_was_told"),
    (Sabotage::OutcomeUntold, "message_accepted_once"),
    (Sabotage::FleetForgets("messages"), "notification_has_its_message"),
    (Sabotage::GatewayLies, "message_reaches_or_is_listed"),
    (Sabotage::Undetermined, "same_seed_same_history"),
];
