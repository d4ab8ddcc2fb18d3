//! Rebuilds the crate when the library of cases changes: it is compiled in.

fn main() {
    println!("cargo:rerun-if-changed=../../testcases");
}
