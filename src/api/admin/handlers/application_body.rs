//! The body that creates or changes an application.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::faults::Faults;
use crate::api::admin::extract::{Field, object};
use crate::api::admin::schema::{ApplicationState, Burst, Fraction, GuardMode, Name, Rate, RetentionSeconds, Share};
use crate::domain::{AppState, Guard, RequestLimits, application_name};
use crate::service::KEEP_PROBES;
use crate::store::{AppChange, AppRecord};

/// Limits of a body.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct LimitsBody {
    /// Requests per second on each node, 0: no limit; null: the server's.
    #[schemars(with = "Field<Rate>")]
    #[serde(default)]
    per_second: Field<f64>,
    /// At least 1; null: the server's.
    #[schemars(with = "Field<Burst>")]
    #[serde(default)]
    burst: Field<u32>,
    /// Above 0 and at most 1; null: the server's.
    #[schemars(with = "Field<Share>")]
    #[serde(default)]
    share: Field<f64>,
}

/// Quotas of a body.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct QuotasBody {
    /// null: no limit.
    #[serde(default)]
    templates: Field<u64>,
    /// null: no limit.
    #[serde(default)]
    samples: Field<u64>,
}

/// The rules of a body. A member that is not there stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct ChangeApplication {
    /// Not null. A new application must have one.
    #[schemars(with = "Name")]
    #[serde(default)]
    pub(super) name: Field<String>,
    /// null: active.
    #[schemars(with = "Field<ApplicationState>")]
    #[serde(default)]
    state: Field<String>,
    /// null: the server's.
    #[schemars(with = "Field<Fraction>")]
    #[serde(default)]
    threshold: Field<f64>,
    /// null: the server's.
    #[serde(default, deserialize_with = "object")]
    limits: Field<LimitsBody>,
    /// null: no limits.
    #[serde(default, deserialize_with = "object")]
    quotas: Field<QuotasBody>,
    /// null: for ever.
    #[schemars(with = "Field<RetentionSeconds>")]
    #[serde(default)]
    retention_seconds: Field<u64>,
    /// null: yes.
    #[serde(default)]
    attributes: Field<bool>,
    /// null: off.
    #[schemars(with = "Field<GuardMode>")]
    #[serde(default)]
    guard: Field<String>,
    /// null: any quality.
    #[schemars(with = "Field<Share>")]
    #[serde(default)]
    min_quality: Field<f64>,
    /// null: no. Crops that were kept before are erased within a minute when it is switched off.
    #[serde(default)]
    keep_crops: Field<bool>,
    /// How long probes without a match are held for review, 60 to 7776000 (90 days); null: none is held, and those that are
    /// held are erased.
    #[serde(default)]
    keep_probes_seconds: Field<u64>,
    /// null: yes.
    #[serde(default)]
    name_search: Field<bool>,
    /// null: no.
    #[serde(default)]
    require_consent: Field<bool>,
    /// The number of people that a shorter `retentionSeconds` may erase: the `details.count` of `wouldErase`.
    #[serde(default)]
    confirm_erases: Option<u64>,
}

/// The longest retention: some ten million years, which the database can still add to a time.
const MAX_RETENTION_S: u64 = u32::MAX as u64 * 86_400;

impl ChangeApplication {
    /// The change, and the names of the fields that change.
    pub(super) fn change(self, known: &AppRecord, faults: &mut Faults) -> (AppChange, Vec<&'static str>) {
        let mut change = AppChange { may_erase: Some(self.confirm_erases.unwrap_or(0)), ..AppChange::default() };
        let mut fields = Vec::new();
        match self.name {
            Field::Keep => {}
            Field::Clear => faults.push("name", "must not be null"),
            Field::Set(name) => {
                fields.push("name");
                change.name = faults.check("name", application_name(&name));
            }
        }
        if let Some(state) = self.state.or_null() {
            fields.push("state");
            change.state = state.map_or(Some(AppState::Active), |state| faults.check("state", state.parse()));
        }
        if let Some(threshold) = self.threshold.or_null() {
            fields.push("threshold");
            let is_valid = threshold.is_none_or(|threshold| (0.0..=1.0).contains(&threshold));
            change.threshold =
                faults.accept("threshold", is_valid, "must be a number from 0 to 1").then_some(threshold);
        }
        if let Some(limits) = self.limits.or_null() {
            fields.push("limits");
            change.limits = Some(limits.map_or(RequestLimits::default(), |limits| limits.apply(known.limits, faults)));
        }
        if let Some(quotas) = self.quotas.or_null() {
            fields.push("quotas");
            let all = QuotasBody { templates: Field::Clear, samples: Field::Clear };
            let QuotasBody { templates, samples } = quotas.unwrap_or(all);
            (change.max_templates, change.max_samples) = (templates.or_null(), samples.or_null());
        }
        if let Some(seconds) = self.retention_seconds.or_null() {
            fields.push("retentionSeconds");
            let is_valid = seconds.is_none_or(|seconds| (1..=MAX_RETENTION_S).contains(&seconds));
            if faults.accept("retentionSeconds", is_valid, "must be a number of seconds, at least 1") {
                change.retention = Some(seconds.map(Duration::from_secs));
            }
        }
        if let Some(reported) = self.attributes.or_null() {
            fields.push("attributes");
            change.attributes = Some(reported.unwrap_or(true));
        }
        if let Some(keep) = self.keep_crops.or_null() {
            fields.push("keepCrops");
            change.keep_crops = Some(keep.unwrap_or(false));
        }
        if let Some(seconds) = self.keep_probes_seconds.or_null() {
            fields.push("keepProbesSeconds");
            let keep = seconds.map(Duration::from_secs);
            let is_valid = keep.is_none_or(|keep| KEEP_PROBES.contains(&keep));
            if faults.accept("keepProbesSeconds", is_valid, "must be a number of seconds from 60 to 7776000") {
                change.keep_probes = Some(keep);
            }
        }
        if let Some(searched) = self.name_search.or_null() {
            fields.push("nameSearch");
            change.name_search = Some(searched.unwrap_or(true));
        }
        if let Some(required) = self.require_consent.or_null() {
            fields.push("requireConsent");
            change.require_consent = Some(required.unwrap_or(false));
        }
        if let Some(guard) = self.guard.or_null() {
            fields.push("guard");
            change.guard = guard.map_or(Some(Guard::Off), |guard| faults.check("guard", guard.parse()));
        }
        if let Some(least) = self.min_quality.or_null() {
            fields.push("minQuality");
            let is_valid = least.is_none_or(|least| least > 0.0 && least <= 1.0);
            change.min_quality =
                faults.accept("minQuality", is_valid, "must be a number above 0 and at most 1").then_some(least);
        }
        (change, fields)
    }
}

impl LimitsBody {
    fn apply(self, known: RequestLimits, faults: &mut Faults) -> RequestLimits {
        let per_second = self.per_second.or_null().unwrap_or(known.per_second);
        let burst = self.burst.or_null().unwrap_or(known.burst);
        let share = self.share.or_null().unwrap_or(known.share);
        let rate = "must be 0 (no limit), or a number from 0.000001 to 1000000";
        faults.accept("limits.perSecond", per_second.is_none_or(RequestLimits::is_rate), rate);
        faults.accept("limits.burst", burst != Some(0), "must be at least 1");
        faults.accept(
            "limits.share",
            share.is_none_or(RequestLimits::is_share),
            "must be a number above 0 and at most 1",
        );
        RequestLimits { per_second, burst, share }
    }
}
