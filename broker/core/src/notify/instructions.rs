//! What a recipient is to do, as a text, in the languages of the defaults.

use std::collections::BTreeMap;

use schemas::api::NotificationKind;
use schemas::messages::Prompt;

use crate::rows::{DoorRow, NotificationRow};

/// Whole sentences of a language. `{}` is filled in.
struct Words {
    how: &'static str,
    /// What the screen asks for behind the code.
    asks: fn(Prompt) -> &'static str,
    /// `{}` is a door.
    door: &'static str,
    some_door: &'static str,
    close: &'static str,
    close_all: &'static str,
    /// `{}` is an end.
    kept: &'static str,
    all_kept: &'static str,
    waits: &'static str,
    put_in: &'static str,
    good: &'static str,
    changed: &'static str,
    /// `{}` are places with their doors.
    doors: &'static str,
    /// Behind a door that has an end of its own, which is `{}`.
    until: &'static str,
    nothing: &'static str,
    /// Between two sentences.
    space: &'static str,
}

const ENGLISH: Words = Words {
    how: "Enter the code at the screen or show the QR code to the scanner.",
    asks: |prompt| match prompt {
        Prompt::Pin => "The screen then asks for your PIN for this order.",
        Prompt::BirthDate => "The screen then asks for your date of birth.",
        Prompt::DocumentNumber => "The screen then asks for the number of your document.",
        Prompt::Postcode => "The screen then asks for your postcode.",
    },
    door: "Door {} opens.",
    some_door: "A door opens.",
    close: "Please close it again.",
    close_all: "Please close them again.",
    kept: "It is kept until {}.",
    all_kept: "They are kept until {}.",
    waits: "The order still waits.",
    put_in: "Put the order in and close the door.",
    good: "The code is good until {}.",
    changed: "The list has changed.",
    doors: "These doors open: {}.",
    until: " until {}",
    nothing: "Nothing is left to collect.",
    space: " ",
};

const GERMAN: Words = Words {
    how: "Geben Sie den Code am Bildschirm ein oder halten Sie den QR-Code an den Scanner.",
    asks: |prompt| match prompt {
        Prompt::Pin => "Danach fragt der Bildschirm nach Ihrer PIN für diese Bestellung.",
        Prompt::BirthDate => "Danach fragt der Bildschirm nach Ihrem Geburtsdatum.",
        Prompt::DocumentNumber => "Danach fragt der Bildschirm nach der Nummer Ihres Ausweises.",
        Prompt::Postcode => "Danach fragt der Bildschirm nach Ihrer Postleitzahl.",
    },
    door: "Tür {} öffnet sich.",
    some_door: "Eine Tür öffnet sich.",
    close: "Bitte schließen Sie sie wieder.",
    close_all: "Bitte schließen Sie sie alle wieder.",
    kept: "Die Bestellung bleibt bis {} liegen.",
    all_kept: "Die Bestellungen bleiben bis {} liegen.",
    waits: "Die Bestellung wartet noch.",
    put_in: "Legen Sie die Bestellung hinein und schließen Sie die Tür.",
    good: "Der Code gilt bis {}.",
    changed: "Die Liste hat sich geändert.",
    doors: "Diese Türen öffnen sich: {}.",
    until: " bis {}",
    nothing: "Es ist nichts mehr abzuholen.",
    space: " ",
};

const POLISH: Words = Words {
    how: "Wpisz kod na ekranie lub pokaż kod QR skanerowi.",
    asks: |prompt| match prompt {
        Prompt::Pin => "Ekran zapyta potem o Twój PIN do tego zamówienia.",
        Prompt::BirthDate => "Ekran zapyta potem o Twoją datę urodzenia.",
        Prompt::DocumentNumber => "Ekran zapyta potem o numer Twojego dokumentu.",
        Prompt::Postcode => "Ekran zapyta potem o Twój kod pocztowy.",
    },
    door: "Otworzą się drzwiczki {}.",
    some_door: "Otworzą się drzwiczki.",
    close: "Prosimy je potem zamknąć.",
    close_all: "Prosimy zamknąć wszystkie.",
    kept: "Zamówienie czeka do {}.",
    all_kept: "Zamówienia czekają do {}.",
    waits: "Zamówienie nadal czeka.",
    put_in: "Włóż zamówienie i zamknij drzwiczki.",
    good: "Kod jest ważny do {}.",
    changed: "Lista się zmieniła.",
    doors: "Otworzą się drzwiczki: {}.",
    until: " do {}",
    nothing: "Nie ma już nic do odebrania.",
    space: " ",
};

const SPANISH: Words = Words {
    how: "Introduzca el código en la pantalla o muestre el código QR al escáner.",
    asks: |prompt| match prompt {
        Prompt::Pin => "Después la pantalla le pide su PIN de este pedido.",
        Prompt::BirthDate => "Después la pantalla le pide su fecha de nacimiento.",
        Prompt::DocumentNumber => "Después la pantalla le pide el número de su documento.",
        Prompt::Postcode => "Después la pantalla le pide su código postal.",
    },
    door: "Se abre la puerta {}.",
    some_door: "Se abre una puerta.",
    close: "Por favor, vuelva a cerrarla.",
    close_all: "Por favor, vuelva a cerrarlas.",
    kept: "El pedido se guarda hasta {}.",
    all_kept: "Los pedidos se guardan hasta {}.",
    waits: "El pedido sigue esperando.",
    put_in: "Deposite el pedido y cierre la puerta.",
    good: "El código es válido hasta {}.",
    changed: "La lista ha cambiado.",
    doors: "Se abren estas puertas: {}.",
    until: " hasta {}",
    nothing: "Ya no queda nada por recoger.",
    space: " ",
};

const CHINESE: Words = Words {
    how: "请在屏幕上输入取件码，或将二维码对准扫描器。",
    asks: |prompt| match prompt {
        Prompt::Pin => "随后请在屏幕上输入该订单的 PIN。",
        Prompt::BirthDate => "随后请在屏幕上输入您的出生日期。",
        Prompt::DocumentNumber => "随后请在屏幕上输入您的证件号码。",
        Prompt::Postcode => "随后请在屏幕上输入您的邮政编码。",
    },
    door: "{} 号柜门会打开。",
    some_door: "一扇柜门会打开。",
    close: "取件后请关好柜门。",
    close_all: "取件后请关好所有柜门。",
    kept: "订单保留至 {}。",
    all_kept: "订单保留至 {}。",
    waits: "您的订单仍待领取。",
    put_in: "请放入物品并关好柜门。",
    good: "取件码有效期至 {}。",
    changed: "订单列表有变化。",
    doors: "以下柜门会打开：{}。",
    until: "（至 {}）",
    nothing: "已没有可领取的订单。",
    space: "",
};

/// English where there are no words of a language. The tag goes by its part before the country.
fn words(language: &str) -> &'static Words {
    match language.split('-').next().unwrap_or_default() {
        "de" => &GERMAN,
        "pl" => &POLISH,
        "es" => &SPANISH,
        "zh" => &CHINESE,
        _ => &ENGLISH,
    }
}

/// The first sentence of most instructions.
pub(super) fn how(language: &str) -> &'static str {
    words(language).how
}

/// In the language with this tag, with or without its country.
pub(crate) fn instruction(language: &str, kind: NotificationKind, row: &NotificationRow) -> String {
    let words = words(language);
    let doors = row.doors.as_deref().unwrap_or_default();
    let end = row.until_local.as_deref();
    let number = row.compartment.map(|door| door.to_string());
    let door = number.map_or_else(|| words.some_door.to_owned(), |number| filled(words.door, &number));
    let with_end = |text: &str| end.map(|end| filled(text, end));
    let says = |text: &str| Some(text.to_owned());
    let first = match kind {
        NotificationKind::Reminder => says(words.waits),
        NotificationKind::BundleChanged if !doors.is_empty() => says(words.changed),
        NotificationKind::PickupCode
        | NotificationKind::DepositCode
        | NotificationKind::BundleCode
        | NotificationKind::BundleChanged => None,
    };
    let rest = match kind {
        NotificationKind::BundleCode | NotificationKind::BundleChanged if doors.is_empty() => {
            vec![says(words.nothing)]
        }
        NotificationKind::PickupCode
        | NotificationKind::Reminder
        | NotificationKind::BundleCode
        | NotificationKind::BundleChanged
            if !doors.is_empty() =>
        {
            several(words, doors, end)
        }
        NotificationKind::DepositCode => {
            vec![says(words.how), Some(door), says(words.put_in), with_end(words.good)]
        }
        NotificationKind::PickupCode
        | NotificationKind::Reminder
        | NotificationKind::BundleCode
        | NotificationKind::BundleChanged => {
            let asks = row.second_factor.and_then(|prompt| says((words.asks)(prompt)));
            vec![says(words.how), asks, Some(door), says(words.close), with_end(words.kept)]
        }
    };
    std::iter::once(first).chain(rest).flatten().collect::<Vec<_>>().join(words.space)
}

/// Which doors open, and until when; one end for all of them is said once.
fn several(words: &Words, doors: &[DoorRow], end: Option<&str>) -> Vec<Option<String>> {
    let is_one = doors.iter().all(|door| door.until_local.as_deref() == end);
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for door in doors {
        let until = door.until_local.as_ref().filter(|_| !is_one);
        let until = until.map(|end| filled(words.until, end)).unwrap_or_default();
        places.entry(&door.place).or_default().push(format!("{}{until}", door.compartment));
    }
    let places: Vec<_> = places.iter().map(|(place, doors)| format!("{place}: {}", doors.join(", "))).collect();
    vec![
        Some(words.how.to_owned()),
        Some(filled(words.doors, &places.join("; "))),
        Some(words.close_all.to_owned()),
        end.filter(|_| is_one).map(|end| filled(words.all_kept, end)),
    ]
}

fn filled(text: &str, with: &str) -> String {
    text.replacen("{}", with, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_its_own_words_with_one_place_in_each_that_is_filled() {
        let all = [ENGLISH, GERMAN, POLISH, SPANISH, CHINESE];
        for own in &all {
            for text in [own.door, own.kept, own.all_kept, own.good, own.doors, own.until] {
                assert_eq!(text.matches("{}").count(), 1, "{text}");
            }
            let asks = Prompt::ALL.iter().map(|prompt| (own.asks)(*prompt));
            let plain =
                [own.how, own.some_door, own.close, own.close_all, own.waits, own.put_in, own.changed, own.nothing];
            for text in plain.into_iter().chain(asks) {
                assert!(!text.contains("{}") && text.ends_with(['.', '。']), "{text}");
            }
        }
        for (n, own) in all.iter().enumerate() {
            assert!(all.iter().skip(n + 1).all(|other| other.how != own.how && other.nothing != own.nothing));
        }
        assert_eq!(words("de-at").how, GERMAN.how);
        assert_eq!(words("fr").how, ENGLISH.how);
    }
}
