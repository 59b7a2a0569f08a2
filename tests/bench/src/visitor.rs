use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: String,
    /// What a browser that is given a cookie sends from now on: a `Cookie` header.
    pub(crate) cookie: Option<String>,
}

/// Asks once, with this `Cookie` header.
pub(crate) fn visit(address: SocketAddr, path: &str, cookie: &str) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path} answers: {head}");
    Ok(Answer {
        body: body.to_owned(),
        cookie: head.lines().find_map(cookie_of).map(str::to_owned),
    })
}

fn cookie_of(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(": ")?;
    let cookie = value.split(';').next()?;
    name.eq_ignore_ascii_case("set-cookie").then_some(cookie)
}
