//! Numbers of users and groups, by the names that settings use.

use std::path::{Path, PathBuf};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Why a name has no number.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{name}` is not in `{path}`; make it, or give its number")]
    Unknown { name: String, path: PathBuf },
}

/// The number of a user: itself, or by its name.
pub(super) fn user(name: &str) -> Result<u32, AccountError> {
    number(name, Path::new(USERS))
}

/// The number of a group: itself, or by its name.
pub(super) fn group(name: &str) -> Result<u32, AccountError> {
    number(name, Path::new(GROUPS))
}

fn number(name: &str, path: &Path) -> Result<u32, AccountError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(path).map_err(|source| AccountError::Read { path: path.into(), source })?;
    find(name, &text).ok_or_else(|| AccountError::Unknown { name: name.to_owned(), path: path.into() })
}

/// passwd(5) and group(5): the name first, the number third.
fn find(name: &str, text: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let number = (fields.next()? == name).then(|| fields.nth(1))??;
        number.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_whole_and_a_number_is_itself() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\nfleet-broker-2:x:992:990::/:/x\n\nbroken\nfleet-broker:x:991:990::/:/x\n";
        assert_eq!(find("fleet-broker", text), Some(991));
        assert_eq!((find("fleet", text), find("broken", text), find("", text)), (None, None, None));
        assert_eq!(user("4711").unwrap(), 4711);
        assert_eq!((user("root").unwrap(), group("root").unwrap()), (0, 0));
        assert!(user("no-such-user").unwrap_err().to_string().contains("`no-such-user` is not in `/etc/passwd`"));
    }
}
