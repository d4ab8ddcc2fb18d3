use fotaproof_cases::{Library, Parameters};
use fotaproof_runner::{audit, iut::Iut, prepare::CaseOptions, session, virtual_driver};
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mode = args[0].as_str();
    let library = Library::from_dir(std::path::Path::new("/work/main/testcases")).unwrap_or_else(|p| panic!("{p:?}"));
    let (cases, problems) = library.load(&Parameters::default());
    for p in &problems {
        println!("{p:?}");
    }
    let clauses = fotaproof_cases::ClauseCatalogue::load(&library).unwrap_or_else(|p| panic!("{p:?}"));
    let defects: Vec<&str> = fotaproof_lwm2m::defects::Defect::all().map(|d| d.name()).collect();
    let checks: Vec<&str> = fotaproof_checks::all().iter().map(|c| c.id).collect();
    let known = fotaproof_cases::validate::Known {
        clauses: Some(&clauses),
        defects: &defects,
        checks: &checks,
        profiles: &[],
    };
    for p in fotaproof_cases::validate::validate_all(&cases, &known) {
        println!("{p:?}");
    }
    let filter: Vec<&String> = args[1..].iter().filter(|a| !a.starts_with('-')).collect();
    let chosen: Vec<_> = cases
        .into_iter()
        .filter(|c| filter.is_empty() || filter.iter().any(|f| c.id.starts_with(f.as_str())))
        .collect();
    println!("{} cases", chosen.len());
    let mut config = fotaproof_lwm2m::device::DeviceConfig::new("embedded", ([192, 0, 2, 1], 5683).into());
    use fotaproof_lwm2m::definitions::Version;
    if args.iter().any(|a| a == "--v10") {
        config.lwm2m = Version::V1_0;
        config.object5 = Version::V1_0;
    } else {
        config.lwm2m = Version::V1_2;
        config.object5 = Version::V1_2;
    }
    let mut iut = Iut::of_device("embedded", config);
    let mut options = CaseOptions::default();
    let interrupt = std::sync::atomic::AtomicBool::new(false);
    match mode {
        "check" => {}
        "audit" => {
            let a = audit::audit(
                &iut,
                &chosen,
                &options,
                args.iter().any(|a| a == "--full"),
                2,
                &interrupt,
                &|_, _| {},
            );
            for row in &a.rows {
                println!(
                    "{} {} {:?}",
                    row.id,
                    if row.not_applicable { "n/a" } else { "" },
                    row.clean
                );
                for (d, (m, why)) in &row.marks {
                    if row.named.contains(d) || *m == audit::Mark::Caught || *m == audit::Mark::Unclear {
                        println!("    {d} {m:?} {why}");
                    }
                }
            }
            println!("{:#?}", a.problems());
        }
        "run" => {
            for a in &args {
                if let Some(d) = a.strip_prefix("-d") {
                    iut = iut.with_defect(d.parse().unwrap());
                }
            }
            for a in &args {
                if let Some(s) = a.strip_prefix("-s") {
                    options.seed = s.parse().unwrap();
                }
            }
            for a in &args {
                if let Some(s) = a.strip_prefix("-p") {
                    options.network.spec = fotaproof_net::profile(s).unwrap().spec;
                }
            }
            for case in &chosen {
                let config = session_config(case, &iut, &options);
                let device = fotaproof_runner::prepare::embedded_iut(case, &iut, &config).unwrap();
                let outcome = virtual_driver::run(
                    config,
                    device,
                    &mut |e| println!("{:>10.3} {}", e.at.as_secs_f64(), short(e)),
                    &|| false,
                );
                println!("{outcome:#?}");
            }
        }
        "loss" => {
            let runs: u64 = args
                .iter()
                .find_map(|a| a.strip_prefix("-n"))
                .map_or(200, |n| n.parse().unwrap());
            let loss: f64 = args
                .iter()
                .find_map(|a| a.strip_prefix("-l"))
                .map_or(0.1, |n| n.parse().unwrap());
            for case in &chosen {
                let mut count = std::collections::BTreeMap::<String, (u32, u64)>::new();
                for seed in 0..runs {
                    let mut o = options.clone();
                    o.seed = seed;
                    for d in [&mut o.network.spec.toward_iut, &mut o.network.spec.toward_server] {
                        d.loss = fotaproof_net::Loss::Bernoulli(loss);
                    }
                    for a in &args {
                        if let Some(s) = a.strip_prefix("-p") {
                            o.network.spec = fotaproof_net::profile(s).unwrap().spec;
                        }
                    }
                    let Ok(config) = fotaproof_runner::prepare::session_config(case, &iut, &o) else {
                        continue;
                    };
                    let device = fotaproof_runner::prepare::embedded_iut(case, &iut, &config).unwrap();
                    let outcome = virtual_driver::run(config, device, &mut |_| {}, &|| false);
                    let e = count
                        .entry(format!(
                            "{:?} {}",
                            outcome.verdict,
                            outcome
                                .findings
                                .iter()
                                .map(|f| format!("{:?} {} [exp {} seen {}]", f.grade, f.title, f.expected, f.seen))
                                .collect::<Vec<_>>()
                                .join(" || ")
                                .chars()
                                .take(400)
                                .collect::<String>()
                        ))
                        .or_insert((0, seed));
                    e.0 += 1;
                }
                println!("{}", case.full_id());
                let mut all: Vec<_> = count.into_iter().collect();
                all.sort_by_key(|x| std::cmp::Reverse(x.1.0));
                for (k, (n, s)) in all.iter().take(8) {
                    println!("   {n:>4} (seed {s}) {k}");
                }
            }
        }
        _ => {}
    }
}
fn session_config(case: &fotaproof_cases::LoadedCase, iut: &Iut, options: &CaseOptions) -> session::SessionConfig {
    fotaproof_runner::prepare::session_config(case, iut, options).unwrap()
}
fn short(e: &fotaproof_trace::Event) -> String {
    match &e.kind {
        fotaproof_trace::EventKind::Datagram(d) => format!(
            "{:?} {:?} {}",
            d.point,
            d.toward,
            fotaproof_wire::coap::summary(&d.payload)
        ),
        other => format!("{other:?}").chars().take(300).collect(),
    }
}
