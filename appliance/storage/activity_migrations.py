"""Every table of activity.db, what happened, in the order in which it came to be (see migration)."""

from appliance.storage.migration import Migration

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
        "0004_engine_speeds",
        (
            """CREATE TABLE engine_speeds (
                id INTEGER PRIMARY KEY,
                node TEXT NOT NULL,
                model TEXT NOT NULL,
                digest TEXT NOT NULL,
                engine TEXT NOT NULL,
                device TEXT NOT NULL,
                profile TEXT NOT NULL,
                prompt REAL NOT NULL,
                alone REAL NOT NULL,
                together REAL NOT NULL,
                at_once INTEGER NOT NULL,
                at REAL NOT NULL,
                load_seconds REAL,
                predicted_alone REAL NOT NULL,
                versions TEXT NOT NULL,
                trouble TEXT NOT NULL DEFAULT ''
            )""",
            "CREATE INDEX engine_speeds_node ON engine_speeds(node)",
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
    Migration(
        "0006_failed_ways",
        (
            """CREATE TABLE failed_ways (
                node TEXT NOT NULL,
                digest TEXT NOT NULL,
                engine TEXT NOT NULL,
                device TEXT NOT NULL,
                times INTEGER NOT NULL,
                at REAL NOT NULL,
                machine TEXT NOT NULL,
                why TEXT NOT NULL,
                PRIMARY KEY (node, digest, engine, device)
            ) WITHOUT ROWID""",
        ),
    ),
)
