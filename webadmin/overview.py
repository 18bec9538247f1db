"""The admin's first page: which nodes there are, how much is asked, how fast it is answered."""

from dataclasses import asdict, dataclass

from flask import Blueprint, jsonify, render_template
from flask_babel import gettext, ngettext
from werkzeug.wrappers import Response

from appliance.accounting import (
    NodeOverview,
    PoolOverview,
    UsageOverview,
    pool_overview,
    usage_of_days,
    usage_overview,
)
from appliance.clock import now
from webadmin import figures, nodes_in_words, wizard
from webadmin.database import activity
from webadmin.live import LiveState
from webadmin.visitor import admins_only

blueprint = Blueprint("overview", __name__)


@dataclass(frozen=True)
class Tile:
    """One figure: what it is, its value, a line below, and maybe a chart of the last hour by minute."""

    id: str
    title: str
    value: str
    detail: str
    series: tuple[float | None, ...] = ()
    kind: str = ""


@blueprint.get("/overview")
@admins_only
def show() -> str:
    """The page."""
    at = now()
    usage, pool, nodes = usage_overview(activity(), at), pool_overview(activity(), at), nodes_in_words.fleet()
    return render_template(
        "overview.html",
        usage=usage,
        nodes=nodes,
        demo=any(node.demo for node in nodes),
        tiles=_tiles(usage, pool),
        live=_live_state(usage, pool, nodes),
        words=nodes_in_words,
        month=_month_in_words(),
        setup=wizard.hint(),
    )


@blueprint.get("/overview.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    at = now()
    usage, pool, nodes = usage_overview(activity(), at), pool_overview(activity(), at), nodes_in_words.fleet()
    return jsonify(_live_state(usage, pool, nodes).document())


def _live_state(usage: UsageOverview, pool: PoolOverview, nodes: list[NodeOverview]) -> LiveState:
    tiles = _tiles(usage, pool)
    cells = {f"{tile.id}.value": tile.value for tile in tiles} | {
        f"{tile.id}.detail": tile.detail for tile in tiles
    }
    for node in nodes:
        cells |= {
            f"{node.id}.slots": nodes_in_words.occupation(node),
            f"{node.id}.speed": nodes_in_words.node_speed(node),
            f"{node.id}.requests": figures.count(node.requests_last_hour),
            f"{node.id}.tokens": figures.count(node.tokens_last_hour),
            f"{node.id}.load": nodes_in_words.load(node),
        }
    return LiveState(
        shape=[
            usage.ever_used,
            pool.reporting,
            [tile.kind for tile in tiles],
            [[node.id, node.name, node.state, node.demo, nodes_in_words.models(node)] for node in nodes],
        ],
        cells=cells,
        series={tile.id: tile.series for tile in tiles if tile.series},
        shares={f"{node.id}.slots": nodes_in_words.busy_share(node) for node in nodes},
    )


def _tiles(usage: UsageOverview, pool: PoolOverview) -> list[Tile]:
    minutes = [asdict(minute) for minute in usage.minutes]
    return [
        Tile(
            "requests",
            gettext("Requests"),
            figures.count(usage.requests),
            ngettext(
                "%(num)s cancelled or refused",
                "%(num)s cancelled or refused",
                usage.cancelled + usage.refused,
            ),
            tuple(minute["requests"] for minute in minutes),
        ),
        Tile(
            "tokens",
            gettext("Tokens written"),
            figures.count(usage.tokens_out),
            gettext("%(count)s read", count=figures.count(usage.tokens_in)),
            tuple(minute["tokens_out"] for minute in minutes),
        ),
        Tile(
            "latency",
            gettext("Time to the whole answer"),
            figures.seconds(usage.latency_p50_seconds),
            _most_within(usage.latency_p95_seconds),
            tuple(minute["latency_p95_seconds"] for minute in minutes),
        ),
        Tile(
            "first",
            gettext("Time to the first word"),
            figures.seconds(usage.first_token_p50_seconds),
            _most_within(usage.first_token_p95_seconds),
        ),
        Tile(
            "faults",
            gettext("Errors"),
            figures.count(usage.faults),
            _share_of_faults(usage),
            kind="bad" if usage.faults else "",
        ),
        _queue_tile(usage, pool),
    ]


def _most_within(p95_seconds: float | None) -> str:
    if p95_seconds is None:
        return gettext("nothing answered in this hour")
    return gettext("95 of 100 within %(time)s", time=figures.seconds(p95_seconds))


def _share_of_faults(usage: UsageOverview) -> str:
    finished = usage.answered + usage.faults
    if not finished:
        return gettext("nothing answered in this hour")
    return gettext("%(share)s of the finished requests", share=figures.percent(usage.faults / finished))


def _queue_tile(usage: UsageOverview, pool: PoolOverview) -> Tile:
    if not pool.reporting:
        return Tile(
            "queue", gettext("Waiting now"), figures.NONE_YET, gettext("The pool does not report"), kind="bad"
        )
    waited = gettext("nobody waited in this hour")
    if usage.queue_p95_seconds is not None:
        waited = gettext("95 of 100 waited at most %(time)s", time=figures.seconds(usage.queue_p95_seconds))
    full = pool.max_queue > 0 and pool.queue_length >= pool.max_queue
    return Tile(
        "queue", gettext("Waiting now"), figures.count(pool.queue_length), waited, kind="bad" if full else ""
    )


def _month_in_words() -> str:
    month = usage_of_days(activity(), 30, now())
    if not month.requests:
        return ""
    return gettext(
        "Last 30 days: %(requests)s requests, %(tokens)s tokens written.",
        requests=figures.count(month.requests),
        tokens=figures.count(month.tokens_out),
    )
