//! The document: what it lists is served, and what is served is listed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::server::Server;

/// `METHOD path`, one a line, as the document has them.
fn operations(document: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            all.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn the_document_lists_every_route() {
    let server = Server::plain().await;
    let document = server.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    insta::assert_snapshot!(operations(&document).join("\n"));
}

#[tokio::test]
async fn each_listed_route_is_served_and_no_other_method_of_it() {
    let server = Server::plain().await;
    let document = server.get("/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let listed: BTreeSet<_> = methods
            .as_object()
            .unwrap()
            .keys()
            .map(|m| m.to_uppercase())
            .collect();
        let url = path.replace("{id}", "main").replace("{file}", "x.ts");
        // PATCH is nowhere: the refusal names what there is.
        let answer = server.send("PATCH", &url, &[], "").await;
        answer.refused(405, "method_not_allowed");
        let served: BTreeSet<_> = answer
            .header("allow")
            .split(',')
            .filter(|method| *method != "HEAD")
            .map(str::to_owned)
            .collect();
        assert_eq!(served, listed, "{path}");
    }
}

#[tokio::test]
async fn every_operation_tells_its_errors_and_whether_it_is_open() {
    let server = Server::plain().await;
    let document = server.get("/openapi.json").await.json();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["token"]["scheme"], "bearer");
    let mut open = Vec::new();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{what} has a summary");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{what}"
            );
            if operation["security"] == serde_json::json!([{}]) {
                open.push(path.as_str());
            } else {
                let refused = &operation["responses"]["401"]["content"]["application/json"];
                assert_eq!(
                    refused["schema"]["$ref"], "#/components/schemas/ErrorBody",
                    "{what}"
                );
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].is_string(), "{what} {status}");
                if status.as_str() >= "400" {
                    let schema = &response["content"]["application/json"]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/ErrorBody", "{what} {status}");
                }
            }
        }
    }
    assert_eq!(open, ["/", "/health/live", "/page/{file}"]);
    assert_eq!(dangling(&document, &document), Vec::<String>::new());
}

/// References that lead nowhere.
fn dangling(document: &Value, part: &Value) -> Vec<String> {
    match part {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(to)) => {
                    let found = document.pointer(to.trim_start_matches('#')).is_some();
                    if found { Vec::new() } else { vec![to.clone()] }
                }
                _ => dangling(document, value),
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .flat_map(|item| dangling(document, item))
            .collect(),
        _ => Vec::new(),
    }
}
