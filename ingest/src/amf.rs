//! The commands of a peer, in AMF 0. Every length is the peer's word, and so is how deep its values
//! are nested: each level is a call on the stack here, so there is a bound.

use bytes::Buf;
use rml_rtmp::rml_amf0::Amf0Value;

/// `connect` has one object, `onMetaData` an array in nothing.
const MOST_LEVELS: u8 = 8;

const NUMBER: u8 = 0;
const BOOLEAN: u8 = 1;
const TEXT: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const UNDEFINED: u8 = 6;
const ECMA_ARRAY: u8 = 8;
const OBJECT_END: u8 = 9;
const STRICT_ARRAY: u8 = 10;

/// A command that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AmfError {
    /// It ends in the middle of a value.
    #[error("it ends in the middle of a value")]
    Truncated,
    /// A kind of value that commands do not have.
    #[error("there are no values of kind {0} in a command")]
    Kind(u8),
    /// Not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// Objects in objects in objects.
    #[error("values are nested more than {MOST_LEVELS} deep")]
    TooDeep,
    /// It does not begin with a name and a number.
    #[error("it does not begin with a name and a number")]
    NoCommand,
}

/// What a peer asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// Repeated in the answer.
    pub(crate) transaction: f64,
    pub(crate) object: Amf0Value,
    pub(crate) arguments: Vec<Amf0Value>,
}

// === impl Command ===

impl Command {
    /// Reads the body of a command message.
    pub(crate) fn parse(mut body: &[u8]) -> Result<Self, AmfError> {
        let (Amf0Value::Utf8String(name), Amf0Value::Number(transaction)) =
            (value(&mut body, 0)?, value(&mut body, 0)?)
        else {
            return Err(AmfError::NoCommand);
        };
        let mut rest = Vec::new();
        while !body.is_empty() {
            rest.push(value(&mut body, 0)?);
        }
        let mut rest = rest.into_iter();
        Ok(Self {
            name,
            transaction,
            object: rest.next().unwrap_or(Amf0Value::Null),
            arguments: rest.collect(),
        })
    }
}

fn value(rest: &mut &[u8], level: u8) -> Result<Amf0Value, AmfError> {
    if level > MOST_LEVELS {
        return Err(AmfError::TooDeep);
    }
    match rest.try_get_u8().map_err(|_| AmfError::Truncated)? {
        NUMBER => Ok(Amf0Value::Number(
            rest.try_get_f64().map_err(|_| AmfError::Truncated)?,
        )),
        BOOLEAN => Ok(Amf0Value::Boolean(
            rest.try_get_u8().map_err(|_| AmfError::Truncated)? != 0,
        )),
        TEXT => Ok(Amf0Value::Utf8String(text(rest)?)),
        OBJECT => object(rest, level),
        NULL => Ok(Amf0Value::Null),
        UNDEFINED => Ok(Amf0Value::Undefined),
        ECMA_ARRAY => {
            // How many there are is only a hint; an end is marked as an object's is.
            rest.try_get_u32().map_err(|_| AmfError::Truncated)?;
            object(rest, level)
        }
        STRICT_ARRAY => {
            let count = rest.try_get_u32().map_err(|_| AmfError::Truncated)?;
            let values = (0..count).map(|_| value(rest, level + 1));
            Ok(Amf0Value::StrictArray(values.collect::<Result<_, _>>()?))
        }
        kind => Err(AmfError::Kind(kind)),
    }
}

fn object(rest: &mut &[u8], level: u8) -> Result<Amf0Value, AmfError> {
    let mut fields = std::collections::HashMap::new();
    loop {
        let name = text(rest)?;
        if name.is_empty() && rest.first() == Some(&OBJECT_END) {
            rest.advance(1);
            return Ok(Amf0Value::Object(fields));
        }
        fields.insert(name, value(rest, level + 1)?);
    }
}

fn text(rest: &mut &[u8]) -> Result<String, AmfError> {
    let length = rest.try_get_u16().map_err(|_| AmfError::Truncated)?;
    let (text, after) = rest
        .split_at_checked(length.into())
        .ok_or(AmfError::Truncated)?;
    *rest = after;
    let text = std::str::from_utf8(text).map_err(|_| AmfError::Text)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
