//! Sends a cancel request as libpq does: the connection stays open until the server closes it. `tokio_postgres` would
//! close it at once, but PgBouncer drops a request whose client disconnects before the request was forwarded.

use std::{
    error::Error,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_postgres::{
    CancelToken, Config, NoTls,
    config::Host,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, CONNECT};

/// The default port of PostgreSQL.
const PORT: u16 = 5432;

/// Sends a cancel request to every configured server, because the session may be on any of them. Servers that do not
/// know the session ignore the request.
pub(super) async fn send(token: &CancelToken, address: &Address) {
    for target in targets(&address.config).await {
        let sent = timeout(CONNECT, send_to(token, &target, address.tls.clone())).await;
        if let Ok(Err(error)) = sent {
            tracing::debug!(%error, "cancel request could not be sent");
        }
    }
}

/// A Unix socket, or one IP address of a server.
enum Target {
    Tcp { name: String, address: std::net::SocketAddr },
    Unix(std::path::PathBuf),
}

async fn targets(config: &Config) -> Vec<Target> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let mut targets = Vec::new();
    for at in 0..hosts.len().max(addresses.len()) {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(PORT);
        let known = addresses.get(at).map(|ip| (*ip, port).into());
        match hosts.get(at) {
            Some(Host::Unix(folder)) => targets.push(Target::Unix(folder.join(format!(".s.PGSQL.{port}")))),
            Some(Host::Tcp(name)) => {
                let found = match known {
                    Some(address) => vec![address],
                    // If the name cannot be resolved, no cancel request is sent, and the statement to cancel keeps
                    // running. A retried delivery must resolve the same name, so it cannot start another statement.
                    None => {
                        lookup_host((name.as_str(), port)).await.map(Iterator::collect).unwrap_or_default()
                    }
                };
                targets.extend(found.into_iter().map(|address| Target::Tcp { name: name.clone(), address }));
            }
            None => targets.extend(known.map(|address| Target::Tcp { name: String::new(), address })),
        }
    }
    targets
}

async fn send_to(
    token: &CancelToken,
    target: &Target,
    tls: Option<MakeRustlsConnect>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    match target {
        Target::Unix(path) => token.cancel_query_raw(Held(UnixStream::connect(path).await?), NoTls).await?,
        Target::Tcp { name, address } => {
            let stream = TcpStream::connect(address).await?;
            match tls {
                Some(mut tls) => {
                    let connector = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, name)?;
                    token.cancel_query_raw(stream, HeldTls(connector)).await?;
                }
                None => token.cancel_query_raw(Held(stream), NoTls).await?,
            }
        }
    }
    Ok(())
}

/// A stream that shuts down only after the other side has closed it.
struct Held<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer));
            // A read error counts as closed too. For example, TLS reports one if the close message is missing.
            if read.is_err() || buffer.filled().is_empty() {
                return Pin::new(&mut self.0).poll_shutdown(context);
            }
        }
    }
}

impl<S: TlsStream + Unpin> TlsStream for Held<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}

/// Makes TLS streams that shut down only after the other side has closed them.
struct HeldTls<C>(C);

impl<S, C> TlsConnect<S> for HeldTls<C>
where
    C: TlsConnect<S>,
    C::Future: Send + 'static,
    C::Stream: 'static,
    C::Error: 'static,
{
    type Stream = Held<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.0.connect(stream);
        Box::pin(async move { Ok(Held(connecting.await?)) })
    }
}
