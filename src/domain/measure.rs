//! The quality measures of a face: one row each. Replies, settings, the pack, the command line, the OpenAPI document
//! and docs/quality.md follow this table.

/// How a reply reports a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// Under `score`: a probability, or a strength from 0 to 1.
    Score,
    /// Under `value`: a property of the picture, from 0 to 1.
    Value,
}

/// Where a measure is fine. The pack has the limit itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FineWhen {
    /// High is good.
    AtLeast,
    /// Low is good.
    Below,
    /// A band is good.
    Within,
}

/// One row of the table.
#[derive(Debug)]
pub struct MeasureRow {
    /// In the older layout, the settings and the pack.
    pub name: &'static str,
    /// In the newer layout.
    pub newer_name: &'static str,
    /// How a reply reports it.
    pub reported: Reported,
    /// Where it is fine.
    pub fine: FineWhen,
    /// What it is, without a full stop.
    pub meaning: &'static str,
}

macro_rules! measures {
    ($(#[doc = $meaning:literal] $measure:ident, $name:literal, $newer_name:literal, $reported:ident, $fine:ident;)+) => {
        /// A quality measure of a face. The order is that of the older layout.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Measure {
            $(#[doc = $meaning] $measure,)+
        }

        impl Measure {
            /// Every measure.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$measure),+];

            /// How many measures there are.
            pub const COUNT: usize = [$($name),+].len();
        }

        const ROWS: [MeasureRow; Measure::COUNT] = [$(MeasureRow {
            name: $name,
            newer_name: $newer_name,
            reported: Reported::$reported,
            fine: FineWhen::$fine,
            meaning: $meaning.trim_ascii(),
        }),+];
    };
}

measures! {
    /// Evenness of the light on both halves of the face
    Uniformity, "uniformity", "uniformity", Value, AtLeast;
    /// Brightness of the face
    Exposure, "exposure", "exposure", Value, Within;
    /// Dynamic range of the face
    Contrast, "contrast", "contrast", Value, AtLeast;
    /// Probability of flare
    Flare, "flare", "flare", Score, Below;
    /// Strength of blur
    Blur, "blur", "blur", Score, Below;
    /// Probability that a part of the face is covered
    Occlusion, "occlusion", "occlusion", Score, Below;
    /// Strength of compression blocks
    Macroblocks, "macroblocks", "macroblocks", Score, Below;
    /// Probability of an expression that is not neutral
    Emotion, "emotion", "emotion", Score, Below;
    /// Probability that the subject's right eye is closed
    RightEyeClosed, "right_eye_closed", "rightEyeClosed", Score, Below;
    /// Probability that the subject's left eye is closed
    LeftEyeClosed, "left_eye_closed", "leftEyeClosed", Score, Below;
    /// Utility of the face for recognition
    Crfiqa, "crfiqa", "crfiqa", Score, AtLeast;
    /// Strength of geometric distortion
    Distortion, "distortion", "distortion", Score, Below;
}

impl Measure {
    /// Every measure in the order of the newer layout.
    pub const NEWER_LAYOUT: [Self; Self::COUNT] = [
        Self::Uniformity,
        Self::Exposure,
        Self::Contrast,
        Self::Flare,
        Self::Blur,
        Self::Macroblocks,
        Self::Distortion,
        Self::Occlusion,
        Self::Emotion,
        Self::LeftEyeClosed,
        Self::RightEyeClosed,
        Self::Crfiqa,
    ];

    /// Its row.
    pub const fn row(self) -> &'static MeasureRow {
        &ROWS[self as usize]
    }

    /// Its name in the older layout, the settings and the pack.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The measure of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn both_layouts_have_every_measure_under_a_name_of_its_own() {
        assert_eq!(BTreeSet::from(Measure::NEWER_LAYOUT), BTreeSet::from(Measure::ALL));
        for name in [|row: &MeasureRow| row.name, |row: &MeasureRow| row.newer_name] {
            let names: BTreeSet<&str> = Measure::ALL.into_iter().map(|measure| name(measure.row())).collect();
            assert_eq!(names.len(), Measure::COUNT);
        }
        assert_eq!(Measure::from_name("right_eye_closed"), Some(Measure::RightEyeClosed));
        assert_eq!(Measure::from_name("rightEyeClosed"), None);
    }
}
