//! A TCP connection to a [`TestApp`], kept open, and so to one and the same of its workers.

use std::time::Duration;

use socket2::SockRef;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::app::TestApp;

pub(crate) struct Line(BufReader<TcpStream>);

impl Line {
    pub(crate) async fn to(app: &TestApp) -> Self {
        let stream = TcpStream::connect(app.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a request with this cookie, and does not wait for the answer.
    pub(crate) async fn send(&mut self, path: &str, cookie: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The body of the next answer, which must be a success.
    pub(crate) async fn answer(&mut self) -> String {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let line = head.len();
            self.0.read_line(&mut head).await.unwrap();
            assert!(head.len() > line, "{head}");
            if let Some(bytes) = head[line..].strip_prefix("content-length: ") {
                length = bytes.trim_end().parse().unwrap();
            }
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        String::from_utf8(body).unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str, cookie: &str) -> String {
        self.send(path, cookie).await;
        self.answer().await
    }

    /// As when a process dies: without a farewell.
    pub(crate) fn reset(self) {
        let linger = SockRef::from(self.0.get_ref()).set_linger(Some(Duration::ZERO));
        linger.unwrap();
    }
}
