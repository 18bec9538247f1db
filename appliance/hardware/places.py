"""Where profiles lie: ours beside the code, a customer's own in the state directory, which wins."""

from pathlib import Path

from appliance.settings import Settings

SHIPPED = Path(__file__).parents[2] / "hwprofiles"


def profile_folders(settings: Settings) -> tuple[Path, ...]:
    """The later one wins (profile.read_profiles)."""
    return SHIPPED, settings.state_dir / "hwprofiles"
