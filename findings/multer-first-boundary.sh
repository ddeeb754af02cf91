#!/usr/bin/env bash
# multer 3.1.0: a sound form is "incomplete" if its body arrives whole between two polls.
#
# While `Multipart::poll_next_field` looks for the first boundary, it polls its stream, searches what it has, and if
# nothing is found polls the stream once more. If the stream ends in this second poll, the form is called incomplete,
# though the boundary may have come in the same poll. A body that is there from the first poll on is read, and so is one
# that comes in two pieces; one that comes whole a moment later, as from another thread, is not.
#
# A way out: let the stream end in a poll of its own, by a `chain` with an empty stream that is pending once.
#
# Wants cargo. Prints what it sees; ends with 1 when that changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" << 'EOF'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
bytes = "=1.11.0"
futures = "=0.3.31"
multer = "=3.1.0"
EOF
cat > "$work/src/main.rs" << 'EOF'
use std::task::Poll;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream::{self, Stream, StreamExt};

const BODY: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ntext\r\n--b--\r\n";

/// Nothing, once.
fn pause() -> impl Stream<Item = std::io::Result<Bytes>> {
    let mut polled = false;
    stream::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(None);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn body() -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::iter([Ok(Bytes::from_static(BODY))])
}

fn read(name: &str, body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) {
    let mut form = multer::Multipart::new(body, "b");
    let seen = match block_on(form.next_field()) {
        Ok(Some(field)) => format!("a field {:?}", field.name().unwrap_or_default()),
        Ok(None) => "no field".to_owned(),
        Err(error) => error.to_string(),
    };
    println!("{name}: {seen}");
}

fn main() {
    read("there at once", body());
    read("there a moment later", pause().chain(body()));
    read("the same, and its end a moment later", pause().chain(body()).chain(pause()));
}
EOF
echo "multer 3.1.0"
cargo run --quiet --manifest-path "$work/Cargo.toml" | tee "$work/seen"
diff "$work/seen" - << 'EOF'
there at once: a field "a"
there a moment later: incomplete multipart stream
the same, and its end a moment later: a field "a"
EOF
