//! An ADF lead as the values that it brought. It judges none of them.

/// A value that the partner received, and the declared field that it is.
pub(crate) struct Arrived {
    pub(crate) field: &'static str,
    pub(crate) value: String,
}

/// Takes an ADF lead apart. Whatever is not a known text of the plugin's own or a setting is a value, and must have
/// the element of a declared field around it, or be the event's time.
pub(crate) fn take_apart(lead: &str) -> Vec<Arrived> {
    use quick_xml::events::Event;
    const OWN: &[(&str, &[&str])] = &[
        ("adf/prospect/vehicle/", &["not stated"]),
        ("adf/prospect/vendor/", &["Northside Motors"]),
        ("adf/prospect/provider/", &["ACME CRM for chats"]),
    ];
    let mut reader = quick_xml::Reader::from_str(lead);
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut arrived = Vec::new();
    loop {
        match reader.read_event().expect("a lead is XML") {
            Event::Start(start) => {
                text.clear();
                let part = start.try_get_attribute("part").unwrap();
                let part = part.map(|part| format!(":{}", String::from_utf8_lossy(&part.value)));
                let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                open.push(format!("{name}{}", part.unwrap_or_default()));
            }
            Event::Text(piece) => text.push_str(&piece.decode().unwrap()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().unwrap() {
                Some(character) => text.push(character),
                None => text.push(match &*reference.decode().unwrap() {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    other => panic!("an entity of no XML: {other}"),
                }),
            },
            Event::End(_) => {
                let place = open.join("/");
                open.pop();
                let value = std::mem::take(&mut text);
                if value.is_empty() {
                    continue;
                }
                let field = match place.as_str() {
                    "adf/prospect/id" => "/conversation",
                    "adf/prospect/customer/contact/name:first" => "/contact/name/first",
                    "adf/prospect/customer/contact/name:last" => "/contact/name/last",
                    "adf/prospect/customer/contact/email" => "/contact/email",
                    "adf/prospect/customer/contact/phone" => "/contact/phone",
                    "adf/prospect/customer/comments" => {
                        let device = value.strip_prefix("Device: ").and_then(|rest| rest.strip_suffix('\n'));
                        let device = device.unwrap_or_else(|| panic!("more than a device in {value:?}"));
                        arrived.push(Arrived { field: "/visit/device_type", value: device.to_owned() });
                        continue;
                    }
                    "adf/prospect/requestdate" => "/requestdate",
                    place => {
                        let own = OWN.iter().any(|(prefix, texts)| {
                            place.starts_with(prefix) && texts.contains(&value.as_str())
                        });
                        assert!(own, "nothing explains {value:?} in {place}");
                        continue;
                    }
                };
                arrived.push(Arrived { field, value });
            }
            Event::Eof => return arrived,
            _ => {}
        }
    }
}
