//! `bikhook send`: posts files or generated traffic to a receiver.

mod answer;
mod body;
mod credential;
mod generate;
mod post;
mod summary;

use std::{collections::BTreeMap, path::PathBuf};

use reqwest::{Url, header::HeaderValue};

use self::{
    body::PostBody,
    credential::{CredentialArgs, configured},
    generate::{FaultShares, Generator},
    post::{Bodies, PostTarget, TIMEOUT, post_all},
};
use super::{
    Cli, Error,
    auth::reachable,
    client::{build_client, cause, check_not_exposed, parse_url, runtime},
    output::stdout,
    settings::check_secrets_stored,
};
use crate::http::SourceSettings;

#[derive(clap::Args)]
pub(super) struct SendArgs {
    /// Files to post, each as one body, byte for byte; `-` is standard input
    #[arg(required_unless_present = "generate")]
    files: Vec<PathBuf>,
    /// URL of a source [default: the URL of a configured source]
    #[arg(long)]
    url: Option<String>,
    /// The configured source to use [default: the first by name]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    credential: CredentialArgs,
    /// Generate N events instead of posting files
    #[arg(long, value_name = "N", conflicts_with = "files")]
    generate: Option<u64>,
    /// Requests per second [default: as fast as answers arrive]
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Number of events per body
    #[arg(long, value_name = "B", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    #[command(flatten)]
    faults: FaultShares,
    /// Seed of the generated events: the same seed and options give the same bytes [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// Number of concurrent connections
    #[arg(long, value_name = "C", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    connections: u16,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// An example URL of a source.
const EXAMPLE: &str = "http://127.0.0.1:8080/webhook";

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("must be above 0".to_owned()),
    }
}

pub(super) fn run(args: &SendArgs, cli: &Cli) -> Result<(), Error> {
    let (url, authorization) = args.target(cli)?;
    let connections = usize::from(args.connections);
    let builder = reqwest::Client::builder().timeout(TIMEOUT).pool_max_idle_per_host(connections);
    let client = build_client(builder, &url)?;
    let target = PostTarget { url, authorization, client, rate: args.rate };
    let (bodies, seed) = args.bodies()?;
    let runtime = runtime(&mut tokio::runtime::Builder::new_multi_thread())?;
    let summary = runtime.block_on(post_all(target, bodies, connections))?;
    summary.report(&mut stdout(), seed, args.rate, args.json)
}

impl SendArgs {
    /// The bodies to post, and the seed if they are generated.
    fn bodies(&self) -> Result<(Bodies, Option<u64>), Error> {
        let Some(events) = self.generate else {
            let count = self.files.len() as u64;
            let bodies = self.files.clone().into_iter().map(|file| PostBody::read(&file));
            return Ok((Bodies { count, bodies: Box::new(bodies) }, None));
        };
        let seed = match self.seed {
            Some(seed) => seed,
            // 32 bits, so that the seed is short enough to type.
            None => getrandom::u32()
                .map(u64::from)
                .map_err(|error| Error::Failed(format!("cannot get a random seed ({error}): give --seed")))?,
        };
        let bodies = Generator::new(seed, events, self.batch, self.faults);
        Ok((Bodies { count: bodies.bodies(), bodies: Box::new(bodies.map(Ok)) }, Some(seed)))
    }

    /// The URL, and the value of the `Authorization` header: each as given, else from the configuration.
    fn target(&self, cli: &Cli) -> Result<(Url, Option<HeaderValue>), Error> {
        let url = self.url.as_ref().map(|url| parse_url(url, EXAMPLE)).transpose()?;
        let given = self.credential.read()?;
        if let (Some(url), Some(given)) = (&url, &given) {
            return Ok((url.clone(), Some(header(given)?)));
        }
        let config = cli.load()?;
        let source = self.source(&config.sources)?;
        let has_url = url.is_some();
        let url = match url {
            Some(url) => url,
            None => parse_url(&format!("http://{}{}", reachable(config.http.listen), source.path), EXAMPLE)?,
        };
        let authorization = match given {
            Some(given) => Some(given),
            None => {
                check_secrets_stored(&config)?;
                let configured = configured(source)?;
                if has_url && configured.is_some() {
                    let instead = "give --key-file, or --user with --password-file";
                    check_not_exposed(&url, config.http.listen, instead)?;
                }
                configured
            }
        };
        Ok((url, authorization.as_deref().map(header).transpose()?))
    }

    fn source<'a>(&self, sources: &'a BTreeMap<String, SourceSettings>) -> Result<&'a SourceSettings, Error> {
        let found = match &self.source {
            Some(name) => sources.get(name),
            None => sources.values().next(),
        };
        found.ok_or_else(|| {
            let name = self.source.as_deref().unwrap_or_default();
            let names = sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Error::Failed(format!("the configuration has no source {name:?}: use one of {names}"))
        })
    }
}

fn header(text: &str) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::try_from(text).map_err(|error| {
        Error::Failed(format!("the credential is not a valid header value: {}", cause(&error)))
    })?;
    header.set_sensitive(true);
    Ok(header)
}
