// Included by build scripts. A library's link arguments do not reach the binaries that use it, so each package
// with a binary or a test that runs the networks sets the run path itself.

fn main() {
    // Without any line of this kind the script would run again at every change in the package.
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    link();
}

fn set_runpath(libtorch_lib: &str) {
    // RUNPATH rather than RPATH: LD_LIBRARY_PATH can then point the same binary at a CUDA build of libtorch.
    println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags");
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/lib:$ORIGIN/../lib");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch_lib}");
}
