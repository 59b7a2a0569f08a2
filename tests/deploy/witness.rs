use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// Three servers in one, as a proxy sees them. It answers every request but one: after that, it hangs up.
pub(crate) struct Witness {
    addresses: [SocketAddr; 3],
    heard: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Witness {
    /// It hangs up on the first request with this method. Its threads end with the test's process.
    pub(crate) fn that_hangs_up_once_on(method: &'static str) -> Self {
        let heard = Arc::default();
        let addresses = std::array::from_fn(|_| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let heard = Arc::clone(&heard);
            thread::spawn(move || {
                for connection in listener.incoming().flatten() {
                    let heard = Arc::clone(&heard);
                    thread::spawn(move || serve(&connection, method, &heard));
                }
            });
            address
        });
        Self { addresses, heard }
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        self.addresses
    }

    /// The request lines and headers of all requests for this path.
    pub(crate) fn heard(&self, path: &str) -> Vec<Vec<String>> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked_for = |head: &&Vec<String>| head[0].split(' ').nth(1) == Some(path);
        heard.iter().filter(is_asked_for).cloned().collect()
    }
}

fn serve(connection: &TcpStream, hang_up_on: &str, heard: &Mutex<Vec<Vec<String>>>) {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    loop {
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let Some(first) = head.first() else { return };
        let is_it = first.starts_with(hang_up_on);
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !heard.iter().any(|head| head[0].starts_with(hang_up_on));
        heard.push(head);
        drop(heard);
        if is_it && is_first {
            return;
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut writer = connection;
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
