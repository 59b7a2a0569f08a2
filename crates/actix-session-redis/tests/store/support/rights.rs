//! The Redis user of `SECURITY.md`, with the rights that are told there and no others. In the sealed run
//! it is who the stores under test log in as; what the tests themselves ask and do stays the default user's.

use super::sealing;

const SECURITY: &str = include_str!("../../../SECURITY.md");

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// Not that of the page, which some tests give other rights.
const USER: &str = "restricted";

/// As the page says them: `on >secret ~session:* +hgetall …`.
fn rights() -> String {
    let (_, line) = SECURITY.split_once("ACL SETUSER ").expect("it is there");
    let (line, _) = line.split_once("```").expect("it ends");
    let rights = line.split_whitespace().skip(1);
    rights.collect::<Vec<_>>().join(" ")
}

/// What a store needs besides if this is so, as a table of the manual says it.
pub(crate) fn needed_if(condition: &str) -> String {
    let mut rows = OPERATIONS.lines();
    let row = rows.find(|row| row.starts_with(&format!("| {condition}")));
    let rights = row.expect("the table has this row").split('`').nth(1);
    // In a table, a `|` has a backslash.
    rights.expect("the row has rights").replace('\\', "")
}

/// With what a redis-server is started so that it knows the user, who may do this besides.
pub(crate) fn arguments(besides: &str) -> Vec<String> {
    let user = match sealing::is_on() {
        true => format!("--user {USER} {} {besides}", rights()),
        false => String::new(),
    };
    user.split_whitespace().map(str::to_owned).collect()
}

/// Starts servers with these arguments and those.
pub(crate) fn start<T>(start: impl FnOnce(&[&str]) -> T, arguments: &[&str], besides: &str) -> T {
    let user = self::arguments(besides);
    let user = user.iter().map(|argument| &**argument);
    start(&arguments.iter().copied().chain(user).collect::<Vec<_>>())
}

/// Those of a cluster.
#[cfg(feature = "cluster")]
pub(crate) fn start_cluster(
    start: impl FnOnce(&[&str]) -> testbed::Cluster,
    arguments: &[&str],
) -> testbed::Cluster {
    self::start(start, arguments, &needed_if("Redis is a Cluster"))
}

/// The command that lets the user do this besides; without the user, one that does nothing.
pub(crate) fn grant(rights: &str) -> String {
    match sealing::is_on() {
        true => format!("ACL SETUSER {USER} {rights}"),
        false => "PING".to_owned(),
    }
}

/// As a URL has it before `@`, with the `@`; nothing if stores are the default user.
pub(crate) fn credentials() -> String {
    match sealing::is_on() {
        true => {
            let rights = rights();
            let password = rights.split(' ').find_map(|word| word.strip_prefix('>'));
            format!("{USER}:{}@", password.expect("it has a password"))
        }
        false => String::new(),
    }
}

/// This URL, as stores get it.
pub(crate) fn url(url: &str) -> String {
    url.replacen("://", &format!("://{}", credentials()), 1)
}
