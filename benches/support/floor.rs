//! The floor: a minimal server to compare with. It reads the body, checks the header and answers 200.

use std::{net::Ipv4Addr, process::ExitCode};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use tokio::net::TcpListener;

use super::{events::AUTHORIZATION, run::Failed};

/// Serves until the process is killed.
pub fn serve() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("the floor is ready: http://{}/webhook", listener.local_addr()?);
        axum::serve(listener, Router::new().route("/webhook", post(answer))).await?;
        Ok(())
    })
}

async fn answer(headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let known = headers.get(header::AUTHORIZATION).is_some_and(|value| value == AUTHORIZATION);
    if known && !body.is_empty() {
        (StatusCode::OK, "{\"accepted\":1,\"duplicates\":0,\"quarantined\":0,\"seq\":1}\n")
    } else {
        (StatusCode::UNAUTHORIZED, "")
    }
}
