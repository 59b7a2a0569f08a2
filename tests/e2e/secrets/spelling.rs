use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

/// How these bytes may be written down, in a log or anywhere in Redis.
pub(super) fn spellings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let each = |spell: &dyn Fn(&u8) -> String| bytes.iter().map(spell).collect::<String>();
    let percent = |hex: &dyn Fn(&u8) -> String| {
        each(
            &|byte| match byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                true => char::from(*byte).to_string(),
                false => hex(byte),
            },
        )
    };
    let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
    let mut spellings = vec![
        ("as it is", bytes.to_vec()),
        ("as MONITOR escapes it", each(&escaped_by_redis).into()),
        ("escaped as bytes", bytes.escape_ascii().to_string().into()),
        ("in hex", each(&|byte| format!("{byte:02x}")).into()),
        ("in HEX", each(&|byte| format!("{byte:02X}")).into()),
        ("as numbers", numbers.join(", ").into()),
        ("for a URL", percent(&|byte| format!("%{byte:02X}")).into()),
        ("for a url", percent(&|byte| format!("%{byte:02x}")).into()),
    ];
    for before in 0..3 {
        let all = [&[0; 2][..before], bytes].concat();
        // The characters that no neighbour has a part in.
        let own = (before * 8).div_ceil(6)..all.len() * 8 / 6;
        let base64 = [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD].map(|it| it.encode(&all));
        spellings.extend(base64.map(|text| ("in base64", text[own.clone()].into())));
    }
    if let Ok(text) = str::from_utf8(bytes) {
        let json: String = text.encode_utf16().map(json_escaped).collect();
        spellings.push(("escaped as text", text.escape_default().to_string().into()));
        spellings.push(("escaped for JSON", json.into()));
    }
    spellings.sort_by(|(_, one), (_, other)| one.cmp(other));
    spellings.dedup_by(|(_, one), (_, other)| one == other);
    spellings
}

fn escaped_by_redis(byte: &u8) -> String {
    match byte {
        b'\\' | b'"' => format!("\\{}", char::from(*byte)),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        7 => "\\a".to_owned(),
        8 => "\\b".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}

fn json_escaped(unit: u16) -> String {
    match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    }
}
