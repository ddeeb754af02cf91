//! Why a photo is not enrolled, and what the user can do.

use crate::domain::PhotoFault;

/// The fault, and its remedy.
pub(super) fn explain(fault: PhotoFault) -> (String, &'static str) {
    let remedy = match fault {
        PhotoFault::Undecodable(fault) => return (fault.cause().to_string(), fault.remedy()),
        PhotoFault::Missing | PhotoFault::Empty => "copy the photo here again",
        PhotoFault::WrongType => "save the photo as JPEG or PNG",
        PhotoFault::NoFace => "use a photo that shows the face from the front, upright and well lit",
        PhotoFault::ManyFaces => {
            "crop the photo to the person, or import with --faces largest (or central) if that is who is meant"
        }
        PhotoFault::NotHuman(_) => "use a photo of the person",
        PhotoFault::TooSmall => "use a larger photo; a face should be 200 pixels wide",
        PhotoFault::Profile => "use a photo that shows the face from the front",
        PhotoFault::Untrusted(_) => "use a photo that shows the whole face from the front, sharp and well lit",
    };
    (fault.to_string(), remedy)
}
