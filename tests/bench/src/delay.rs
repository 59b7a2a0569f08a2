use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

/// Stands between a server and its Redis, and holds up what they say. Any amount can be under way
/// at once.
///
/// Its threads end when one side hangs up; the one that waits for connections, with this process.
#[derive(Debug)]
pub(crate) struct DelayingProxy {
    address: SocketAddr,
}

impl DelayingProxy {
    /// Half of the delay in each direction.
    pub(crate) fn start(to: SocketAddr, delay: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A Redis that is gone hangs up on its clients.
                if let Ok(redis) = TcpStream::connect(to) {
                    join(client, redis, delay / 2).ok();
                }
            }
        });
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn join(client: TcpStream, redis: TcpStream, delay: Duration) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    redis.set_nodelay(true)?;
    pass_on(client.try_clone()?, redis.try_clone()?, delay);
    pass_on(redis, client, delay);
    Ok(())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (under_way, arriving) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + delay;
            if under_way.send((due, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in arriving {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Both).ok();
    });
}
