//! Holds answers of the API to its OpenAPI document: status, type, and a JSON body field by field.
//!
//! Stricter than JSON Schema: a field the document does not name is a fault, because a client that is
//! made from the document cannot see it.

use jiff::Timestamp;
use serde_json::Value;

use crate::http::Answer;

/// What every operation may answer besides what the document lists for it: the router's own refusals,
/// and those of whoever stands before the handlers.
const ANYWHERE: [u16; 9] = [400, 401, 403, 404, 405, 413, 415, 503, 504];

/// `METHOD /path/{id}` of each operation.
pub fn operations(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
    });
    all.collect()
}

/// The operation that a call is of, as [`operations`] names it.
pub fn operation(document: &Value, method: &str, path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or(path);
    let mut fitting: Vec<_> = operations(document)
        .into_iter()
        .filter(|named| {
            named
                .split_once(' ')
                .is_some_and(|(m, p)| m == method && fits(p, path))
        })
        .collect();
    // What is written out wins over what stands for anything.
    fitting.sort_by_key(|named| named.matches('{').count());
    fitting.into_iter().next()
}

/// Every way in which the answer is not what the document says; paths it does not have are nobody's.
pub fn faults(document: &Value, method: &str, path: &str, answer: &Answer) -> Vec<String> {
    let Some(named) = operation(document, method, path) else {
        return Vec::new();
    };
    let (_, template) = named.split_once(' ').expect("a method and a path");
    let operation = &document["paths"][template][method.to_lowercase()];
    let listed = &operation["responses"][answer.status.to_string()];
    if listed.is_null() && !ANYWHERE.contains(&answer.status) {
        return vec![format!("{} is not among its answers", answer.status)];
    }
    let schema = if answer.status >= 400 {
        &document["components"]["schemas"]["ErrorBody"]
    } else {
        let Some(content) = listed["content"].as_object() else {
            let empty = answer.body.is_empty();
            return Vec::from_iter((!empty).then(|| "a body that is not listed".to_owned()));
        };
        let sent = answer.header("content-type").unwrap_or_default();
        let Some((_, of_type)) = content.iter().find(|(of, _)| sent.starts_with(of.as_str()))
        else {
            return vec![format!("{sent:?} is not among its types")];
        };
        &of_type["schema"]
    };
    match serde_json::from_slice(&answer.body) {
        Ok(body) => compare(document, schema, &body, ""),
        Err(_) if answer.status < 400 && schema.is_null() => Vec::new(),
        Err(_)
            if !answer
                .header("content-type")
                .unwrap_or_default()
                .contains("json") =>
        {
            Vec::from_iter((answer.status >= 400).then(|| "a refusal that is no JSON".to_owned()))
        }
        Err(error) => vec![format!("no JSON: {error}")],
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(wanted, is)| wanted == is || (wanted.starts_with('{') && !is.is_empty()))
}

fn compare(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut faults = shape(document, schema, value, at);
    if let Value::Object(fields) = value
        && let Some(known) = known_fields(document, schema)
    {
        let unknown = fields.keys().filter(|name| !known.contains(name));
        faults.extend(unknown.map(|name| format!("{at}.{name} is not in the document")));
    }
    faults
}

/// Everything but fields that nobody named, which takes all parts of an `allOf` to say.
fn shape(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(target) = reference(document, schema) {
        return shape(document, target, value, at);
    }
    let mut faults = Vec::new();
    for part in list(&schema["allOf"]) {
        faults.extend(shape(document, part, value, at));
    }
    for choice in ["oneOf", "anyOf"] {
        let tried = list(&schema[choice]).iter();
        let tried: Vec<_> = tried
            .map(|part| compare(document, part, value, at))
            .collect();
        if tried.iter().all(|faults| !faults.is_empty()) {
            // The nearest miss says most.
            faults.extend(tried.into_iter().min_by_key(Vec::len).unwrap_or_default());
        }
    }
    if !schema["type"].is_null() && !types(&schema["type"]).any(|name| is_a(name, value)) {
        faults.push(format!("{at}: {value} is not {}", schema["type"]));
    }
    let allowed = list(&schema["enum"]);
    if !allowed.is_empty() && !allowed.contains(value) && !value.is_null() {
        faults.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    match value {
        Value::String(text) if schema["format"] == "date-time" => {
            let moment = text.parse::<Timestamp>();
            faults.extend(moment.err().map(|error| format!("{at}: {error}")));
        }
        Value::Number(number) if schema["minimum"].is_number() => {
            let too_little = number.as_f64() < schema["minimum"].as_f64();
            faults.extend(too_little.then(|| format!("{at}: {number} is too little")));
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                faults.extend(compare(
                    document,
                    &schema["items"],
                    item,
                    &format!("{at}[{n}]"),
                ));
            }
        }
        Value::Object(fields) => {
            for name in list(&schema["required"]).iter().filter_map(Value::as_str) {
                let missing = !fields.contains_key(name);
                faults.extend(missing.then(|| format!("{at}.{name} is missing")));
            }
            for (name, value) in fields {
                let part = match &schema["properties"][name] {
                    Value::Null => &schema["additionalProperties"],
                    part => part,
                };
                faults.extend(compare(document, part, value, &format!("{at}.{name}")));
            }
        }
        _ => {}
    }
    faults
}

/// The fields an object may have; `None` where it may have any.
fn known_fields<'a>(document: &'a Value, schema: &'a Value) -> Option<Vec<&'a String>> {
    if let Some(target) = reference(document, schema) {
        return known_fields(document, target);
    }
    let mut known: Vec<&String> = Vec::new();
    let open = schema["additionalProperties"].is_object() || schema["additionalProperties"] == true;
    // A choice has compared each of its parts with the whole.
    if open || !list(&schema["oneOf"]).is_empty() || !list(&schema["anyOf"]).is_empty() {
        return None;
    }
    for part in list(&schema["allOf"]) {
        known.extend(known_fields(document, part)?);
    }
    match schema["properties"].as_object() {
        Some(properties) => known.extend(properties.keys()),
        None if known.is_empty() => return None,
        None => {}
    }
    Some(known)
}

fn reference<'a>(document: &'a Value, schema: &Value) -> Option<&'a Value> {
    let to = schema["$ref"].as_str()?;
    let found = document.pointer(to.trim_start_matches('#'));
    Some(found.unwrap_or_else(|| panic!("{to} leads nowhere")))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn types(value: &Value) -> impl Iterator<Item = &str> {
    let several = list(value).iter();
    value
        .as_str()
        .into_iter()
        .chain(several.filter_map(Value::as_str))
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
