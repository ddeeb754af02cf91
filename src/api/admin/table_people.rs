//! The routes of people.

use super::handlers::{bulk_people, new_person, people};
use super::operation::{Form, NEW_PERSON_QUERY, PAGE_QUERY, QueryParameter};
use super::{Access, AdminRoute, Operation};
use crate::api::audit::Lines;
use crate::api::extract::PeopleSearch;

/// The parameters of an erasure.
const ERASE_QUERY: &[QueryParameter] = &[QueryParameter::count(
    "confirmSamples",
    0,
    "The number of samples that the person has, as a confirmation; absent: any.",
)];

/// The rows of people.
pub(super) fn table() -> Vec<AdminRoute> {
    let op = Operation::new;
    vec![
        // People.
        AdminRoute::post(
            "/applications/{appId}/people/search",
            Access::OPERATOR,
            people::search,
            op("searchPeople", "Search people by id, name, external id, groups and metadata")
                .takes::<PeopleSearch>()
                .gives::<people::PeopleList>()
                .refuses(&["badCursor", "searchIndexOff"]),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/applications/{appId}/people",
            Access::OPERATOR,
            people::list,
            op("listPeople", "List people in the order of their ids").query(PAGE_QUERY).gives::<people::PeopleList>(),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/applications/{appId}/groups",
            Access::OPERATOR,
            people::groups,
            op("listGroups", "List the groups with the number of their people")
                .gives::<people::GroupList>()
                .refuses(&["searchIndexOff"]),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/applications/{appId}/people",
            Access::OPERATOR.changing(),
            new_person::create,
            op("createPerson", "Enroll a person with 1 to 16 photos")
                .query(NEW_PERSON_QUERY)
                .form(Form::NewPerson)
                .gives::<new_person::NewPersonView>()
                .creates()
                .or_ok()
                .refuses(&[
                    "templateExists",
                    "externalIdTaken",
                    "quotaReached",
                    "sampleLimit",
                    "guardRefused",
                    "consentMissing",
                    "noPhotoAccepted",
                ]),
        ),
        AdminRoute::post(
            "/applications/{appId}/people/bulk",
            Access::OPERATOR.changing(),
            bulk_people::change,
            op("changePeople", "Erase up to 1000 people, or change their groups or expiry")
                .takes::<bulk_people::BulkChange>()
                .gives::<bulk_people::BulkResult>(),
        ),
        AdminRoute::get(
            "/applications/{appId}/people/{templateId}",
            Access::ANY,
            people::read,
            op("getPerson", "Read a person").gives::<people::PersonView>().tagged(),
        ),
        AdminRoute::patch(
            "/applications/{appId}/people/{templateId}",
            Access::OPERATOR.changing(),
            people::change,
            op("changePerson", "Change the details of a person")
                .takes::<people::ChangePerson>()
                .gives::<people::PersonView>()
                .conditional()
                .tagged()
                .refuses(&["externalIdTaken", "consentMissing", "changed"]),
        ),
        AdminRoute::delete(
            "/applications/{appId}/people/{templateId}",
            Access::OPERATOR.changing(),
            people::erase,
            op("erasePerson", "Erase a person")
                .query(ERASE_QUERY)
                .gives::<people::ErasedView>()
                .conditional()
                .refuses(&["countDiffers", "changed"]),
        ),
    ]
}
