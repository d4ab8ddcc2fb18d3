//! `replay`: a case of an earlier run again, with the same seed and the same fate of packets.

use fotaproof_reports::json;

use crate::Done;
use crate::args::ReplayArgs;
use crate::failure::Failure;

pub(crate) fn replay(args: &ReplayArgs) -> Done {
    let path = args.run.join("results.json");
    let results = json::read_file(&path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    let _ = (results, &args.case, &args.library, &args.out);
    Err(Failure::Usage("not yet".to_owned()))
}
