use std::collections::HashMap;

use proptest::prelude::*;
use rml_rtmp::messages::RtmpMessage;
use rml_rtmp::time::RtmpTimestamp;

use super::*;

fn written(name: &str, object: Amf0Value, arguments: Vec<Amf0Value>) -> Vec<u8> {
    let message = RtmpMessage::Amf0Command {
        command_name: name.to_owned(),
        transaction_id: 4.0,
        command_object: object,
        additional_arguments: arguments,
    };
    let payload = message
        .into_message_payload(RtmpTimestamp::new(0), 0)
        .unwrap();
    payload.data.to_vec()
}

#[test]
fn a_command_is_read_as_it_was_written() {
    let fields = [
        ("app", Amf0Value::Utf8String("live".to_owned())),
        ("capabilities", Amf0Value::Number(15.0)),
        ("fpad", Amf0Value::Boolean(false)),
    ];
    let object: HashMap<_, _> = fields.map(|(name, value)| (name.to_owned(), value)).into();
    let object = Amf0Value::Object(object);
    let arguments = vec![
        Amf0Value::Utf8String("key".to_owned()),
        Amf0Value::StrictArray(vec![Amf0Value::Null, Amf0Value::Undefined]),
    ];
    let body = written("connect", object.clone(), arguments.clone());
    let read = Command::parse(&body).unwrap();
    let expected = Command {
        name: "connect".to_owned(),
        transaction: 4.0,
        object,
        arguments,
    };
    assert_eq!(read, expected);
}

#[test]
fn a_command_needs_a_name_and_a_number_and_nothing_more() {
    let short = b"\x02\x00\x04ping\x00\x3f\xf0\0\0\0\0\0\0";
    let read = Command::parse(short).unwrap();
    assert_eq!((read.name.as_str(), read.transaction), ("ping", 1.0));
    assert_eq!(read.object, Amf0Value::Null);
    assert_eq!(Command::parse(b"\x05\x05"), Err(AmfError::NoCommand));
    assert_eq!(Command::parse(b"\x02\x00\x04pi"), Err(AmfError::Truncated));
    assert_eq!(Command::parse(b""), Err(AmfError::Truncated));
}

/// 64 KiB hold 13,000 levels: as many calls would be the end of the stack, and of the process.
#[test]
fn what_is_nested_without_end_is_refused() {
    let command = b"\x02\x00\x04ping\x00\x3f\xf0\0\0\0\0\0\0";
    for level in [
        &b"\x0a\0\0\0\x01"[..],
        b"\x03\0\x01a",
        b"\x08\0\0\0\x01\0\x01a",
    ] {
        let body = [&command[..], &level.repeat(13_000)].concat();
        assert_eq!(Command::parse(&body), Err(AmfError::TooDeep));
    }
}

#[test]
fn a_count_is_only_believed_as_far_as_there_are_values() {
    let array = b"\x02\x00\x00\x00\0\0\0\0\0\0\0\0\x0a\xff\xff\xff\xff\x05\x05";
    assert_eq!(Command::parse(array), Err(AmfError::Truncated));
}

proptest! {
    #[test]
    fn whatever_comes_is_a_command_or_an_error(
        body in prop::collection::vec(prop_oneof![0_u8..12, any::<u8>()], 0..200),
    ) {
        let command = written("x", Amf0Value::Null, Vec::new());
        // Either answer is right; that there is one is what counts.
        let _ = Command::parse(&body);
        let _ = Command::parse(&[&command[..], &body].concat());
    }
}
