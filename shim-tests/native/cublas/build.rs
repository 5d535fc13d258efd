//! Gives the library the soname by which it is looked for.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcublas.so.12");
}
