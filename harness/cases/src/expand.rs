//! Variants (`for:`), loops (`each:`) and parameters, worked out on the tree before it is typed.
//!
//! `"{name}"` alone is replaced by the value with its type kept; inside a longer text the value's
//! letters are put in. A name is looked up among the variables of the enclosing `each`, then of
//! `for`, then among the parameters. A name with a dot, such as `{repository.main.port}`, is known
//! only while the case runs and stays as it is. `{{` and `}}` stand for the braces themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::{Key, Kind, Node, brief};
use crate::problem::{Mistake, Place};
use crate::words::suggest;

/// The most variants that one case may have.
pub const VARIANT_LIMIT: usize = 200;
/// The most values of a tree after its loops are unrolled.
const NODE_LIMIT: usize = 100_000;

/// A parameter of cases: what a run needs to know of an IUT (PIXIT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    /// Its name.
    pub name: &'static str,
    /// Its value unless the manifest gives another.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// All parameters with their defaults. Times are the IUT's time.
pub const PARAMETERS: &[ParameterInfo] = &[
    ParameterInfo {
        name: "reboot",
        default: "300s",
        meaning: "from the Execute of Update to the registration of the new firmware, at most",
    },
    ParameterInfo {
        name: "registration",
        default: "60s",
        meaning: "from the start of the IUT to its registration, at most",
    },
    ParameterInfo {
        name: "download",
        default: "600s",
        meaning: "for a whole push or pull of the default package, at most",
    },
    ParameterInfo {
        name: "first-get",
        default: "60s",
        meaning: "from the Write of the Package URI to the first GET, at most",
    },
    ParameterInfo {
        name: "failure",
        default: "300s",
        meaning: "until a failed download or installation shows in Update Result, at most",
    },
    ParameterInfo {
        name: "install",
        default: "120s",
        meaning: "for the installation of a package, without the reboot, at most",
    },
    ParameterInfo {
        name: "verify",
        default: "30s",
        meaning: "from the last block to the state Downloaded or a failure, at most",
    },
    ParameterInfo {
        name: "stable",
        default: "5s",
        meaning: "how long a pair of State and Update Result has to stay to count as the end",
    },
    ParameterInfo {
        name: "notify",
        default: "10s",
        meaning: "from a change to its notification, at most",
    },
    ParameterInfo {
        name: "quiet",
        default: "30s",
        meaning: "how long to listen for what must not be sent",
    },
    ParameterInfo {
        name: "forget",
        default: "300s",
        meaning: "after which an IUT gives up an unfinished body",
    },
    ParameterInfo {
        name: "register-again",
        default: "600s",
        meaning: "from the return of the link to the next registration, at most",
    },
    ParameterInfo {
        name: "tolerance",
        default: "300ms",
        meaning: "what the timers of the IUT may be off",
    },
    ParameterInfo {
        name: "block",
        default: "512",
        meaning: "block size of pushes",
    },
    ParameterInfo {
        name: "lifetime",
        default: "86400",
        meaning: "registration lifetime in seconds",
    },
];

/// The values of the parameters in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    values: BTreeMap<String, String>,
}

impl Default for Parameters {
    fn default() -> Self {
        default_parameters()
    }
}

/// The parameters with nothing but their defaults.
#[must_use]
pub fn default_parameters() -> Parameters {
    Parameters {
        values: PARAMETERS
            .iter()
            .map(|p| (p.name.to_owned(), p.default.to_owned()))
            .collect(),
    }
}

impl Parameters {
    /// Sets a value; a manifest may bring names of its own.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// The defaults with these values over them.
    #[must_use]
    pub fn with<'a>(values: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let mut all = default_parameters();
        for (name, value) in values {
            all.set(name.clone(), value.clone());
        }
        all
    }

    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// One variant of a case file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The values that make it, in file order; empty when the file has no `for`.
    pub values: Vec<(String, String)>,
    /// The tree with everything filled in.
    pub root: Node,
    /// The parameters that it uses.
    pub parameters: BTreeSet<String>,
}

impl Variant {
    /// `block=64,x=1`; none when the file has no `for`.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        if self.values.is_empty() {
            return None;
        }
        let parts: Vec<String> = self
            .values
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Some(parts.join(","))
    }
}

type Scope = Vec<(String, Node)>;

/// Works out all variants of a case file, in file order: the last name of `for` changes fastest.
///
/// # Errors
/// Unknown names, and `for` or `each` blocks that are not made of names and lists.
pub fn expand(root: &Node, parameters: &Parameters) -> Result<Vec<Variant>, Vec<Mistake>> {
    let scopes = match root.entry("for") {
        None => vec![Scope::new()],
        Some((key, node)) => products(key, node, &[], parameters).map_err(|mistake| vec![mistake])?,
    };
    if scopes.len() > VARIANT_LIMIT {
        let pos = root.entry("for").map_or(root.pos, |(key, _)| key.pos);
        let message = format!("{} variants; the limit is {VARIANT_LIMIT}", scopes.len());
        return Err(vec![Mistake::new("for", pos, message)]);
    }
    let mut seen = BTreeSet::new();
    let mut variants = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let values: Vec<(String, String)> = scope
            .iter()
            .map(|(name, node)| (name.clone(), letters(node).unwrap_or_default()))
            .collect();
        if !seen.insert(values.clone()) {
            let pos = root.entry("for").map_or(root.pos, |(key, _)| key.pos);
            let list: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            return Err(vec![
                Mistake::new(
                    "for",
                    pos,
                    format!("two variants have the same name [{}]", list.join(",")),
                )
                .help("take the repeated value out of the list"),
            ]);
        }
        let mut work = Work {
            scope,
            parameters,
            used: BTreeSet::new(),
            mistakes: Vec::new(),
            nodes: 0,
        };
        let root = work.top(root);
        if !work.mistakes.is_empty() {
            return Err(work.mistakes);
        }
        variants.push(Variant {
            values,
            root,
            parameters: work.used,
        });
    }
    Ok(variants)
}

/// Fills the placeholders that are known only at run time: `{repository.main.port}`.
///
/// # Errors
/// The first name that the look-up does not know.
pub fn fill(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Brace(brace) => out.push(brace),
            Piece::Name(name, _) => match lookup(name) {
                Some(value) => out.push_str(&value),
                None => return Err(name.to_owned()),
            },
        }
    }
    Ok(out)
}

/// The letters of a value in a variant's name.
fn letters(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text.clone()),
        Kind::Seq(items) => {
            let parts: Option<Vec<String>> = items.iter().map(letters).collect();
            parts.map(|parts| parts.join("+"))
        }
        Kind::Map(_) => None,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

/// All combinations of the lists of a `for` or `each` block.
fn products(key: &Key, node: &Node, outer: &[(String, Node)], parameters: &Parameters) -> Result<Vec<Scope>, Mistake> {
    let word = key.text.as_str();
    let code = if word == "for" { "for" } else { "each" };
    let example = format!("write `{word}: {{block: [64, 512]}}`");
    let Kind::Map(entries) = &node.kind else {
        return Err(Mistake::new(
            code,
            node.pos,
            format!("`{word}` expects names with lists, found {}", node.describe()),
        )
        .label("this does not fit here")
        .help(example));
    };
    if entries.is_empty() {
        return Err(Mistake::new(code, node.pos, format!("`{word}` is empty")).help(example));
    }
    let mut scopes: Vec<Scope> = vec![Scope::new()];
    for (name, list) in entries {
        if !is_name(&name.text) {
            return Err(
                Mistake::new(code, name.pos, format!("`{}` is no name", brief(&name.text)))
                    .label("lower-case letters, digits and dashes"),
            );
        }
        if outer.iter().any(|(taken, _)| *taken == name.text) {
            return Err(Mistake::new(
                code,
                name.pos,
                format!("`{}` is already a name out here", brief(&name.text)),
            ));
        }
        let items = match &list.kind {
            Kind::Seq(items) if !items.is_empty() => items,
            Kind::Seq(_) => {
                return Err(
                    Mistake::new(code, list.pos, format!("the list of `{}` is empty", name.text)).help(example),
                );
            }
            Kind::Scalar { .. } | Kind::Map(_) => {
                return Err(Mistake::new(
                    code,
                    list.pos,
                    format!("`{}` expects a list, found {}", name.text, list.describe()),
                )
                .label("this does not fit here")
                .help(example));
            }
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            if word == "for" && letters(item).is_none_or(|text| text.is_empty() || text.contains(['[', ']', ',', '\n']))
            {
                return Err(Mistake::new(
                    code,
                    item.pos,
                    "a value of `for` names the variant: a word or number, without , [ ]",
                )
                .label(format!("found {}", item.describe())));
            }
            let mut work = Work {
                scope: outer.to_vec(),
                parameters,
                used: BTreeSet::new(),
                mistakes: Vec::new(),
                nodes: 0,
            };
            let value = work.node(item);
            if let Some(mistake) = work.mistakes.into_iter().next() {
                return Err(mistake);
            }
            values.push(value);
        }
        if scopes.len().saturating_mul(values.len()) > 10_000 {
            return Err(Mistake::new(
                code,
                name.pos,
                format!("`{word}` makes more than 10000 combinations"),
            ));
        }
        scopes = scopes
            .iter()
            .flat_map(|scope| {
                values.iter().map(|value| {
                    let mut next = scope.clone();
                    next.push((name.text.clone(), value.clone()));
                    next
                })
            })
            .collect();
    }
    Ok(scopes)
}

struct Work<'a> {
    scope: Scope,
    parameters: &'a Parameters,
    used: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    nodes: usize,
}

impl Work<'_> {
    /// The root: what `for` says is kept as it stands.
    fn top(&mut self, root: &Node) -> Node {
        let Kind::Map(entries) = &root.kind else {
            return self.node(root);
        };
        let entries = entries
            .iter()
            .map(|(key, value)| {
                let value = if key.text == "for" {
                    value.clone()
                } else {
                    self.node(value)
                };
                (key.clone(), value)
            })
            .collect();
        Node {
            pos: root.pos,
            kind: Kind::Map(entries),
        }
    }

    fn node(&mut self, node: &Node) -> Node {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            if self.nodes == NODE_LIMIT + 1 {
                self.mistakes.push(Mistake::new(
                    "each",
                    node.pos,
                    format!("the case has more than {NODE_LIMIT} values once its loops are unrolled"),
                ));
            }
            return Node::plain(node.pos, "");
        }
        let kind = match &node.kind {
            Kind::Scalar { text, quoted } => self.scalar(node.pos, text, *quoted),
            Kind::Seq(items) => {
                let mut out = Vec::with_capacity(items.len());
                for item in items {
                    self.item(item, &mut out);
                }
                Kind::Seq(out)
            }
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let text = match self.scalar(key.pos, &key.text, true) {
                            Kind::Scalar { text, .. } => text,
                            Kind::Seq(_) | Kind::Map(_) => key.text.clone(),
                        };
                        (Key { text, pos: key.pos }, self.node(value))
                    })
                    .collect(),
            ),
        };
        Node { pos: node.pos, kind }
    }

    /// An item of a list: `{each: .., steps: ..}` becomes its copies.
    fn item(&mut self, item: &Node, out: &mut Vec<Node>) {
        // `each` beside `match` is what an expectation asks of every message, not a loop.
        let Some((each, values)) = item.entry("each").filter(|_| item.entry("match").is_none()) else {
            out.push(self.node(item));
            return;
        };
        let Some(steps) = item.get("steps").and_then(Node::items) else {
            self.mistakes.push(
                Mistake::new("each", each.pos, "`each` needs `steps`, a list of what is repeated")
                    .help("write `- each: {path: [/5/0/3, /5/0/5]}` and below it `steps: [..]`"),
            );
            return;
        };
        if let Kind::Map(entries) = &item.kind
            && let Some((other, _)) = entries
                .iter()
                .find(|(key, _)| key.text != "each" && key.text != "steps")
        {
            self.mistakes.push(
                Mistake::new(
                    "unknown-key",
                    other.pos,
                    format!("unknown key `{}` beside `each`", brief(&other.text)),
                )
                .help("`each` stands with `steps` alone; put the rest into the steps"),
            );
            return;
        }
        match products(each, values, &self.scope, self.parameters) {
            Err(mistake) => self.mistakes.push(mistake),
            Ok(scopes) => {
                for scope in scopes {
                    let depth = self.scope.len();
                    self.scope.extend(scope);
                    for step in steps {
                        self.item(step, out);
                    }
                    self.scope.truncate(depth);
                    if self.nodes > NODE_LIMIT || self.mistakes.len() > 20 {
                        return;
                    }
                }
            }
        }
    }

    fn scalar(&mut self, pos: Place, text: &str, quoted: bool) -> Kind {
        if !text.contains(['{', '}']) {
            return Kind::Scalar {
                text: text.to_owned(),
                quoted,
            };
        }
        if let [Piece::Name(name, offset)] = pieces(text).as_slice()
            && !name.contains('.')
        {
            return match self.lookup(pos, text, name, *offset) {
                Some(node) => node.kind,
                None => Kind::Scalar {
                    text: text.to_owned(),
                    quoted: true,
                },
            };
        }
        let mut out = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Brace(brace) => out.push(brace),
                Piece::Name(name, _) if name.contains('.') => {
                    out.push('{');
                    out.push_str(name);
                    out.push('}');
                }
                Piece::Name(name, offset) => {
                    match self.lookup(pos, text, name, offset).map(|node| (letters(&node), node)) {
                        Some((Some(letters), _)) => out.push_str(&letters),
                        Some((None, node)) => self.mistakes.push(Mistake::new(
                            "placeholder",
                            pos,
                            format!("`{{{name}}}` is {} and cannot stand inside a text", node.describe()),
                        )),
                        None => {}
                    }
                }
            }
        }
        Kind::Scalar { text: out, quoted }
    }

    fn lookup(&mut self, pos: Place, text: &str, name: &str, offset: usize) -> Option<Node> {
        if let Some((_, node)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return Some(node.clone());
        }
        if let Some(value) = self.parameters.get(name) {
            self.used.insert(name.to_owned());
            return Some(Node::plain(pos, value));
        }
        let known: Vec<&str> = self
            .scope
            .iter()
            .map(|(known, _)| known.as_str())
            .chain(
                self.parameters
                    .iter()
                    .map(|(known, _)| known)
                    .filter(|known| !self.scope.iter().any(|(own, _)| own == known)),
            )
            .collect();
        // A caret at the name itself, where the text of the file and of the value run in step.
        let quote = u32::from(pos.len as usize == text.len() + 2);
        let exact = pos.len as usize == text.len() + 2 || pos.len as usize == text.len();
        let place = if exact {
            let shift = crate::problem::narrow(offset) + quote;
            let columns = crate::problem::narrow(text[..offset].chars().count()) + quote;
            Place {
                column: pos.column + columns,
                offset: pos.offset + shift,
                len: crate::problem::narrow(name.len() + 2),
                ..pos
            }
        } else {
            pos
        };
        self.mistakes.push(
            Mistake::new("placeholder", place, format!("nothing is called `{}`", brief(name)))
                .label("neither a variable nor a parameter")
                .maybe_help(suggest(name, &known)),
        );
        None
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Brace(char),
    Name(&'a str, usize),
}

/// Cuts a text at its placeholders. Braces that hold no name, as in JSON, are text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut rest = 0;
    let mut at = 0;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let two = bytes.get(at + 1).copied();
        let (piece, len) = match (bytes[at], two) {
            (b'{', Some(b'{')) => (Piece::Brace('{'), 2),
            (b'}', Some(b'}')) => (Piece::Brace('}'), 2),
            (b'{', _) => match text[at + 1..].find('}').map(|end| &text[at + 1..at + 1 + end]) {
                Some(name) if name.split('.').all(is_part) && is_name(name.split('.').next().unwrap_or_default()) => {
                    (Piece::Name(name, at), name.len() + 2)
                }
                _ => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        if rest < at {
            out.push(Piece::Text(&text[rest..at]));
        }
        out.push(piece);
        at += len;
        rest = at;
    }
    if rest < text.len() {
        out.push(Piece::Text(&text[rest..]));
    }
    out
}

fn is_part(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::parse;

    fn texts(node: &Node) -> Vec<String> {
        match &node.kind {
            Kind::Scalar { text, .. } => vec![text.clone()],
            Kind::Seq(items) => items.iter().flat_map(texts).collect(),
            Kind::Map(entries) => entries
                .iter()
                .flat_map(|(k, v)| std::iter::once(k.text.clone()).chain(texts(v)))
                .collect(),
        }
    }

    #[test]
    fn variants_are_the_product_in_file_order_with_stable_names() {
        let root = parse(
            0,
            "for: {block: [64, 512], x: [a, b]}\nsteps: [\"{block}\", \"at {block} {x}\"]\n",
        )
        .unwrap();
        let variants = expand(&root, &default_parameters()).unwrap();
        let names: Vec<String> = variants.iter().map(|v| v.name().unwrap()).collect();
        assert_eq!(
            names,
            ["block=64,x=a", "block=64,x=b", "block=512,x=a", "block=512,x=b"]
        );
        let steps = variants[2].root.get("steps").unwrap();
        assert_eq!(texts(steps), ["512", "at 512 a"]);
        // Alone the value keeps its type: a number stays a number though the placeholder was quoted.
        assert!(matches!(
            &steps.items().unwrap()[0].kind,
            Kind::Scalar { quoted: false, .. }
        ));
        assert!(matches!(
            &steps.items().unwrap()[1].kind,
            Kind::Scalar { quoted: true, .. }
        ));
    }

    #[test]
    fn loops_unroll_in_place_and_nest() {
        let text = "steps:\n- first\n- each: {path: [/a, /b]}\n  steps:\n  - each: {n: [1, 2]}\n    steps: [\"{path}{n}\"]\n  - \"end {path}\"\n- last\n";
        let variants = expand(&parse(0, text).unwrap(), &default_parameters()).unwrap();
        assert_eq!(
            texts(variants[0].root.get("steps").unwrap()),
            ["first", "/a1", "/a2", "end /a", "/b1", "/b2", "end /b", "last"]
        );
    }

    #[test]
    fn parameters_fill_in_dotted_names_stay_and_doubled_braces_are_braces() {
        let root = parse(
            0,
            "steps: [\"{reboot}\", \"coap://{server.host}/{{x}}\", '{\"a\": 1}']\n",
        )
        .unwrap();
        let mut parameters = default_parameters();
        parameters.set("reboot", "7s");
        let variants = expand(&root, &parameters).unwrap();
        assert_eq!(
            texts(variants[0].root.get("steps").unwrap()),
            ["7s", "coap://{server.host}/{x}", "{\"a\": 1}"]
        );
        assert_eq!(variants[0].parameters.iter().collect::<Vec<_>>(), ["reboot"]);
    }

    #[test]
    fn an_unknown_name_points_at_itself_and_suggests_the_nearest() {
        let root = parse(0, "steps: [\"wait {rebot} now\"]\n").unwrap();
        let mistakes = expand(&root, &default_parameters()).unwrap_err();
        assert_eq!(mistakes[0].pos.column, 15);
        assert!(mistakes[0].help.as_deref().unwrap().contains("did you mean `reboot`?"));
    }

    #[test]
    fn what_is_asked_of_each_message_is_no_loop() {
        let text = "messages:\n- match: {method: get}\n  each: {type: con}\n";
        let variants = expand(&parse(0, text).unwrap(), &default_parameters()).unwrap();
        assert_eq!(
            texts(&variants[0].root),
            ["messages", "match", "method", "get", "each", "type", "con"]
        );
    }

    #[test]
    fn the_inner_name_of_a_loop_may_not_hide_an_outer_one() {
        let root = parse(
            0,
            "steps:\n- each: {n: [1]}\n  steps:\n  - each: {n: [2]}\n    steps: [\"{n}\"]\n",
        )
        .unwrap();
        assert_eq!(expand(&root, &default_parameters()).unwrap_err()[0].code, "each");
    }

    #[test]
    fn nested_loops_cannot_blow_up() {
        let mut text = String::from("steps:\n");
        for level in 0..8 {
            let pad = "  ".repeat(level);
            text.push_str(&format!(
                "{pad}- each: {{v{level}: [1,2,3,4,5,6,7,8,9,10]}}\n{pad}  steps:\n"
            ));
        }
        text.push_str(&format!("{}- x\n", "  ".repeat(8)));
        let mistakes = expand(&parse(0, &text).unwrap(), &default_parameters()).unwrap_err();
        assert!(mistakes[0].message.contains("more than 100000 values"));
    }

    #[test]
    fn run_time_names_are_filled_by_the_runner() {
        let lookup = |name: &str| (name == "server.host").then(|| "192.0.2.1".to_owned());
        assert_eq!(
            fill("coap://{server.host}/x", lookup),
            Ok("coap://192.0.2.1/x".to_owned())
        );
        assert_eq!(fill("{server.port}", lookup), Err("server.port".to_owned()));
    }
}
