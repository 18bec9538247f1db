"""Every table, in the order in which it came to be. A migration that has shipped is never edited.

The other slot of the box may open a file after a newer version wrote it. So a migration is one of two kinds
(decision 0006): additive, when an older version works as before on what it leaves, or two-way, when it says
how it is undone. Tests hold the tables below to that.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """SQL statements applied in one transaction together with their record. Times are epoch seconds.

    Without `down` it is additive: new tables and indexes, new columns that are NULL or have a default,
    nothing else. With `down` it is two-way: those statements take it back, keeping the data of the old
    columns. They are recorded in the file, for the version that runs them doesn't know this migration.
    """

    name: str
    statements: tuple[str, ...]
    down: tuple[str, ...] = ()

    @property
    def is_additive(self) -> bool:
        return not self.down


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

ACTIVITY = (
    Migration(
        "0001_day_one",
        (
            """CREATE TABLE ledger (
                id INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                request_id TEXT NOT NULL UNIQUE,
                key_id TEXT,
                account_id TEXT,
                endpoint TEXT NOT NULL,
                model TEXT,
                node TEXT,
                attempts INTEGER NOT NULL,
                tokens_in INTEGER NOT NULL,
                tokens_out INTEGER NOT NULL,
                queue_seconds REAL NOT NULL,
                first_token_seconds REAL,
                duration_seconds REAL NOT NULL,
                outcome TEXT NOT NULL,
                status INTEGER NOT NULL
            )""",
            "CREATE INDEX ledger_at ON ledger(at)",
            """CREATE TABLE ledger_hours (
                hour INTEGER NOT NULL,
                key_id TEXT NOT NULL,
                account_id TEXT NOT NULL,
                model TEXT NOT NULL,
                node TEXT NOT NULL,
                outcome TEXT NOT NULL,
                requests INTEGER NOT NULL,
                tokens_in INTEGER NOT NULL,
                tokens_out INTEGER NOT NULL,
                duration_seconds REAL NOT NULL,
                PRIMARY KEY (hour, key_id, account_id, model, node, outcome)
            ) WITHOUT ROWID""",
            """CREATE TABLE node_reports (
                node TEXT PRIMARY KEY,
                at REAL NOT NULL,
                report TEXT NOT NULL
            )""",
            """CREATE TABLE sign_in_attempts (
                id INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                name TEXT NOT NULL,
                address TEXT NOT NULL
            )""",
            "CREATE INDEX sign_in_attempts_at ON sign_in_attempts(at)",
        ),
    ),
    Migration(
        "0002_audit",
        (
            """CREATE TABLE audit (
                id INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                event TEXT NOT NULL,
                actor TEXT,
                address TEXT,
                subject TEXT NOT NULL DEFAULT '',
                detail TEXT NOT NULL DEFAULT ''
            )""",
            "CREATE INDEX audit_at ON audit(at)",
        ),
    ),
    Migration(
        "0003_audit_chain",
        (
            "ALTER TABLE audit ADD COLUMN hash TEXT",
            """CREATE TABLE audit_marks (
                name TEXT PRIMARY KEY,
                line_id INTEGER NOT NULL,
                hash TEXT NOT NULL
            )""",
        ),
    ),
    Migration(
        "0003_keeping_runs",
        (
            """CREATE TABLE keeping_runs (
                id INTEGER PRIMARY KEY,
                work TEXT NOT NULL,
                started_at REAL NOT NULL,
                ended_at REAL,
                step TEXT NOT NULL,
                share REAL NOT NULL DEFAULT 0,
                code TEXT NOT NULL DEFAULT '',
                trouble TEXT NOT NULL DEFAULT '',
                detail TEXT NOT NULL DEFAULT '',
                size_bytes INTEGER NOT NULL DEFAULT 0,
                added_bytes INTEGER NOT NULL DEFAULT 0
            )""",
        ),
    ),
    Migration(
        "0003_releases",
        (
            """CREATE TABLE found_releases (
                version TEXT NOT NULL,
                origin TEXT NOT NULL,
                source TEXT NOT NULL,
                release TEXT NOT NULL,
                found_at REAL NOT NULL,
                expired_at REAL,
                PRIMARY KEY (version, origin, source)
            )""",
            """CREATE TABLE channel_looks (
                id INTEGER PRIMARY KEY CHECK (id = 1),
                url TEXT NOT NULL,
                looked_at REAL NOT NULL,
                answered_at REAL,
                failing_since REAL,
                failures INTEGER NOT NULL,
                code TEXT NOT NULL,
                sentence TEXT NOT NULL,
                next_look_at REAL NOT NULL
            )""",
            """CREATE TABLE install_progress (
                install_id INTEGER PRIMARY KEY,
                percent INTEGER NOT NULL,
                step TEXT NOT NULL,
                at REAL NOT NULL
            )""",
            """CREATE TABLE offline_checks (
                id INTEGER PRIMARY KEY,
                origin TEXT NOT NULL,
                path TEXT NOT NULL,
                name TEXT NOT NULL,
                state TEXT NOT NULL,
                size_bytes INTEGER NOT NULL DEFAULT 0,
                done_bytes INTEGER NOT NULL DEFAULT 0,
                asked_by TEXT,
                asked_at REAL NOT NULL,
                ended_at REAL,
                code TEXT NOT NULL DEFAULT '',
                sentence TEXT NOT NULL DEFAULT ''
            )""",
        ),
    ),
    Migration(
        "0004_node_hardware",
        (
            """CREATE TABLE node_hardware (
                node TEXT PRIMARY KEY,
                at REAL NOT NULL,
                facts TEXT NOT NULL
            )""",
            """CREATE TABLE node_health (
                node TEXT NOT NULL,
                model TEXT NOT NULL,
                at REAL NOT NULL,
                ok INTEGER NOT NULL,
                seconds REAL NOT NULL,
                sentence TEXT NOT NULL,
                PRIMARY KEY (node, model)
            )""",
        ),
    ),
    Migration(
        "0004_model_gets",
        (
            """CREATE TABLE model_gets (
                id INTEGER PRIMARY KEY,
                name TEXT NOT NULL COLLATE NOCASE,
                "order" TEXT NOT NULL,
                state TEXT NOT NULL,
                size_bytes INTEGER NOT NULL DEFAULT 0,
                done_bytes INTEGER NOT NULL DEFAULT 0,
                cancelled INTEGER NOT NULL DEFAULT 0,
                attempts INTEGER NOT NULL DEFAULT 0,
                next_try_at REAL NOT NULL DEFAULT 0,
                asked_by TEXT,
                asked_at REAL NOT NULL,
                ended_at REAL,
                code TEXT NOT NULL DEFAULT '',
                sentence TEXT NOT NULL DEFAULT ''
            )""",
            "CREATE UNIQUE INDEX model_gets_name ON model_gets (name) WHERE ended_at IS NULL",
        ),
    ),
    Migration(
        "0005_model_checks",
        (
            """CREATE TABLE model_checks (
                model TEXT PRIMARY KEY,
                digest TEXT NOT NULL,
                asked_at REAL NOT NULL,
                ended_at REAL,
                size_bytes INTEGER NOT NULL,
                done_bytes INTEGER NOT NULL DEFAULT 0,
                ok INTEGER NOT NULL DEFAULT 0,
                sentence TEXT NOT NULL DEFAULT ''
            )""",
        ),
    ),
)
