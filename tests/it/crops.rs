//! What is kept of a photo is enough to make its embedding again.

use std::path::Path;
use std::sync::Arc;

use image::imageops::{FilterType, resize, rotate90, rotate180};
use image::{Rgb, RgbImage};
use semblance::domain::{AnalysisRequest, Checks, Cosine, Subject, TenantKey};
use semblance::engine::{DecodeLimits, Engine, EngineConfig, ModelPack};
use semblance::image::Photo;

use crate::pictures::jpeg;
use crate::support::figure;

const PHOTOS: [&str; 6] =
    ["person_a_1.jpg", "person_a_2.jpg", "person_b_1.jpg", "person_b_2.jpg", "impostor_1.jpg", "impostor_2.jpg"];

fn engine() -> Engine {
    let pack = ModelPack::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models")).unwrap();
    let limits = DecodeLimits::default();
    Engine::load(&EngineConfig { pack: Arc::new(pack), limits }).unwrap()
}

/// The picture turned clockwise about its middle, on a gray canvas of the same size.
fn tilted(picture: &RgbImage, degrees: f64) -> RgbImage {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (w, h) = (f64::from(picture.width() - 1) / 2.0, f64::from(picture.height() - 1) / 2.0);
    RgbImage::from_fn(picture.width(), picture.height(), |column, row| {
        let (x, y) = (f64::from(column) - w, f64::from(row) - h);
        let (u, v) = (cos * x + sin * y + w, -sin * x + cos * y + h);
        image::imageops::interpolate_bilinear(picture, u as f32, v as f32).unwrap_or(Rgb([90; 3]))
    })
}

/// As it is; smaller; turned; compressed.
fn variants(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/photos").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", path.display()));
    let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
    let scaled = |factor: f64| {
        let size = |side: u32| (f64::from(side) * factor).round() as u32;
        resize(&picture, size(picture.width()), size(picture.height()), FilterType::Triangle)
    };
    let mut variants = vec![bytes];
    variants.extend([0.75, 0.5].map(|factor| jpeg(&scaled(factor), 90)));
    variants.extend([15.0, -30.0].map(|degrees| jpeg(&tilted(&picture, degrees), 90)));
    variants.push(jpeg(&rotate90(&picture), 90));
    variants.push(jpeg(&rotate180(&picture), 90));
    variants.push(jpeg(&picture, 60));
    variants
}

/// The embedding of a crop, detected and aligned again, is almost that of the photo: nearer than any two photos of one
/// person are.
#[test]
fn a_crop_gives_the_embedding_of_its_photo() {
    let mut engine = engine();
    let request = AnalysisRequest {
        embedding: true,
        checks: Checks::default(),
        quality: false,
        attributes: false,
        crop: true,
        subject: Subject::Largest,
        tenant: TenantKey::default(),
    };
    let (mut cosines, mut bytes): (Vec<f32>, Vec<usize>) = Default::default();
    for name in PHOTOS {
        for variant in variants(name) {
            let Ok(seen) = engine.analyze(&Photo::new(variant), request) else { continue };
            let crop = seen.crop.unwrap();
            bytes.push(crop.jpeg().len());
            let again = engine.analyze(&Photo::new(crop.jpeg().to_vec()), request).unwrap();
            assert_eq!(again.photo_size, (224, 224));
            assert!(again.pose.roll.abs() < 25.0, "{name}: a crop is upright: {:?}", again.pose);
            cosines.push(seen.embedding.unwrap().cosine(&again.embedding.unwrap()).map(Cosine::get).unwrap());
        }
    }
    cosines.sort_by(f32::total_cmp);
    bytes.sort_unstable();
    let (count, lowest, median) = (cosines.len(), cosines[0], cosines[cosines.len() / 2]);
    let (middle, largest) = (bytes[count / 2], bytes[count - 1]);
    figure(
        "embedding of a photo and of its crop",
        &format!(
            "{count} photos, cosine {median:.4} (median), {lowest:.4} (lowest); {middle} bytes (median), {largest} (most)"
        ),
    );
    assert!(count >= 40, "{count}");
    assert!(lowest > 0.9 && median > 0.97, "{lowest} {median}");
    assert!(largest < 64 * 1024, "{largest}");
}
