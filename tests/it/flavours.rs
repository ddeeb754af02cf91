//! Every kind of JPEG that libjpeg reads, made by libjpeg: decoded as libjpeg itself decodes it.
//!
//! [`all()`] is the definition of "every kind". The reference is plain libjpeg, called here directly; where `djpeg` (a
//! build of libjpeg-turbo that is not ours) is installed, it is a second one.

#![expect(unsafe_code, reason = "libjpeg is written in C")]

use std::ffi::{c_int, c_ulong};
use std::mem::zeroed;
use std::process::Command;

use mozjpeg_sys as ffi;
use semblance::image::{DecodeLimits, Photo, decode};

/// A kind of JPEG.
#[derive(Debug, Clone)]
pub struct Flavour {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// How the data is laid out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scans {
    /// All components in one scan.
    One,
    /// A scan for each component.
    Each,
    Progressive,
}

#[derive(Debug, Clone)]
struct Kind {
    size: (u32, u32),
    /// What is stored, of what is drawn.
    stored: ffi::J_COLOR_SPACE,
    sampling: Vec<(c_int, c_int)>,
    scans: Scans,
    arithmetic: bool,
    optimized: bool,
    /// Rows of MCUs, or else MCUs, between restart markers.
    restart_rows: c_int,
    restart: u32,
    quality: c_int,
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            size: (97, 83),
            stored: ffi::JCS_YCbCr,
            sampling: vec![(1, 1); 3],
            scans: Scans::One,
            arithmetic: false,
            optimized: false,
            restart_rows: 0,
            restart: 0,
            quality: 90,
        }
    }
}

/// A picture with edges, gradients and noise, nowhere flat.
fn drawn(width: u32, height: u32, channels: usize) -> Vec<u8> {
    let mut noise = 12_345_u32;
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for channel in 0..channels {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let wave = (f64::from(x) / (7.0 + channel as f64)).sin() * (f64::from(y) / 11.0).cos() * 70.0;
                let edge = if (x / 24 + y / 20) % 2 == 0 { 40.0 } else { -40.0 };
                let grain = f64::from(noise >> 28) - 8.0;
                pixels.push((128.0 + wave + edge * f64::from(channel as u8) / 2.0 + grain).clamp(0.0, 255.0) as u8);
            }
        }
    }
    pixels
}

extern "C-unwind" fn refuse(info: &mut ffi::jpeg_common_struct) {
    let code = unsafe { (*info.err).msg_code };
    std::panic::resume_unwind(Box::new(format!("libjpeg fails with message {code}")));
}

extern "C-unwind" fn silence(_info: &mut ffi::jpeg_common_struct, _level: c_int) {}

fn errors() -> Box<ffi::jpeg_error_mgr> {
    let mut errors = Box::new(unsafe { zeroed() });
    unsafe { ffi::jpeg_std_error(&mut errors) };
    errors.error_exit = Some(refuse);
    errors.emit_message = Some(silence);
    errors
}

fn encoded(kind: &Kind) -> Vec<u8> {
    let channels = kind.sampling.len();
    let (width, height) = kind.size;
    let pixels = drawn(width, height, channels);
    let mut errors = errors();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut start = buffer.as_mut_ptr();
    let mut length = buffer.len() as c_ulong;
    unsafe {
        let mut info: Box<ffi::jpeg_compress_struct> = Box::new(zeroed());
        info.common.err = &raw mut *errors;
        ffi::jpeg_create_compress(&raw mut *info);
        ffi::jpeg_mem_dest(&mut info, &raw mut start, &raw mut length);
        info.image_width = width;
        info.image_height = height;
        info.input_components = channels as c_int;
        info.in_color_space = match channels {
            1 => ffi::JCS_GRAYSCALE,
            3 => ffi::JCS_RGB,
            _ => ffi::JCS_CMYK,
        };
        ffi::jpeg_c_set_int_param(&mut info, ffi::JINT_COMPRESS_PROFILE, ffi::JCP_FASTEST as c_int);
        ffi::jpeg_set_defaults(&mut info);
        ffi::jpeg_set_colorspace(&mut info, kind.stored);
        ffi::jpeg_set_quality(&mut info, kind.quality, 0);
        for (at, (h, v)) in kind.sampling.iter().enumerate() {
            let component = info.comp_info.add(at);
            ((*component).h_samp_factor, (*component).v_samp_factor) = (*h, *v);
        }
        info.arith_code = kind.arithmetic.into();
        info.optimize_coding = kind.optimized.into();
        info.restart_in_rows = kind.restart_rows;
        info.restart_interval = kind.restart;
        let each: Vec<ffi::jpeg_scan_info> = (0..channels as c_int)
            .map(|at| ffi::jpeg_scan_info {
                comps_in_scan: 1,
                component_index: [at, 0, 0, 0],
                Ss: 0,
                Se: 63,
                Ah: 0,
                Al: 0,
            })
            .collect();
        match kind.scans {
            Scans::One => {}
            Scans::Each => (info.scan_info, info.num_scans) = (each.as_ptr(), channels as c_int),
            Scans::Progressive => ffi::jpeg_simple_progression(&mut info),
        }
        ffi::jpeg_start_compress(&mut info, 1);
        for row in pixels.chunks_exact(channels * width as usize) {
            ffi::jpeg_write_scanlines(&mut info, &row.as_ptr(), 1);
        }
        ffi::jpeg_finish_compress(&mut info);
        ffi::jpeg_destroy_compress(&mut info);
    }
    assert_eq!(start, buffer.as_mut_ptr(), "the picture fits the buffer");
    buffer.truncate(length as usize);
    buffer
}

/// Plain libjpeg's own picture, as RGB. The inks of CMYK are stored inverted.
pub fn reference(jpeg: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut errors = errors();
    unsafe {
        let mut info: Box<ffi::jpeg_decompress_struct> = Box::new(zeroed());
        info.common.err = &raw mut *errors;
        ffi::jpeg_create_decompress(&raw mut *info);
        ffi::jpeg_mem_src(&mut info, jpeg.as_ptr(), jpeg.len() as c_ulong);
        ffi::jpeg_read_header(&mut info, 1);
        info.out_color_space = if info.num_components == 4 { ffi::JCS_CMYK } else { ffi::JCS_RGB };
        ffi::jpeg_start_decompress(&mut info);
        let (width, height) = (info.output_width, info.output_height);
        let mut pixels = Vec::new();
        let mut row = vec![0_u8; width as usize * info.output_components as usize];
        while info.output_scanline < height {
            let mut line = row.as_mut_ptr();
            ffi::jpeg_read_scanlines(&mut info, &raw mut line, 1);
            if info.output_components == 4 {
                let light = |ink: u8, black: u8| (f64::from(ink) * f64::from(black) / 255.0).round() as u8;
                pixels.extend(
                    row.chunks_exact(4).flat_map(|p| [light(p[0], p[3]), light(p[1], p[3]), light(p[2], p[3])]),
                );
            } else {
                pixels.extend_from_slice(&row);
            }
        }
        ffi::jpeg_destroy_decompress(&mut info);
        (width, height, pixels)
    }
}

/// The names of the kinds of coding.
pub fn codings() -> Vec<&'static str> {
    kinds_of_coding().into_iter().map(|(name, _)| name).collect()
}

/// A picture of three full components in a kind of coding.
pub fn coded(coding: &str, size: (u32, u32)) -> Vec<u8> {
    let found = kinds_of_coding().into_iter().find(|(name, _)| *name == coding);
    encoded(&Kind { size, ..found.unwrap().1 })
}

fn kinds_of_coding() -> Vec<(&'static str, Kind)> {
    let kind = Kind::default;
    vec![
        ("baseline", kind()),
        ("optimized", Kind { optimized: true, ..kind() }),
        ("scan per component", Kind { scans: Scans::Each, ..kind() }),
        ("progressive", Kind { scans: Scans::Progressive, ..kind() }),
        ("arithmetic", Kind { arithmetic: true, ..kind() }),
        ("arithmetic, scan per component", Kind { arithmetic: true, scans: Scans::Each, ..kind() }),
        ("arithmetic progressive", Kind { arithmetic: true, scans: Scans::Progressive, ..kind() }),
        ("restart each row", Kind { restart_rows: 1, ..kind() }),
        ("restart each 3 MCUs", Kind { restart: 3, ..kind() }),
        ("scan per component, restart each row", Kind { scans: Scans::Each, restart_rows: 1, ..kind() }),
        ("progressive, restart each row", Kind { scans: Scans::Progressive, restart_rows: 1, ..kind() }),
        ("arithmetic, restart each row", Kind { arithmetic: true, restart_rows: 1, ..kind() }),
    ]
}

/// Sampling factors of three components: the usual ones, chroma finer than luma, mixed, three- and fourfold.
const SAMPLINGS: [[(c_int, c_int); 3]; 15] = [
    [(1, 1), (1, 1), (1, 1)],
    [(2, 1), (1, 1), (1, 1)],
    [(2, 2), (1, 1), (1, 1)],
    [(1, 2), (1, 1), (1, 1)],
    [(4, 1), (1, 1), (1, 1)],
    [(4, 2), (1, 1), (1, 1)],
    [(1, 4), (1, 1), (1, 1)],
    [(3, 1), (1, 1), (1, 1)],
    [(1, 3), (1, 1), (1, 1)],
    [(3, 2), (1, 1), (1, 1)],
    [(2, 2), (2, 1), (2, 1)],
    [(1, 1), (2, 2), (2, 2)],
    [(1, 1), (2, 1), (2, 1)],
    [(1, 1), (1, 2), (1, 2)],
    [(2, 1), (1, 1), (2, 1)],
];

fn numbers(sampling: &[(c_int, c_int)]) -> String {
    sampling.iter().map(|(h, v)| format!("{h}x{v}")).collect::<Vec<_>>().join(",")
}

/// All kinds.
pub fn all() -> Vec<Flavour> {
    let mut kinds: Vec<(String, Kind)> = Vec::new();
    for (name, coding) in kinds_of_coding() {
        for sampling in SAMPLINGS {
            let kind = Kind { sampling: sampling.to_vec(), ..coding.clone() };
            kinds.push((format!("{name}, {}", numbers(&sampling)), kind));
        }
        for sampling in [(1, 1), (2, 2)] {
            let stored = ffi::JCS_GRAYSCALE;
            let kind = Kind { sampling: vec![sampling], stored, ..coding.clone() };
            kinds.push((format!("{name}, grey {}", numbers(&[sampling])), kind));
        }
        let stored = ffi::JCS_RGB;
        kinds.push((format!("{name}, RGB"), Kind { stored, ..coding.clone() }));
        for (inks, stored) in [("CMYK", ffi::JCS_CMYK), ("YCCK", ffi::JCS_YCCK)] {
            let kind = Kind { sampling: vec![(1, 1); 4], stored, ..coding.clone() };
            kinds.push((format!("{name}, {inks}"), kind));
        }
        let kind = Kind { sampling: vec![(2, 2), (1, 1), (1, 1), (2, 2)], stored: ffi::JCS_YCCK, ..coding.clone() };
        kinds.push((format!("{name}, YCCK 2x2"), kind));
    }
    for size in [(1, 1), (7, 9), (8, 8), (16, 16), (17, 33), (1, 100), (100, 1), (15, 64)] {
        for sampling in &SAMPLINGS[..4] {
            for scans in [Scans::One, Scans::Each, Scans::Progressive] {
                let kind = Kind { size, scans, sampling: sampling.to_vec(), ..Kind::default() };
                kinds.push((format!("{} x {}, {scans:?}, {}", size.0, size.1, numbers(sampling)), kind));
            }
        }
    }
    for quality in [1, 10, 50, 100] {
        for sampling in &SAMPLINGS[..3] {
            let kind = Kind { quality, sampling: sampling.to_vec(), ..Kind::default() };
            kinds.push((format!("quality {quality}, {}", numbers(sampling)), kind));
        }
    }
    let made = kinds.into_iter().map(|(name, kind)| Flavour { name, bytes: encoded(&kind) });
    made.chain(altered()).collect()
}

/// Places of a marker in a JPEG of ours.
pub fn marker(jpeg: &[u8], marker: u8) -> Option<usize> {
    let mut at = 2;
    while jpeg.get(at + 1)? != &marker {
        at += 2 + usize::from(u16::from_be_bytes([*jpeg.get(at + 2)?, *jpeg.get(at + 3)?]));
    }
    Some(at)
}

/// The JPEG without its Huffman tables, as a camera's video has it.
pub fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg.to_vec();
    while let Some(at) = marker(&bytes, 0xc4) {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        bytes.drain(at..at + 2 + length);
    }
    bytes
}

/// What no setting of the encoder makes.
fn altered() -> Vec<Flavour> {
    let mut all = Vec::new();
    for sampling in &SAMPLINGS[..4] {
        let plain = encoded(&Kind { sampling: sampling.to_vec(), ..Kind::default() });
        let end = plain.len() - 2;
        let scan = marker(&plain, 0xda).unwrap();
        let lines = [0xff, 0xdc, 0, 4, 0, 83];
        let mut add = |name: &str, bytes: Vec<u8>| {
            all.push(Flavour { name: format!("{name}, {}", numbers(sampling)), bytes });
        };
        add("redundant DNL", [&plain[..end], &lines, &plain[end..]].concat());
        add("no Huffman tables", without_tables(&plain));
        add("fill bytes", [&plain[..scan], &[0xff; 5], &plain[scan..]].concat());
        add("rubbish between segments", [&plain[..scan], b"rubbish", &plain[scan..]].concat());
        add("rubbish before the end", [&plain[..end], &[0; 7], &plain[end..]].concat());
        add("no end marker", plain[..end].to_vec());
        add("a second picture", [&plain[..], &plain].concat());
        add("padding", [&plain[..], &[0; 999]].concat());
        // Without JFIF's segment the components' names decide.
        let app = marker(&plain, 0xe0).unwrap();
        let bare = [&plain[..app], &plain[app + 18..]].concat();
        add("no JFIF", bare.clone());
        for (name, ids) in [("0, 1, 2", [0, 1, 2]), ("Y, C, c", *b"YCc"), ("R, G, B", *b"RGB"), ("9, 8, 7", [9, 8, 7])]
        {
            for (kind, plain) in [("", &bare), (" with JFIF", &plain)] {
                let mut bytes = plain.clone();
                let frame = marker(&bytes, 0xc0).unwrap();
                let scan = marker(&bytes, 0xda).unwrap();
                for (at, id) in ids.into_iter().enumerate() {
                    bytes[frame + 10 + 3 * at] = id;
                    bytes[scan + 5 + 2 * at] = id;
                }
                add(&format!("components {name}{kind}"), bytes);
            }
        }
    }
    all
}

/// The mean difference between two pictures, or what else is wrong.
fn difference(bytes: &[u8], (width, height, expected): &(u32, u32, Vec<u8>)) -> Result<f64, String> {
    let image = decode(&Photo::new(bytes), &DecodeLimits::default()).map_err(|fault| fault.to_string())?;
    if (image.width(), image.height()) != (*width, *height) {
        return Err(format!("{image:?} instead of {width} x {height}"));
    }
    let sum: u64 = image.rgb().iter().zip(expected).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    Ok(sum as f64 / expected.len() as f64)
}

#[test]
fn every_flavour_is_within_two_grey_levels_of_libjpeg() {
    let all = all();
    let mut wrong = Vec::new();
    let mut worst = 0_f64;
    for Flavour { name, bytes } in &all {
        match difference(bytes, &reference(bytes)) {
            Ok(mean) if mean <= 2.0 => worst = worst.max(mean),
            Ok(mean) => wrong.push(format!("{name}: differs by {mean:.1}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{} of {} flavours", wrong.len(), all.len());
    assert!(all.len() >= 268);
    println!("{} flavours, mean difference at most {worst:.2}", all.len());
}

/// Another build of libjpeg than ours, where one is installed.
#[test]
fn every_flavour_is_within_two_grey_levels_of_djpeg() {
    if Command::new("djpeg").arg("-version").output().is_err() {
        crate::support::skipped("JPEG flavours against djpeg", "djpeg (package libjpeg-turbo-progs) is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flavour.jpg");
    let mut wrong = Vec::new();
    let mut compared = 0;
    for Flavour { name, bytes } in all() {
        std::fs::write(&file, &bytes).unwrap();
        let output = Command::new("djpeg").args(["-rgb", "-pnm"]).arg(&file).output().unwrap();
        // It writes no CMYK.
        let Some(pixels) = output.stdout.strip_prefix(b"P6\n") else { continue };
        let mut lines = pixels.splitn(3, |&byte| byte == b'\n');
        let size = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
        let (width, height) = size.split_once(' ').unwrap();
        let _ = lines.next();
        let pixels = lines.next().unwrap().to_vec();
        compared += 1;
        match difference(&bytes, &(width.parse().unwrap(), height.parse().unwrap(), pixels)) {
            Ok(mean) if mean <= 2.0 => {}
            Ok(mean) => wrong.push(format!("{name}: differs by {mean:.1}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(compared >= 200, "djpeg decoded {compared} flavours only");
    println!("{compared} flavours compared with djpeg");
}

/// Writes the flavours and their references to a folder, for comparisons with other decoders.
#[test]
#[ignore = "writes files for scripts: set SEMBLANCE_FLAVOURS to a folder"]
fn plant() {
    let dir = std::path::PathBuf::from(std::env::var_os("SEMBLANCE_FLAVOURS").unwrap());
    for (at, Flavour { name, bytes }) in all().into_iter().enumerate() {
        let (width, height, pixels) = reference(&bytes);
        std::fs::write(dir.join(format!("{at:03}.jpg")), bytes).unwrap();
        let ppm = [format!("P6\n{width} {height}\n255\n").as_bytes(), &pixels].concat();
        std::fs::write(dir.join(format!("{at:03}.ppm")), ppm).unwrap();
        std::fs::write(dir.join(format!("{at:03}.txt")), name).unwrap();
    }
}
