"""Every table of cellule.db, what people decided, in the order in which it came to be (see migration)."""

from appliance.storage.migration import Migration

CELLULE = (
    Migration(
        "0001_day_one",
        (
            """CREATE TABLE accounts (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL UNIQUE COLLATE NOCASE,
                password_hash TEXT NOT NULL,
                role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
                language TEXT NOT NULL DEFAULT 'en',
                must_change_password INTEGER NOT NULL DEFAULT 0,
                created_at REAL NOT NULL,
                disabled_at REAL
            )""",
            """CREATE TABLE sessions (
                token_hash TEXT PRIMARY KEY,
                account_id TEXT NOT NULL REFERENCES accounts(id) ON DELETE CASCADE,
                created_at REAL NOT NULL,
                expires_at REAL NOT NULL
            )""",
            """CREATE TABLE api_keys (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL,
                prefix TEXT NOT NULL,
                key_hash TEXT NOT NULL UNIQUE,
                account_id TEXT REFERENCES accounts(id),
                requests_per_minute INTEGER,
                created_at REAL NOT NULL,
                expires_at REAL,
                revoked_at REAL
            )""",
            """CREATE TABLE invitations (
                id TEXT PRIMARY KEY,
                secret BLOB,
                label TEXT NOT NULL,
                created_by TEXT REFERENCES accounts(id),
                created_at REAL NOT NULL,
                expires_at REAL NOT NULL,
                redeemed_by TEXT,
                redeemed_at REAL,
                revoked_at REAL
            )""",
            """CREATE TABLE workers (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL,
                public_key TEXT NOT NULL UNIQUE,
                invitation_id TEXT NOT NULL UNIQUE REFERENCES invitations(id),
                state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'revoked')),
                short_code TEXT NOT NULL,
                poll_key BLOB NOT NULL,
                facts TEXT NOT NULL,
                tunnel_address TEXT UNIQUE,
                created_at REAL NOT NULL,
                approved_at REAL,
                approved_by TEXT REFERENCES accounts(id),
                revoked_at REAL
            )""",
        ),
    ),
    Migration(
        "0002_choices",
        (
            """CREATE TABLE choices (
                subject TEXT PRIMARY KEY,
                value TEXT NOT NULL,
                chosen_at REAL NOT NULL,
                chosen_by TEXT
            )""",
        ),
    ),
    Migration(
        "0003_refused_releases",
        (
            """CREATE TABLE refused_releases (
                version TEXT PRIMARY KEY,
                root_hash TEXT NOT NULL DEFAULT '',
                reason TEXT NOT NULL,
                story TEXT NOT NULL,
                at REAL,
                seen_at REAL,
                seen_by TEXT
            )""",
        ),
    ),
    Migration(
        "0004_support_sessions",
        (
            """CREATE TABLE support_sessions (
                id TEXT PRIMARY KEY,
                request TEXT NOT NULL,
                reason TEXT NOT NULL,
                opened_by TEXT NOT NULL,
                opened_at REAL NOT NULL,
                until REAL NOT NULL,
                box_key TEXT NOT NULL DEFAULT '',
                closed_at REAL,
                closed_by TEXT,
                ending TEXT
            )""",
            "CREATE UNIQUE INDEX support_sessions_open ON support_sessions((1)) WHERE closed_at IS NULL",
        ),
    ),
    Migration(
        "0003_installs",
        (
            """CREATE TABLE installs (
                id INTEGER PRIMARY KEY,
                version TEXT NOT NULL,
                origin TEXT NOT NULL,
                source TEXT NOT NULL,
                manifest_hash TEXT NOT NULL,
                size_bytes INTEGER NOT NULL,
                stage TEXT NOT NULL,
                stage_at REAL NOT NULL,
                restart_now INTEGER NOT NULL DEFAULT 0,
                restarts INTEGER NOT NULL DEFAULT 0,
                ordered_by TEXT,
                ordered_at REAL NOT NULL,
                started_at REAL,
                code TEXT NOT NULL DEFAULT '',
                error TEXT NOT NULL DEFAULT ''
            )""",
            # there is one place for an install that is under way
            """CREATE UNIQUE INDEX installs_under_way ON installs ((1))
                WHERE stage IN ('ordered', 'installing')""",
        ),
    ),
    Migration(
        "0005_guarded_changes",
        (
            """CREATE TABLE guarded_changes (
                id TEXT PRIMARY KEY,
                kind TEXT NOT NULL,
                state TEXT NOT NULL,
                plan TEXT,
                before TEXT,
                begun_at REAL NOT NULL,
                begun_by TEXT NOT NULL,
                applied_at REAL,
                ended_at REAL,
                error TEXT NOT NULL DEFAULT ''
            )""",
            # one at a time, whoever asks
            "CREATE UNIQUE INDEX guarded_changes_pending ON guarded_changes ((1)) WHERE state = 'pending'",
        ),
    ),
    Migration(
        "0006_damaged_releases",
        (
            """CREATE TABLE damaged_releases (
                id INTEGER PRIMARY KEY,
                version TEXT NOT NULL,
                root_hash TEXT NOT NULL DEFAULT '',
                reason TEXT NOT NULL,
                story TEXT NOT NULL,
                at REAL NOT NULL,
                seen_at REAL,
                seen_by TEXT,
                over_at REAL
            )""",
            # an incident is told once; the same release may be damaged again after it was repaired
            "CREATE UNIQUE INDEX damaged_releases_open ON damaged_releases (version) WHERE over_at IS NULL",
        ),
    ),
    Migration(
        "0007_models",
        (
            """CREATE TABLE models (
                name TEXT PRIMARY KEY COLLATE NOCASE,
                digest TEXT NOT NULL,
                bundle TEXT NOT NULL,
                facts TEXT NOT NULL,
                entry TEXT NOT NULL DEFAULT '',
                source TEXT NOT NULL,
                licence TEXT NOT NULL DEFAULT '',
                licence_accepted_by TEXT,
                added_by TEXT,
                added_at REAL NOT NULL,
                deprecated_at REAL,
                retired_at REAL,
                successor TEXT NOT NULL DEFAULT ''
            )""",
            """CREATE TABLE model_aliases (
                alias TEXT PRIMARY KEY COLLATE NOCASE,
                model TEXT NOT NULL,
                moved_at REAL NOT NULL,
                moved_by TEXT
            )""",
        ),
    ),
    Migration(
        "0007_worker_wishes",
        (
            """CREATE TABLE worker_wishes (
                worker TEXT PRIMARY KEY,
                wish TEXT NOT NULL,
                at REAL NOT NULL
            )""",
        ),
    ),
    Migration(
        "0008_adopted_servers",
        (
            """CREATE TABLE adopted_servers (
                worker TEXT NOT NULL,
                name TEXT NOT NULL,
                engine TEXT NOT NULL,
                adoption INTEGER NOT NULL,
                at REAL NOT NULL,
                PRIMARY KEY (worker, name)
            )""",
        ),
    ),
)
