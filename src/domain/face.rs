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

/// The face box in pixels of the upright photo. May reach outside the photo.
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
        let (sin, cos) = (sin.abs() as f32, cos.abs() as f32);
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

    /// Distance between the middle of the eyes and the middle of the mouth, in pixels. Unlike the distance
    /// between the eyes it stays when the head is turned to the side.
    pub fn eyes_to_mouth(&self) -> f32 {
        let middle = |a: Point, b: Point| Point { x: (a.x + b.x) / 2.0, y: (a.y + b.y) / 2.0 };
        middle(self.0[0], self.0[1]).distance(middle(self.0[3], self.0[4]))
    }

    /// By how much the line from the first eye to the second is turned, in degrees from -180 to 180, clockwise as
    /// the photo is seen.
    pub fn eye_line(&self) -> f64 {
        let (dx, dy) = (self.0[1].x - self.0[0].x, self.0[1].y - self.0[0].y);
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
