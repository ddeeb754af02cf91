//! Every route of the administration API, in one table.

use super::handlers::{
    administrators, application_body, applications, examine, keys, samples, session, sessions, tokens,
};
use super::operation::{Form, IDENTIFY_QUERY, PAGE_QUERY, PHOTO_QUERY, QueryParameter, VERIFY_QUERY};
use super::{Access, AdminRoute, Operation, table_people, table_review};
use crate::api::audit::Lines;
use crate::api::reply::{
    EnrolledReply, ExaminedReply, HealthReply, ModernFace, PersonExportReply, VerifiedTemplateReply,
};

/// The parameters of the deletion of an application.
const DELETE_QUERY: &[QueryParameter] = &[
    QueryParameter::flag("dryRun", "Only count the people."),
    QueryParameter::new("confirmName", "The name of the application, unless it is a dry run."),
];

/// The table. Paths are below [`BASE`](super::BASE).
pub(super) fn table() -> Vec<AdminRoute> {
    let op = Operation::new;
    let mut table = vec![
        // Sessions of the one who calls.
        AdminRoute::post(
            "/session",
            Access::PUBLIC,
            session::sign_in,
            op("signIn", "Sign in with a token or a one-time code")
                .takes::<session::SignIn>()
                .gives::<session::SessionView>()
                .creates()
                .also(&[429, 503])
                .refuses(&["signInRequired"]),
        ),
        AdminRoute::get(
            "/session",
            Access::ANY,
            session::read,
            op("getSession", "Who is signed in").gives::<session::SessionView>(),
        )
        .lines(Lines::Never),
        AdminRoute::delete(
            "/session",
            Access::ANY,
            session::sign_out,
            op("signOut", "Sign out").refuses(&["notFound"]),
        ),
        AdminRoute::post(
            "/session/confirm",
            Access::ANY,
            session::confirm,
            op("confirmSession", "Present a token again, for changes that need a fresh session")
                .takes::<session::Confirmation>()
                .gives::<session::SessionView>(),
        ),
        // Administrators.
        AdminRoute::get(
            "/administrators",
            Access::OWNER,
            administrators::list,
            op("listAdministrators", "List administrators")
                .query(PAGE_QUERY)
                .gives::<administrators::AdministratorPage>(),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/administrators",
            Access::OWNER.fresh(),
            administrators::create,
            op("createAdministrator", "Create an administrator")
                .takes::<administrators::CreateAdministrator>()
                .gives::<administrators::AdministratorView>()
                .creates()
                .refuses(&["nameTaken"]),
        ),
        AdminRoute::get(
            "/administrators/{adminId}",
            Access::OWNER,
            administrators::read,
            op("getAdministrator", "Read an administrator").gives::<administrators::AdministratorView>(),
        ),
        AdminRoute::patch(
            "/administrators/{adminId}",
            Access::OWNER.fresh(),
            administrators::change,
            op("changeAdministrator", "Change an administrator")
                .takes::<administrators::ChangeAdministrator>()
                .gives::<administrators::AdministratorView>()
                .refuses(&["nameTaken", "lastOwner"]),
        ),
        AdminRoute::delete(
            "/administrators/{adminId}",
            Access::OWNER.fresh(),
            administrators::remove,
            op("deleteAdministrator", "Delete an administrator with its tokens and sessions").refuses(&["lastOwner"]),
        ),
        AdminRoute::post(
            "/administrators/{adminId}/invitations",
            Access::OWNER.fresh(),
            administrators::invite,
            op("inviteAdministrator", "Make a one-time code for signing in")
                .gives::<administrators::Invitation>()
                .creates(),
        ),
        AdminRoute::post(
            "/administrators/{adminId}/tokens",
            Access::ANY.fresh(),
            tokens::create,
            op("createToken", "Make a token")
                .takes::<tokens::CreateToken>()
                .gives::<tokens::CreatedToken>()
                .creates()
                .refuses(&["roleTooLow", "tooManyTokens"]),
        ),
        AdminRoute::delete(
            "/tokens/{tokenId}",
            Access::ANY.fresh(),
            tokens::end_token,
            op("endToken", "End a token and the sessions that were made with it"),
        ),
        // Sessions of all.
        AdminRoute::get(
            "/sessions",
            Access::ANY,
            sessions::list,
            op("listSessions", "List sessions").gives::<sessions::SessionList>(),
        )
        .lines(Lines::Counted),
        AdminRoute::delete("/sessions/{sessionId}", Access::ANY, sessions::end, op("endSession", "End a session")),
        AdminRoute::post(
            "/sessions/end",
            Access::ANY,
            sessions::end_all,
            op("endSessions", "End all sessions of one administrator")
                .takes::<sessions::EndSessions>()
                .gives::<sessions::Ended>()
                .refuses(&["notFound", "roleTooLow"]),
        ),
        // Samples of one person.
        AdminRoute::post(
            "/applications/{appId}/people/{templateId}/samples",
            Access::OPERATOR.changing(),
            samples::add,
            op("addSample", "Add a photo to a person")
                .query(PHOTO_QUERY)
                .form(Form::Photo)
                .gives::<EnrolledReply<'static>>()
                .creates()
                .refuses(&["sampleLimit"]),
        ),
        AdminRoute::delete(
            "/applications/{appId}/people/{templateId}/samples/{sampleId}",
            Access::OPERATOR.changing(),
            samples::remove,
            op("removeSample", "Erase a sample, for good").gives::<samples::SamplesChanged>().refuses(&["lastSample"]),
        ),
        AdminRoute::post(
            "/applications/{appId}/people/{templateId}/samples/{sampleId}/move",
            Access::OPERATOR.changing(),
            samples::move_sample,
            op("moveSample", "Move a sample to another person")
                .takes::<samples::MoveSample>()
                .gives::<samples::SamplesChanged>()
                .refuses(&["lastSample", "sampleLimit", "sameTemplate"]),
        ),
        AdminRoute::get(
            "/applications/{appId}/people/{templateId}/samples/{sampleId}/crop",
            Access::OPERATOR,
            samples::crop,
            op("getCrop", "The crop of a sample, as a JPEG").file("image/jpeg").refuses(&["noCrop"]),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/applications/{appId}/people/{templateId}/merge",
            Access::OPERATOR.changing(),
            samples::merge,
            op("mergePeople", "Move all samples of another person to this one, and remove the other one")
                .takes::<samples::MergePeople>()
                .gives::<samples::Merged>()
                .refuses(&["sampleLimit", "sameTemplate"]),
        ),
        AdminRoute::post(
            "/applications/{appId}/people/{templateId}/rename",
            Access::OPERATOR.changing(),
            samples::rename,
            op("renamePerson", "Give a person another id")
                .takes::<samples::RenamePerson>()
                .gives::<samples::PersonRenamed>()
                .refuses(&["templateExists", "sameTemplate"]),
        ),
        AdminRoute::get(
            "/applications/{appId}/people/{templateId}/health",
            Access::OPERATOR,
            samples::health,
            op("getHealth", "How well the samples of a person fit together").gives::<HealthReply>(),
        ),
        AdminRoute::post(
            "/applications/{appId}/people/{templateId}/exports",
            Access::ANY,
            samples::export,
            op("exportPerson", "Everything that is held of a person").gives::<PersonExportReply>(),
        ),
        // Photos.
        AdminRoute::post(
            "/applications/{appId}/identify",
            Access::OPERATOR,
            examine::identify,
            op("identify", "Who is on a photo, with what explains the decision")
                .query(IDENTIFY_QUERY)
                .form(Form::Photo)
                .gives::<ExaminedReply>(),
        ),
        AdminRoute::post(
            "/applications/{appId}/verify",
            Access::OPERATOR,
            examine::verify,
            op("verify", "Whether a person is on a photo")
                .query(VERIFY_QUERY)
                .form(Form::PhotoOfPerson)
                .gives::<VerifiedTemplateReply>(),
        ),
        AdminRoute::post(
            "/applications/{appId}/inspect",
            Access::OPERATOR,
            examine::inspect,
            op("inspect", "What is measured on a photo").query(PHOTO_QUERY).form(Form::Photo).gives::<ModernFace>(),
        ),
        // Applications.
        AdminRoute::get(
            "/applications",
            Access::ANY,
            applications::list,
            op("listApplications", "List applications").query(PAGE_QUERY).gives::<applications::ApplicationPage>(),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/applications",
            Access::OWNER.fresh(),
            applications::create,
            op("createApplication", "Create an application, with its first key")
                .takes::<application_body::ChangeApplication>()
                .gives::<applications::CreatedApplication>()
                .creates()
                .tagged(),
        ),
        AdminRoute::get(
            "/applications/{appId}",
            Access::ANY,
            applications::read,
            op("getApplication", "Read an application").gives::<applications::OneApplication>().tagged(),
        )
        .lines(Lines::Counted),
        AdminRoute::patch(
            "/applications/{appId}",
            Access::OWNER,
            applications::change,
            op("changeApplication", "Change an application")
                .takes::<application_body::ChangeApplication>()
                .gives::<applications::OneApplication>()
                .conditional()
                .tagged()
                .refuses(&["wouldErase", "changedSince", "freshSessionRequired"]),
        ),
        AdminRoute::delete(
            "/applications/{appId}",
            Access::OWNER.fresh(),
            applications::remove,
            op("deleteApplication", "Delete an application with its people; with `dryRun`, count them")
                .query(DELETE_QUERY)
                .gives::<applications::DeletedApplication>()
                .refuses(&["nameDiffers"]),
        ),
        // Keys of an application.
        AdminRoute::get(
            "/applications/{appId}/keys",
            Access::OWNER,
            keys::list,
            op("listKeys", "List the keys of an application").gives::<keys::KeyList>(),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/applications/{appId}/keys",
            Access::OWNER.fresh(),
            keys::add,
            op("createKey", "Make a key")
                .takes::<keys::CreateKey>()
                .gives::<keys::CreatedKey>()
                .creates()
                .refuses(&["tooManyKeys"]),
        ),
        AdminRoute::post(
            "/applications/{appId}/keys/{keyId}/rotate",
            Access::OWNER.fresh(),
            keys::rotate,
            op("rotateKey", "Replace a key by another one of the same name and scopes")
                .takes::<keys::RotateKey>()
                .gives::<keys::CreatedKey>()
                .creates()
                .refuses(&["keyEnded", "tooManyKeys"]),
        ),
        AdminRoute::patch(
            "/applications/{appId}/keys/{keyId}",
            Access::OWNER.fresh(),
            keys::change,
            op("changeKey", "Rename, suspend, resume or restrict a key")
                .takes::<keys::ChangeKey>()
                .gives::<keys::OneKey>()
                .refuses(&["keyEnded"]),
        ),
        AdminRoute::delete(
            "/applications/{appId}/keys/{keyId}",
            Access::OWNER.fresh(),
            keys::end,
            op("endKey", "End a key at once").gives::<keys::OneKey>().refuses(&["keyEnded"]),
        ),
    ];
    table.extend(table_people::table());
    table.extend(table_review::table());
    table
}
