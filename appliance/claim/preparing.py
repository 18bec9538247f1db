"""What every start makes sure of before the first service: storage of this version, certificate, claim code.

Safe to repeat. What can't be done is refused before anything is changed.
"""

from appliance.claim.certificate import ensure_certificate
from appliance.claim.claiming import ensure_claim_code
from appliance.models.demo import verify_demo_model
from appliance.settings import Settings
from appliance.storage import check_schemas, open_activity, open_cellule


def prepare_box(settings: Settings) -> str | None:
    """Swaps in a restore that waits, migrates storage, makes what is missing; the claim code while unclaimed.

    Raises DemoModelDamaged, SchemaTooNew and CertificateKeyUnusable.
    """
    verify_demo_model()
    if settings.restore_record.exists():
        # here, for all of the keeping comes with it, and most boxes were never restored
        from appliance.keeping import apply_pending_restore

        apply_pending_restore(settings)
    check_schemas(settings.state_dir)
    for opened in (open_activity, open_cellule):
        opened(settings.state_dir).close()
    ensure_certificate(settings)
    return ensure_claim_code(settings)
