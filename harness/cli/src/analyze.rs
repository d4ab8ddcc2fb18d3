//! `analyze`: verdicts from captures.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fotaproof_analyze::report::{self, BrokenAt};
use fotaproof_analyze::{Analysis, CaptureReport, Options, annotate, human, junit, svg};
use fotaproof_reports::write_atomically;

use crate::failure::Failure;
use crate::{Done, print};

/// `analyze`.
#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    /// Captures: pcap or pcapng; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How captures are judged.
    #[command(flatten)]
    judging: Judging,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Leave analysis.json, junit.xml, and for each capture a copy with the findings as packet comments and a chart of
    /// its transfers in this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How captures are judged.
#[derive(Debug, Args, Clone)]
pub(crate) struct Judging {
    /// Take this port for CoAP whatever its datagrams look like; 5683 always is.
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,
    /// Judge what this interface saw; in a capture of a run that is `iut`, else all count.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// MTU of the link, for the check `mtu`.
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u16>,
    /// Leave out this passive check.
    #[arg(long, value_name = "ID")]
    skip: Vec<String>,
    /// Findings of grade should and advice fail too.
    #[arg(long)]
    strict: bool,
    /// A TLS key log (lines `CLIENT_RANDOM ..`) that opens DTLS, besides what the capture holds.
    #[arg(long, value_name = "FILE")]
    key_log: Vec<PathBuf>,
    /// A pre-shared key that opens DTLS with plain PSK: hexadecimal, or `text:` and the key as it is.
    #[arg(long, value_name = "KEY")]
    psk: Vec<String>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for a person.
    Human,
    /// The report as JSON.
    Json,
    /// JUnit XML.
    Junit,
}

impl Judging {
    pub(crate) const fn strict(&self) -> bool {
        self.strict
    }

    pub(crate) fn options(&self) -> Result<Options, Failure> {
        let known = fotaproof_checks::all();
        if let Some(unknown) = self.skip.iter().find(|id| !known.iter().any(|check| check.id == **id)) {
            return Err(Failure::Usage(format!("there is no check `{unknown}`")));
        }
        let mut secrets = fotaproof_analyze::dtls::Secrets::default();
        for file in &self.key_log {
            let log = std::fs::read(file)
                .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
            if secrets.add_key_log(&log) == 0 {
                return Err(Failure::Usage(format!("{} has no line CLIENT_RANDOM", file.display())));
            }
        }
        for key in &self.psk {
            let bytes = match key.strip_prefix("text:") {
                Some(text) => Some(text.as_bytes().to_vec()),
                None => fotaproof_wire::hex::decode(key),
            };
            secrets.add_psk(bytes.ok_or_else(|| {
                Failure::Usage(
                    "a key of --psk is an even number of hexadecimal digits, or `text:` and the key".to_owned(),
                )
            })?);
        }
        Ok(Options {
            secrets,
            ports: self.port.clone(),
            interface: self.interface.clone(),
            mtu: self.mtu,
            strict: self.strict,
            disabled: self.skip.clone(),
            ..Options::default()
        })
    }
}

/// Analyzes one file.
pub(crate) fn capture(path: &Path, options: &Options) -> CaptureReport {
    let name = path.display().to_string();
    let input: std::io::Result<Box<dyn Read>> = if name == "-" {
        Ok(Box::new(std::io::stdin().lock()))
    } else {
        File::open(path).map(|file| Box::new(file) as Box<dyn Read>)
    };
    match input {
        Ok(input) => fotaproof_analyze::analyze(&name, input, options.clone()),
        Err(error) => CaptureReport {
            file: name,
            broken: Some(BrokenAt {
                reason: error.to_string(),
                ..BrokenAt::default()
            }),
            ..CaptureReport::default()
        },
    }
}

pub(crate) fn analyze(args: &AnalyzeArgs) -> Done {
    let options = args.judging.options()?;
    let captures = args.files.iter().map(|file| capture(file, &options)).collect();
    let analysis = Analysis::new(captures);
    let failed = |error: &dyn core::error::Error| Failure::Environment(error.to_string());
    let as_json = || report::json(&analysis).map_err(|error| failed(&error));
    let as_junit = || junit::render(&analysis).map_err(|error| failed(&error));
    print(&match args.format {
        Format::Human => human::render(&analysis),
        Format::Json => as_json()?,
        Format::Junit => String::from_utf8_lossy(&as_junit()?).into_owned(),
    });
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)?;
        let write =
            |name: &str, bytes: &[u8]| write_atomically(&folder.join(name), bytes).map_err(|error| failed(&error));
        write("analysis.json", as_json()?.as_bytes())?;
        write("junit.xml", &as_junit()?)?;
        for (index, (path, report)) in args.files.iter().zip(&analysis.captures).enumerate() {
            let stem = path
                .file_stem()
                .map_or_else(|| "capture".into(), |stem| stem.to_string_lossy());
            // Two files of one name in different folders stay apart.
            let same = args.files[..index]
                .iter()
                .any(|other| other.file_stem() == path.file_stem());
            let stem = if same {
                format!("{stem}-{}", index + 1)
            } else {
                stem.into_owned()
            };
            write(&format!("{stem}.svg"), svg::render(report).as_bytes())?;
            if report.format.is_empty() || path.as_os_str() == "-" {
                continue;
            }
            let copy = File::create(folder.join(format!("{stem}.annotated.pcapng")))?;
            annotate::annotate(report, File::open(path)?, BufWriter::new(copy)).map_err(|error| failed(&error))?;
        }
    }
    Ok(analysis.exit_code)
}
