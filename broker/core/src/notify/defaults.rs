//! What messages say where a tenant has put no template of its own.

use schemas::api::NotificationKind;

/// Text and subject in the language with this tag without country.
pub(super) fn text_of(language: &str, kind: NotificationKind) -> Option<(&'static str, &'static str)> {
    use NotificationKind::{BundleChanged, BundleCode, DepositCode, PickupCode, Reminder};
    let text = match (language, kind) {
        ("en", PickupCode) => {
            "Your order {order} is ready: {place}[, compartment {compartment}][, doors {doors}]. Code: {code}[. Collect it by {until}]."
        }
        ("en", Reminder) => {
            "Your order {order} is still waiting: {place}[, compartment {compartment}][, doors {doors}]. Code: {code}[. Collect it by {until}]."
        }
        ("en", DepositCode) => {
            "To drop off {order}: {place}. Code: {code}[. Good until {until}]. Please close the door."
        }
        ("en", BundleCode) => "Your orders are ready: {doors}. One code for all: {code}[. Collect them by {until}].",
        ("en", BundleChanged) => {
            "The list of your orders has changed[. These wait: {doors}]. Code: {code}[, until {until}]."
        }
        ("de", PickupCode) => {
            "Ihre Bestellung {order} liegt bereit: {place}[, Fach {compartment}][, Türen {doors}]. Code: {code}[. Abholen bis {until}]."
        }
        ("de", Reminder) => {
            "Ihre Bestellung {order} wartet noch: {place}[, Fach {compartment}][, Türen {doors}]. Code: {code}[. Abholen bis {until}]."
        }
        ("de", DepositCode) => {
            "Zum Einlegen von {order}: {place}. Code: {code}[. Gültig bis {until}]. Bitte schließen Sie die Tür."
        }
        ("de", BundleCode) => {
            "Ihre Bestellungen liegen bereit: {doors}. Ein Code für alle: {code}[. Abholen bis {until}]."
        }
        ("de", BundleChanged) => {
            "Die Liste Ihrer Bestellungen hat sich geändert[. Es warten: {doors}]. Code: {code}[, bis {until}]."
        }
        ("pl", PickupCode) => {
            "Twoje zamówienie {order} czeka: {place}[, skrytka {compartment}][, drzwiczki {doors}]. Kod: {code}[. Odbierz do {until}]."
        }
        ("pl", Reminder) => {
            "Twoje zamówienie {order} nadal czeka: {place}[, skrytka {compartment}][, drzwiczki {doors}]. Kod: {code}[. Odbierz do {until}]."
        }
        ("pl", DepositCode) => {
            "Aby nadać {order}: {place}. Kod: {code}[. Ważny do {until}]. Prosimy zamknąć drzwiczki."
        }
        ("pl", BundleCode) => {
            "Twoje zamówienia czekają: {doors}. Jeden kod do wszystkich: {code}[. Odbierz do {until}]."
        }
        ("pl", BundleChanged) => "Lista Twoich zamówień się zmieniła[. Czekają: {doors}]. Kod: {code}[, do {until}].",
        ("es", PickupCode) => {
            "Su pedido {order} está listo: {place}[, casilla {compartment}][, puertas {doors}]. Código: {code}[. Recójalo antes de {until}]."
        }
        ("es", Reminder) => {
            "Su pedido {order} sigue esperando: {place}[, casilla {compartment}][, puertas {doors}]. Código: {code}[. Recójalo antes de {until}]."
        }
        ("es", DepositCode) => {
            "Para depositar {order}: {place}. Código: {code}[. Válido hasta {until}]. Por favor, cierre la puerta."
        }
        ("es", BundleCode) => {
            "Sus pedidos están listos: {doors}. Un código para todos: {code}[. Recójalos antes de {until}]."
        }
        ("es", BundleChanged) => {
            "La lista de sus pedidos ha cambiado[. Esperan: {doors}]. Código: {code}[, hasta {until}]."
        }
        ("zh", PickupCode) => {
            "您的订单 {order} 已可领取：{place}[，{compartment} 号格][，柜门 {doors}]。取件码：{code}[，请于 {until} 前领取]。"
        }
        ("zh", Reminder) => {
            "您的订单 {order} 仍待领取：{place}[，{compartment} 号格][，柜门 {doors}]。取件码：{code}[，请于 {until} 前领取]。"
        }
        ("zh", DepositCode) => "投递 {order}：{place}。投递码：{code}[，有效期至 {until}]。请关好柜门。",
        ("zh", BundleCode) => "您的订单已可领取：{doors}。统一取件码：{code}[，请于 {until} 前领取]。",
        ("zh", BundleChanged) => "您的订单列表有变化[，待领取：{doors}]。取件码：{code}[，有效期至 {until}]。",
        _ => return None,
    };
    let subject = match (language, kind) {
        ("de", Reminder) => "Erinnerung: {order} wartet",
        ("de", DepositCode) => "Code zum Einlegen: {order}",
        ("de", PickupCode | BundleCode | BundleChanged) => "Abholbereit: {order}",
        ("pl", Reminder) => "Przypomnienie: {order} czeka",
        ("pl", DepositCode) => "Kod nadania: {order}",
        ("pl", PickupCode | BundleCode | BundleChanged) => "Do odbioru: {order}",
        ("es", Reminder) => "Recordatorio: {order} espera",
        ("es", DepositCode) => "Código de depósito: {order}",
        ("es", PickupCode | BundleCode | BundleChanged) => "Listo para recoger: {order}",
        ("zh", Reminder) => "提醒：{order} 待领取",
        ("zh", DepositCode) => "投递码：{order}",
        ("zh", PickupCode | BundleCode | BundleChanged) => "可领取：{order}",
        (_, Reminder) => "Reminder: {order} is waiting",
        (_, DepositCode) => "Code to drop off {order}",
        (_, PickupCode | BundleCode | BundleChanged) => "Ready to collect: {order}",
    };
    Some((text, subject))
}

#[cfg(test)]
mod tests {
    use schemas::api::{SUBJECT_MAX, TEMPLATE_MAX};

    use super::*;
    use crate::notify::template::{Carries, Template};

    #[test]
    fn every_default_is_a_template_that_would_be_taken() {
        for language in ["en", "de", "pl", "es", "zh"] {
            for kind in NotificationKind::ALL {
                let (text, subject) = text_of(language, *kind).unwrap();
                Template::parse(text, TEMPLATE_MAX, Carries::Must).unwrap_or_else(|error| panic!("{text}: {error}"));
                Template::parse(subject, SUBJECT_MAX, Carries::Never).unwrap();
            }
        }
        assert_eq!(text_of("fr", NotificationKind::PickupCode), None);
    }
}
