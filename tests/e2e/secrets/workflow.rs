use super::{crowd::Crowd, visitor::Visitor};

pub(super) const DBNAME: &str = "Datenbank für 레디스";
pub(super) const NOTE: &str = "a \"note\" for Ōtsuka\\ of some length";
pub(super) const USER: &str = "Zoë Müller-비밀";
pub(super) const DEVICE: &str = "Gerät 장치 (1)";

/// In the demo.
pub(super) fn set_a_name_and_kill(visitor: Visitor<'_>, crowd: &Crowd) {
    crowd.note(&visitor.get("/"));
    set_a_name(&visitor);
    let page = visitor.get("/");
    crowd.note(&page);
    if crowd.expects_service() {
        assert!(page.body.contains(&format!("dbname=\"{DBNAME}\"")));
    }
    visitor.get("/kill");
}

pub(super) fn set_a_name(visitor: &Visitor<'_>) {
    visitor.get(&format!("/dbset/{DBNAME}"));
}

/// In the application with users.
pub(super) fn log_in_on_two_devices([one, other]: [Visitor<'_>; 2], crowd: &Crowd) {
    for device in [&one, &other] {
        crowd.note(&device.post("/count", ""));
        log_in(device, crowd);
        crowd.note(&device.post("/count", ""));
    }
    crowd.note(&one.post("/renew", ""));
    let devices = one.post("/devices", "");
    let ended = one.post("/end-others", "");
    crowd.note(&devices);
    crowd.note(&ended);
    if crowd.expects_service() {
        assert!(devices.body.starts_with(&format!("{DEVICE}\n{DEVICE}")));
        assert_eq!(other.get("/note").body, "");
        assert_eq!(one.get("/note").body, NOTE);
        assert_eq!(one.post("/count", "").body, "3");
    }
    crowd.note(&one.post("/logout", ""));
}

pub(super) fn log_in(visitor: &Visitor<'_>, crowd: &Crowd) {
    crowd.note(&visitor.post("/note", NOTE));
    crowd.note(&visitor.post("/login", &format!("{USER}\n{DEVICE}")));
}
