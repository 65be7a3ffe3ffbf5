//! Build script of the packages that depend on `jtav-model`: finds libtorch at run time without `LD_LIBRARY_PATH`.

include!("link_libtorch.rs");

fn link() {
    let lib = std::env::var("DEP_JTAV_MODEL_LIBTORCH_LIB").expect("jtav-model names libtorch's folder");
    set_runpath(&lib);
}
