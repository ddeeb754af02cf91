//! Which tables and columns a backup holds.
//!
//! A test compares these lists with the schema of both databases: a migration that adds a table or a column must add it
//! here, to [`TABLES`] or to [`LEFT_OUT`].

use std::sync::LazyLock;

/// The type of a column. SQLite and Postgres store the same values in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Text,
    Bytes,
    Integer,
    Real,
    Boolean,
}

/// A column of a backup.
#[derive(Debug)]
pub(in crate::store) struct Column {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) kind: Kind,
    /// The value in a backup that lacks the column.
    pub(in crate::store) default: Fallback,
}

/// The value of a column that an older backup lacks.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Fallback {
    Null,
    Text(&'static str),
    Integer(i64),
    Boolean(bool),
    Zero,
}

/// A table of a backup.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) columns: &'static [Column],
    /// Follows `FROM` in the statement that reads it.
    from: &'static str,
    /// Follows the values in the statement that writes it.
    on_conflict: &'static str,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, default: Fallback::Null }
}

const fn column_or(name: &'static str, kind: Kind, default: Fallback) -> Column {
    Column { name, kind, default }
}

/// In the order in which they are written: a row refers to rows of tables before its own.
pub(in crate::store) const TABLES: &[Table] = &[
    Table {
        name: "meta",
        columns: &[column("name", Kind::Text), column("value", Kind::Bytes)],
        from: "meta",
        // A new database already has keys of its own.
        on_conflict: "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    },
    Table {
        name: "applications",
        columns: &[
            column("app_id", Kind::Text),
            column("name", Kind::Text),
            column("key_hash", Kind::Bytes),
            column("revision", Kind::Integer),
            column("created_at", Kind::Integer),
            column_or("attributes", Kind::Boolean, Fallback::Boolean(true)),
            column("former_key_hash", Kind::Bytes),
            column("former_until", Kind::Integer),
            column("retention_s", Kind::Integer),
            column_or("guard", Kind::Text, Fallback::Text("off")),
            column("min_quality", Kind::Real),
            column("max_templates", Kind::Integer),
            column("max_samples", Kind::Integer),
            column_or("keep_crops", Kind::Boolean, Fallback::Boolean(false)),
            column_or("state", Kind::Text, Fallback::Text("active")),
            column("threshold", Kind::Real),
            column("rate_per_s", Kind::Real),
            column("rate_burst", Kind::Integer),
            column("share", Kind::Real),
            column_or("settings_revision", Kind::Integer, Fallback::Integer(0)),
            column_or("name_search", Kind::Boolean, Fallback::Boolean(false)),
            column_or("require_consent", Kind::Boolean, Fallback::Boolean(false)),
            column("keep_probes_s", Kind::Integer),
        ],
        from: "applications",
        on_conflict: "",
    },
    Table {
        name: "app_keys",
        columns: &[
            column("app_id", Kind::Text),
            column("key_id", Kind::Text),
            column("name", Kind::Text),
            column("key_hash", Kind::Bytes),
            column("hint", Kind::Text),
            column("scopes", Kind::Text),
            column("state", Kind::Text),
            column("created_at", Kind::Integer),
            column("created_by", Kind::Text),
            column("last_used_at", Kind::Integer),
            column("ends_at", Kind::Integer),
            column("expires_at", Kind::Integer),
        ],
        from: "app_keys",
        on_conflict: "",
    },
    Table {
        name: "templates",
        columns: &[
            column("app_id", Kind::Text),
            column("template_id", Kind::Text),
            column("created_at", Kind::Integer),
            column("updated_at", Kind::Integer),
            column_or("revision", Kind::Integer, Fallback::Zero),
        ],
        from: "templates",
        on_conflict: "",
    },
    Table {
        name: "samples",
        columns: &[
            column("app_id", Kind::Text),
            column("template_id", Kind::Text),
            column("created_at", Kind::Integer),
            column("sample_id", Kind::Bytes),
            column("model", Kind::Text),
            column("sealed", Kind::Bytes),
            column("data_key", Kind::Bytes),
            column("enrolled_by", Kind::Text),
            column("quality", Kind::Real),
            column("quality_fine", Kind::Integer),
        ],
        from: "samples",
        on_conflict: "",
    },
    Table {
        name: "crops",
        columns: &[
            column("app_id", Kind::Text),
            column("template_id", Kind::Text),
            column("created_at", Kind::Integer),
            column("sample_id", Kind::Bytes),
            column("bytes", Kind::Integer),
            column("sealed", Kind::Bytes),
        ],
        from: "crops",
        on_conflict: "",
    },
    Table {
        name: "details",
        columns: &[
            column("app_id", Kind::Text),
            column("template_id", Kind::Text),
            column("external_hash", Kind::Bytes),
            column_or("named", Kind::Boolean, Fallback::Boolean(false)),
            column("expires_at", Kind::Integer),
            column("sealed", Kind::Bytes),
            column("data_key", Kind::Bytes),
        ],
        from: "details",
        on_conflict: "",
    },
    // For a day: a request that is sent again after the move is still not executed twice.
    Table {
        name: "idempotency",
        columns: &[
            column("app_id", Kind::Text),
            column("key_hash", Kind::Bytes),
            column("template_id", Kind::Text),
            column("revision", Kind::Integer),
            column("expires_at", Kind::Integer),
            column("sealed", Kind::Bytes),
            column("data_key", Kind::Bytes),
            column("sample_id", Kind::Bytes),
        ],
        from: "idempotency",
        on_conflict: "",
    },
    Table {
        name: "changes",
        columns: &[
            column("app_id", Kind::Text),
            column("revision", Kind::Integer),
            column("template_id", Kind::Text),
            column("tag", Kind::Integer),
        ],
        // Only the newest of each gallery: it identifies the history that the restored database continues.
        from: "(SELECT c.app_id, c.revision, c.template_id, c.tag FROM changes c
                JOIN applications a ON a.app_id = c.app_id AND a.revision = c.revision) AS newest",
        on_conflict: "",
    },
    Table {
        name: "outbox",
        columns: &[
            column("notice_id", Kind::Bytes),
            column("happened_at", Kind::Integer),
            column("operation", Kind::Text),
            column("transaction_id", Kind::Bytes),
            column("app_id", Kind::Text),
            column("template_id", Kind::Text),
            column("revision", Kind::Integer),
            column("detail", Kind::Text),
            column("actor", Kind::Text),
            column("sample_id", Kind::Bytes),
            column("key_id", Kind::Text),
            column("changed", Kind::Text),
        ],
        from: "outbox",
        on_conflict: "ON CONFLICT (notice_id) DO NOTHING",
    },
    Table {
        name: "journals",
        columns: &[
            column("node", Kind::Bytes),
            column("last_line", Kind::Integer),
            column("mac", Kind::Bytes),
            column("seen_at", Kind::Integer),
        ],
        from: "journals",
        on_conflict: "ON CONFLICT (node) DO NOTHING",
    },
    Table {
        name: "expired",
        columns: &[column("app_id", Kind::Text), column("hour", Kind::Integer), column("templates", Kind::Integer)],
        from: "expired",
        on_conflict: "",
    },
    Table {
        name: "retention",
        columns: &[
            column("app_id", Kind::Text),
            column("share", Kind::Integer),
            column("held", Kind::Integer),
            column("held_before", Kind::Integer),
            column("held_since", Kind::Integer),
            column("confirmed", Kind::Integer),
            column("confirmed_before", Kind::Integer),
            column_or("held_until", Kind::Integer, Fallback::Zero),
            column_or("confirmed_until", Kind::Integer, Fallback::Zero),
        ],
        from: "retention",
        on_conflict: "",
    },
    Table {
        name: "administrators",
        columns: &[
            column("admin_id", Kind::Text),
            column("name", Kind::Text),
            column("name_key", Kind::Text),
            column("role", Kind::Text),
            column("applications", Kind::Text),
            column("may_change", Kind::Boolean),
            column("active", Kind::Boolean),
            column("bootstrap", Kind::Boolean),
            column("created_at", Kind::Integer),
            column("last_sign_in_at", Kind::Integer),
        ],
        from: "administrators",
        on_conflict: "",
    },
    Table {
        name: "admin_tokens",
        columns: &[
            column("token_id", Kind::Text),
            column("admin_id", Kind::Text),
            column("name", Kind::Text),
            column("hash", Kind::Bytes),
            column("created_at", Kind::Integer),
            column("last_used_at", Kind::Integer),
            column("expires_at", Kind::Integer),
        ],
        from: "admin_tokens",
        on_conflict: "",
    },
];

/// What a backup does not hold: (table, column or `*`, why).
pub(in crate::store) const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("_sqlx_migrations", "*", "the migrations of the program that restores make the schema"),
    ("applications", "counted_revision", "the size of a gallery is counted again"),
    ("applications", "counted_templates", "as `counted_revision`"),
    ("applications", "counted_samples", "as `counted_revision`"),
    ("snapshots", "*", "keys of snapshot files, which are written again; without a key no old file is read"),
    ("admin_sessions", "*", "a restore ends every session: administrators sign in again"),
    ("probes", "*", "held for a time that an application set; a backup would keep them for longer"),
    ("admin_codes", "*", "a restore ends every invitation"),
    ("outbox", "node", "the restored events belong to no node; the first one that polls takes them"),
    ("outbox", "claim", "as `node`"),
    ("outbox", "claimed_until", "as `node`"),
];

/// Rows of `meta` that are about one database file, and not part of a backup.
pub(in crate::store) const LOCAL_META: &[&str] =
    &["sqlite log base", "sqlite clean stop", "clock seen", "clock confirmed"];

/// Rows that one statement inserts. The most columns times this stays below the 32766 parameters of SQLite.
pub(in crate::store) const BATCH_ROWS: usize = 64;

/// The statements of a table.
#[derive(Debug)]
pub(in crate::store) struct Statements {
    /// Reads all rows.
    pub(in crate::store) select: String,
    /// Inserts one row.
    pub(in crate::store) insert_one: String,
    /// Inserts [`BATCH_ROWS`] rows.
    pub(in crate::store) insert_batch: String,
}

/// The statements of each of [`TABLES`], in the same order.
pub(in crate::store) static STATEMENTS: LazyLock<Vec<Statements>> =
    LazyLock::new(|| TABLES.iter().map(Statements::new).collect());

impl Statements {
    fn new(table: &Table) -> Self {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let names = names.join(", ");
        let insert = |rows: usize| {
            let width = table.columns.len();
            let row = |row: usize| {
                let values: Vec<String> = (1..=width).map(|at| format!("${}", row * width + at)).collect();
                format!("({})", values.join(", "))
            };
            let rows: Vec<String> = (0..rows).map(row).collect();
            format!("INSERT INTO {} ({names}) VALUES {} {}", table.name, rows.join(", "), table.on_conflict)
        };
        Self {
            select: format!("SELECT {names} FROM {}", table.from),
            insert_one: insert(1),
            insert_batch: insert(BATCH_ROWS),
        }
    }
}
