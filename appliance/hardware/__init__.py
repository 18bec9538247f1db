"""Which accelerator this machine has, what runs on it best, and why not the rest.

Order: `gathering` reads facts, or a record of another machine is taken → `recognise` asks each profile of
hwprofiles/ for its `signs` and for `obstacles` (pure) → the choice, and a reason for everything else.
"""

from appliance.hardware.facts import Device, MachineFacts, Processor, read_told
from appliance.hardware.gathering import gather
from appliance.hardware.matching import Candidate, Recognition, recognise
from appliance.hardware.own import own_hardware, profiles_in
from appliance.hardware.places import profile_folders
from appliance.hardware.profile import Profile, ProfileUnusable, read_profile, read_profiles
from appliance.hardware.records import (
    HealthRecord,
    forget_nodes,
    keep_hardware,
    keep_health,
    known_hardware,
    known_health,
    known_machines,
)
from appliance.hardware.report import ChosenProfile, HardwareReport, NotChosen, report_of
from appliance.hardware.telling import told

__all__ = [
    "Candidate",
    "ChosenProfile",
    "Device",
    "HardwareReport",
    "HealthRecord",
    "MachineFacts",
    "NotChosen",
    "Processor",
    "Profile",
    "ProfileUnusable",
    "Recognition",
    "forget_nodes",
    "gather",
    "keep_hardware",
    "keep_health",
    "known_hardware",
    "known_health",
    "known_machines",
    "own_hardware",
    "profile_folders",
    "profiles_in",
    "read_profile",
    "read_profiles",
    "read_told",
    "recognise",
    "report_of",
    "told",
]
