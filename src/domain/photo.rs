//! Formats of photos, and why a photo cannot be decoded.

use std::fmt;

use serde::Deserialize;

/// A format of photos that is recognized by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhotoFormat {
    /// JPEG (ISO/IEC 10918-1).
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// TIFF.
    Tiff,
    /// GIF.
    Gif,
    /// HEIC and HEIF, as phones of Apple write them. Recognized, never decoded.
    #[serde(skip_deserializing)]
    Heic,
    /// AVIF. Recognized, never decoded.
    #[serde(skip_deserializing)]
    Avif,
}

impl PhotoFormat {
    /// Every format that can be decoded.
    pub const DECODABLE: [Self; 6] = [Self::Jpeg, Self::Png, Self::WebP, Self::Bmp, Self::Tiff, Self::Gif];

    /// The format that the first bytes of a file announce. File names and declared types do not count: photos are
    /// often renamed.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            // Two letters are a weak signature, so the size of the second header must be one that exists.
            [b'B', b'M', rest @ ..]
                if matches!(rest.get(12..16), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])) =>
            {
                Some(Self::Bmp)
            }
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => brand(bytes),
            _ => None,
        }
    }

    /// The name used in settings and in declared media types (`image/...`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Gif => "gif",
            Self::Heic => "heic",
            Self::Avif => "avif",
        }
    }
}

/// HEIC and AVIF are both ISO base media files, distinguished by their brands. The major brand comes first; `mif1` and
/// `msf1` alone do not decide.
fn brand(bytes: &[u8]) -> Option<PhotoFormat> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize;
    let brands = bytes.get(8..length.clamp(12, 256).min(bytes.len()))?;
    let (brands, _) = brands.as_chunks::<4>();
    let named = brands.iter().find_map(|brand| match brand {
        b"avif" | b"avis" => Some(PhotoFormat::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => Some(PhotoFormat::Heic),
        _ => None,
    });
    named.or_else(|| matches!(brands.first()?, b"mif1" | b"msf1").then_some(PhotoFormat::Heic))
}

impl fmt::Display for PhotoFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Gif => "GIF",
            Self::Heic => "HEIC",
            Self::Avif => "AVIF",
        })
    }
}

/// A set of formats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "Vec<PhotoFormat>")]
pub struct PhotoFormats(u8);

impl PhotoFormats {
    /// JPEG and PNG: what the contract names.
    pub const CONTRACT: Self = Self(1 << PhotoFormat::Jpeg as u8 | 1 << PhotoFormat::Png as u8);

    /// Every format that can be decoded.
    pub const ALL: Self = Self((1 << PhotoFormat::Heic as u8) - 1);

    /// Whether there is no format.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the format is one of them.
    pub fn contains(self, format: PhotoFormat) -> bool {
        self.0 & (1 << format as u8) != 0
    }
}

impl From<Vec<PhotoFormat>> for PhotoFormats {
    fn from(formats: Vec<PhotoFormat>) -> Self {
        formats.into_iter().collect()
    }
}

impl FromIterator<PhotoFormat> for PhotoFormats {
    fn from_iter<I: IntoIterator<Item = PhotoFormat>>(formats: I) -> Self {
        Self(formats.into_iter().fold(0, |set, format| set | 1 << format as u8))
    }
}

impl fmt::Debug for PhotoFormats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(PhotoFormat::DECODABLE.iter().filter(|format| self.contains(**format))).finish()
    }
}

/// Why a photo cannot be decoded. Its text names the value, the limit and what to do, for logs, the journal and
/// reports; clients get the fixed text of code 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFault {
    /// Width times height is over the limit.
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Maximum pixels.
        limit: u64,
    },
    /// A side is over the limit.
    TooLong {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Maximum pixels of a side.
        limit: u32,
    },
    /// Decoding would take more memory than allowed.
    TooMuchMemory {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Maximum bytes.
        limit: u64,
    },
    /// A JPEG with too many scans: decoding would take too long.
    TooManyScans {
        /// Scans found.
        scans: usize,
        /// Maximum scans of a photo of this size.
        limit: usize,
    },
    /// A JPEG that ends too early or has lost a part: more than one row of blocks is missing.
    Incomplete {
        /// Rows of blocks of which a part or all is missing, in the scan with most of them.
        missing: u64,
        /// How many rows of blocks the photo has.
        total: u64,
    },
    /// The bytes break the rules of their format, or end too early.
    Damaged(PhotoFormat),
    /// A variant of a format that is not decoded, such as 12 bits a sample.
    Unsupported {
        /// The format.
        format: PhotoFormat,
        /// Which variant.
        variant: &'static str,
    },
    /// A format that is recognized but never decoded.
    NotDecoded(PhotoFormat),
    /// A format that is decoded only where `photo.formats` names it.
    NotAccepted(PhotoFormat),
    /// No known format.
    NotAPhoto,
    /// The decoder failed in a way that it should not; the log has more.
    DecoderFailed(PhotoFormat),
}

impl DecodeFault {
    /// A stable word for reports.
    pub fn kind(self) -> &'static str {
        match self {
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::TooLong { .. } => "side_too_long",
            Self::TooMuchMemory { .. } => "too_much_memory",
            Self::TooManyScans { .. } => "too_many_scans",
            Self::Incomplete { .. } => "incomplete",
            Self::Damaged(_) => "damaged",
            Self::Unsupported { .. } => "unsupported_variant",
            Self::NotDecoded(_) => "unsupported_format",
            Self::NotAccepted(_) => "format_not_accepted",
            Self::NotAPhoto => "not_a_photo",
            Self::DecoderFailed(_) => "decoder_failed",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::TooManyPixels { .. } => "send a smaller photo, or raise the limit",
            Self::TooLong { .. } => "send a smaller photo",
            Self::TooMuchMemory { .. } => "save the photo with 8 bits a channel, as a baseline JPEG, or smaller",
            Self::TooManyScans { .. } => "save the photo as a baseline JPEG",
            Self::Incomplete { .. } => "send the whole file",
            Self::Damaged(_) => "send the original file, whole",
            Self::Unsupported { .. } => "convert the photo to an ordinary JPEG or PNG",
            Self::NotDecoded(PhotoFormat::Heic) => {
                "convert the photo to JPEG, or set the phone's camera to \"Most Compatible\""
            }
            Self::NotDecoded(_) => "convert the photo to JPEG or PNG",
            Self::NotAccepted(_) => "convert the photo to JPEG or PNG, or add the format to photo.formats",
            Self::NotAPhoto => "send a JPEG or PNG",
            Self::DecoderFailed(_) => "convert the photo to an ordinary JPEG or PNG, and report the file",
        }
    }
}

impl DecodeFault {
    /// The fault with its values, without the remedy.
    pub fn cause(self) -> impl fmt::Display {
        fmt::from_fn(move |f| self.write_cause(f))
    }

    fn write_cause(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyPixels { width, height, limit } => {
                let pixels = u64::from(width) * u64::from(height);
                let key = "limits.photo_pixels";
                write!(f, "{width} x {height} = {pixels} pixels exceed {key} = {limit}")
            }
            Self::TooLong { width, height, limit } => {
                write!(f, "{width} x {height} pixels have a side over {limit}")
            }
            Self::TooMuchMemory { width, height, limit } => {
                write!(f, "decoding {width} x {height} pixels takes more than {limit} bytes")
            }
            Self::TooManyScans { scans, limit } => {
                write!(f, "the JPEG has {scans} scans, at most {limit} are decoded at its size")
            }
            Self::Incomplete { missing, total } => {
                write!(f, "the JPEG is incomplete: {missing} of {total} rows of blocks are missing")
            }
            Self::Damaged(format) => write!(f, "the {format} is damaged or ends too early"),
            Self::Unsupported { format, variant } => write!(f, "{format} with {variant} is not decoded"),
            Self::NotDecoded(format) => write!(f, "{format} is not decoded"),
            Self::NotAccepted(format) => write!(f, "{format} is not in photo.formats"),
            Self::NotAPhoto => f.write_str("the file is of no known photo format"),
            Self::DecoderFailed(format) => write!(f, "the {format} decoder failed"),
        }
    }
}

impl fmt::Display for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause(), self.remedy())
    }
}

impl std::error::Error for DecodeFault {}
