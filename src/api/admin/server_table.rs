//! The rows of the table about the server itself: jobs, journal, figures, system, backups.

use super::handlers::{backups, jobs, journal, journal_export, openapi, overview, receipts, system};
use super::operation::QueryParameter;
use super::{Access, AdminRoute, Operation};
use crate::api::audit::Lines;

/// The parameters of figures.
const FIGURE_QUERY: &[QueryParameter] = &[
    QueryParameter::new("series", "Names, separated by commas; absent: all."),
    QueryParameter::seconds(
        "step",
        &[10, 60, 3600],
        "10 (the last hour), 60 (the last day) or 3600 (the last month); absent: 60.",
    ),
    QueryParameter::time("from", "The beginning, in UTC; absent: as far back as they are kept."),
    QueryParameter::new("appId", "Of this application; steps of 60 and 3600 only."),
    QueryParameter::one_of(
        "scope",
        &["server", "otherApplications"],
        "Without `appId`: `server`, or `otherApplications` (those without figures of their own).",
    ),
];

/// The parameters of the store.
const STORE_QUERY: &[QueryParameter] =
    &[QueryParameter::flag("sealingKeys", "With the sealing keys, for which the row of every sample is read.")];

/// The rows. Paths are below [`BASE`](super::BASE).
pub(super) fn server_rows() -> Vec<AdminRoute> {
    let op = Operation::new;
    vec![
        // Jobs of this node.
        AdminRoute::get("/jobs", Access::ANY, jobs::list, op("listJobs", "List jobs").gives::<jobs::JobList>())
            .lines(Lines::Never),
        AdminRoute::get("/jobs/{jobId}", Access::ANY, jobs::read, op("getJob", "Read a job").gives::<jobs::JobView>())
            .lines(Lines::Never),
        // The journal.
        AdminRoute::post(
            "/journal/search",
            Access::ANY,
            journal::search,
            op("searchJournal", "Search the journal of this node, newest lines first")
                .takes::<journal::SearchJournal>()
                .gives::<journal::JournalPage>()
                .refuses(&["badCursor", "journalBusy", "notFound"]),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/journal/status",
            Access::AUDITOR,
            journal::status,
            op("getJournalStatus", "How far the journal reaches, and when it was verified")
                .gives::<journal::JournalStatus>()
                .refuses(&["journalBusy"]),
        )
        .lines(Lines::Never),
        AdminRoute::post(
            "/journal/verify",
            Access::AUDITOR,
            journal::verify,
            op("verifyJournal", "Check that no line was changed, inserted or removed: a job")
                .gives::<jobs::JobView>()
                .accepts()
                .refuses(&["notFound", "running", "tooManyJobs"]),
        ),
        AdminRoute::post(
            "/journal/export",
            Access::AUDITOR,
            journal_export::export,
            op("exportJournal", "The selected lines as a file, oldest first")
                .takes::<journal::ExportJournal>()
                .file("application/x-ndjson")
                .or_file("text/csv")
                .refuses(&["journalBusy", "notFound"]),
        ),
        AdminRoute::post(
            "/receipts/search",
            Access::ANY,
            receipts::search,
            op("searchReceipts", "Search the receipts of erasures, newest first")
                .takes::<receipts::SearchReceipts>()
                .gives::<receipts::ReceiptPage>()
                .refuses(&["badCursor", "journalBusy", "notFound"]),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/receipts/{erasureId}",
            Access::ANY,
            receipts::read,
            op("getReceipt", "The receipt of an erasure")
                .gives::<receipts::Receipt>()
                .refuses(&["journalBusy", "searchTooLong"]),
        ),
        AdminRoute::get(
            "/receipt-key",
            Access::ANY,
            receipts::key,
            op("getReceiptKey", "The public key that verifies receipts")
                .gives::<receipts::ReceiptKeyView>()
                .refuses(&["notFound"]),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/receipts/check",
            Access::ANY,
            receipts::check,
            op("checkReceipts", "Check the signatures of receipts")
                .takes::<receipts::CheckReceipts>()
                .gives::<receipts::Verdicts>()
                .refuses(&["notFound"]),
        ),
        // How the server is, and how it was.
        AdminRoute::get(
            "/overview",
            Access::ANY,
            overview::overview,
            op("getOverview", "What is wrong now, and what was counted today").gives::<overview::Overview>(),
        )
        .lines(Lines::Never),
        AdminRoute::get(
            "/figures",
            Access::ANY,
            overview::figures,
            op("getFigures", "Figures over time, from the memory of this node")
                .query(FIGURE_QUERY)
                .gives::<overview::Figures>()
                .refuses(&["notFound", "unknownSeries"]),
        )
        .lines(Lines::Never),
        // The server itself.
        AdminRoute::get(
            "/system",
            Access::OWNER,
            system::system,
            op("getSystem", "This server").gives::<system::SystemView>(),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/nodes",
            Access::OWNER,
            system::nodes,
            op("listNodes", "List nodes").gives::<system::NodeList>(),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/models",
            Access::ANY,
            system::models,
            op("getModels", "The models").gives::<system::Models>(),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/models/check",
            Access::OWNER,
            system::check_models,
            op("checkModels", "Load every model once more and compare what it computes: a job")
                .gives::<jobs::JobView>()
                .accepts()
                .refuses(&["running", "tooManyJobs"]),
        ),
        AdminRoute::get(
            "/store",
            Access::OWNER,
            system::store,
            op("getStore", "The database").query(STORE_QUERY).gives::<system::StoreView>(),
        )
        .lines(Lines::Counted),
        AdminRoute::get(
            "/settings",
            Access::OWNER,
            system::settings,
            op("listSettings", "The settings in force, with their source").gives::<system::SettingList>(),
        ),
        AdminRoute::post(
            "/system/doctor",
            Access::OWNER,
            system::doctor,
            op("checkSystem", "The checks of `semblance doctor`; nothing is written").gives::<system::Doctor>(),
        ),
        AdminRoute::post(
            "/system/reload",
            Access::OWNER,
            system::reload,
            op("reloadSystem", "Read certificate, sealing keys and log level again, as SIGHUP does"),
        ),
        AdminRoute::post(
            "/system/expiry/resume",
            Access::OWNER.fresh(),
            system::resume_expiry,
            op("resumeExpiry", "Confirm the clock, so that expiry goes on").refuses(&["notPaused"]),
        ),
        AdminRoute::post(
            "/applications/{appId}/expiry/confirm",
            Access::OWNER.fresh(),
            system::confirm_expiry,
            op("confirmExpiry", "Confirm that people past their retention are erased")
                .takes::<system::ConfirmExpiry>()
                .refuses(&["nothingHeld", "countDiffers"]),
        ),
        // Backups of this node.
        AdminRoute::get(
            "/backups",
            Access::OWNER,
            backups::list,
            op("listBackups", "List backups").gives::<backups::BackupList>(),
        )
        .lines(Lines::Counted),
        AdminRoute::post(
            "/backups",
            Access::OWNER.fresh(),
            backups::create,
            op("createBackup", "Make a backup in `backup.dir`: a job").gives::<jobs::JobView>().accepts().refuses(&[
                "backupsOff",
                "running",
                "tooManyJobs",
            ]),
        ),
        AdminRoute::post(
            "/backups/{backupId}/test",
            Access::OWNER.fresh(),
            backups::test,
            op("testBackup", "Restore a backup into a database that is deleted afterwards: a job")
                .gives::<jobs::JobView>()
                .accepts()
                .refuses(&["backupsOff", "running", "tooManyJobs"]),
        ),
        AdminRoute::delete(
            "/backups/{backupId}",
            Access::OWNER.fresh(),
            backups::remove,
            op("deleteBackup", "Delete a backup").refuses(&["backupsOff"]),
        ),
        // This document.
        AdminRoute::get(
            "/openapi.json",
            Access::PUBLIC,
            openapi::read,
            op("getAdminOpenapi", "This document").file("application/json"),
        )
        .lines(Lines::Never),
    ]
}
