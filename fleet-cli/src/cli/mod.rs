//! The command line: what can be asked, and how answers and errors look.

mod args;
mod backups;
mod break_glass;
mod bundles;
mod cabinets;
mod context;
mod couriers;
mod doctor;
mod errands;
mod failure;
mod keys;
mod notify;
mod orders;
mod output;
mod own_keys;
mod people;
mod policy;
mod quotas;
mod setup;
mod sites;
mod staff;
mod unlocks;
mod watch;
mod wipe;

use std::process::ExitCode;

use clap::Parser as _;
use schemas::ids::Role;

use args::{Args, Command, IntegrationCommand};
use context::Context;
use failure::exit_code;

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    match dispatch(args) {
        Ok(code) => code,
        Err(error) => {
            output::report(&error, json);
            exit_code(&error)
        }
    }
}

fn dispatch(args: Args) -> anyhow::Result<ExitCode> {
    let context = Context { json: args.json, person: args.person };
    match args.command {
        Command::Init(init) => setup::init(&context, init),
        Command::Person(person) => people::person(&context, person),
        Command::Operator(operator) => people::person(&context, operator.of(Role::Operator)),
        Command::Integration(IntegrationCommand::Role(integration)) => {
            people::person(&context, integration.of(Role::Integration))
        }
        Command::Integration(IntegrationCommand::Quota(quota)) => quotas::quota(&context, quota),
        Command::Cabinet(cabinet) => cabinets::run(&context, cabinet),
        Command::Order(order) => orders::run(&context, order),
        Command::Bundle(bundle) => bundles::run(&context, bundle),
        Command::Policy(policy) => policy::run(&context, policy),
        Command::Notify(notify) => notify::run(&context, notify),
        Command::Site(site) => sites::run(&context, site),
        Command::Unlock(unlock) => cabinets::unlock(&context, unlock),
        Command::Unlocks(unlocks) => unlocks::run(&context, unlocks),
        Command::Staff(staff) => staff::run(&context, staff),
        Command::Courier(courier) => couriers::run(&context, courier),
        Command::Keys(keys) => keys::run(&context, keys),
        Command::Watch(watch) => watch::run(&context, watch),
        Command::Backup => backups::backup(&context),
        Command::Restore(restore) => backups::restore(&context, &restore),
        Command::Doctor { dir } => doctor::run(&context, dir.as_deref()),
        Command::Demo { stay } => crate::demo::run(crate::demo::DemoOptions { stay }),
    }
}
