"""The twin of a support session's tunnel: open until its end or a close; nobody ever shakes hands."""

from appliance.clock import Clock
from appliance.host.contract import Busy, InvalidPlan
from appliance.host.keys import new_private_key, public_text
from appliance.host.support import SupportPlan, SupportStatus


class SimulatedSupport:
    """Fulfils `Support` in memory: a new process has no session, as after a restart."""

    _clock: Clock
    _support_plan: SupportPlan | None = None
    _support_key = ""

    def open_support(self, plan: SupportPlan) -> str:
        if self.support_status().open:
            raise Busy("A support session is open.", next_step="End it first.")
        if plan.seconds_left(self._clock()) <= 0:
            raise InvalidPlan("The end of the session is not in the future.")
        self._support_plan, self._support_key = plan, public_text(new_private_key())
        return self._support_key

    def close_support(self) -> None:
        self._support_plan = None

    def support_status(self) -> SupportStatus:
        plan = self._support_plan
        if plan is None or plan.seconds_left(self._clock()) <= 0:
            return SupportStatus()
        return SupportStatus(open=True, until=plan.until, public_key=self._support_key)
