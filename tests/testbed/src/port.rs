use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, anyhow};
use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 that is ours until this is dropped.
///
/// A bound socket that never listens keeps it: Linux gives the port to nobody who asks for a free
/// one, refuses connections while nothing listens, and lets a server bind it beside us because
/// both sides set `SO_REUSEADDR`, as redis-server, nginx and actix-web do. So a program can be
/// stopped and started on its port without anyone slipping in between.
///
/// Other systems do not let the server in, so there the port is only known to have been free.
#[derive(Debug)]
pub struct ReservedPort {
    address: SocketAddr,
    _socket: Option<Socket>,
}

impl ReservedPort {
    /// Any port that is free.
    ///
    /// # Errors
    ///
    /// When none is.
    pub fn any() -> anyhow::Result<Self> {
        Self::bind(0).context("cannot reserve a port on 127.0.0.1")
    }

    /// This port, or any free one for 0.
    ///
    /// # Errors
    ///
    /// When it is taken, in a sentence that names it.
    pub fn exactly(port: u16) -> anyhow::Result<Self> {
        Self::bind(port).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => taken(port),
            _ => anyhow!(error).context(format!("cannot use port {port} of 127.0.0.1")),
        })
    }

    /// For the cluster bus, if a server with these arguments has one; the argument
    /// `--cluster-port` gives it to the server. Left alone, Redis takes the server's own port plus
    /// 10,000, which can be another's or past the last port.
    pub(crate) fn for_cluster_bus(arguments: &[&str]) -> Option<Self> {
        let is_node = arguments.contains(&"--cluster-enabled");
        is_node.then(|| Self::any().unwrap())
    }

    fn bind(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self {
            address,
            _socket: cfg!(target_os = "linux").then_some(socket),
        })
    }

    /// Where a server can listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }

    /// For a server that was not let in after all: another one listens there, who reserved the
    /// port at the same time or without asking.
    pub(crate) fn taken(&self) -> anyhow::Error {
        taken(self.number())
    }
}

fn taken(port: u16) -> anyhow::Error {
    anyhow!("port {port} is taken; choose another one with PORT (0: any free one)")
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::TcpListener};

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_reserved_port_is_refused_until_a_server_takes_it_again_and_again() {
        let port = ReservedPort::any().unwrap();
        for _ in 0..2 {
            assert!(std::net::TcpStream::connect(port.address()).is_err());
            let server = TcpListener::bind(port.address()).unwrap();
            assert!(std::net::TcpStream::connect(port.address()).is_ok());
            drop(server);
        }
    }

    #[test]
    fn no_port_is_given_out_twice() {
        let ports: Vec<_> = (0..500).map(|_| ReservedPort::any().unwrap()).collect();
        let distinct: HashSet<_> = ports.iter().map(ReservedPort::address).collect();
        assert_eq!(distinct.len(), ports.len());
    }

    #[test]
    fn a_port_in_use_is_named() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let refusal = ReservedPort::exactly(port).unwrap_err().to_string();
        assert!(refusal.contains(&format!("port {port} is taken")));
    }
}
