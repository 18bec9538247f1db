"""What leaves for the vendor is redacted here: a `Redactor` with the rules and what the box knows."""

from appliance.support.redaction.known import Known, Pseudonyms, box_pseudonyms, known_of
from appliance.support.redaction.redacting import Redacted, Redactor
from appliance.support.redaction.rules import RULES, Rule

__all__ = ["RULES", "Known", "Pseudonyms", "Redacted", "Redactor", "Rule", "box_pseudonyms", "known_of"]
