//! `semblance serve`

use clap::Args;

use super::CliError;
use crate::app::App;
use crate::settings::Settings;
use crate::{lifecycle, telemetry};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address and port of the API.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port of the operator endpoints, apart from the API.
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// PEM file with the certificate chain.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// PEM file with the private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
}

impl Arguments {
    /// The settings that these flags override.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("listen", &self.listen),
            ("admin.listen", &self.admin_listen),
            ("tls.cert", &self.tls_cert),
            ("tls.key", &self.tls_key),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
    }
}

pub(super) async fn run(settings: Settings) -> Result<(), CliError> {
    let _log_writer = telemetry::start_logging(&settings.log).map_err(CliError::Message)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let app = App::build(settings).await?;
    if let Some(first) = app.first_run() {
        println!("First run: one application was created. Its key is shown once, here and in");
        println!("{}:\n", first.file.display());
        println!("  APP-ID:  {}\n  APP-KEY: {}\n", first.credentials.app_id, first.credentials.app_key);
    }
    let urls: Vec<String> = app.urls().collect();
    println!("Semblance {} serves {}", env!("CARGO_PKG_VERSION"), urls.join(" and for operators "));
    app.run(lifecycle::stop_signal()).await?;
    Ok(())
}
