//! What has got into the storage, and no store has written: by another program, an older version, a disk.

use actix_session::{
    Session,
    storage::{SessionKey, SessionStore as _},
};
use anyhow::{Context as _, bail, ensure};

use super::{TRAIT, checks};
use crate::{
    browser::Browser,
    harness::{Garbage, Harness},
    support::{HOUR, NotChecked, Short, ensure_holds, is_stored, mark, save, state},
};

checks! {
    BadBytes, Must, TRAIT => what_cannot_be_read_is_no_session_or_an_error;
    BadBytes, Must, TRAIT => what_cannot_be_read_harms_no_other_session;
    BadBytes, Must, TRAIT => a_delete_takes_away_what_cannot_be_read;
    BadBytes, Should, "ASVS 16.5.2" => a_visitor_whose_session_cannot_be_read_is_served;
    BadBytes, Should, "OWASP, *Session ID Generation and Verification*" => a_visitor_whose_session_cannot_be_read_gets_a_new_key;
    BadBytes, Should, "ASVS 16.5.3" => what_cannot_be_read_is_not_written_over;
}

/// What is put in the place of a session.
struct Damage {
    what: &'static str,
    bytes: Vec<u8>,
    is_other_kind: bool,
    /// In the bytes, and in no others, so that they are found again.
    mark: String,
}

fn all_damage() -> impl Iterator<Item = Damage> {
    let kinds = [
        ("no JSON", "MARK is no JSON"),
        ("JSON that is cut off", r#"{"MARK":"1"#),
        ("a list", r#"["MARK"]"#),
        ("a string", r#""MARK""#),
        ("fields that are no JSON text", r#"{"MARK":{}}"#),
        (NO_UTF_8, "MARK"),
        (OTHER_KIND, "MARK"),
    ];
    kinds.into_iter().map(|(what, text)| {
        let mark = mark();
        let mut bytes = text.replace("MARK", &mark).into_bytes();
        if what == NO_UTF_8 {
            bytes.extend(b"\xFF\xFE\x80\0");
        }
        Damage {
            what,
            bytes,
            is_other_kind: what == OTHER_KIND,
            mark,
        }
    })
}

const NO_UTF_8: &str = "bytes that are no UTF-8";

const OTHER_KIND: &str = "another kind";

impl Damage {
    /// `false` if the harness cannot do that.
    async fn is_done<H: Harness>(&self, harness: &H, session_key: &SessionKey) -> bool {
        let garbage = match self.is_other_kind {
            true => Garbage::OtherKind(&self.bytes),
            false => Garbage::Bytes(&self.bytes),
        };
        harness.overwrite(session_key, garbage).await
    }
}

/// Damages a session in every way that the harness can, and sees what follows.
async fn for_each<H: Harness>(
    harness: &H,
    see: impl AsyncFn(&SessionKey, &Damage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut is_checked = false;
    for damage in all_damage() {
        let session_key = save(&harness.store(), &state([("n", "1")]), HOUR).await?;
        if damage.is_done(harness, &session_key).await {
            is_checked = true;
            see(&session_key, &damage).await.context(damage.what)?;
        }
    }
    ensure!(is_checked, CANNOT);
    Ok(())
}

/// The same to a visitor.
async fn for_each_visitor<H: Harness>(
    harness: &H,
    see: impl AsyncFn(&Browser, &Damage) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut is_checked = false;
    for damage in all_damage() {
        let browser = Browser::start(harness).await?;
        browser.put("n", 1).await?;
        if damage.is_done(harness, &browser.session_key()?).await {
            is_checked = true;
            see(&browser, &damage).await.context(damage.what)?;
        }
    }
    ensure!(is_checked, CANNOT);
    Ok(())
}

const CANNOT: NotChecked = NotChecked("the harness cannot put garbage in the storage");

async fn what_cannot_be_read_is_no_session_or_an_error<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    for_each(harness, async |session_key, _| {
        match harness.store().load(session_key).await {
            Ok(Some(found)) => bail!("it is taken for {}", Short(&found)),
            _ => Ok(()),
        }
    })
    .await
}

async fn what_cannot_be_read_harms_no_other_session<H: Harness>(harness: &H) -> anyhow::Result<()> {
    let store = harness.store();
    let untouched = state([("whose", "1")]);
    let mine = save(&store, &untouched, HOUR).await?;
    for_each(harness, async |session_key, _| {
        let _ = store.load(session_key).await;
        ensure_holds(&store, &mine, &untouched).await?;
        save(&store, &untouched, HOUR).await?;
        Ok(())
    })
    .await
}

async fn a_delete_takes_away_what_cannot_be_read<H: Harness>(harness: &H) -> anyhow::Result<()> {
    for_each(harness, async |session_key, damage| {
        harness.store().delete(session_key).await?;
        let is_there = is_stored(harness, &damage.mark).await?;
        ensure!(!is_there, "it is there after a delete");
        Ok(())
    })
    .await
}

/// Otherwise a visitor is locked out until the cookie is gone.
async fn a_visitor_whose_session_cannot_be_read_is_served<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    for_each_visitor(harness, async |browser, _| {
        ensure!(browser.look().await?.is_empty(), "there is a session");
        browser.put("n", 2).await?;
        ensure!(
            browser.look().await? == state([("n", "2")]),
            "no new session begins"
        );
        Ok(())
    })
    .await
}

async fn a_visitor_whose_session_cannot_be_read_gets_a_new_key<H: Harness>(
    harness: &H,
) -> anyhow::Result<()> {
    for_each_visitor(harness, async |browser, _| {
        let before = browser.session_key()?;
        // It may fail: then no session has begun.
        let put = async |session: Session| session.insert("n", 2);
        if browser.request(put).await.is_ok() {
            ensure!(
                browser.session_key().ok() != Some(before),
                "a new session has begun under the old key"
            );
        }
        Ok(())
    })
    .await
}

/// It may be the session of a newer version, or one whose key for decryption is not there yet.
async fn what_cannot_be_read_is_not_written_over<H: Harness>(harness: &H) -> anyhow::Result<()> {
    for_each_visitor(harness, async |browser, damage| {
        let _ = browser.put("n", 2).await;
        let is_there = is_stored(harness, &damage.mark).await?;
        ensure!(is_there, "a request has written over it");
        Ok(())
    })
    .await
}
