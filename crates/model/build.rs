//! Tells every dependent where libtorch lives (`DEP_JTAV_MODEL_LIBTORCH_LIB`), and links this crate's own tests.

include!("link_libtorch.rs");

fn link() {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names libtorch's folder");
    let lib = std::fs::canonicalize(&lib).unwrap_or_else(|_| lib.clone().into());
    println!("cargo:libtorch_lib={}", lib.display());
    set_runpath(&lib.display().to_string());
}
