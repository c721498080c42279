//! The compartments of a cabinet as an installer writes them: `1-4:S,5-8:M,9:L+refrigerated`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemas::messages::{Attributes, Compartment, Size};

use super::PlanError;

/// One compartment of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedCompartment {
    pub number: Compartment,
    pub size: Size,
    pub attributes: Attributes,
}

/// All compartments of a cabinet, at least one, in order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compartments(Vec<PlannedCompartment>);

impl Compartments {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &PlannedCompartment> {
        self.0.iter()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl FromStr for Compartments {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        if text.trim().is_empty() {
            return Err(PlanError::NoCompartments);
        }
        let mut all = BTreeMap::new();
        for group in text.split(',').map(str::trim) {
            let (numbers, kind) = group.split_once(':').ok_or_else(|| PlanError::CompartmentShape(group.to_owned()))?;
            let (size, attributes) = parse_kind(kind)?;
            let (first, last) = parse_numbers(numbers)?;
            for number in (first.number()..=last.number()).filter_map(Compartment::new) {
                if all.insert(number, PlannedCompartment { number, size, attributes }).is_some() {
                    return Err(PlanError::CompartmentTwice(number.number()));
                }
            }
        }
        Ok(Self(all.into_values().collect()))
    }
}

fn parse_numbers(text: &str) -> Result<(Compartment, Compartment), PlanError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |part: &str| {
        // `parse` would take a plus sign.
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { part.parse().ok() } else { None };
        number.and_then(Compartment::new).ok_or_else(|| PlanError::CompartmentNumber(text.to_owned()))
    };
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    if first <= last { Ok((first, last)) } else { Err(PlanError::Backwards(text.to_owned())) }
}

fn parse_kind(text: &str) -> Result<(Size, Attributes), PlanError> {
    let mut words = text.split('+').map(str::trim);
    let size = words.next().unwrap_or_default().parse().map_err(PlanError::Size)?;
    let mut attributes = Attributes::default();
    for word in words {
        let flag = match word {
            "refrigerated" => &mut attributes.refrigerated,
            "restricted" => &mut attributes.restricted,
            "accessible" => &mut attributes.accessible,
            _ => return Err(PlanError::Attribute(word.to_owned())),
        };
        *flag = true;
    }
    Ok((size, attributes))
}

/// How many there are of each size: `4 S, 4 M, 1 L`.
impl fmt::Display for Compartments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for size in Size::ALL {
            let count = self.0.iter().filter(|compartment| compartment.size == *size).count();
            if count > 0 {
                write!(f, "{separator}{count} {size}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_in_any_order_and_sorted() {
        let plan: Compartments = "9:L+refrigerated+accessible, 1-4:S,5-8:M,12:XL".parse().unwrap();
        let numbers: Vec<u16> = plan.iter().map(|compartment| compartment.number.number()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 12]);
        assert_eq!(plan.to_string(), "4 S, 4 M, 1 L, 1 XL");
        let ninth = plan.0[8];
        assert_eq!(ninth.size, Size::L);
        assert_eq!(ninth.attributes, Attributes { refrigerated: true, restricted: false, accessible: true });
        assert_eq!(plan.0[0].attributes, Attributes::default());
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, expected) in [
            ("", "no compartment is listed"),
            (" ", "no compartment is listed"),
            ("1-4", "`1-4` is not `<numbers>:<size>`"),
            ("1:S,", "`` is not `<numbers>:<size>`"),
            ("0:S", "`0` is not a compartment number"),
            ("1000:S", "`1000` is not a compartment number"),
            ("99999999:S", "`99999999` is not a compartment number"),
            ("+1:S", "`+1` is not a compartment number"),
            ("-1:S", "`-1` is not a compartment number"),
            ("1-:S", "`1-` is not a compartment number"),
            ("1-2-3:S", "`1-2-3` is not a compartment number"),
            ("١:S", "is not a compartment number"),
            ("4-1:S", "`4-1` runs backwards"),
            ("1-4:S,4:M", "compartment 4 is listed twice"),
            ("1:s", "size `s` is none of S, M, L, XL; in capitals"),
            ("1:", "size `` is none of"),
            ("1:S:M", "size `S:M` is none of"),
            ("1:S+cold", "`cold` is none of refrigerated, restricted, accessible"),
            ("1:S+", "`` is none of refrigerated"),
        ] {
            let error = text.parse::<Compartments>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_largest_cabinet_is_taken() {
        assert_eq!("1-999:S".parse::<Compartments>().unwrap().count(), 999);
    }
}
