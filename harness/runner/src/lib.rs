//! Sessions, drivers, IUT processes, verdicts, scheduling.
