//! The English words of the pages by which tests find what they touch. Nothing else in the tests repeats them.

pub(crate) const OPEN_THE_DOOR: &str = "Open the door";
pub(crate) const TYPE_CODE: &str = "Type your code";
pub(crate) const ANOTHER_CODE: &str = "Type another code";
pub(crate) const WRONG_CODE: &str = "This code opens no door here.";
pub(crate) const LOCKED: &str = "Typing is paused";
pub(crate) const SECOND_PART: &str = "Scan your QR code";
pub(crate) const TO_LETTERS: &str = "My code has letters";
pub(crate) const NOT_HERE: &str = "My order is not here";
pub(crate) const GOODBYE: &str = "Thank you. Goodbye!";
pub(crate) const OFFLINE: &str = "Working offline: codes work";
pub(crate) const OLD: &str = "Offline: new codes missing";
pub(crate) const DOORS_SILENT: &str =
    "The doors of this cabinet do not answer at the moment. Your order is safe. Please try again later or ask staff.";
pub(crate) const ONLINE: &str = "Online";
pub(crate) const LOST: &str = "No connection to the cabinet";
pub(crate) const START_AGAIN: &str = "This screen has to be started again from its address file. Please ask staff.";
pub(crate) const PAIR_SCREEN: &str = "Pair this screen";
pub(crate) const PAIR: &str = "Pair";
pub(crate) const PAIRS_NOTHING: &str = "This code pairs no screen";
pub(crate) const OUT_OF_ORDER: &str = "Out of order";
pub(crate) const CANCEL: &str = "Cancel";

pub(crate) const ASK_STAFF: &str = "Please ask staff";
pub(crate) const DOCUMENT_NUMBER: &str = "Type your document number";
pub(crate) const BIRTH_DATE: &str = "Type your date of birth";

pub(crate) const STAFF: &str = "Staff";
pub(crate) const STAFF_PIN: &str = "Staff PIN";
pub(crate) const LOG_OUT: &str = "Log out";
pub(crate) const ORDERS: &str = "Orders to load";
pub(crate) const STORED: &str = "Stored";
pub(crate) const YES_INSIDE: &str = "Yes, it is inside";
pub(crate) const NEXT_ORDER: &str = "Next order";
pub(crate) const LARGER: &str = "It does not fit: larger door";
pub(crate) const CHECK_DOORS: &str = "Check doors";
pub(crate) const NEXT_DOOR: &str = "Next door";
pub(crate) const BACK_TO_DOORS: &str = "Back to the doors";
pub(crate) const SCAN_IT: &str = "Another order inside? Scan its label.";
pub(crate) const CORRECTED: &str = "Corrected";
pub(crate) const EXCHANGE: &str = "Exchange two orders";
pub(crate) const EMERGENCY: &str = "Emergency: open all doors";
pub(crate) const EMERGENCY_YES: &str = "Open all doors now";
pub(crate) const GO_BACK: &str = "No, go back";
pub(crate) const WALK_IN: &str = "Order with a phone number";
pub(crate) const COOLED: &str = "Keep it cool";
pub(crate) const BACK_TO_LIST: &str = "Back to the list";

pub(crate) const COURIER: &str = "I am a courier";
pub(crate) const COURIER_PIN: &str = "Courier PIN";
pub(crate) const GO_ON: &str = "Go on";
pub(crate) const BRING: &str = "Put a parcel in";
pub(crate) const OPEN_A_DOOR: &str = "Open a door";
pub(crate) const TYPE_LABEL: &str = "Type the label";
pub(crate) const LOOK_FOR_IT: &str = "Look for the order";
pub(crate) const LOG_IN: &str = "Log in";
pub(crate) const DEPOSITED: &str = "Thank you. The order is stored.";
pub(crate) const PUT_IN: &str = "Put the order in and close the door.";
pub(crate) const DID_YOU: &str = "Did you put the order in?";
pub(crate) const NEXT_PARCEL: &str = "Next parcel";

pub(crate) fn door_is(number: u16, is: &str) -> String {
    format!("Door {number} is {is}")
}

pub(crate) fn try_again(number: u16) -> String {
    format!("Try door {number} again")
}
