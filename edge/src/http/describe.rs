//! `GET /openapi.json`: the HTTP side for programs that make clients and tests of it. A test holds it to the call table.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    routing::get,
};

/// The description.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// Its route.
pub fn routes() -> Router {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")];
    Router::new().route("/openapi.json", get(async move || (headers, OPENAPI)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use shared::command::{CALLS, Call, Caller, Code};

    use super::*;

    fn document() -> Value {
        serde_json::from_str(OPENAPI).unwrap()
    }

    /// Names of arguments with whether they must be there, from parameters and body.
    fn arguments(operation: &Value) -> BTreeSet<(String, bool)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut found: BTreeSet<(String, bool)> = BTreeSet::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            found.insert((text(&parameter["name"]), parameter["required"] == true));
        }
        let contents = operation["requestBody"]["content"].as_object();
        let schemas = contents.into_iter().flatten().map(|(_, content)| &content["schema"]);
        for schema in schemas.filter(|schema| schema["type"] == "object") {
            assert_eq!(schema["additionalProperties"], false, "an argument that is not listed is refused");
            let required: Vec<String> =
                schema["required"].as_array().into_iter().flatten().map(text).collect();
            for name in schema["properties"].as_object().unwrap().keys() {
                found.insert((name.clone(), required.contains(name)));
            }
        }
        found
    }

    fn told(call: &Call) -> BTreeSet<(String, bool)> {
        call.args.iter().map(|arg| (arg.trim_end_matches('!').to_owned(), arg.ends_with('!'))).collect()
    }

    #[test]
    fn it_describes_the_call_table_and_nothing_else() {
        let document = document();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            described
                .extend(methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())));
        }
        let mut expected: BTreeSet<_> =
            ["/livez", "/readyz"].into_iter().map(|path| (path.to_owned(), "get".to_owned())).collect();
        for call in CALLS {
            let method = call.method.to_lowercase();
            let operation = &document["paths"][call.path][&method];
            assert_eq!(operation["operationId"], call.name, "{method} {}", call.path);
            assert_eq!(arguments(operation), told(call), "{}", call.name);
            assert_eq!(operation["security"].is_array(), call.caller == Caller::Token, "{}", call.name);
            expected.insert((call.path.to_owned(), method));
        }
        assert_eq!(described, expected);
    }

    #[test]
    fn it_lists_every_code() {
        let document = document();
        let codes = document["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
        let codes: Vec<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
        assert_eq!(codes, Code::ALL.map(Code::as_str));
    }
}
