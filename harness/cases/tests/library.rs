//! The library that is compiled in, and how files become cases.

use std::path::Path;

use fotaproof_cases::node::{Node, parse};
use fotaproof_cases::schema::{schemas, to_json};
use fotaproof_cases::validate::validate_all;
use fotaproof_cases::{
    ClauseCatalogue, Known, Library, Style, default_parameters, explain, load_network, render_all, select,
};

const SAMPLE: &str = include_str!("sample.yaml");

#[test]
fn every_case_of_the_library_is_right() {
    let library = Library::embedded();
    let (cases, mut problems) = library.load(&default_parameters());
    match ClauseCatalogue::load(&library) {
        Ok(catalogue) => {
            problems.extend(validate_all(
                &cases,
                &Known {
                    clauses: Some(&catalogue),
                    ..Known::default()
                },
            ));
        }
        Err(more) => problems.extend(more),
    }
    assert!(problems.is_empty(), "{}", render_all(&problems, Style::Plain));
}

#[test]
fn the_clause_catalogue_is_complete_in_itself() {
    let catalogue =
        ClauseCatalogue::load(&Library::embedded()).unwrap_or_else(|p| panic!("{}", render_all(&p, Style::Plain)));
    assert!(catalogue.len() >= 200);
    for clause in catalogue.iter() {
        assert!(clause.text.len() > 4 && clause.text.ends_with('.'), "{}", clause.id);
        assert!(clause.id.contains('/') || clause.id.starts_with("obj"), "{}", clause.id);
    }
    for number in (1..=17).map(|number| format!("oma-fw/T{number}")) {
        assert!(catalogue.contains(&number), "{number}");
    }
}

#[test]
fn variants_have_stable_ids_and_can_be_selected() {
    let library = Library::from_files([("push/lost-last-ack.yaml", SAMPLE)]);
    let (cases, problems) = library.load(&default_parameters());
    assert!(problems.is_empty(), "{}", render_all(&problems, Style::Plain));
    let ids: Vec<String> = cases.iter().map(|case| case.full_id()).collect();
    assert_eq!(
        ids,
        [
            "push.lost-last-ack[block=64]",
            "push.lost-last-ack[block=512]",
            "push.lost-last-ack[block=1024]"
        ]
    );
    let subjects: Vec<_> = cases.iter().map(|case| case.subject()).collect();
    let chosen = select(&["push.lost-last-ack[block=512]".to_owned()], &subjects);
    assert_eq!(chosen, Ok(vec![1]));
    assert_eq!(select(&["ets:770".to_owned()], &subjects), Ok(vec![0, 1, 2]));
    let push = cases[1].case.steps.iter().find_map(|step| step.push.as_ref()).unwrap();
    assert_eq!(push.block, Some(512));
    assert_eq!(cases[1].line_text(push.pos), "push: {to: /5/0/0, block: \"{block}\"}");
    assert_eq!(cases[1].place(push.pos).0, "push/lost-last-ack.yaml");
}

#[test]
fn a_manifest_parameter_reaches_the_case() {
    let library = Library::from_files([("push/lost-last-ack.yaml", SAMPLE)]);
    let mut parameters = default_parameters();
    parameters.set("reboot", "42s");
    let (cases, _) = library.load(&parameters);
    let last = cases[0]
        .case
        .steps
        .iter()
        .filter_map(|step| step.expect.as_ref()?.within.as_ref())
        .next_back()
        .unwrap();
    assert_eq!(last.value.0.as_secs(), 42);
}

#[test]
fn defaults_are_included_and_the_case_wins() {
    let library = Library::from_files([
        (
            "push/a.yaml",
            "include: [../common/d.yaml]\ntitle: a\npurpose: b\nnetwork: {mtu: 300}\nsteps: [{await: update}]\n",
        ),
        (
            "common/d.yaml",
            "network: {mtu: 1280, oversize: drop}\nfirmware: {package: valid}\n",
        ),
    ]);
    let (cases, problems) = library.load(&default_parameters());
    assert!(problems.is_empty(), "{}", render_all(&problems, Style::Plain));
    let network = cases[0].case.network.as_ref().unwrap();
    assert_eq!(
        (network.mtu, network.oversize),
        (Some(300), Some(fotaproof_cases::ast::Oversize::Drop))
    );
    assert_eq!(
        cases[0].case.firmware.as_ref().unwrap().package.as_ref().unwrap().value,
        "valid"
    );
}

#[test]
fn one_wrong_case_does_not_hide_the_others() {
    let library = Library::from_files([
        ("push/a.yaml", SAMPLE),
        ("push/b.yaml", "titel: x\n"),
        ("push/c.yaml", SAMPLE),
    ]);
    let (cases, problems) = library.load(&default_parameters());
    assert_eq!(cases.len(), 6);
    assert!(problems.iter().all(|problem| problem.file == "push/b.yaml"));
}

#[test]
fn a_case_is_explained_from_its_file() {
    let library = Library::from_files([("push/lost-last-ack.yaml", SAMPLE)]);
    let (cases, _) = library.load(&default_parameters());
    let catalogue = ClauseCatalogue::load(&Library::embedded()).unwrap();
    let summary = |name: &str| {
        (name == "executes-duplicate-last-block").then(|| "handles a repeated last block as a new one".to_owned())
    };
    let explanation = explain(&cases, &catalogue, &default_parameters(), &summary).unwrap();
    insta::assert_snapshot!("explain", explanation.text(100));
}

/// `UPDATE_SCHEMA=1 cargo test -p fotaproof-cases` writes the files anew.
#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testcases/schema");
    for (name, text) in schemas() {
        let file = folder.join(name);
        #[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the engine")]
        let update = std::env::var("UPDATE_SCHEMA").is_ok();
        if update {
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "{name} is stale: run `UPDATE_SCHEMA=1 cargo test -p fotaproof-cases`"
        );
    }
}

fn validator(name: &str) -> jsonschema::Validator {
    let (_, text) = schemas().into_iter().find(|(known, _)| *known == name).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn fits(validator: &jsonschema::Validator, node: &Node) -> Vec<String> {
    validator
        .iter_errors(&to_json(node))
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect()
}

#[test]
fn the_schema_accepts_what_the_loader_accepts() {
    let case = validator("case.schema.json");
    let library = Library::embedded();
    let mut texts: Vec<(String, String)> = library
        .sources()
        .iter()
        .map(|source| (source.path.clone(), source.text.to_string()))
        .collect();
    texts.push(("sample".to_owned(), SAMPLE.to_owned()));
    for (path, text) in texts {
        let errors = fits(&case, &parse(0, &text).unwrap());
        assert!(errors.is_empty(), "{path}: {errors:#?}");
    }
    let clauses = validator("clauses.schema.json");
    for (path, text) in library.files_in("clauses") {
        assert!(fits(&clauses, &parse(0, text).unwrap()).is_empty(), "{path}");
    }
    let network = validator("network.schema.json");
    for (path, text) in library.files_in("networks") {
        assert!(fits(&network, &parse(0, text).unwrap()).is_empty(), "{path}");
    }
}

#[test]
fn the_schema_refuses_what_the_loader_refuses() {
    let case = validator("case.schema.json");
    for (from, to) in [
        ("expect: {code: 2.04}", "exepct: {code: 2.04}"),
        ("within: 10s", "within: [10s]"),
        ("downloading?", "downloadin?"),
        ("await: registration", "await: registraton"),
        ("mtu: 1280", "mtu: large"),
        ("title: A", "titel: A"),
    ] {
        let text = SAMPLE.replacen(from, to, 1);
        assert_ne!(text, SAMPLE, "{from}");
        assert!(!fits(&case, &parse(0, &text).unwrap()).is_empty(), "{to}");
    }
}

#[test]
fn the_networks_of_the_library_are_right() {
    let library = Library::embedded();
    for (path, text) in library.files_in("networks") {
        let network = load_network(path, text, &default_parameters(), &[]);
        let network = network.unwrap_or_else(|problems| panic!("{}", render_all(&problems, Style::Plain)));
        assert!(
            network.summary.is_some() && network.sources.is_some(),
            "{path} says what it is and where its figures are from"
        );
    }
}

#[test]
#[ignore = "a measurement: cargo test -p fotaproof-cases --test library -- --ignored --nocapture"]
fn time_to_load_sixty_cases() {
    let names: Vec<String> = (0..60).map(|number| format!("push/case-{number}.yaml")).collect();
    let library = Library::from_files(names.iter().map(|name| (name.as_str(), SAMPLE)));
    #[expect(clippy::disallowed_methods, reason = "a measurement, not the engine")]
    let start = std::time::Instant::now();
    let (cases, _) = library.load(&default_parameters());
    println!("{} variants of 60 cases in {:?}", cases.len(), start.elapsed());
}
