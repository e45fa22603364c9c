//! The README's five-minute tour does what it says.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{harness::System, tour};

#[tokio::test]
async fn the_tour_of_the_readme_works() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = std::fs::read_to_string(readme).unwrap_or_else(|error| panic!("{readme}: {error}"));
    let steps = tour::steps(&text).unwrap_or_else(|error| panic!("README.md: {error}"));
    let system = System::start(2, 2).await;
    let dir = tempfile::tempdir().unwrap();
    let (mut variables, mut instead) = (Vec::new(), Vec::new());
    for (edge, http, tcp) in [(0, 8080, 1987), (1, 8081, 1988)] {
        let addresses = system.edge(edge);
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        variables.push((format!("HTTP{}", edge + 1), system.http(edge)));
        variables.push((format!("TCP{}", edge + 1), addresses.tcp.clone()));
        instead.push((http.to_string(), port(&addresses.http)));
        instead.push((tcp.to_string(), port(&addresses.tcp)));
    }
    if let Err(error) = tour::run(&steps, dir.path(), &variables, &instead).await {
        panic!("README.md, {error}");
    }
    system.finish().await;
}

/// The same on a system that runs already, behind one address for clients and one for HTTP.
#[tokio::test]
#[ignore = "needs a system at SIMPLE_IM_TCP and SIMPLE_IM_HTTP that nobody has registered at; ops/containers brings one up"]
async fn the_tour_works_behind_a_balancer() {
    let at = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}: expected host:port"));
    let (tcp, http) = (at("SIMPLE_IM_TCP"), at("SIMPLE_IM_HTTP"));
    let instead: Vec<_> = [("8080", &http), ("8081", &http), ("1987", &tcp), ("1988", &tcp)]
        .map(|(old, at)| (old.to_owned(), at.rsplit(':').next().unwrap().to_owned()))
        .into();
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let steps = tour::steps(&text).unwrap_or_else(|error| panic!("README.md: {error}"));
    let dir = tempfile::tempdir().unwrap();
    if let Err(error) = tour::run(&steps, dir.path(), &[], &instead).await {
        panic!("README.md, {error}");
    }
}
