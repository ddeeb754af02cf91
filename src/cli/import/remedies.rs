//! The report's code for a fault of a photo, and what the user can do about it.

use crate::domain::PhotoFault;

/// One word for a fault, and its remedy.
pub(super) fn of(fault: PhotoFault) -> (&'static str, &'static str) {
    match fault {
        PhotoFault::Missing | PhotoFault::Empty => ("empty_file", "copy the photo here again"),
        PhotoFault::WrongType => ("wrong_type", "save the photo as JPEG or PNG"),
        PhotoFault::Undecodable => (
            "undecodable",
            "open it in a picture viewer: if it shows there, save it as JPEG; if not, ask for the photo again",
        ),
        PhotoFault::NoFace => ("no_face", "use a photo that shows the face from the front, upright and well lit"),
        PhotoFault::ManyFaces => (
            "many_faces",
            "crop the photo to the person, or import with --faces largest (or central) if that is who is meant",
        ),
        PhotoFault::TooSmall => ("face_too_small", "use a larger photo; a face should be 200 pixels wide"),
    }
}
