//! Faces that are not upright, and photos with several faces.

use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::process::{App, Database, Server, decode};
use crate::pictures::jpeg;

/// Quarter turns, which change no pixel, and others.
const TURNS: [u32; 6] = [90, 180, 270, 30, 45, 150];

/// A picture turned clockwise about its middle, on a canvas that holds all of it, and where its points go.
struct Turned {
    picture: RgbImage,
    degrees: u32,
    size: (f64, f64),
}

impl Turned {
    fn new(upright: &RgbImage, degrees: u32) -> Self {
        let size = (f64::from(upright.width()), f64::from(upright.height()));
        let picture = match degrees {
            0 => upright.clone(),
            90 => image::imageops::rotate90(upright),
            180 => image::imageops::rotate180(upright),
            270 => image::imageops::rotate270(upright),
            _ => turned(upright, degrees),
        };
        Self { picture, degrees, size }
    }

    fn bytes(&self) -> Vec<u8> {
        jpeg(&self.picture, 95)
    }

    /// Where a point of the upright picture is now.
    fn point(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (sin, cos) = f64::from(self.degrees).to_radians().sin_cos();
        let (x, y) = (x - (self.size.0 - 1.0) / 2.0, y - (self.size.1 - 1.0) / 2.0);
        let middle = (f64::from(self.picture.width() - 1) / 2.0, f64::from(self.picture.height() - 1) / 2.0);
        (cos * x - sin * y + middle.0, sin * x + cos * y + middle.1)
    }
}

fn turned(upright: &RgbImage, degrees: u32) -> RgbImage {
    let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
    let (w, h) = (f64::from(upright.width()), f64::from(upright.height()));
    let (width, height) = (w * cos.abs() + h * sin.abs(), w * sin.abs() + h * cos.abs());
    RgbImage::from_fn(width.ceil() as u32, height.ceil() as u32, |column, row| {
        let x = f64::from(column) - (width.ceil() - 1.0) / 2.0;
        let y = f64::from(row) - (height.ceil() - 1.0) / 2.0;
        let (u, v) = (cos * x + sin * y + (w - 1.0) / 2.0, -sin * x + cos * y + (h - 1.0) / 2.0);
        image::imageops::interpolate_bilinear(upright, u as f32, v as f32).unwrap_or(Rgb([0; 3]))
    })
}

async fn identify(app: &App, query: &str, photo: Vec<u8>) -> Value {
    let (status, reply) = app.post_photos(&format!("identify{query}"), &[("photo", photo)], &[]).await;
    assert_eq!(status, 200, "{reply}");
    reply["result"].clone()
}

async fn code(app: &App, path: &str, photo: Vec<u8>) -> Value {
    app.post_photos(path, &[("photo", photo)], &[]).await.1["result"]["code"].clone()
}

#[tokio::test]
async fn a_person_is_matched_at_any_roll_and_an_impostor_is_not() {
    let server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    app.add("person_b_1.jpg", &[("templateId", "b")]).await;
    for (name, expected) in
        [("person_a_2.jpg", json!("a")), ("person_b_2.jpg", json!("b")), ("impostor_2.jpg", Value::Null)]
    {
        let upright = decode(name);
        for degrees in TURNS {
            let found = identify(&app, "", Turned::new(&upright, degrees).bytes()).await;
            assert_eq!(found["search"]["templateId"], expected, "{name} turned by {degrees}: {found}");
        }
    }
}

/// Two people whose photos are turned alike are as different as they are upright.
#[tokio::test]
async fn impostors_turned_alike_do_not_match() {
    let server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    for degrees in TURNS {
        let id = format!("a turned by {degrees}");
        let turned = |name| Turned::new(&decode(name), degrees).bytes();
        let photos = [("photo", turned("person_a_2.jpg"))];
        let (status, reply) = app.post_photos("add", &photos, &[("templateId", &id)]).await;
        assert_eq!(status, 200, "{reply}");
        for name in ["impostor_2.jpg", "person_b_1.jpg"] {
            assert_eq!(
                identify(&app, "", turned(name)).await["search"]["templateId"],
                Value::Null,
                "{name} turned by {degrees}"
            );
            let pair = [("first_photo", turned("person_a_2.jpg")), ("second_photo", turned(name))];
            let (_, reply) = app.post_photos("verify", &pair, &[]).await;
            assert_eq!(reply["result"]["comparison"]["same"], false, "{name} turned by {degrees}: {reply}");
        }
        let pair = [("first_photo", turned("person_a_1.jpg")), ("second_photo", turned("person_a_2.jpg"))];
        let (_, reply) = app.post_photos("verify", &pair, &[]).await;
        assert_eq!(reply["result"]["comparison"]["same"], true, "turned by {degrees}: {reply}");
    }
}

fn points(result: &Value) -> Vec<(f64, f64)> {
    let pair = |p: &Value| (p[0].as_f64().unwrap(), p[1].as_f64().unwrap());
    result["landmarks"].as_array().unwrap().iter().map(pair).collect()
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

/// Box, landmarks and roll are those of the photo as it was sent; the order of the landmarks, yaw and pitch are those of
/// the face.
#[tokio::test]
async fn reported_coordinates_are_those_of_the_face() {
    let server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    for name in ["person_a_2.jpg", "person_b_2.jpg", "impostor_1.jpg"] {
        let upright = decode(name);
        let straight = identify(&app, "", Turned::new(&upright, 0).bytes()).await;
        let eyes = distance(points(&straight)[0], points(&straight)[1]);
        let number = |result: &Value, field: &str| result["quality"][field].as_f64().unwrap();
        for degrees in TURNS {
            let turned = Turned::new(&upright, degrees);
            let found = identify(&app, "", turned.bytes()).await;
            for (at, (was, is)) in points(&straight).into_iter().zip(points(&found)).enumerate() {
                let off = distance(turned.point(was), is) / eyes;
                assert!(off < 0.15, "{name} turned by {degrees}: landmark {at} is off by {off} eye distances");
            }
            let side = |field: &str| found["box"][field].as_f64().unwrap();
            let within = |(x, y): (f64, f64)| {
                (side("x")..side("x") + side("w")).contains(&x) && (side("y")..side("y") + side("h")).contains(&y)
            };
            assert!(points(&found).into_iter().all(within), "{name} turned by {degrees}: {}", found["box"]);
            assert!(side("w") < 6.0 * eyes && side("h") < 6.0 * eyes, "{name} turned by {degrees}: {}", found["box"]);
            let roll = number(&found, "roll");
            assert!(roll > -180.0 && roll <= 180.0, "{roll}");
            // Clockwise is negative: the eye at the right of the face sinks.
            let expected = number(&straight, "roll") - f64::from(degrees);
            let off = (roll - expected + 180.0).rem_euclid(360.0) - 180.0;
            assert!(off.abs() < 6.0, "{name} turned by {degrees}: roll {roll}, expected {expected}");
            for angle in ["yaw", "pitch"] {
                let off = number(&found, angle) - number(&straight, angle);
                assert!(off.abs() < 8.0, "{name} turned by {degrees}: {angle} is off by {off}");
            }
        }
    }
}

/// An ID card: a portrait, and a second, smaller one of another person.
fn card(large: &str, small: &str) -> RgbImage {
    let scaled = |name: &str, height: u32| {
        let picture = decode(name);
        let width = picture.width() * height / picture.height();
        image::imageops::resize(&picture, width, height, image::imageops::FilterType::Triangle)
    };
    let large = scaled(large, 800);
    let small = scaled(small, 480);
    let mut card = RgbImage::from_pixel(large.width() + small.width() + 60, 860, Rgb([200, 205, 210]));
    image::imageops::overlay(&mut card, &large, 20, 30);
    image::imageops::overlay(&mut card, &small, i64::from(large.width()) + 40, 340);
    card
}

#[tokio::test]
async fn the_faces_option_selects_one_of_several_faces() {
    let server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    app.add("person_b_1.jpg", &[("templateId", "b")]).await;
    for degrees in [0, 180] {
        let photo = || Turned::new(&card("person_a_2.jpg", "person_b_2.jpg"), degrees).bytes();
        for path in ["identify", "add", "identify?faces=only", "templates/a/samples", "liveness", "deepfake"] {
            assert_eq!(code(&app, path, photo()).await, 6, "{path} turned by {degrees}");
        }
        assert_eq!(identify(&app, "?faces=largest", photo()).await["search"]["templateId"], "a", "turned by {degrees}");
        for (other, same) in [("person_a_1.jpg", true), ("person_b_1.jpg", false)] {
            let pair = || [("first_photo", photo()), ("second_photo", super::photo(other))];
            assert_eq!(app.post_photos("verify", &pair(), &[]).await.1["result"]["code"], 6);
            let (status, reply) = app.post_photos("verify?faces=largest", &pair(), &[]).await;
            assert_eq!((status, &reply["result"]["comparison"]["same"]), (200, &json!(same)), "{other}: {reply}");
        }
    }
    // The small one is in the middle of a photo whose right half is empty.
    let narrow = card("person_a_2.jpg", "person_b_2.jpg");
    let mut wide = RgbImage::new(2 * narrow.width() - 300, narrow.height());
    image::imageops::overlay(&mut wide, &narrow, 0, 0);
    assert_eq!(identify(&app, "?faces=central", jpeg(&wide, 95)).await["search"]["templateId"], "b");
    for degrees in [0, 180] {
        let photo = || Turned::new(&card("person_a_2.jpg", "person_b_2.jpg"), degrees).bytes();
        for path in [
            "add?faces=largest",
            "templates/a/samples?faces=largest",
            "liveness?faces=largest",
            "deepfake?faces=central",
        ] {
            let (status, reply) = app.post_photos(path, &[("photo", photo())], &[]).await;
            assert_eq!(status, 200, "{path} turned by {degrees}: {reply}");
        }
    }
}

#[tokio::test]
async fn second_face_limits_are_settings() {
    let data = || tempfile::tempdir().unwrap();
    let photo = || jpeg(&card("person_a_2.jpg", "person_b_2.jpg"), 95);
    for setting in [("SEMBLANCE_FACES_SECOND_AREA", "0.8"), ("SEMBLANCE_FACES_SECOND_SCORE", "1")] {
        let server = Server::start_in(data(), &Database::sqlite(), &[setting]).await;
        let app = server.first_app();
        app.add("person_a_1.jpg", &[("templateId", "a")]).await;
        assert_eq!(identify(&app, "", photo()).await["search"]["templateId"], "a", "{setting:?}");
    }
}

/// The template of a photo that is degraded beyond trust would resemble those of strangers: it is refused wherever one
/// would be made, the log says by how much, and nothing is enrolled.
#[tokio::test]
async fn a_negative_is_refused_everywhere() {
    let logged = [("SEMBLANCE_LOG_LEVEL", "info")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &logged).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    for name in ["person_a_2.jpg", "person_b_1.jpg", "impostor_2.jpg"] {
        let mut negative = decode(name);
        image::imageops::invert(&mut negative);
        let negative = jpeg(&negative, 95);
        for path in ["identify?threshold=0", "add", "templates/a/samples"] {
            let (status, reply) = app.post_photos(path, &[("photo", negative.clone())], &[]).await;
            let code = &reply["result"]["code"];
            assert!(status == 400 && (*code == 5 || *code == 9), "{name} {path}: {reply}");
        }
        let pair = [("first_photo", super::photo("person_a_1.jpg")), ("second_photo", negative)];
        let (status, reply) = app.post_photos("verify", &pair, &[]).await;
        assert!(status == 400 && reply["result"]["comparison"].is_null(), "{name}: {reply}");
    }
    let (_, reply) = app.get("templates").await;
    assert_eq!(reply["result"]["templates"].as_array().unwrap().len(), 1, "{reply}");
    let (_, reply) = app.get("templates/a").await;
    assert_eq!(reply["result"]["samples"].as_array().map(Vec::len), Some(1), "{reply}");
    let log = server.log();
    assert!(log.contains("is below"), "{log}");
}
