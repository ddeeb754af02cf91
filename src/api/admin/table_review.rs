//! The routes of review.

use super::handlers::review;
use super::operation::{PAGE_QUERY, QueryParameter};
use super::{Access, AdminRoute, Operation};
use crate::api::audit::Lines;

/// The parameters of the list.
const LIST_QUERY: &[QueryParameter] = &[
    QueryParameter::one_of(
        "kind",
        &["nearMatch", "unknownPerson"],
        "Only those that came near a person, or only those that came near none.",
    ),
    PAGE_QUERY[0],
    PAGE_QUERY[1],
];

/// The rows of review.
pub(super) fn table() -> Vec<AdminRoute> {
    let op = Operation::new;
    vec![
        AdminRoute::get(
            "/applications/{appId}/review",
            Access::OPERATOR,
            review::list,
            op("listReview", "List held probes of identifications without a match")
                .query(LIST_QUERY)
                .gives::<review::ReviewList>(),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/applications/{appId}/review/{itemId}/crop",
            Access::OPERATOR,
            review::crop,
            op("getReviewCrop", "The crop of a held probe, as a JPEG")
                .file("image/jpeg")
                .refuses(&["noProbe", "noCrop"]),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/applications/{appId}/review/{itemId}/decision",
            Access::OPERATOR.changing(),
            review::decide,
            op("decideReview", "Confirm whose face a held probe shows, enroll it, or dismiss it")
                .takes::<review::DecideReview>()
                .gives::<review::ReviewDecided>()
                .refuses(&[
                    "noProbe",
                    "otherModel",
                    "templateExists",
                    "externalIdTaken",
                    "quotaReached",
                    "sampleLimit",
                    "guardRefused",
                    "consentMissing",
                ]),
        ),
    ]
}
