//! Facts and rules: identifiers, faces, scores, embeddings, similarity, faults.
//!
//! Nothing in here does I/O, knows HTTP, SQL or a model file; the only JSON is the metadata of people. Every value
//! that can be wrong is checked when it is made, so that code further in never
//! has to ask again.

mod actor;
mod administrator;
mod analysis;
mod app_key;
mod application;
mod clock;
mod crop;
pub mod details;
mod embedding;
mod face;
mod fault;
mod fine_limits;
mod guard;
mod id;
mod idempotency_key;
mod journal_position;
mod line_window;
mod measure;
mod network;
mod photo;
mod quality;
mod rates;
mod score;
mod similarity;
mod split_mix;
mod time;

pub use actor::{Actor, ActorError};
pub use administrator::{Role, RoleError, administrator_name};
pub use analysis::{Analysis, AnalysisRequest, Check, Checks, PhotoOptions, Subject, TenantKey, Timings};
pub use app_key::{AppKeyId, AppKeyIdError, AppKeyState, KeySwitch, Scope, ScopeError, Scopes};
pub use application::{AppState, RequestLimits, application_name};
pub use clock::{Clock, ClockTrust, RandomError, TestClock, fill_random, random_uuid, stopwatch};
pub use crop::FaceCrop;
pub use details::{DetailError, DetailFault, Details, DetailsPatch, Field};
pub use embedding::{Embedding, EmbeddingError, ModelTag, dot, mean_direction};
pub use face::{BoundingBox, Landmarks, Point, Pose};
pub use fault::{PhotoFault, Shortfall};
pub use fine_limits::FineLimits;
pub use guard::{CurveError, EnrollRules, FalseMatchCurve, Guard, Quota};
pub use id::{
    AdminSessionId, AdminTokenId, AdministratorId, AppId, IdError, ProbeId, Revision, SampleId, TemplateId,
    TransactionId,
};
pub use idempotency_key::{IdempotencyKey, IdempotencyKeyError};
pub use journal_position::JournalPosition;
pub use line_window::LineWindow;
pub use measure::{FineWhen, Measure, MeasureRow, Reported};
pub use network::{Network, NetworkError, Networks, client_key};
pub use photo::{DecodeFault, PhotoFormat, PhotoFormats};
pub use quality::{Demography, Quality};
pub use rates::{Z95, fmr, fpir, percentiles, wilson};
pub use score::{Limit, Verdict};
pub use similarity::{Calibration, CalibrationError, Cosine, Similarity};
pub use split_mix::SplitMix;
pub use time::{parse_rfc3339, rfc3339};
