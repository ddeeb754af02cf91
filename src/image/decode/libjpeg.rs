//! libjpeg (mozjpeg's copy of libjpeg-turbo, compiled from C without an assembler): reads every kind of JPEG.
//!
//! Calls to C are in this file only. An error unwinds like a Rust panic (the C files are compiled for that) and is caught
//! in [`decode`]; memory for coefficients is limited; [`Tracker`] counts libjpeg's messages, none is printed.
//! Decoding at a reduced size, which libjpeg does in the frequency domain, would be set in [`Decoder::start`]
//! (`scale_num`); everything after it uses the output size.

#![expect(unsafe_code, reason = "libjpeg is written in C; each block documents why it is sound")]

use std::cell::RefCell;
use std::ffi::{c_int, c_long, c_void};
use std::mem::zeroed;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use mozjpeg_sys as ffi;

use super::tracker::{Event, Tracker};
use super::{DecodeLimits, Picture, check_work};
use crate::domain::{DecodeFault, PhotoFormat};

/// Rows read per call.
const ROWS: usize = 16;

/// Served after the end of the file: an end marker, as libjpeg's own sources do.
static END: [u8; 2] = [0xff, 0xd9];

/// Two numbers of libjpeg's headers that its bindings leave out: an answer of `jpeg_consume_input`, and a message.
const REACHED_EOI: c_int = 2;
const ARITH_BAD_CODE: c_int = 126;

/// Decodes a JPEG of so many scans. `arithmetic`: its data is coded arithmetically.
pub(super) fn decode(
    jpeg: &[u8],
    arithmetic: bool,
    scans: usize,
    limits: &DecodeLimits,
) -> Result<Picture, DecodeFault> {
    let mut decoder = Decoder::new(jpeg, arithmetic);
    // A fatal message unwinds. Afterwards only the decoder's size is read, and it is destroyed.
    let decoded = catch_unwind(AssertUnwindSafe(|| decoder.decode(scans, limits)));
    decoded.unwrap_or_else(|unwound| match unwound.downcast::<Failure>() {
        Ok(failure) => Err(failure.fault(decoder.info.image_width, decoder.info.image_height, limits)),
        Err(panic) => resume_unwind(panic),
    })
}

/// The number of a fatal message.
struct Failure(c_int);

impl Failure {
    fn fault(&self, width: u32, height: u32, limits: &DecodeLimits) -> DecodeFault {
        let unsupported = |variant| DecodeFault::Unsupported { format: PhotoFormat::Jpeg, variant };
        match self.0 {
            ffi::JERR_BAD_PRECISION => unsupported("other than 8 bits a sample"),
            ffi::JERR_SOF_UNSUPPORTED => unsupported("lossless or hierarchical coding"),
            ffi::JERR_CONVERSION_NOTIMPL | ffi::JERR_COMPONENT_COUNT => unsupported("an unusual number of channels"),
            ffi::JERR_CCIR601_NOTIMPL => unsupported("co-sited samples"),
            ffi::JERR_NO_BACKING_STORE | ffi::JERR_OUT_OF_MEMORY => {
                DecodeFault::TooMuchMemory { width, height, limit: coefficient_bytes(limits).unsigned_abs() }
            }
            _ => DecodeFault::Damaged(PhotoFormat::Jpeg),
        }
    }
}

/// Most bytes for coefficients, which a JPEG of several scans needs all at once: two for each byte of pixels.
fn coefficient_bytes(limits: &DecodeLimits) -> c_long {
    c_long::try_from(limits.bytes.saturating_mul(2)).unwrap_or(c_long::MAX)
}

/// The callbacks' data, through `client_data`.
struct Shared<'a> {
    /// Bytes not yet served.
    rest: RefCell<&'a [u8]>,
    arithmetic: bool,
    tracker: RefCell<Tracker>,
}

struct Decoder<'a> {
    info: Box<ffi::jpeg_decompress_struct>,
    // libjpeg holds pointers to these; they have to outlive `info`, so `Drop` destroys it first.
    _errors: Box<ffi::jpeg_error_mgr>,
    _source: Box<ffi::jpeg_source_mgr>,
    shared: Box<Shared<'a>>,
}

impl<'a> Decoder<'a> {
    fn new(jpeg: &'a [u8], arithmetic: bool) -> Self {
        let shared = Box::new(Shared { rest: RefCell::new(jpeg), arithmetic, tracker: RefCell::default() });
        // SAFETY: both are structs of numbers, pointers and optional functions, for which zeros are valid;
        // `jpeg_std_error` then fills one of them.
        let (mut errors, mut info) = unsafe {
            let mut errors = Box::new(zeroed::<ffi::jpeg_error_mgr>());
            ffi::jpeg_std_error(&mut errors);
            (errors, Box::new(zeroed::<ffi::jpeg_decompress_struct>()))
        };
        errors.error_exit = Some(fail);
        errors.emit_message = Some(note);
        let mut source = Box::new(ffi::jpeg_source_mgr {
            next_input_byte: ptr::null(),
            bytes_in_buffer: 0,
            init_source: Some(nothing),
            fill_input_buffer: Some(fill),
            skip_input_data: Some(skip),
            resync_to_restart: Some(ffi::jpeg_resync_to_restart),
            term_source: Some(nothing),
        });
        info.common.err = &raw mut *errors;
        info.common.client_data = (&raw const *shared).cast_mut().cast::<c_void>();
        // SAFETY: the struct is zeroed but for the two fields that libjpeg keeps; it is in a box and does not move.
        unsafe { ffi::jpeg_create_decompress(&raw mut *info) };
        info.src = &raw mut *source;
        Self { info, _errors: errors, _source: source, shared }
    }

    fn decode(&mut self, scans: usize, limits: &DecodeLimits) -> Result<Picture, DecodeFault> {
        self.start(scans, limits)?;
        let picture = self.read();
        let mut tracker = self.shared.tracker.borrow_mut();
        let rows = tracker.rows();
        match tracker.finish().or_else(|| self.is_undelivered(&tracker).then_some(rows)) {
            Some(missing) => Err(DecodeFault::Incomplete { missing, total: rows }),
            None => Ok(picture),
        }
    }

    /// Reads the head and all but the last step of a JPEG of several scans.
    fn start(&mut self, scans: usize, limits: &DecodeLimits) -> Result<(), DecodeFault> {
        let info = &mut *self.info;
        // SAFETY: libjpeg is called in the order that it demands, on a struct that it has made.
        unsafe {
            // Memory for a JPEG of one scan is a few rows; of several, all coefficients, which this limits.
            if let Some(memory) = info.common.mem.as_mut() {
                memory.max_memory_to_use = coefficient_bytes(limits);
            }
            ffi::jpeg_read_header(info, 1);
            check_work(info.image_width, info.image_height, scans, limits)?;
            info.out_color_space = match info.num_components {
                4 => ffi::JCS_CMYK,
                _ => ffi::JCS_RGB,
            };
            let several = ffi::jpeg_has_multiple_scans(info) != 0;
            info.buffered_image = several.into();
            ffi::jpeg_start_decompress(info);
            if several {
                while ffi::jpeg_consume_input(info) != REACHED_EOI {}
                let last = info.input_scan_number;
                ffi::jpeg_start_output(info, last);
            }
        }
        Ok(())
    }

    /// Reads the pixels as packed RGB.
    fn read(&mut self) -> Picture {
        let info = &mut *self.info;
        let (width, height) = (info.output_width, info.output_height);
        let channels = usize::try_from(info.output_components).unwrap_or(4);
        let row = 3 * width as usize;
        let pixels = width as usize * height as usize;
        let mut rgb = vec![0; 3 * pixels];
        // Four channels take a detour.
        let wide = channels * width as usize;
        let mut rows = vec![0; if channels == 3 { 0 } else { ROWS * wide }];
        let mut done = 0;
        while done < height as usize {
            let left = ROWS.min(height as usize - done);
            let target =
                if channels == 3 { &mut rgb[done * row..(done + left) * row] } else { &mut rows[..left * wide] };
            let mut lines: [*mut u8; ROWS] = [ptr::null_mut(); ROWS];
            for (line, target) in lines.iter_mut().zip(target.chunks_exact_mut(wide)) {
                *line = target.as_mut_ptr();
            }
            // SAFETY: decompression has been started; there are `left` pointers to rows of `wide` bytes, which is
            // output width times output components.
            let read = unsafe { ffi::jpeg_read_scanlines(info, lines.as_mut_ptr(), left as u32) } as usize;
            if channels == 4 {
                let (cmyk, _) = rows[..read * wide].as_chunks::<4>();
                let (out, _) = rgb[done * row..(done + read) * row].as_chunks_mut::<3>();
                out.iter_mut().zip(cmyk).for_each(|(out, &[c, m, y, k])| *out = [c, m, y].map(|ink| product(ink, k)));
            }
            done += read;
        }
        Picture { width, height, rgb }
    }

    /// Whether scans are missing: of a component all; or of a progressive JPEG those with the last bits of a
    /// coefficient, or with any coefficient of the first component (brightness).
    fn is_undelivered(&self, tracker: &Tracker) -> bool {
        let count = usize::try_from(self.info.num_components).unwrap_or(0);
        if self.info.coef_bits.is_null() {
            return !tracker.has_all_components();
        }
        // SAFETY: where it is not null, libjpeg keeps 64 numbers for each component there, until it is destroyed.
        let bits = unsafe { std::slice::from_raw_parts(self.info.coef_bits.cast::<[c_int; 64]>(), count) };
        let unfinished = bits.as_flattened().iter().any(|&bits| bits > 0);
        unfinished
            || bits.iter().any(|bits| bits[0] < 0)
            || bits.first().is_some_and(|first| first.iter().any(|&bits| bits < 0))
    }
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `jpeg_create_decompress`, destroyed once, before what it points to.
        unsafe { ffi::jpeg_destroy_decompress(&mut self.info) };
    }
}

/// The product of two shares of 255. Inks are stored inverted, as Adobe writes them and readers expect.
fn product(ink: u8, black: u8) -> u8 {
    let product = u32::from(ink) * u32::from(black) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

/// A fatal message: unwinds to [`decode`].
extern "C-unwind" fn fail(info: &mut ffi::jpeg_common_struct) {
    // SAFETY: the error manager is a box of the decoder's.
    let code = unsafe { info.err.as_ref() }.map_or(0, |errors| errors.msg_code);
    // Without the panic hook, because it is not a panic.
    resume_unwind(Box::new(Failure(code)));
}

/// A message that is not fatal: those about data and restarts are tracked.
extern "C-unwind" fn note(info: &mut ffi::jpeg_common_struct, _level: c_int) {
    // SAFETY: the error manager is a box of the decoder's, and its message has eight numbers or a text, both plain.
    let Some(errors) = (unsafe { info.err.as_mut() }) else { return };
    let code = errors.msg_code;
    // SAFETY: as above.
    let values = unsafe { *errors.msg_parm.i() };
    let value = |at: usize| u32::try_from(values[at]).unwrap_or(0);
    let event = match code {
        ffi::JTRC_SOF => Event::Frame { width: value(1), height: value(2) },
        ffi::JTRC_SOF_COMPONENT => Event::Component { id: value(0), h: value(1), v: value(2) },
        ffi::JTRC_DRI => Event::Interval(value(0)),
        ffi::JTRC_SOS => Event::Scan,
        ffi::JTRC_SOS_COMPONENT => Event::ScanComponent { id: value(0) },
        ffi::JTRC_SOS_PARAMS => Event::ScanStarts { first_coefficient: value(0) },
        ffi::JTRC_RST => Event::Restart { found: true },
        // The actions of `jpeg_resync_to_restart`: 1 goes on after the marker, 3 leaves the interval empty, 2 looks on.
        ffi::JTRC_RECOVERY_ACTION if value(1) == 1 => Event::Restart { found: true },
        ffi::JTRC_RECOVERY_ACTION if value(1) == 3 => Event::Restart { found: false },
        ffi::JWRN_HIT_MARKER | ARITH_BAD_CODE => Event::Lost,
        _ => return,
    };
    // SAFETY: libjpeg sends messages of a decompressor only here; its common part is its first field.
    let info = unsafe { &*(&raw const *info).cast::<ffi::jpeg_decompress_struct>() };
    if let Some(shared) = shared(info) {
        shared.tracker.borrow_mut().note(event, info.input_iMCU_row);
    }
}

fn shared(info: &ffi::jpeg_decompress_struct) -> Option<&Shared<'_>> {
    // SAFETY: a box of the decoder's, which outlives the struct and is never borrowed as mutable.
    unsafe { info.common.client_data.cast::<Shared<'_>>().as_ref() }
}

extern "C-unwind" fn nothing(_info: &mut ffi::jpeg_decompress_struct) {}

/// Serves the file, then end markers.
extern "C-unwind" fn fill(info: &mut ffi::jpeg_decompress_struct) -> ffi::boolean {
    let next = shared(info).map_or(&[][..], |shared| {
        let mut rest = shared.rest.borrow_mut();
        let mut length = rest.len();
        // libjpeg does not report the end of arithmetically coded data, so each marker is served apart: when a decoder
        // asks for it, the data before is used up.
        if shared.arithmetic {
            length = next_marker(&rest);
            shared.tracker.borrow_mut().note(Event::UsedUp, info.input_iMCU_row);
        }
        let (next, after) = rest.split_at(length);
        *rest = after;
        next
    });
    let next = if next.is_empty() { &END } else { next };
    // SAFETY: the source manager is a box of the decoder's. What it points to is static, or of the photo, which
    // outlives the decoder.
    if let Some(source) = unsafe { info.src.as_mut() } {
        source.next_input_byte = next.as_ptr();
        source.bytes_in_buffer = next.len();
    }
    1
}

/// Bytes up to the next marker, without one at the beginning. Restart markers do not count.
fn next_marker(jpeg: &[u8]) -> usize {
    let is_marker = |pair: &[u8]| matches!(pair, [0xff, 0x01..=0xcf | 0xd8..=0xfe]);
    jpeg.windows(2).skip(1).position(is_marker).map_or(jpeg.len(), |at| at + 1)
}

/// Skips bytes of a segment.
extern "C-unwind" fn skip(info: &mut ffi::jpeg_decompress_struct, count: c_long) {
    let mut count = usize::try_from(count).unwrap_or(0);
    loop {
        // SAFETY: the source manager is a box of the decoder's.
        let Some(source) = (unsafe { info.src.as_mut() }) else { return };
        let here = count.min(source.bytes_in_buffer);
        // SAFETY: so many bytes are there.
        source.next_input_byte = unsafe { source.next_input_byte.add(here) };
        source.bytes_in_buffer -= here;
        count -= here;
        if count == 0 {
            return;
        }
        fill(info);
    }
}
