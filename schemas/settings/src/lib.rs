//! Reads the settings of the binaries: defaults in code, then a file, then the environment, then flags.
//!
//! Every mistake is reported at once, with its key and where it was said. Unknown keys are mistakes: a setting that is
//! spelled wrong must not be taken for one left out.

use std::fmt;
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where settings come from, later ones winning.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    pub file: Option<&'a Path>,
    /// A file that a program has written, if it is there. What people write wins over it; paths in it are relative to the
    /// folder of `file`, too.
    pub written: Option<&'a Path>,
    /// `FLEET_BROKER` reads `FLEET_BROKER__GATE__LISTEN` as `gate.listen`.
    pub env_prefix: Option<&'a str>,
    /// `key=value` from the command line.
    pub flags: &'a [String],
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `gate.listen`
    pub key: String,
    /// The file, the environment variable's name, or `flag`.
    pub origin: String,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.what),
            key => write!(f, "{}: `{key}` {}", self.origin, self.what),
        }
    }
}

/// All mistakes, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

/// A set of settings: its `Default` has every key (no `Option`), so that unknown keys can be told from missing ones.
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// Checks what types cannot say. Relative paths in it are relative to `base`, the folder of the settings file.
    fn check(&mut self, base: &Path, problems: &mut Checks);
}

/// Collects what [`Settings::check`] finds.
#[derive(Debug, Default)]
pub struct Checks {
    found: Vec<(String, String)>,
}

impl Checks {
    pub fn problem(&mut self, key: &str, what: impl Into<String>) {
        self.found.push((key.to_owned(), what.into()));
    }

    /// Makes a path absolute below `base`; an empty one is missing.
    pub fn path(&mut self, key: &str, path: &mut PathBuf, base: &Path) {
        if path.as_os_str().is_empty() {
            self.problem(key, "is missing");
        } else if path.is_relative() {
            *path = base.join(&*path);
        }
    }
}

/// Reads settings, or says everything that is wrong with them.
pub fn load<T: Settings>(sources: &Sources<'_>) -> Result<T, Problems> {
    let defaults = defaults::<T>()?;
    let known = defaults.collect().map_err(|error| whole("defaults", &error))?;
    let mut problems = Vec::new();
    let mut good = Config::builder().add_source(defaults.clone());
    for (origin, given) in collect(sources)? {
        let mut leaves = Vec::new();
        flatten("", &given, &known, &mut leaves);
        for Leaf { key, value, known } in leaves {
            let tried = match known {
                true => try_leaf::<T>(&defaults, &key, &value),
                false => Err("is not a known setting".to_owned()),
            };
            match tried {
                Ok(()) => good = with(good, &key, value),
                Err(what) => problems.push(Problem { key, origin: origin.clone(), what }),
            }
        }
    }
    let mut settings: T = build(good).map_err(|error| whole("settings", &error))?;
    let base = sources.file.and_then(Path::parent).unwrap_or(Path::new(""));
    let mut checks = Checks::default();
    settings.check(base, &mut checks);
    let origin = sources.file.map_or_else(|| "settings".to_owned(), |file| file.display().to_string());
    for (key, what) in checks.found {
        // A key whose value could not be read was reported already; its default is not the person's mistake.
        if !problems.iter().any(|known| known.key == key) {
            problems.push(Problem { key, origin: origin.clone(), what });
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(Problems(problems)) }
}

/// The defaults as a source. By way of TOML, because config's own serializer leaves out empty lists.
fn defaults<T: Settings>() -> Result<Config, Problems> {
    let text = toml::to_string(&T::default()).map_err(|error| whole("defaults", &error))?;
    let file = File::from_str(&text, FileFormat::Toml);
    Config::builder().add_source(file).build().map_err(|error| whole("defaults", &error))
}

struct Leaf {
    key: String,
    value: Value,
    known: bool,
}

/// An origin and what it gives.
type Given = (String, Map<String, Value>);

/// What was given, by origin, later ones winning.
fn collect(sources: &Sources<'_>) -> Result<Vec<Given>, Problems> {
    let mut all = Vec::new();
    let written = sources.written.filter(|path| path.exists());
    for path in written.into_iter().chain(sources.file) {
        let origin = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| whole(&origin, &format!("cannot be read: {error}")))?;
        let file = File::from_str(&text, FileFormat::Toml);
        all.push((origin.clone(), file.collect().map_err(|error| whole(&origin, &error))?));
    }
    if let Some(prefix) = sources.env_prefix {
        let environment = Environment::with_prefix(prefix).prefix_separator("__").separator("__");
        let origin = format!("environment {prefix}__…");
        all.push((origin.clone(), in_tables(environment).map_err(|error| whole(&origin, &error))?));
    }
    let mut problems = Vec::new();
    for flag in sources.flags {
        let origin = format!("flag `{}`", flag.split('=').next().unwrap_or_default());
        let source = match flag.split_once('=') {
            Some((key, value)) => flag_source(key, value).map_err(|error| describe(&error)),
            None => Err("is not `key=value`".to_owned()),
        };
        match source {
            Ok(map) => all.push((origin, map)),
            Err(what) => problems.push(Problem { key: String::new(), origin, what }),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(Problems(problems)) }
}

/// Alone, an environment has dotted keys; built, it has tables within tables as a file has.
fn in_tables(environment: Environment) -> Result<Map<String, Value>, ConfigError> {
    Config::builder().add_source(environment).build()?.collect()
}

fn flag_source(key: &str, value: &str) -> Result<Map<String, Value>, ConfigError> {
    Config::builder().set_override(key, value)?.build()?.collect()
}

fn flatten(prefix: &str, given: &Map<String, Value>, known: &Map<String, Value>, leaves: &mut Vec<Leaf>) {
    for (name, value) in given {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (&value.kind, known.get(name).map(|known| &known.kind)) {
            (ValueKind::Table(inner), Some(ValueKind::Table(inner_known))) => {
                flatten(&key, inner, inner_known, leaves);
            }
            (_, known) => leaves.push(Leaf { key, value: value.clone(), known: known.is_some() }),
        }
    }
}

/// Whether the settings can be read with this one value in place.
fn try_leaf<T: DeserializeOwned>(defaults: &Config, key: &str, value: &Value) -> Result<(), String> {
    let builder = Config::builder()
        .add_source(defaults.clone())
        .set_override(key, value.clone())
        .map_err(|error| describe(&error))?;
    build::<T>(builder).map(|_| ()).map_err(|error| describe(&error))
}

fn with(builder: ConfigBuilder<DefaultState>, key: &str, value: Value) -> ConfigBuilder<DefaultState> {
    // `try_leaf` has just set the same key, so this cannot fail.
    builder.clone().set_override(key, value).unwrap_or(builder)
}

fn build<T: DeserializeOwned>(builder: ConfigBuilder<DefaultState>) -> Result<T, ConfigError> {
    builder.build()?.try_deserialize()
}

/// config's own text names the key and the origin, which a [`Problem`] has already.
fn describe(error: &ConfigError) -> String {
    if let ConfigError::At { error, .. } = error {
        describe(error)
    } else if let ConfigError::Type { unexpected, expected, .. } = error {
        format!("is {unexpected}, expected {expected}")
    } else {
        format!("is refused: {error}")
    }
}

fn whole(origin: &str, error: &impl fmt::Display) -> Problems {
    Problems(vec![Problem { key: String::new(), origin: origin.to_owned(), what: error.to_string() }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Gate {
        listen: std::net::SocketAddr,
        sessions: u32,
    }

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        gate: Gate,
        store: PathBuf,
        rows: Vec<Gate>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                gate: Gate { listen: "127.0.0.1:8883".parse().unwrap(), sessions: 4 },
                store: PathBuf::new(),
                rows: vec![],
            }
        }
    }

    impl Settings for Sample {
        fn check(&mut self, base: &Path, problems: &mut Checks) {
            problems.path("store", &mut self.store, base);
            if self.gate.sessions == 0 {
                problems.problem("gate.sessions", "must be at least 1");
            }
        }
    }

    #[allow(clippy::unwrap_in_result, reason = "the set-up of a test")]
    fn read(text: &str, flags: &[&str]) -> Result<Sample, Problems> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broker.toml");
        std::fs::write(&file, text).unwrap();
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        load(&Sources { file: Some(&file), written: None, env_prefix: None, flags: &flags })
    }

    #[test]
    fn flags_win_over_the_file_and_paths_are_beside_it() {
        let settings =
            read("store = 'fleet.redb'\n[gate]\nlisten = '127.0.0.1:1'\nsessions = 9\n", &["gate.sessions=7"]).unwrap();
        assert_eq!((settings.gate.listen.port(), settings.gate.sessions), (1, 7));
        assert!(settings.store.is_absolute());
    }

    #[test]
    fn text_that_looks_like_a_number_stays_as_it_was_written() {
        let settings = read("store = 'x'", &["store=007", "gate.sessions=12"]).unwrap();
        assert!(settings.store.ends_with("007"));
        assert_eq!(settings.gate.sessions, 12);
    }

    #[test]
    fn every_mistake_is_listed_at_once() {
        let problems = read("[gate]\nlisten = 'nowhere'\nsesions = 1\nsessions = 'many'\n[stor]\npath = 'x'\n", &[]);
        let mut found: Vec<_> = problems.unwrap_err().0;
        found.sort_by(|one, other| one.key.cmp(&other.key));
        let keys: Vec<_> = found.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["gate.listen", "gate.sesions", "gate.sessions", "stor", "store"]);
        assert!(found.iter().all(|problem| problem.origin.ends_with("broker.toml")), "{found:?}");
        assert!(found[4].what.contains("missing"));
    }

    #[test]
    fn a_file_that_is_missing_or_not_toml_is_named() {
        let error = read("[gate\n", &[]).unwrap_err().to_string();
        assert!(error.contains("broker.toml"), "{error}");
        let gone = Path::new("no/such/file.toml");
        let error = load::<Sample>(&Sources { file: Some(gone), ..Sources::default() }).unwrap_err().to_string();
        assert!(error.contains("no/such/file.toml"), "{error}");
    }

    #[test]
    fn flags_that_are_no_settings_are_named() {
        let error = read("store = 'x'", &["gate.sessions"]).unwrap_err().to_string();
        assert!(error.contains("gate.sessions") && error.contains("key=value"), "{error}");
        let error = read("store = 'x'", &["gate.port=1"]).unwrap_err().to_string();
        assert!(error.contains("gate.port"), "{error}");
    }

    #[test]
    fn keys_of_the_environment_are_known_as_those_of_a_file() {
        let said = [("P__GATE__SESSIONS", "7"), ("P__STORE", "x"), ("P__GATE__SESIONS", "8"), ("HOME", "x")];
        let said = said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let environment = Environment::with_prefix("P").prefix_separator("__").separator("__").source(Some(said));
        let known = defaults::<Sample>().unwrap().collect().unwrap();
        let mut leaves = Vec::new();
        flatten("", &in_tables(environment).unwrap(), &known, &mut leaves);
        leaves.sort_by(|one, other| one.key.cmp(&other.key));
        let found: Vec<_> = leaves.iter().map(|leaf| (leaf.key.as_str(), leaf.known)).collect();
        assert_eq!(found, [("gate.sesions", false), ("gate.sessions", true), ("store", true)]);
        let tried = leaves.iter().filter(|leaf| leaf.known);
        let tried = tried.map(|leaf| try_leaf::<Sample>(&defaults::<Sample>().unwrap(), &leaf.key, &leaf.value));
        assert!(tried.into_iter().all(|one| one.is_ok()), "text of an environment may be a number");
    }

    #[test]
    fn a_wrong_row_of_a_list_is_reported_with_its_list() {
        let error = read("store = 'x'\n[[rows]]\nlisten = '127.0.0.1:1'\nsessions = 'x'\n", &[]).unwrap_err();
        assert!(error.to_string().contains("rows"), "{error}");
    }
}
