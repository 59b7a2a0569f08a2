use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use deadpool_redis::redis::Value;
use testbed::{Server, eventually_holds};

/// Hears all that Redis is told, in each of its lives.
pub(super) struct Wiretap<'a> {
    redis: &'a Server,
    monitor: Arc<Mutex<Vec<u8>>>,
    slowlog: Vec<u8>,
}

impl<'a> Wiretap<'a> {
    /// What the server must be started with, so that its slow log has every command, and so that its
    /// dump has texts as they are.
    pub(super) const ARGUMENTS: [&'static str; 6] = [
        "--slowlog-log-slower-than",
        "0",
        "--slowlog-max-len",
        "1000000",
        "--rdbcompression",
        "no",
    ];

    pub(super) fn on(redis: &'a Server) -> Self {
        let wiretap = Self {
            redis,
            monitor: Arc::default(),
            slowlog: Vec::new(),
        };
        wiretap.listen();
        wiretap
    }

    /// From now on, and until the server ends.
    pub(super) fn listen(&self) {
        let mut line = TcpStream::connect(self.redis.address()).unwrap();
        line.write_all(b"MONITOR\r\n").unwrap();
        let mut answer = [0; 5];
        line.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+OK\r\n");
        let heard = Arc::clone(&self.monitor);
        thread::spawn(move || {
            let mut buffer = [0; 1 << 16];
            while let Ok(read @ 1..) = line.read(&mut buffer) {
                heard.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
    }

    /// Before the server ends, which forgets its slow log then.
    pub(super) fn catch_up(&mut self) {
        const MARK: &str = "ECHO caught-up";
        let heard_before = self.monitor.lock().unwrap().len();
        self.redis.run::<()>(MARK);
        let mark = MARK.replace(' ', "\" \"");
        eventually_holds("MONITOR has told everything", || {
            let monitor = self.monitor.lock().unwrap();
            String::from_utf8_lossy(&monitor[heard_before..]).contains(&mark)
        });
        flatten(&self.redis.run("SLOWLOG GET -1"), &mut self.slowlog);
        self.redis.run::<()>("SLOWLOG RESET");
    }

    /// What has been heard, and what the server keeps in its folder: its log, the append-only files,
    /// and a dump.
    pub(super) fn evidence(mut self) -> Vec<(&'static str, Vec<u8>)> {
        self.catch_up();
        self.redis.run::<()>("SAVE");
        let (_, folder): (String, String) = self.redis.run("CONFIG GET dir");
        let monitor = self.monitor.lock().unwrap().clone();
        let mut files = [
            ("append-only files", vec![]),
            ("dump", vec![]),
            ("Redis's log", vec![]),
        ];
        read_files(folder.as_ref(), &mut |name, mut bytes| {
            let kind = ["appendonly", "dump"]
                .iter()
                .position(|it| name.starts_with(it));
            files[kind.unwrap_or(2)].1.append(&mut bytes);
        });
        let heard = [("MONITOR", monitor), ("SLOWLOG", self.slowlog)];
        heard.into_iter().chain(files).collect()
    }
}

fn flatten(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        Value::BulkString(bytes) => {
            into.extend_from_slice(bytes);
            into.push(b'\n');
        }
        Value::Int(number) => into.extend_from_slice(format!("{number}\n").as_bytes()),
        other => panic!("a slow log has no {other:?}"),
    }
}

/// Without sockets.
fn read_files(folder: &Path, read: &mut impl FnMut(&str, Vec<u8>)) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            read_files(&entry.path(), read);
        } else if kind.is_file() {
            let name = entry.file_name();
            read(&name.to_string_lossy(), fs::read(entry.path()).unwrap());
        }
    }
}
