"""The two database files of the box and how they are opened.

`cellule.db` holds what people decided (accounts, keys, invitations, workers); every change to it is
noticed by the other processes within a fraction of a second through `data_version`.
`activity.db` holds what happened (ledger lines, node reports, sign-in attempts); it is written all
the time, so nobody watches it for changes.
"""

from appliance.storage.choices import Choice, read_choice, write_choice
from appliance.storage.database import (
    DATABASE_FILES,
    check_schemas,
    data_version,
    open_activity,
    open_cellule,
    transaction,
)
from appliance.storage.migrating import SchemaTooNew

__all__ = [
    "DATABASE_FILES",
    "Choice",
    "SchemaTooNew",
    "check_schemas",
    "data_version",
    "open_activity",
    "open_cellule",
    "read_choice",
    "transaction",
    "write_choice",
]
