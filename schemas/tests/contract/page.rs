//! `docs/contract.html`: asyncapi.yaml as a page for people. `REFRESH_CONTRACT=1` makes it anew.

use std::fmt::Write as _;

use yaml_serde::{Mapping, Value};

const DOCUMENT: &str = include_str!("../../asyncapi.yaml");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/contract.html");
const STYLE: &str = include_str!("page.css");

#[test]
fn the_page_of_the_contract_is_that_of_the_document_and_loads_nothing() {
    let page = Page::of(&yaml_serde::from_str(DOCUMENT).unwrap());
    for loads in ["src=", "<link", "<script", "url(", "@import", "http-equiv=\"refresh\""] {
        assert!(!page.contains(loads), "{loads}");
    }
    if std::env::var_os("REFRESH_CONTRACT").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    let first = kept.lines().zip(page.lines()).position(|(kept, made)| kept != made);
    let again = "REFRESH_CONTRACT=1 cargo test --workspace --test contract page";
    assert!(kept == page, "docs/contract.html is stale, first in line {first:?}: {again}");
}

#[test]
fn every_link_of_the_page_leads_somewhere_and_no_name_is_given_twice() {
    let page = Page::of(&yaml_serde::from_str(DOCUMENT).unwrap());
    let named = |mark: &str| -> Vec<String> {
        page.split(mark).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    let ids = named(" id=\"");
    for link in named("href=\"#") {
        assert_eq!(ids.iter().filter(|id| **id == link).count(), 1, "#{link}");
    }
    for word in ["undelivered", "no_fitting_compartment", "orders/bundle"] {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn what_the_document_says_is_text_and_no_markup() {
    assert_eq!(prose("a `<b>` & **c** <i>"), "<p>a <code>&lt;b&gt;</code> &amp; <strong>c</strong> &lt;i&gt;</p>\n");
    assert_eq!(prose("a\nb\n\nc"), "<p>a b</p>\n<p>c</p>\n");
}

#[test]
#[should_panic(expected = "a keyword that the page does not show: those who read")]
fn a_description_that_ends_at_a_comma_is_found() {
    shape(&yaml_serde::from_str("{ type: string, description: For all, those who read. }").unwrap());
}

struct Page<'a> {
    document: &'a Value,
    out: String,
}

impl<'a> Page<'a> {
    fn of(document: &'a Value) -> String {
        let mut page = Self { document, out: String::new() };
        page.head();
        page.contents();
        page.put("<main>\n");
        page.introduction();
        page.operations("publish", "What you publish", "receive");
        page.operations("hear", "What you hear", "send");
        page.requests();
        page.replies();
        page.types();
        page.put("</main>\n</body>\n</html>\n");
        page.out
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn head(&mut self) {
        let title = escaped(text(&self.document["info"]["title"]));
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        let _ = writeln!(
            self.out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <!-- Made from schemas/asyncapi.yaml. -->\n<style>\n{STYLE}</style>\n</head>\n<body>"
        );
    }

    fn contents(&mut self) {
        self.put("<nav aria-label=\"Contents\">\n<p><a href=\"#top\">Read first</a></p>\n");
        for (title, action) in [("What you publish", "receive"), ("What you hear", "send")] {
            let links = self.operations_of(action).map(|(name, operation)| {
                let address = text(&self.channel(operation)["address"]);
                let short = address.strip_prefix("v1/{tenant}/").unwrap_or(address);
                let short = short.strip_prefix("integration/{integration}/").unwrap_or(short);
                (format!("operation-{name}"), short.to_owned())
            });
            let links = links.collect();
            self.links(title, true, links);
        }
        let ops = self.variants("Request").into_iter().map(|(op, _)| (format!("request-{op}"), op)).collect();
        self.links("Requests", false, ops);
        let answers = self.variants("Reply").into_iter().map(|(name, _)| (format!("reply-{name}"), name)).collect();
        self.links("Answers", false, answers);
        let types = self.schemas().map(|(name, _)| (format!("type-{name}"), name.to_owned())).collect();
        self.links("Types", false, types);
        self.put("</nav>\n");
    }

    fn links(&mut self, title: &str, open: bool, links: Vec<(String, String)>) {
        let open = if open { " open" } else { "" };
        let _ = writeln!(self.out, "<details{open}><summary>{title}</summary>\n<ul>");
        for (id, shown) in links {
            let _ = writeln!(self.out, "<li><a href=\"#{id}\">{}</a></li>", escaped(&shown));
        }
        self.put("</ul>\n</details>\n");
    }

    fn introduction(&mut self) {
        let info = &self.document["info"];
        let _ = writeln!(
            self.out,
            "<h1 id=\"top\">{} <small>version {}</small></h1>\n{}",
            escaped(text(&info["title"])),
            escaped(text(&info["version"])),
            prose(text(&info["description"]))
        );
        let server = &self.document["servers"]["fleet"];
        let scheme = &self.document["components"]["securitySchemes"]["certificate"];
        let _ = writeln!(
            self.out,
            "<p>Server: <code>{}://{}</code>, MQTT {}. {}</p>\n{}",
            escaped(text(&server["protocol"])),
            escaped(text(&server["host"])),
            escaped(text(&server["protocolVersion"])),
            inline(text(&server["description"])),
            prose(text(&scheme["description"]))
        );
        self.put("<table>\n<caption>What stands in topics</caption>\n");
        for (name, parameter) in entries(&self.document["components"]["parameters"]) {
            let words = parameter.get("enum").map(|words| format!(" One of {}.", codes(words))).unwrap_or_default();
            let text = inline(text(&parameter["description"]));
            let _ = writeln!(self.out, "<tr><th><code>{{{name}}}</code></th><td>{text}{words}</td></tr>");
        }
        self.put("</table>\n");
    }

    fn operations(&mut self, id: &str, title: &str, action: &str) {
        let _ = writeln!(self.out, "<h2 id=\"{id}\">{title}</h2>");
        let all: Vec<_> = self.operations_of(action).collect();
        for (name, operation) in all {
            let channel = self.channel(operation);
            let qos = operation["bindings"]["mqtt"]["qos"].as_u64().expect("a QoS");
            let roles = codes(&operation["x-roles"]);
            let _ = writeln!(
                self.out,
                "<section>\n<h3 id=\"operation-{name}\"><code>{}</code></h3>\n<p class=\"who\">QoS {qos}, for {roles}</p>\n{}",
                escaped(text(&channel["address"])),
                prose(text(&operation["summary"]))
            );
            let more = operation.get("description").map(|more| prose(text(more))).unwrap_or_default();
            self.put(&more);
            if let Some(reply) = operation.get("reply") {
                let address = text(&self.target(&reply["channel"])["address"]);
                let said = inline(text(&reply["address"]["description"]));
                let _ = writeln!(self.out, "<p>Answered on <code>{}</code>. {said}</p>", escaped(address));
            }
            for (message, _) in entries(&channel["messages"]) {
                self.message(message);
            }
            self.put("</section>\n");
        }
    }

    fn message(&mut self, name: &str) {
        let message = &self.document["components"]["messages"][name];
        let target = text(&message["payload"]["$ref"]).rsplit('/').next().expect("a type");
        let _ = writeln!(self.out, "<p>Payload: {}</p>", link(target));
        if ["Request", "Reply"].contains(&target) {
            return;
        }
        self.examples(name, |_| true);
    }

    fn examples(&mut self, message: &str, shown: impl Fn(&Value) -> bool) {
        let examples = self.document["components"]["messages"][message]["examples"].as_sequence();
        for example in examples.expect("examples").iter().filter(|example| shown(&example["payload"])) {
            let name = escaped(text(&example["name"]));
            let payload = serde_json::to_string_pretty(&example["payload"]).unwrap();
            let _ = writeln!(
                self.out,
                "<details><summary>Example: {name}</summary><pre>{}</pre></details>",
                escaped(&payload)
            );
        }
    }

    fn requests(&mut self) {
        self.put("<h2 id=\"requests\">Requests</h2>\n<p>What may be in <code>request</code>, by its <code>op</code>, and who may ask it.</p>\n");
        let rights = &self.document["operations"]["answerRequest"]["x-rights"];
        for (op, schema) in self.variants("Request") {
            let who: Vec<_> = entries(&rights[op.as_str()])
                .map(|(role, right)| match text(right) {
                    "all" => format!("<code>{role}</code>"),
                    right => format!("<code>{role}</code> ({right})"),
                })
                .collect();
            let _ = writeln!(
                self.out,
                "<section>\n<h3 id=\"request-{op}\"><code>{op}</code></h3>\n<p class=\"who\">for {}</p>",
                who.join(", ")
            );
            self.put(&fields(schema, &["op"]));
            self.examples("request", |payload| payload["op"].as_str() == Some(op.as_str()));
            self.put("</section>\n");
        }
    }

    fn replies(&mut self) {
        let said = prose(text(&self.document["components"]["schemas"]["Reply"]["description"]));
        let _ = writeln!(self.out, "<h2 id=\"answers\">Answers</h2>\n{said}");
        for (name, schema) in self.variants("Reply") {
            let _ = writeln!(self.out, "<section>\n<h3 id=\"reply-{name}\"><code>{name}</code></h3>");
            if schema.get("properties").is_some() {
                self.put(&fields(schema, &[]));
            }
            let is_it =
                |payload: &Value| payload.as_str() == Some(name.as_str()) || payload.get(name.as_str()).is_some();
            self.examples("reply", is_it);
            self.put("</section>\n");
        }
    }

    fn types(&mut self) {
        self.put("<h2 id=\"types\">Types</h2>\n");
        let all: Vec<_> = self.schemas().collect();
        for (name, schema) in all {
            let _ = writeln!(self.out, "<section>\n<h3 id=\"type-{name}\">{name}</h3>");
            match name {
                "Request" => self.put("<p>One of the <a href=\"#requests\">requests</a>.</p>\n"),
                "Reply" => self.put("<p>One of the <a href=\"#answers\">answers</a>.</p>\n"),
                _ => {
                    let said = schema.get("description").map(|said| prose(text(said))).unwrap_or_default();
                    self.put(&said);
                    let shape = if schema.get("properties").is_some() { fields(schema, &[]) } else { shape(schema) };
                    let _ = writeln!(self.out, "<div>{shape}</div>");
                }
            }
            self.put("</section>\n");
        }
    }

    fn operations_of(&self, action: &str) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let action = action.to_owned();
        entries(&self.document["operations"]).filter(move |(_, operation)| text(&operation["action"]) == action)
    }

    fn schemas(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        entries(&self.document["components"]["schemas"])
    }

    /// The alternatives of a type that are told apart by a field, with the word of each.
    fn variants(&self, schema: &str) -> Vec<(String, &'a Value)> {
        let all = self.document["components"]["schemas"][schema]["oneOf"].as_sequence().expect("alternatives");
        let word = |one: &Value| {
            let op = one["properties"]["op"]["const"].as_str().or_else(|| one["const"].as_str());
            op.or_else(|| one["required"][0].as_str()).expect("a word").to_owned()
        };
        all.iter().map(|one| (word(one), one)).collect()
    }

    fn channel(&self, operation: &Value) -> &'a Value {
        self.target(&operation["channel"])
    }

    fn target(&self, reference: &Value) -> &'a Value {
        let path = text(&reference["$ref"]).strip_prefix("#/").expect("a path within the document");
        path.split('/').fold(self.document, |at, step| &at[step])
    }
}

/// The fields of an object as a table, without those whose word the heading says.
fn fields(schema: &Value, without: &[&str]) -> String {
    known(schema);
    let required = |name: &str| {
        schema["required"].as_sequence().is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name)))
    };
    let mut rows = String::new();
    for (name, field) in entries(&schema["properties"]).filter(|(name, _)| !without.contains(name)) {
        let must = if required(name) { " <em>required</em>" } else { "" };
        let said = field.get("description").map(|said| prose(text(said))).unwrap_or_default();
        let default =
            field.get("default").map(|value| format!("<p>Left out: {}.</p>", code(value))).unwrap_or_default();
        let _ = writeln!(
            rows,
            "<tr><th><code>{}</code>{must}</th><td>{}</td><td>{said}{default}</td></tr>",
            escaped(name),
            shape(field)
        );
    }
    let one = match (
        schema.get("minProperties").and_then(Value::as_u64),
        schema.get("maxProperties").and_then(Value::as_u64),
    ) {
        (_, Some(1)) | (None, None) => "",
        (Some(_), _) => "<p>At least one of them.</p>",
        (None, Some(_)) => "",
    };
    if rows.is_empty() { "<p>No fields.</p>\n".to_owned() } else { format!("<table>\n{rows}</table>{one}\n") }
}

/// What a value may be.
fn shape(schema: &Value) -> String {
    known(schema);
    if let Some(target) = schema.get("$ref") {
        return link(text(target).rsplit('/').next().expect("a type"));
    }
    if let Some(all) = schema.get("allOf").and_then(Value::as_sequence) {
        return all.iter().map(shape).collect::<Vec<_>>().join(" and ");
    }
    if let Some(any) = schema.get("oneOf").and_then(Value::as_sequence) {
        let shapes: Vec<_> = any.iter().map(shape).collect();
        return match shapes.iter().any(|shape| shape.contains("<table>")) {
            true => shapes.iter().fold("one of".to_owned(), |all, one| format!("{all}<div class=\"or\">{one}</div>")),
            false => shapes.join(" or "),
        };
    }
    if let Some(value) = schema.get("const") {
        return code(value);
    }
    if let Some(words) = schema.get("enum") {
        return match schema.get("x-meaning") {
            None => codes(words),
            Some(meanings) => {
                let rows = words.as_sequence().expect("words").iter().map(|word| {
                    format!("<tr><th>{}</th><td>{}</td></tr>\n", code(word), inline(text(&meanings[text(word)])))
                });
                format!("<table>\n{}</table>", rows.collect::<String>())
            }
        };
    }
    if schema.get("properties").is_some() {
        return fields(schema, &[]);
    }
    match schema.get("type") {
        Some(Value::Sequence(kinds)) => {
            kinds.iter().map(|kind| named(text(kind), schema)).collect::<Vec<_>>().join(" or ")
        }
        Some(kind) => named(text(kind), schema),
        None => "anything".to_owned(),
    }
}

/// A value of one of JSON's types, with its limits.
fn named(kind: &str, schema: &Value) -> String {
    let number = |key: &str| schema.get(key).and_then(Value::as_u64);
    let between = |least: Option<u64>, most: Option<u64>| match (least, most) {
        (Some(0) | None, Some(u64::MAX)) => " of 64 bits".to_owned(),
        (Some(0) | None, Some(4_294_967_295)) => " of 32 bits".to_owned(),
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        (None, None) => String::new(),
    };
    match kind {
        "string" => {
            let length = between(number("minLength"), number("maxLength"));
            let length = if length.is_empty() { length } else { format!("{length} characters") };
            let pattern = schema.get("pattern").map(|pattern| format!(" <code>{}</code>", escaped(text(pattern))));
            format!("text{length}{}", pattern.unwrap_or_default())
        }
        "integer" => format!("integer{}", between(number("minimum"), number("maximum"))),
        "number" => format!("number{}", between(number("minimum"), number("maximum"))),
        "boolean" => "<code>true</code> or <code>false</code>".to_owned(),
        "null" => "<code>null</code>".to_owned(),
        "array" => {
            let length = between(number("minItems"), number("maxItems"));
            let once = schema.get("uniqueItems").map_or("", |_| ", each once");
            let of = schema.get("items").map(|items| format!(" of {}", shape(items))).unwrap_or_default();
            format!("list{of}{length}{once}")
        }
        "object" => match schema.get("additionalProperties").filter(|more| more.is_mapping()) {
            Some(more) => format!("object, under each name {}", shape(more)),
            None => "object".to_owned(),
        },
        other => panic!("a type that the page does not show: {other}"),
    }
}

/// A comma in a description that is not quoted begins another key.
fn known(schema: &Value) {
    const KEYWORDS: [&str; 22] = [
        "description",
        "type",
        "pattern",
        "enum",
        "oneOf",
        "const",
        "additionalProperties",
        "required",
        "properties",
        "items",
        "$ref",
        "minimum",
        "maximum",
        "x-meaning",
        "allOf",
        "maxItems",
        "minItems",
        "maxLength",
        "minLength",
        "uniqueItems",
        "default",
        "maxProperties",
    ];
    for (key, _) in schema.as_mapping().into_iter().flat_map(Mapping::iter) {
        let key = text(key);
        assert!(KEYWORDS.contains(&key) || key == "minProperties", "a keyword that the page does not show: {key}");
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> + use<'_> {
    value.as_mapping().expect("a mapping").iter().map(|(name, value)| (text(name), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:?}"))
}

fn link(name: &str) -> String {
    format!("<a href=\"#type-{name}\">{name}</a>")
}

fn code(value: &Value) -> String {
    let shown = value.as_str().map_or_else(|| serde_json::to_string(value).unwrap(), str::to_owned);
    format!("<code>{}</code>", escaped(&shown))
}

fn codes(words: &Value) -> String {
    words.as_sequence().expect("words").iter().map(code).collect::<Vec<_>>().join(", ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Paragraphs; backticks and double asterisks as in Markdown.
fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>\n", inline(&paragraph.replace('\n', " ")))).collect()
}

fn inline(text: &str) -> String {
    let between = |text: &str, mark: &str, tag: &str| {
        let parts = text.split(mark).enumerate();
        parts
            .map(|(n, part)| if n % 2 == 1 { format!("<{tag}>{part}</{tag}>") } else { part.to_owned() })
            .collect::<String>()
    };
    between(&between(&escaped(text), "`", "code"), "**", "strong")
}
