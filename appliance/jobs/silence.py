"""Which workers have fallen silent, and forgetting what is said of nodes that are long gone."""

from sqlite_utils import Database

from appliance.hardware import forget_nodes
from appliance.settings import BOX_NODE, SILENT_AFTER_SECONDS

REPORTS_KEPT_SECONDS = 7 * 24 * 3600.0


def silent_workers(database: Database, activity: Database, now: float) -> list[str]:
    """Names of approved workers without a report in the last SILENT_AFTER_SECONDS, in order of name."""
    heard = {
        row["node"] for row in activity["node_reports"].rows_where("at > ?", [now - SILENT_AFTER_SECONDS])
    }
    approved = database["workers"].rows_where("state = 'approved'", order_by="name")
    return [worker["name"] for worker in approved if worker["id"] not in heard]


def forget_old_reports(database: Database, activity: Database, now: float) -> None:
    """Drops the last report of workers that are not approved any more, and whatever is a week old."""
    approved = {row["id"] for row in database["workers"].rows_where("state = 'approved'")}
    workers = {row["id"] for row in database["workers"].rows}
    gone = sorted(workers - approved)
    marks = ", ".join("?" * len(gone))
    activity.conn.execute(
        f"DELETE FROM node_reports WHERE at < ? OR node IN ({marks})",  # noqa: S608  (only question marks)
        [now - REPORTS_KEPT_SECONDS, *gone],
    )
    forget_nodes(activity, {BOX_NODE, *approved})
