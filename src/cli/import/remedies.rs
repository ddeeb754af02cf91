//! The report's code for a fault of a photo, its reason, and what the user can do about it.

use crate::domain::PhotoFault;

/// One word for a fault, the fault itself, and its remedy.
pub(super) fn explain(fault: PhotoFault) -> (&'static str, String, &'static str) {
    let (code, remedy) = match fault {
        PhotoFault::Undecodable(fault) => return (fault.kind(), fault.cause().to_string(), fault.remedy()),
        PhotoFault::Missing | PhotoFault::Empty => ("empty_file", "copy the photo here again"),
        PhotoFault::WrongType => ("wrong_type", "save the photo as JPEG or PNG"),
        PhotoFault::NoFace => ("no_face", "use a photo that shows the face from the front, upright and well lit"),
        PhotoFault::ManyFaces => (
            "many_faces",
            "crop the photo to the person, or import with --faces largest (or central) if that is who is meant",
        ),
        PhotoFault::NotHuman(_) => ("not_human", "use a photo of the person"),
        PhotoFault::TooSmall => ("face_too_small", "use a larger photo; a face should be 200 pixels wide"),
        PhotoFault::Profile => ("profile", "use a photo that shows the face from the front"),
        PhotoFault::Untrusted(_) => {
            ("untrusted_face", "use a photo that shows the whole face from the front, sharp and well lit")
        }
    };
    (code, fault.to_string(), remedy)
}
