//! Pixels as model input: planes of floats, channel by channel (NCHW with N = 1).

/// The order of the planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// How a byte becomes a model's number: `(byte - mean) * scale`, per channel in the model's order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// The order of the planes.
    pub channels: Channels,
    /// Subtracted first, in units of a byte (0 to 255).
    pub mean: [f32; 3],
    /// Multiplied afterwards.
    pub scale: [f32; 3],
}

/// Writes packed RGB pixels as three planes into `planes`.
///
/// `planes` is resized to `rgb.len()` floats: three planes of `rgb.len() / 3` pixels.
pub fn planar(rgb: &[u8], layout: &Layout, planes: &mut Vec<f32>) {
    let (pixels, _) = rgb.as_chunks::<3>();
    let area = pixels.len();
    planes.resize(3 * area, 0.0);
    if area == 0 {
        return;
    }
    let sources = match layout.channels {
        Channels::Rgb => [0, 1, 2],
        Channels::Bgr => [2, 1, 0],
    };
    for (plane, ((source, mean), scale)) in
        planes.chunks_exact_mut(area).zip(sources.into_iter().zip(layout.mean).zip(layout.scale))
    {
        for (value, pixel) in plane.iter_mut().zip(pixels) {
            *value = (f32::from(pixel[source]) - mean) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_follow_the_layout() {
        let rgb = [10, 20, 30, 40, 50, 60];
        let mut planes = Vec::new();
        let raw = Layout { channels: Channels::Rgb, mean: [0.0; 3], scale: [1.0; 3] };
        planar(&rgb, &raw, &mut planes);
        assert_eq!(planes, [10.0, 40.0, 20.0, 50.0, 30.0, 60.0]);
        let scaled = Layout { channels: Channels::Bgr, mean: [30.0, 0.0, 0.0], scale: [2.0, 1.0, 0.5] };
        planar(&rgb, &scaled, &mut planes);
        assert_eq!(planes, [0.0, 60.0, 20.0, 50.0, 5.0, 20.0]);
    }
}
