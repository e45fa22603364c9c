use serde::Deserialize;

use super::*;
use crate::config::{Millis, SecretUrl, Strength};

const DEFAULT: &str = r#"
[node]
name = "n1" # who
beat_ms = 500
lease_ms = 2000
strict = true
[store]
url = "postgres://im@localhost/im"
"#;

const RULES: &[Rule] = &[
    Rule::name("node.name"),
    Rule::range("node.beat_ms", 10, 60_000),
    Rule::range("node.lease_ms", 10, 60_000),
    Rule::at_most("node.beat_ms", "node.lease_ms"),
    Rule::any("node.strict"),
    Rule::url("store.url", &["postgres", "postgresql"]),
];

#[derive(Debug, Deserialize)]
struct Config {
    node: Node,
    store: Store,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    beat_ms: Millis,
    lease_ms: Millis,
    strict: bool,
}

#[derive(Debug, Deserialize)]
struct Store {
    url: SecretUrl,
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn each_layer_lies_over_the_one_before() {
    let file = file("[node]\nname = \"file\"\nbeat_ms = 100\nlease_ms = 300\n");
    let resolved = Layers::new(DEFAULT)
        .file(Some(file.path()))
        .env(env(&[
            ("IM_NODE__BEAT_MS", "200"),
            ("IM_NODE__STRICT", "false"),
            ("IM_OTHER__KEY", "x"),
            ("HOME", "/"),
        ]))
        .set(&["node.beat_ms=250", "store.url=postgres://im:geheim@db/im"])
        .resolve::<Config>(RULES)
        .unwrap();
    let Config { node, store } = resolved.config;
    assert_eq!((node.name.as_str(), node.beat_ms.0, node.lease_ms.0, node.strict), ("file", 250, 300, false));
    assert_eq!(store.url.expose(), "postgres://im:geheim@db/im");
    assert!(resolved.printed.contains("beat_ms = 250 # --set"), "{}", resolved.printed);
    assert!(resolved.printed.contains("strict = false # the environment variable IM_NODE__STRICT"));
    assert!(!resolved.printed.contains("geheim"), "{}", resolved.printed);
    let url = &resolved.in_force["store.url"];
    assert_eq!((url.value.as_str(), url.secret), (Some("postgres://im:***@db/im"), Some(Strength::Short)));
    let beat = &resolved.in_force["node.beat_ms"];
    assert_eq!((beat.value.as_integer(), beat.from.as_str(), beat.secret), (Some(250), "--set", None));
    resolved.printed.parse::<Table>().unwrap();
}

#[test]
fn what_is_in_force_shows_no_password_and_what_it_is_worth() {
    let told = |set: &str| {
        let layers = Layers::new("[x]\npassword = \"\"\n").set(&[set]);
        let resolved = layers.resolve::<Table>(&[Rule::secret("x.password")]).unwrap();
        let setting = resolved.in_force["x.password"].clone();
        (setting.value.as_str().unwrap().to_owned(), setting.secret)
    };
    let resolved = Layers::new("[x]\nurl = \"nats://worker@h\"\npassword = \"\"\n")
        .set(&["x.password=geheim genug fuer viele"])
        .resolve::<Table>(&[Rule::secret("x.password"), Rule::url("x.url", &["nats"])])
        .unwrap();
    assert_eq!(resolved.in_force["x.url"].secret, Some(Strength::None), "a name");
    assert_eq!(told("x.password="), (String::new(), Some(Strength::None)));
    assert_eq!(told("x.password=example-only"), ("***".to_owned(), Some(Strength::Example)));
    assert_eq!(told("x.password=geheim"), ("***".to_owned(), Some(Strength::Short)));
    assert_eq!(told("x.password=geheim genug fuer viele"), ("***".to_owned(), Some(Strength::Fine)));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let file = file("[node]\nname = 3\nbaet_ms = 100\n[nodes]\nx = 1\n");
    let errors = Layers::new(DEFAULT)
        .file(Some(file.path()))
        .env(env(&[("IM_NODE__LEASE_MS", "soon"), ("IM_STORE__PASSWORD", "x")]))
        .set(&["node.beat_ms=5", "node", "store.url=mysql://im:geheim@db"])
        .resolve::<Config>(RULES)
        .unwrap_err();
    let said = errors.to_string();
    let path = file.path().display();
    for expected in [
        "the configuration has 8 mistakes:".to_owned(),
        format!("node.name = 3, from the file {path}: expected a text"),
        format!("node.baet_ms, from the file {path}: there is no such key; expected one of name, beat_ms, lease_ms, strict in [node]"),
        format!("nodes.x, from the file {path}: there is no such key; expected one of the sections node, store"),
        "node.lease_ms = \"soon\", from the environment variable IM_NODE__LEASE_MS: expected a whole number".to_owned(),
        "store.password, from the environment variable IM_STORE__PASSWORD: there is no such key; expected one of url".to_owned(),
        "node.beat_ms = 5, from --set: expected a whole number from 10 to 60000".to_owned(),
        "--set node: expected section.key=value".to_owned(),
        "store.url = \"mysql://im:***@db\", from --set: expected a URL that begins with postgres:// or postgresql://".to_owned(),
    ] {
        assert!(said.contains(&expected), "missing: {expected}\n{said}");
    }
}

#[test]
fn rules_between_keys_name_the_other_value() {
    let errors = Layers::new(DEFAULT).set(&["node.beat_ms=3000"]).resolve::<Config>(RULES).unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert!(errors.to_string().contains("expected at most node.lease_ms, which is 2000"), "{errors}");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    let file = file("[store]\nurl = [\"geheim\"]\n");
    let errors = Layers::new(DEFAULT).file(Some(file.path())).resolve::<Config>(RULES).unwrap_err();
    assert!(!errors.to_string().contains("geheim"), "{errors}");
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_named() {
    let broken = file("[node\nname = 1");
    for path in [Path::new("/nowhere/im.toml"), broken.path()] {
        let errors = Layers::new(DEFAULT).file(Some(path)).resolve::<Config>(RULES).unwrap_err();
        assert!(errors.to_string().contains(&path.display().to_string()), "{errors}");
    }
}

#[test]
fn keys_without_a_rule_and_rules_without_a_key_are_found() {
    assert!(crate::config::without_rule(DEFAULT, RULES).is_empty());
    assert_eq!(crate::config::without_rule("[a]\nb = 1", &[Rule::any("a.c")]), ["a.b", "a.c"]);
}

#[test]
fn a_secret_may_stand_in_a_file_and_nothing_else_may() {
    let (url, long) = (file("postgres://im:geheim@db\n"), file("geheim\ngeheim\n"));
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let env = |name: &str, file: &str| Layers::new(DEFAULT).env([(name.to_owned(), file.to_owned())]);
    let resolved = env("IM_STORE__URL_FILE", &path(&url)).resolve::<Config>(RULES).unwrap();
    assert_eq!(resolved.config.store.url.expose(), "postgres://im:geheim@db");
    assert!(resolved.printed.contains("IM_STORE__URL_FILE") && !resolved.printed.contains("geheim"));
    let of_file = file(&format!("[store]\nurl_file = {:?}\n", path(&url)));
    let resolved = Layers::new(DEFAULT).file(Some(of_file.path())).resolve::<Config>(RULES).unwrap();
    assert_eq!(resolved.config.store.url.expose(), "postgres://im:geheim@db");
    for (file, reason) in
        [("/nowhere/secret".to_owned(), "No such file"), (path(&long), "more than one line")]
    {
        let errors = env("IM_STORE__URL_FILE", &file).resolve::<Config>(RULES).unwrap_err().to_string();
        assert!(errors.contains(&format!("store.url_file = {file}, from the environment")), "{errors}");
        assert!(errors.contains(reason) && !errors.contains("geheim"), "{errors}");
    }
    let errors = env("IM_NODE__NAME_FILE", &path(&url)).resolve::<Config>(RULES).unwrap_err().to_string();
    assert!(
        errors.contains(
            "node.name_file, from the environment variable IM_NODE__NAME_FILE: there is no such key"
        )
    );
}
