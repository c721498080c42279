//! Who may ask what: the table of PROTOCOL.md as data.

use schemas::api::Request;
use schemas::ids::Role;

/// What a role may do with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Anything of the tenant.
    Tenant,
    /// What belongs to the integration that asks.
    Own,
}

/// The operations, by the name that is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    CabinetAdd,
    CabinetReplace,
    CabinetList,
    CabinetShow,
    OrderPut,
    OrderList,
    OrderShow,
    OrderCancel,
    Unlock,
    StaffAdd,
    Rows,
    Backup,
    KeysetPut,
    KeysetList,
}

impl Op {
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::CabinetAdd { .. } => Self::CabinetAdd,
            Request::CabinetReplace { .. } => Self::CabinetReplace,
            Request::CabinetList {} => Self::CabinetList,
            Request::CabinetShow { .. } => Self::CabinetShow,
            Request::OrderPut { .. } => Self::OrderPut,
            Request::OrderList { .. } => Self::OrderList,
            Request::OrderShow { .. } => Self::OrderShow,
            Request::OrderCancel { .. } => Self::OrderCancel,
            Request::Unlock { .. } => Self::Unlock,
            Request::StaffAdd { .. } => Self::StaffAdd,
            Request::Rows { .. } => Self::Rows,
            Request::Backup {} => Self::Backup,
            Request::KeysetPut { .. } => Self::KeysetPut,
            Request::KeysetList {} => Self::KeysetList,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CabinetAdd => "cabinet.add",
            Self::CabinetReplace => "cabinet.replace",
            Self::CabinetList => "cabinet.list",
            Self::CabinetShow => "cabinet.show",
            Self::OrderPut => "order.put",
            Self::OrderList => "order.list",
            Self::OrderShow => "order.show",
            Self::OrderCancel => "order.cancel",
            Self::Unlock => "unlock",
            Self::StaffAdd => "staff.add",
            Self::Rows => "rows",
            Self::Backup => "backup",
            Self::KeysetPut => "keyset.put",
            Self::KeysetList => "keyset.list",
        }
    }

    /// People's roles that may, and whether integrations may for what is theirs.
    fn granted(self) -> (&'static [Role], bool) {
        use Role::{Auditor, Operator, Support, Technician};
        match self {
            Self::CabinetList | Self::CabinetShow => (&[Operator, Support, Technician, Auditor], false),
            Self::OrderList | Self::OrderShow => (&[Operator, Support, Auditor], true),
            Self::CabinetAdd
            | Self::CabinetReplace
            | Self::StaffAdd
            | Self::OrderPut
            | Self::Backup
            | Self::KeysetPut => (&[Operator], false),
            Self::KeysetList => (&[Operator, Technician, Auditor], false),
            Self::OrderCancel => (&[Operator, Support], true),
            Self::Unlock => (&[Operator, Support], false),
            Self::Rows => (&[], true),
        }
    }
}

/// What `role` may do with `op`, if anything.
pub(crate) fn authorise(role: Role, op: Op) -> Option<Right> {
    let (people, own) = op.granted();
    if people.contains(&role) { Some(Right::Tenant) } else { (own && role == Role::Integration).then_some(Right::Own) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_exactly_what_the_protocol_says() {
        use Role::{Auditor, Cabinet, Integration, Operator, Server, Staff, Support, Technician};
        let all = [
            Op::CabinetList,
            Op::CabinetShow,
            Op::OrderList,
            Op::OrderShow,
            Op::CabinetAdd,
            Op::StaffAdd,
            Op::OrderPut,
            Op::OrderCancel,
            Op::Unlock,
            Op::Rows,
            Op::Backup,
            Op::KeysetPut,
            Op::KeysetList,
            Op::CabinetReplace,
        ];
        for (role, rights) in [
            (Operator, "ttttttttt-tttt"),
            (Support, "tttt---tt-----"),
            (Technician, "tt----------t-"),
            (Auditor, "tttt--------t-"),
            (Integration, "--oo---o-o----"),
            (Staff, "--------------"),
            (Cabinet, "--------------"),
            (Server, "--------------"),
        ] {
            let found: String = all
                .iter()
                .map(|op| match authorise(role, *op) {
                    Some(Right::Tenant) => 't',
                    Some(Right::Own) => 'o',
                    None => '-',
                })
                .collect();
            assert_eq!(found, rights, "{role}");
        }
    }
}
