"""Backups: how they stand, where they go each night, the key that opens them, a file to take away.

The page speaks to no NAS: it writes what was chosen or wished, and the core does it and notes how it went. So
closing the tab changes nothing, and every tab shows the same.
"""

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import segno
from flask import (
    Blueprint,
    abort,
    flash,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from flask_babel import gettext
from markupsafe import Markup
from werkzeug.wrappers import Response

from appliance.clock import now
from appliance.errors import Refusal
from appliance.host import brokered
from appliance.keeping import (
    BackupChoice,
    BackupKey,
    BackupSnapshot,
    Done,
    KeepingRequests,
    Restore,
    RestoreStep,
    Run,
    SftpTarget,
    TargetKind,
    Work,
    backup_is_old,
    backup_key,
    backup_recipient,
    confirm_backup_key,
    drill_is_bad,
    fingerprint_of,
    forget_snapshots,
    give_backup_key,
    host_key_fingerprint,
    is_backup_key_confirmed,
    keep_target_secret,
    known_snapshots,
    last_restore,
    offer_new_backup_key,
    pack_box,
    parse_backup_key,
    read_done,
    running,
    sftp_public_key,
)
from appliance.people import AuditEvent, record_audit
from appliance.storage import read_choice, write_choice
from webadmin import backups_in_words
from webadmin.backup_forms import TargetForm, form_of, read_form, read_kind
from webadmin.database import activity, box_settings, cellule
from webadmin.layout import iso
from webadmin.live import LiveState
from webadmin.refusals import explain
from webadmin.signin import client_address
from webadmin.visitor import admins_only, signed_in

blueprint = Blueprint("backups", __name__)
WISHES = {"test": Work.TEST, "run": Work.BACKUP, "drill": Work.DRILL}


@dataclass(frozen=True)
class Keeping:
    """How backups stand at one moment."""

    choice: BackupChoice
    done: dict[Work, Done]
    run: Run | None
    waiting: bool
    """A wish that the core hasn't taken up yet."""
    restore: Restore | None
    snapshots: list[BackupSnapshot]
    confirmed: bool
    backup_is_old: bool
    drill_is_bad: bool


@blueprint.get("/backups")
@admins_only
def show() -> Response:
    """The page."""
    return _page(200)


@blueprint.get("/backups.json")
@admins_only
def changes() -> Response:
    """What changed on the page."""
    return jsonify(_live_state(_read()).document())


@blueprint.post("/backups/target")
@admins_only
def choose() -> Response:
    """Keeps the target, and has it tested."""
    before = read_choice(cellule(), BackupChoice)
    kind = read_kind(request.form.get("kind"))
    if kind is None:
        return _page(400, error=gettext("Choose where the backups go."))
    form = read_form(kind, request.form, before.target)
    secret = request.form.get("secret", "")
    nightly_at = request.form.get("nightly_at", before.nightly_at)
    needs_secret = kind in (TargetKind.SMB, TargetKind.S3)
    if needs_secret and not secret and (before.target is None or before.target.kind is not kind):
        form.errors["secret"] = gettext("This is needed.")
    if form.target is None or form.errors:
        return _page(400, form=form)
    try:
        choice = BackupChoice(target=form.target, nightly_at=nightly_at, chosen_at=before.chosen_at)
    except ValueError:
        return _page(400, form=form, error=gettext("Choose a time such as 02:30."))
    if form.target != before.target or secret:
        choice = choice.model_copy(update={"chosen_at": now()})
        forget_snapshots(box_settings())
    if secret or not needs_secret:
        keep_target_secret(box_settings(), secret)
    write_choice(cellule(), choice, chosen_by=signed_in().id)
    _wish(test_at=now())
    _audit(AuditEvent.ADMIN_BACKUP_CHANGED, f"{kind}: {form.target.host}")
    flash(gettext("Saved. The connection is being tested."))
    return redirect(url_for("backups.show"), 303)


@blueprint.post("/backups/target/none")
@admins_only
def stop() -> Response:
    """No nightly backups any more; those that were made stay where they are."""
    choice = read_choice(cellule(), BackupChoice)
    write_choice(cellule(), choice.model_copy(update={"target": None}), chosen_by=signed_in().id)
    keep_target_secret(box_settings(), "")
    forget_snapshots(box_settings())
    _audit(AuditEvent.ADMIN_BACKUP_CHANGED, "none")
    flash(gettext("Nightly backups are off. What was backed up stays where it is."))
    return redirect(url_for("backups.show"), 303)


@blueprint.post("/backups/server-key")
@admins_only
def trust() -> Response:
    """The SFTP server's key is the one that the admin has just compared."""
    choice, key = read_choice(cellule(), BackupChoice), request.form.get("host_key", "")
    shown = _shown_host_key(_read())
    if not isinstance(choice.target, SftpTarget) or not shown or key != shown:
        return _page(409, error=gettext("The server shows another key by now. Compare the new one."))
    target = choice.target.model_copy(update={"host_key": key})
    write_choice(
        cellule(),
        choice.model_copy(update={"target": target, "chosen_at": now()}),
        chosen_by=signed_in().id,
    )
    _wish(test_at=now())
    _audit(AuditEvent.ADMIN_BACKUP_CHANGED, host_key_fingerprint(key))
    return redirect(url_for("backups.show"), 303)


@blueprint.post("/backups/now/<wish>")
@admins_only
def wish(wish: str) -> Response:
    """Test, back up or drill now."""
    if wish not in WISHES:
        abort(404)
    _wish(**{f"{WISHES[wish]}_at": now()})
    return redirect(url_for("backups.show"), 303)


@blueprint.post("/backups/key")
@admins_only
def confirm_key() -> Response:
    """The admin types back the key that is shown."""
    said = gettext("The backup key counts from now on. The box doesn't keep it: you have the only copy.")
    return _take_key(lambda typed: confirm_backup_key(box_settings(), typed), said, beside_it=True)


@blueprint.post("/backups/key/new")
@admins_only
def new_key() -> Response:
    """Offers a key that follows the present one once it is typed back."""
    offer_new_backup_key(box_settings())
    return redirect(url_for("backups.show"), 303)


@blueprint.post("/backups/key/adopt")
@admins_only
def adopt_key() -> Response:
    """The key of another box becomes this one's, so that its backups can be restored here."""
    said = gettext("The box uses this key from now on.")
    return _take_key(
        lambda typed: give_backup_key(box_settings(), parse_backup_key(typed)), said, beside_it=False
    )


@blueprint.post("/backups/key/sheet")
@admins_only
def sheet() -> Response:
    """The key that is shown, as a text file."""
    key = backup_key(box_settings())
    if key is None:
        return redirect(url_for("backups.show"), 303)
    name = f"cellule-backup-key-{key.fingerprint}.txt"
    return send_file(io.BytesIO(key.sheet().encode()), "text/plain", as_attachment=True, download_name=name)


@blueprint.post("/backups/file")
@admins_only
def download() -> Response:
    """The whole box as one encrypted file."""
    settings = box_settings()
    try:
        packed = pack_box(settings, brokered(settings))
    except Refusal as error:
        return _page(error.http_status, error=explain(error))
    _audit(AuditEvent.ADMIN_BACKUP_DOWNLOADED, packed.name)
    return send_file(
        packed.content, "application/octet-stream", as_attachment=True, download_name=packed.name
    )


def qr_code(key: BackupKey) -> Markup:
    """The key as a QR code, drawn with the page's own colours."""
    code = segno.make(key.text, error="m")
    return Markup(code.svg_inline(scale=4, border=2, dark="#000", light="#fff", omitsize=True))  # noqa: S704  (our own drawing)


def _take_key(take: Callable[[str], object], said: str, *, beside_it: bool) -> Response:
    """What was typed as a key; a refusal stands beside the field, or on top of the page."""
    try:
        take(request.form.get("backup_key", ""))
    except Refusal as error:
        words = explain(error)
        if beside_it:
            return _page(error.http_status, key_error=words)
        return _page(error.http_status, error=words)
    _audit(AuditEvent.ADMIN_BACKUP_CHANGED, f"key {fingerprint_of(backup_recipient(box_settings()))}")
    flash(said)
    return redirect(url_for("backups.show"), 303)


def _read() -> Keeping:
    settings = box_settings()
    choice = read_choice(cellule(), BackupChoice)
    requests = read_choice(cellule(), KeepingRequests)
    done, at = read_done(activity()), now()
    wished = max(requests.test_at, requests.backup_at, requests.drill_at, requests.check_at)
    began = max((each.last.started_at for each in done.values() if each.last), default=0.0)
    return Keeping(
        choice=choice,
        done=done,
        run=running(activity()),
        waiting=choice.target is not None and wished > began and at - wished < 60,
        restore=last_restore(settings),
        snapshots=known_snapshots(settings),
        confirmed=is_backup_key_confirmed(settings),
        backup_is_old=backup_is_old(done[Work.BACKUP], choice, at),
        drill_is_bad=drill_is_bad(done[Work.DRILL], choice, at),
    )


def _live_state(keeping: Keeping) -> LiveState:
    run = keeping.run
    return LiveState(
        shape=[
            [
                [work, done.last and done.last.id, done.last and done.last.ended_at]
                for work, done in keeping.done.items()
            ],
            keeping.restore and [keeping.restore.step, keeping.restore.changed_at],
            keeping.choice.model_dump(mode="json"),
            [keeping.confirmed, keeping.waiting, keeping.backup_is_old, keeping.drill_is_bad],
        ],
        cells={"run": backups_in_words.progress(run)} if run else {},
        shares={"run": run.share} if run else {},
        moments={"run": iso(run.started_at)} if run else {},
    )


def _shown_host_key(keeping: Keeping) -> str:
    """What the SFTP server showed when it was tested last, and nobody has confirmed yet."""
    target, tested = keeping.choice.target, keeping.done[Work.TEST].good
    if not isinstance(target, SftpTarget) or target.host_key or tested is None:
        return ""
    return tested.detail if tested.started_at >= keeping.choice.chosen_at else ""


def _may_call(choice: BackupChoice) -> bool | None:
    """Whether the box's firewall lets it call the target; None where that is not the box's to say."""
    if choice.target is None:
        return None
    try:
        plan = brokered(box_settings()).machine_plan()
    except Refusal:
        return None
    return any((each.host, each.port) == (choice.target.host, choice.target.port) for each in plan.outbound)


def _page(status: int, *, form: TargetForm | None = None, error: str = "", key_error: str = "") -> Response:
    keeping, settings = _read(), box_settings()
    asked = read_kind(request.args.get("kind"))
    target = keeping.choice.target
    if form is None and target is not None and asked in (None, target.kind):
        form = form_of(target)
    kind = form.kind if form else asked or TargetKind.SMB
    host_key = _shown_host_key(keeping)
    return make_response(
        render_template(
            "backups.html",
            keeping=keeping,
            live=_live_state(keeping),
            form=form or TargetForm(kind, {"folder": "cellule", "port": "22"}),
            editing=target is None or asked is not None or bool(form and form.errors),
            offered=backup_key(settings),
            fingerprint=fingerprint_of(backup_recipient(settings)) if keeping.confirmed else "",
            qr_code=qr_code,
            host_key=host_key,
            host_key_fingerprint=host_key_fingerprint(host_key) if host_key else "",
            public_key=sftp_public_key(settings) if kind is TargetKind.SFTP else "",
            may_call=_may_call(keeping.choice),
            words=backups_in_words,
            Work=Work,
            RestoreStep=RestoreStep,
            drill=_drill_facts(keeping.done[Work.DRILL]),
            error=error,
            key_error=key_error,
            time_zone=time.strftime("%Z"),
        ),
        status,
    )


def _drill_facts(done: Done) -> dict[str, object]:
    return dict(json.loads(done.good.detail)) if done.good and done.good.detail else {}


def _wish(**wishes: float) -> None:
    requests = read_choice(cellule(), KeepingRequests)
    write_choice(cellule(), requests.model_copy(update=wishes), chosen_by=signed_in().id)


def _audit(event: AuditEvent, detail: str) -> None:
    record_audit(activity(), event, actor=signed_in().name, address=client_address(), detail=detail)
