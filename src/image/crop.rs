//! Cuts a face out of a photo, to be kept.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use super::{Frame, Scaler, UprightImage, crop};
use crate::domain::{FaceCrop, Landmarks};

/// The geometry of a [`FaceCrop`].
///
/// A square of 224 x 224 pixels, turned so that the face is upright (roll about 0). Its center is that of the alignment
/// template, near the tip of the nose. One field of the template is 3.18 eye distances wide; the crop has 1.75 of them,
/// 5.6 eye distances, so the eyes of a frontal face are 40 pixels apart: a network that aligns to the template finds
/// more pixels than it reads, and one with another template, or a detector, has a margin of 0.375 of the template's
/// field (1.2 eye distances) on each side. What lies outside the photo is black.
pub const FACE_CROP: Frame = Frame { side: 224, field: 1.75 };

/// The JPEG quality of a [`FaceCrop`], without subsampling of the colors.
const QUALITY: u8 = 92;

/// The crop of a face; `None` when its landmarks allow no alignment (see [`SimilarityTransform`](super::SimilarityTransform)).
pub fn face_crop(scaler: &mut Scaler, photo: &UprightImage, landmarks: &Landmarks) -> Option<FaceCrop> {
    let rgb = crop(scaler, photo, landmarks, &FACE_CROP)?;
    let mut jpeg = Vec::with_capacity(24 * 1024);
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    match encoder.write_image(&rgb, FACE_CROP.side, FACE_CROP.side, ExtendedColorType::Rgb8) {
        Ok(()) => Some(FaceCrop::new(jpeg)),
        Err(error) => {
            tracing::error!(%error, "the crop of a face could not be written as a JPEG");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Point;
    use crate::image::align::TEMPLATE;
    use crate::image::{DecodeLimits, Photo, decode};

    /// A face that is turned and large in its photo is upright in the crop, its landmarks where the geometry says.
    #[test]
    fn a_crop_is_upright_and_has_a_margin() {
        let (sin, cos) = 40f32.to_radians().sin_cos();
        let place =
            |p: Point| Point { x: 3.0 * (cos * p.x - sin * p.y) + 400.0, y: 3.0 * (sin * p.x + cos * p.y) + 150.0 };
        let points = TEMPLATE.map(place);
        let mut rgb = vec![70u8; 3 * 900 * 900];
        for (i, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            let at = Point { x: (i % 900) as f32, y: (i / 900) as f32 };
            if points.iter().any(|p| p.distance(at) < 14.0) {
                pixel.copy_from_slice(&[230, 40, 30]);
            }
        }
        let photo = UprightImage::new(900, 900, rgb).unwrap();
        let cropped = face_crop(&mut Scaler::default(), &photo, &Landmarks(points)).unwrap();
        assert_eq!(format!("{cropped:?}"), format!("FaceCrop({} bytes)", cropped.jpeg().len()));
        let image = decode(&Photo::new(cropped.jpeg().to_vec()), &DecodeLimits::default()).unwrap();
        assert_eq!((image.width(), image.height()), (224, 224));
        let scale = 224.0 / (112.0 * 1.75);
        for point in TEMPLATE {
            let moved = |v: f32| ((f64::from(v) - 55.5) * scale + 111.5).round() as usize;
            let at = 3 * (moved(point.y) * 224 + moved(point.x));
            let pixel = &image.rgb()[at..at + 3];
            assert!(pixel[0] > 200 && pixel[1] < 80, "{point:?}: {pixel:?}");
        }
        let together = Landmarks([Point { x: 5.0, y: 5.0 }; 5]);
        assert_eq!(face_crop(&mut Scaler::default(), &photo, &together), None);
    }
}
