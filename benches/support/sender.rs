//! One connection that posts bodies and waits for each answer.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::{events::AUTHORIZATION, run::Failed};

/// A connection to a receiver.
pub struct Sender(BufReader<TcpStream>);

impl Sender {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Posts a body. An answer other than 200 is an error.
    pub fn post(&mut self, body: &[u8]) -> Result<(), Failed> {
        let head = format!(
            "POST /webhook HTTP/1.1\r\nHost: bench\r\nAuthorization: {AUTHORIZATION}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut answer)? == 0 {
                return Err("the connection was closed without an answer".into());
            }
        }
        let length = answer
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer.into()) }
    }
}
