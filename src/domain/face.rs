//! Where the face is and how it is turned.

/// A point in pixels of the upright photo: origin at the top left, `y` down.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// Pixels from the left edge.
    pub x: f32,
    /// Pixels from the top edge.
    pub y: f32,
}

impl Point {
    /// Euclidean distance to another point, in pixels.
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// The face box in pixels of the upright photo. A detector's may reach outside the photo; [`BoundingBox::clamped`]
/// cuts it off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width, positive.
    pub width: f32,
    /// Height, positive.
    pub height: f32,
}

impl BoundingBox {
    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    /// The part within a photo of this width and height, also after rounding.
    #[must_use]
    pub fn clamped(&self, (width, height): (u32, u32)) -> Self {
        let span = |start: f32, length: f32, limit: u32| {
            let limit = limit as f32;
            let first = start.clamp(0.0, limit);
            let last = (start + length).clamp(first, limit);
            (first, (last - first).min(limit - first.round()))
        };
        let ((x, width), (y, height)) = (span(self.x, self.width, width), span(self.y, self.height, height));
        Self { x, y, width, height }
    }

    /// The centre of the box.
    pub fn center(&self) -> Point {
        Point { x: self.x + self.width / 2.0, y: self.y + self.height / 2.0 }
    }

    /// Area shared with another box, in square pixels.
    pub fn intersection(&self, other: &Self) -> f32 {
        let w = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let h = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0)
    }

    /// Intersection over union with another box, 0 to 1.
    pub fn iou(&self, other: &Self) -> f32 {
        let intersection = self.intersection(other);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// The smallest upright box that holds this one after a turn about its middle.
    pub fn turned(&self, degrees: f64) -> Self {
        if degrees == 0.0 {
            return *self;
        }
        let (sin, cos) = degrees.to_radians().sin_cos();
        let sin = sin.abs() as f32;
        let cos = cos.abs() as f32;
        let (width, height) = (self.width * cos + self.height * sin, self.width * sin + self.height * cos);
        let center = self.center();
        Self { x: center.x - width / 2.0, y: center.y - height / 2.0, width, height }
    }
}

/// Five landmarks in the order of the wire: eye at image left, eye at image right, nose tip, mouth
/// corner at image left, mouth corner at image right; left and right as they are when the face is upright.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landmarks(pub [Point; 5]);

impl Landmarks {
    /// Distance between the eye centres, in pixels.
    pub fn eye_distance(&self) -> f32 {
        self.0[0].distance(self.0[1])
    }

    /// The nearest points within a photo of this width and height.
    #[must_use]
    pub fn clamped(&self, (width, height): (u32, u32)) -> Self {
        let inside = |value: f32, limit: u32| value.clamp(0.0, limit.saturating_sub(1) as f32);
        Self(self.0.map(|point| Point { x: inside(point.x, width), y: inside(point.y, height) }))
    }

    /// Distance between the middle of the eyes and the middle of the mouth, in pixels. Unlike the distance
    /// between the eyes it stays when the head is turned to the side.
    pub fn eyes_to_mouth(&self) -> f32 {
        let middle = |a: Point, b: Point| Point { x: (a.x + b.x) / 2.0, y: (a.y + b.y) / 2.0 };
        middle(self.0[0], self.0[1]).distance(middle(self.0[3], self.0[4]))
    }

    /// The angle of the line from the first eye to the second, in degrees from -180 to 180, clockwise in the photo.
    pub fn eye_line(&self) -> f64 {
        let dx = self.0[1].x - self.0[0].x;
        let dy = self.0[1].y - self.0[0].y;
        f64::from(dy).atan2(f64::from(dx)).to_degrees()
    }
}

/// Head pose in degrees. `pitch` > 0: looking down; `yaw` > 0: nose towards image right;
/// `roll` > 0: the image-right eye is higher.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Rotation about the ear-to-ear axis.
    pub pitch: f64,
    /// Rotation about the vertical axis.
    pub yaw: f64,
    /// Rotation in the picture plane.
    pub roll: f64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn clamped_geometry_is_within_the_photo_after_rounding(
            x in -300i32..900, y in -300i32..900, width in 0i32..900, height in 0i32..900, photo in (1u32..600, 1u32..600),
        ) {
            // Halves are the values that rounding moves.
            let [x, y, width, height] = [x, y, width, height].map(|value| value as f32 / 2.0);
            let face = BoundingBox { x, y, width, height };
            let clamped = face.clamped(photo);
            let limit = (photo.0 as f32, photo.1 as f32);
            prop_assert!(clamped.x >= 0.0 && clamped.y >= 0.0 && clamped.width >= 0.0 && clamped.height >= 0.0);
            prop_assert!(clamped.x.round() + clamped.width.round() <= limit.0, "{clamped:?}");
            prop_assert!(clamped.y.round() + clamped.height.round() <= limit.1, "{clamped:?}");
            let inside = x >= 0.0 && y >= 0.0 && x + width < limit.0 && y + height < limit.1;
            prop_assert!(!inside || clamped == face, "{clamped:?}");
            let Point { x, y } = Landmarks([Point { x, y }; 5]).clamped(photo).0[4];
            prop_assert!(x >= 0.0 && y >= 0.0 && x.round() < limit.0 && y.round() < limit.1);
        }
    }
}
