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
}

/// Five landmarks in the order of the wire: eye at image left, eye at image right, nose tip, mouth
/// corner at image left, mouth corner at image right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landmarks(pub [Point; 5]);

impl Landmarks {
    /// Distance between the eye centres, in pixels.
    pub fn eye_distance(&self) -> f32 {
        self.0[0].distance(self.0[1])
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
