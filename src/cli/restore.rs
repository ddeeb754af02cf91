//! `semblance restore`: fills an empty database from a backup.

use std::path::PathBuf;

use clap::Args;

use super::output::outln;
use super::{CliError, journal_command};
use crate::app::backup::{check_backup, describe, open_backup};
use crate::app::{self, StartError};
use crate::settings::Settings;
use crate::store::{OpenError, OpenMode};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file that `backup` wrote.
    file: PathBuf,
    /// Check that the whole file opens with the sealing keys, and change nothing.
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(settings: Settings, arguments: Arguments) -> Result<(), CliError> {
    let Arguments { file: path, check } = arguments;
    if app::is_served(&settings)? && !check {
        let data = settings.data.display();
        return Err(CliError::message(format!("a server is running on {data}; stop it before you restore a backup")));
    }
    let keys = app::existing_keys(&settings);
    let failed = |error| CliError::backup(&path)(error);
    // A missing key file is reported with the names of the keys that it has to hold.
    let open = || open_backup(&path, keys.as_deref().unwrap_or_default()).map_err(failed);
    // The whole file is read once before anything is created: a damaged one changes nothing.
    let (header, mut reader) = open()?;
    let counts = check_backup(&mut reader).map_err(failed)?;
    if check {
        outln!("{} is intact: {} of {}", path.display(), describe(&counts), header.created_at)?;
        return Ok(());
    }
    let store = match app::open_store(&settings, OpenMode::Create).await {
        // The backup replaces the file that is missing.
        Err(StartError::Open(OpenError::Missing { .. })) => {
            app::accept_store(&settings).await?;
            app::open_store(&settings, OpenMode::Create).await?
        }
        opened => opened?,
    };
    let (_, mut reader) = open()?;
    let counts = store.backup.write_all(&mut reader).await.map_err(failed)?;
    let text = format!("{} of the backup {} of {}", describe(&counts), header.id, header.created_at);
    journal_command(&store, "restore", None, &text).await?;
    outln!("{} of {} are restored", describe(&counts), header.created_at)?;
    outln!(
        "The journal is not part of a backup. To continue it, put the folder `journal` and the file `node` of the old data \
         folder into {} before the next start; otherwise a new journal begins.",
        settings.data.display()
    )
}
