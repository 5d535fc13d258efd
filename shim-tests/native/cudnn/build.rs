//! Gives the library the soname by which it is looked for.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcudnn.so.9");
}
