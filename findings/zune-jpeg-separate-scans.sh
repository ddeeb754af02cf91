#!/usr/bin/env bash
# image 0.25.10 (zune-jpeg 0.5.15): a baseline JPEG with one scan per component and subsampled color decodes to another picture,
# without an error.
#
# The JPEG standard lets a baseline file hold each component in a scan of its own; libjpeg writes and reads such files
# (`jpegtran -scans`). With 4:4:4 sampling `image` decodes them correctly. With 4:2:0 it
# returns Ok and a picture that differs from libjpeg's by about 100 gray levels on average, where the same pixels in a single
# scan differ by less than 2. A caller cannot tell from the result that the picture is wrong.
#
# A way out: read the scan headers first, and give files whose scans hold single components to libjpeg.
#
# Needs cargo and a C compiler. Prints what it sees; exits with 1 if that changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" << 'EOF'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
image = { version = "=0.25.10", default-features = false, features = ["jpeg"] }
mozjpeg-sys = { version = "=2.2.3", default-features = false }
zune-jpeg = "=0.5.15"
EOF
cat > "$work/src/main.rs" << 'EOF'
use mozjpeg_sys as jpeg;
use std::mem::zeroed;

const SIDE: u32 = 96;

/// A color gradient with a grid: smooth enough for JPEG, different at every place.
fn picture() -> Vec<u8> {
    (0..SIDE * SIDE)
        .flat_map(|at| {
            let (x, y) = (at % SIDE, at / SIDE);
            let grid = if (x / 16 + y / 16) % 2 == 0 { 30 } else { 0 };
            [x * 2 + grid, y * 2 + grid, 200 - x - y / 2]
        })
        .map(|value| value as u8)
        .collect()
}

/// Encodes with libjpeg: luma sampled `sampling` times as finely as color, in one scan or in one per component.
fn encode(pixels: &[u8], sampling: i32, separate: bool) -> Vec<u8> {
    let scans: Vec<jpeg::jpeg_scan_info> = (0..3)
        .map(|component| jpeg::jpeg_scan_info {
            comps_in_scan: 1,
            component_index: [component, 0, 0, 0],
            Ss: 0,
            Se: 63,
            Ah: 0,
            Al: 0,
        })
        .collect();
    unsafe {
        let mut errors: jpeg::jpeg_error_mgr = zeroed();
        let mut encoder: jpeg::jpeg_compress_struct = zeroed();
        encoder.common.err = jpeg::jpeg_std_error(&mut errors);
        jpeg::jpeg_create_compress(&mut encoder);
        let mut buffer = std::ptr::null_mut();
        let mut length = 0;
        jpeg::jpeg_mem_dest(&mut encoder, &mut buffer, &mut length);
        encoder.image_width = SIDE;
        encoder.image_height = SIDE;
        encoder.input_components = 3;
        encoder.in_color_space = jpeg::JCS_RGB;
        jpeg::jpeg_c_set_int_param(&mut encoder, jpeg::JINT_COMPRESS_PROFILE, jpeg::JCP_FASTEST as i32);
        jpeg::jpeg_set_defaults(&mut encoder);
        jpeg::jpeg_set_quality(&mut encoder, 95, 1);
        (*encoder.comp_info).h_samp_factor = sampling;
        (*encoder.comp_info).v_samp_factor = sampling;
        if separate {
            encoder.scan_info = scans.as_ptr();
            encoder.num_scans = 3;
        }
        jpeg::jpeg_start_compress(&mut encoder, 1);
        for row in pixels.chunks_exact(3 * SIDE as usize) {
            jpeg::jpeg_write_scanlines(&mut encoder, &row.as_ptr(), 1);
        }
        jpeg::jpeg_finish_compress(&mut encoder);
        let bytes = std::slice::from_raw_parts(buffer, length as usize).to_vec();
        jpeg::jpeg_destroy_compress(&mut encoder);
        bytes
    }
}

/// Decodes with libjpeg.
fn reference(bytes: &[u8]) -> Vec<u8> {
    unsafe {
        let mut errors: jpeg::jpeg_error_mgr = zeroed();
        let mut decoder: jpeg::jpeg_decompress_struct = zeroed();
        decoder.common.err = jpeg::jpeg_std_error(&mut errors);
        jpeg::jpeg_create_decompress(&mut decoder);
        jpeg::jpeg_mem_src(&mut decoder, bytes.as_ptr(), bytes.len() as _);
        jpeg::jpeg_read_header(&mut decoder, 1);
        decoder.out_color_space = jpeg::JCS_RGB;
        jpeg::jpeg_start_decompress(&mut decoder);
        let mut pixels = vec![0; (SIDE * SIDE * 3) as usize];
        for row in pixels.chunks_exact_mut(3 * SIDE as usize) {
            let mut start = row.as_mut_ptr();
            jpeg::jpeg_read_scanlines(&mut decoder, &mut start, 1);
        }
        jpeg::jpeg_destroy_decompress(&mut decoder);
        pixels
    }
}

fn main() {
    let pixels = picture();
    for (name, sampling, separate) in [
        ("4:4:4, one scan", 1, false),
        ("4:4:4, a scan per component", 1, true),
        ("4:2:0, one scan", 2, false),
        ("4:2:0, a scan per component", 2, true),
    ] {
        let bytes = encode(&pixels, sampling, separate);
        let expected = reference(&bytes);
        match image::load_from_memory(&bytes) {
            Err(error) => println!("{name}: {error}"),
            Ok(decoded) => {
                let decoded = decoded.to_rgb8().into_raw();
                let sum: u64 = decoded.iter().zip(&expected).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                let mean = sum as f64 / expected.len() as f64;
                println!("{name}: {}", if mean < 2.0 { "as libjpeg" } else { "another picture" });
                eprintln!("{name}: mean difference {mean:.1} gray levels");
            }
        }
    }
}
EOF
cd "$work"
seen=$(cargo run --quiet)
echo "$seen"
expected='4:4:4, one scan: as libjpeg
4:4:4, a scan per component: as libjpeg
4:2:0, one scan: as libjpeg
4:2:0, a scan per component: another picture'
[ "$seen" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
