use std::{
    io::{ErrorKind, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// What it does with those who connect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    SaysNothing,
    HangsUp,
}

/// Listens in the place of a Redis that is down.
pub(crate) struct Tarpit {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    manner: Manner,
    held: Vec<TcpStream>,
    attempts: usize,
    most_at_once: usize,
    is_over: bool,
}

impl Tarpit {
    pub(crate) fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Mutex::new(Shared {
            manner: Manner::SaysNothing,
            held: Vec::new(),
            attempts: 0,
            most_at_once: 0,
            is_over: false,
        }));
        let accepted = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if !accepted.lock().unwrap().welcome(stream) {
                    break;
                }
            }
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// From now on. Whom it has kept waiting, it hangs up on. Returns how many have tried so far.
    pub(crate) fn behave(&self, manner: Manner) -> usize {
        let mut shared = self.shared.lock().unwrap();
        shared.manner = manner;
        shared.held.clear();
        shared.most_at_once = 0;
        shared.attempts
    }

    /// How many have tried to connect so far.
    pub(crate) fn attempts(&self) -> usize {
        self.shared.lock().unwrap().attempts
    }

    /// How many connections were open at once, at most, since it has behaved so.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.lock().unwrap().most_at_once
    }
}

impl Shared {
    /// Whether others are welcome, too.
    fn welcome(&mut self, stream: TcpStream) -> bool {
        if self.is_over {
            return false;
        }
        self.attempts += 1;
        if self.manner == Manner::SaysNothing {
            stream.set_nonblocking(true).unwrap();
            // Who has hung up before this one came has done so by now: on one machine, a FIN is
            // never later than the next SYN.
            self.held.retain_mut(is_open);
            self.held.push(stream);
            self.most_at_once = self.most_at_once.max(self.held.len());
        }
        true
    }
}

/// Reads what there is.
fn is_open(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => (),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

impl Drop for Tarpit {
    /// The port is free when this returns.
    fn drop(&mut self) {
        let mut shared = self.shared.lock().unwrap();
        shared.is_over = true;
        shared.held.clear();
        drop(shared);
        // It is waiting for somebody.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}
