//! Who may ask what: one table, from which that of PROTOCOL.md is made.

use schemas::api::Request;
use schemas::ids::Role;

/// What a role may do with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Anything of the tenant, as far as the person's scope reaches.
    Tenant,
    /// What belongs to the integration that asks.
    Own,
}

/// How far an operation reaches, and so what a person with a scope may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One cabinet, or an order that is at one. A list leaves out what is outside the scope.
    Cabinet,
    /// The whole tenant: nobody with a scope may.
    Tenant,
}

macro_rules! ops {
    ($($op:ident = $name:literal, $people:expr, $own:literal, $reach:ident;)*) => {
        /// The operations, by the name that is on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Op {
            $($op,)*
        }

        impl Op {
            pub(crate) fn of(request: &Request) -> Self {
                match request {
                    $(Request::$op { .. } => Self::$op,)*
                }
            }

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$op => $name,)*
                }
            }

            pub(crate) fn reach(self) -> Reach {
                match self {
                    $(Self::$op => Reach::$reach,)*
                }
            }

            /// People's roles that may, and whether integrations may for what is theirs.
            fn granted(self) -> (&'static [Role], bool) {
                use Role::{Auditor, Operator, Staff, Support, Technician};
                match self {
                    $(Self::$op => (&$people, $own),)*
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$op,)*];
        }
    };
}

ops! {
    // operation, people who may, integrations for their own, how far it reaches
    CabinetList = "cabinet.list", [Operator, Support, Technician, Auditor], false, Cabinet;
    CabinetShow = "cabinet.show", [Operator, Support, Technician, Auditor], false, Cabinet;
    CabinetAdd = "cabinet.add", [Operator], false, Cabinet;
    CabinetReplace = "cabinet.replace", [Operator], false, Cabinet;
    CabinetWipe = "cabinet.wipe", [Operator], false, Cabinet;
    CabinetKeep = "cabinet.keep", [Operator], false, Cabinet;
    CabinetBreakGlass = "cabinet.break_glass", [Operator, Support], false, Cabinet;
    Availability = "availability", [Operator, Support, Auditor], true, Cabinet;
    OrderList = "order.list", [Operator, Support, Auditor], true, Cabinet;
    OrderShow = "order.show", [Operator, Support, Auditor], true, Cabinet;
    OrderPut = "order.put", [Operator], false, Cabinet;
    OrderCancel = "order.cancel", [Operator, Support], true, Cabinet;
    OrderChange = "order.change", [Operator, Support], true, Cabinet;
    OrderQuarantine = "order.quarantine", [Operator, Support], true, Cabinet;
    OrderRelease = "order.release", [Operator, Support], false, Cabinet;
    OrderClose = "order.close", [Operator, Support], false, Cabinet;
    OrderExtend = "order.extend", [Operator, Support], true, Cabinet;
    OrderResend = "order.resend", [Operator, Support], true, Cabinet;
    OrderReissue = "order.reissue", [Operator, Support], true, Cabinet;
    OrderOpen = "order.open", [Operator, Support], true, Cabinet;
    OrderLoad = "order.load", [Operator, Support, Staff], false, Cabinet;
    OrderConfirm = "order.confirm", [Operator, Support, Staff], false, Cabinet;
    OrderRetrieve = "order.retrieve", [Operator, Support, Staff], false, Cabinet;
    OrderMove = "order.move", [Operator, Support], true, Cabinet;
    BundlePut = "bundle.put", [Operator], false, Tenant;
    BundleShow = "bundle.show", [Operator, Support, Auditor], true, Tenant;
    BundleRelease = "bundle.release", [Operator, Support], true, Tenant;
    Unlock = "unlock", [Operator, Support], false, Cabinet;
    Challenge = "challenge", [Operator, Support], false, Cabinet;
    UnlockSigned = "unlock.signed", [Operator, Support], false, Cabinet;
    UnlockList = "unlock.list", [Operator, Support, Auditor], false, Cabinet;
    StaffAdd = "staff.add", [Operator], false, Tenant;
    StaffBadge = "staff.badge", [Operator], false, Tenant;
    StaffList = "staff.list", [Operator, Auditor], false, Tenant;
    StaffRevoke = "staff.revoke", [Operator], false, Tenant;
    CourierAdd = "courier.add", [Operator], false, Tenant;
    CourierBadge = "courier.badge", [Operator], false, Tenant;
    CourierList = "courier.list", [Operator, Auditor], false, Tenant;
    CourierRemove = "courier.remove", [Operator], false, Tenant;
    IdentityList = "identity.list", [Operator, Auditor], false, Tenant;
    IdentityRevoke = "identity.revoke", [Operator], false, Tenant;
    PersonScope = "person.scope", [Operator], false, Tenant;
    IntegrationQuota = "integration.quota", [Operator], false, Tenant;
    PolicyShow = "policy.show", [Operator, Auditor], false, Tenant;
    PolicyPut = "policy.put", [Operator], false, Tenant;
    PolicyPreview = "policy.preview", [Operator], false, Tenant;
    SiteList = "site.list", [Operator, Support, Technician, Auditor], false, Cabinet;
    SiteShow = "site.show", [Operator, Support, Technician, Auditor], false, Cabinet;
    SiteSet = "site.set", [Operator], false, Cabinet;
    ChannelList = "channel.list", [Operator, Auditor], false, Tenant;
    ChannelPut = "channel.put", [Operator], false, Tenant;
    ChannelRemove = "channel.remove", [Operator], false, Tenant;
    ChannelTest = "channel.test", [Operator], false, Tenant;
    TemplateShow = "template.show", [Operator, Auditor], false, Tenant;
    TemplatePut = "template.put", [Operator], false, Tenant;
    TemplateRemove = "template.remove", [Operator], false, Tenant;
    MessageList = "message.list", [Operator, Support, Auditor, Staff], false, Cabinet;
    FleetStatus = "fleet.status", [Operator, Technician, Auditor], false, Cabinet;
    Rows = "rows", [], true, Tenant;
    Backup = "backup", [Operator], false, Tenant;
    KeysetPut = "keyset.put", [Operator], false, Tenant;
    KeysetList = "keyset.list", [Operator, Technician, Auditor], false, Tenant;
}

/// What `role` may do with `op`, if anything.
pub(crate) fn authorise(role: Role, op: Op) -> Option<Right> {
    let (people, own) = op.granted();
    if people.contains(&role) { Some(Right::Tenant) } else { (own && role == Role::Integration).then_some(Right::Own) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");
    const COLUMNS: [Role; 6] =
        [Role::Operator, Role::Support, Role::Technician, Role::Auditor, Role::Staff, Role::Integration];

    fn cell(role: Role, op: Op) -> &'static str {
        match (authorise(role, op), op.reach()) {
            (Some(Right::Tenant), Reach::Cabinet) => " ✓ |",
            (Some(Right::Tenant), Reach::Tenant) => " whole |",
            (Some(Right::Own), _) => " own |",
            (None, _) => " |",
        }
    }

    /// The table as PROTOCOL.md has it.
    fn table() -> String {
        let names = COLUMNS.map(|role| format!(" {role} |")).concat();
        let mut table = format!("| op |{names}\n|{}\n", "---|".repeat(COLUMNS.len() + 1));
        for op in Op::ALL {
            let cells = COLUMNS.map(|role| cell(role, *op)).concat();
            table.push_str(&format!("| `{}` |{cells}\n", op.as_str()));
        }
        table
    }

    #[test]
    fn the_protocol_has_this_table() {
        assert!(PROTOCOL.contains(&table()), "PROTOCOL.md does not have the table of this file:\n{}", table());
    }

    #[test]
    fn machines_that_are_no_integration_may_ask_nothing() {
        for op in Op::ALL {
            assert_eq!([Role::Cabinet, Role::Server].map(|role| authorise(role, *op)), [None, None], "{op:?}");
        }
    }
}
