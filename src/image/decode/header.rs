//! The header of a JPEG: the segments before its first scan.

/// The content of the segments before the first scan.
#[derive(Debug, Default)]
pub(super) struct Header<'a> {
    /// The frame; `None` when it is missing or cannot be read.
    pub(super) frame: Option<Frame>,
    /// The transform of Adobe's segment: 0 none, 1 YCbCr, 2 YCCK.
    pub(super) adobe: Option<u8>,
    /// Blocks between restart markers; 0 for none.
    pub(super) restart_interval: u16,
    /// Whether a Huffman table is defined.
    pub(super) huffman_tables: bool,
    /// The first Exif block.
    pub(super) exif: Option<&'a [u8]>,
    /// The first XMP packet.
    pub(super) xmp: Option<&'a [u8]>,
    /// The first scan; `None` in a file without scans, or with bytes outside any segment before the first.
    pub(super) scan: Option<Scan>,
}

/// A frame header.
#[derive(Debug)]
pub(super) struct Frame {
    /// The second byte of its marker, 0xc0 to 0xcf.
    pub(super) marker: u8,
    /// Bits per sample.
    pub(super) precision: u8,
    /// Width in pixels.
    pub(super) width: u16,
    /// Height in pixels.
    pub(super) height: u16,
    /// Its components.
    pub(super) components: Vec<Component>,
}

/// A component of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    /// Its identifier.
    pub(super) id: u8,
    /// Horizontal sampling factor.
    pub(super) h: u8,
    /// Vertical sampling factor.
    pub(super) v: u8,
}

/// The first scan.
#[derive(Debug)]
pub(super) struct Scan {
    /// How many components it has.
    pub(super) components: u8,
    /// Offset of its coded data.
    pub(super) data: usize,
}

impl<'a> Header<'a> {
    /// Reads a JPEG up to its first scan, or as far as it follows the rules.
    pub(super) fn read(jpeg: &'a [u8]) -> Self {
        let mut header = Self::default();
        let mut at = 2;
        while let Some([0xff, marker, rest @ ..]) = jpeg.get(at..) {
            // Any number of 0xff may precede a marker.
            if *marker == 0xff {
                at += 1;
                continue;
            }
            let Some([high, low]) = rest.first_chunk::<2>() else { break };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(data) = rest.get(2..length) else { break };
            at += 2 + length;
            if *marker == 0xda {
                header.scan = data.first().map(|&components| Scan { components, data: at });
                break;
            }
            header.segment(*marker, data);
        }
        header
    }

    fn segment(&mut self, marker: u8, data: &'a [u8]) {
        match marker {
            0xc4 => self.huffman_tables = true,
            0xcc => {}
            0xc0..=0xcf => self.frame = frame(marker, data),
            0xdd => self.restart_interval = data.first_chunk().map_or(0, |two| u16::from_be_bytes(*two)),
            0xe1 => {
                self.exif = self.exif.or_else(|| data.strip_prefix(b"Exif\0\0"));
                self.xmp = self.xmp.or_else(|| data.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0"));
            }
            0xee if data.starts_with(b"Adobe") => self.adobe = data.get(11).copied().or(self.adobe),
            _ => {}
        }
    }
}

fn frame(marker: u8, data: &[u8]) -> Option<Frame> {
    let ([precision, h1, h0, w1, w0, count], rest) = data.split_first_chunk::<6>()?;
    let (components, []) = rest.as_chunks::<3>() else { return None };
    let components: Vec<_> =
        components.iter().map(|&[id, sampling, _]| Component { id, h: sampling >> 4, v: sampling & 15 }).collect();
    (components.len() == usize::from(*count)).then_some(Frame {
        marker,
        precision: *precision,
        width: u16::from_be_bytes([*w1, *w0]),
        height: u16::from_be_bytes([*h1, *h0]),
        components,
    })
}
