//! `fleet site set|show|list`.

use std::process::ExitCode;

use schemas::api::{ClosedDates, LocalDate, OpeningHours, Reply, Request, SiteDetail, SiteError, ZoneName};
use schemas::ids::SiteId;

use super::context::{Context, other_answer};
use super::output::{self, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum SiteCommand {
    /// Say in which time zone a site is, and when people get in
    #[command(after_help = "\
Examples:
  fleet site set berlin --zone Europe/Berlin
  fleet site set berlin --hours 'mo-fr 07:00-20:00, sa 08:00-18:00'
  fleet site set berlin --closed 2026-12-25,2026-12-26

What is left out stays as it is. A span that ends before it begins goes on
after midnight (fr-sa 20:00-02:00). Orders that are stored from then on follow
the hours, as far as the policy of their category says so (ends_when_open).")]
    Set(SiteSetArgs),
    /// Zone, hours and closed dates of a site, and what time it is there
    Show {
        /// As cabinets were registered there
        site: SiteId,
    },
    /// Sites where cabinets stand
    List,
}

#[derive(Debug, clap::Args)]
#[command(override_usage = "fleet site set [OPTIONS] <SITE>")]
pub(super) struct SiteSetArgs {
    /// As cabinets were registered there
    site: SiteId,
    /// Name in the IANA database, such as Europe/Berlin
    #[arg(long, required_unless_present_any = ["hours", "closed"])]
    zone: Option<ZoneName>,
    /// Such as 'mo-fr 07:00-20:00', or `always`
    #[arg(long)]
    hours: Option<OpeningHours>,
    /// Dates on which it does not open, or `none`
    #[arg(long, value_name = "DATE,…", value_parser = parse_closed)]
    closed: Option<ClosedDates>,
}

fn parse_closed(text: &str) -> Result<ClosedDates, SiteError> {
    if text == "none" {
        return Ok(ClosedDates::default());
    }
    let dates = text.split(',').map(str::trim).map(str::parse).collect::<Result<Vec<LocalDate>, SiteError>>()?;
    ClosedDates::try_from(dates)
}

pub(super) fn run(context: &Context, command: SiteCommand) -> anyhow::Result<ExitCode> {
    let request = match command {
        SiteCommand::Set(SiteSetArgs { site, zone, hours, closed }) => Request::SiteSet { site, zone, hours, closed },
        SiteCommand::Show { site } => Request::SiteShow { site },
        SiteCommand::List => return list(context),
    };
    let reply = context.ask(&context.folder()?, &request)?;
    let Reply::Site(site) = &reply else { return Err(other_answer()) };
    if context.json {
        output::json(&reply)?;
    } else {
        output::text(site_text(site).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let folder = context.folder()?;
    let mut sites = Vec::new();
    loop {
        let after = sites.last().map(|last: &SiteDetail| last.site.clone());
        let reply = context.ask(&folder, &Request::SiteList { after })?;
        if context.json {
            output::json(&reply)?;
        }
        let Reply::Sites(page) = reply else { return Err(other_answer()) };
        sites.extend(page.sites);
        if !page.more {
            break;
        }
    }
    if !context.json {
        output::show(site_table(&sites), "No cabinet stands anywhere.")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn zone_text(site: &SiteDetail) -> String {
    match &site.zone {
        None => "not set".to_owned(),
        Some(zone) if site.zone_unknown => format!("{zone}: unknown to this version, UTC instead"),
        Some(zone) => zone.to_string(),
    }
}

fn site_text(site: &SiteDetail) -> String {
    let is_open = if site.open { "open" } else { "closed" };
    let now = site.local.as_ref().map(|local| format!("{local}, ")).unwrap_or_default();
    let mut text = format!(
        "Site      {}\nCabinets  {}\nZone      {}\nNow       {now}{is_open}\nHours     {}\n",
        site.site,
        site.cabinets,
        zone_text(site),
        site.hours
    );
    if !site.closed.is_empty() {
        let dates: Vec<String> = site.closed.iter().map(|date| date.to_string()).collect();
        let lines: Vec<String> = dates.chunks(5).map(|dates| dates.join(" ")).collect();
        text.push_str(&format!("Closed    {}\n", lines.join("\n          ")));
    }
    if let (Some(by), Some(at)) = (&site.by, site.at) {
        text.push_str(&format!("Set by    {by}, {}\n", output::time(at)));
    }
    text
}

fn site_table(sites: &[SiteDetail]) -> comfy_table::Table {
    let mut table = table(["SITE", "CABINETS", "ZONE", "NOW", "HOURS"]);
    for site in sites {
        // The date tells nobody anything here.
        let now = site.local.as_ref().and_then(|local| local.get(11..)).unwrap_or("-");
        let now = if site.open { now.to_owned() } else { format!("{now}, closed") };
        table.add_row([site.site.to_string(), site.cabinets.to_string(), zone_text(site), now, site.hours.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> SiteDetail {
        SiteDetail {
            site: "berlin".parse().unwrap(),
            cabinets: 2,
            zone: Some("Europe/Berlin".parse().unwrap()),
            zone_unknown: false,
            hours: "mo-fr 07:00-20:00, sa 08:00-18:00".parse().unwrap(),
            closed: parse_closed("2026-12-26, 2026-12-25,2027-01-01,2027-03-26,2027-03-29,2027-05-01").unwrap(),
            open: false,
            local: Some("2026-11-22 21:15 CET".into()),
            by: Some("operator:acme:eve".parse().unwrap()),
            at: Some(schemas::api::Rfc3339(1_795_378_500_007)),
        }
    }

    #[test]
    fn a_site_reads_as_a_page() {
        insta::assert_snapshot!(site_text(&site()), @r"
        Site      berlin
        Cabinets  2
        Zone      Europe/Berlin
        Now       2026-11-22 21:15 CET, closed
        Hours     mo-fr 07:00-20:00, sa 08:00-18:00
        Closed    2026-12-25 2026-12-26 2027-01-01 2027-03-26 2027-03-29
                  2027-05-01
        Set by    operator:acme:eve, 2026-11-22 20:15:00Z
        ");
        let bare = SiteDetail {
            zone: None,
            hours: OpeningHours::ALWAYS,
            closed: ClosedDates::default(),
            open: true,
            local: None,
            by: None,
            at: None,
            ..site()
        };
        insta::assert_snapshot!(site_text(&bare), @r"
        Site      berlin
        Cabinets  2
        Zone      not set
        Now       open
        Hours     always
        ");
        let lost = SiteDetail { zone_unknown: true, ..site() };
        assert!(site_text(&lost).contains("Europe/Berlin: unknown to this version, UTC instead"));
    }

    #[test]
    fn the_table_of_sites_fits_80_columns_with_the_longest_names() {
        let long = SiteDetail {
            site: "s".repeat(32).parse().unwrap(),
            zone: Some("America/Argentina/ComodRivadavia".parse().unwrap()),
            local: Some("2026-11-22 21:15 UTC-03:00".into()),
            ..site()
        };
        let shown = site_table(&[site(), long]).to_string();
        assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 80), "{shown}");
    }

    #[test]
    fn closed_dates_are_a_list_or_none() {
        assert!(parse_closed("none").unwrap().is_empty());
        for bad in ["", "2026-12-25,", "christmas", "2026-12-25,2026-12-25"] {
            assert!(parse_closed(bad).is_err(), "{bad}");
        }
    }
}
