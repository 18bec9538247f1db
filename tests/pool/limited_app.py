"""The pool with limits that a test chose, so that nobody waits 15 s for a node to be called silent."""

import json
import os

from appliance.pool.app import Pool
from appliance.pool.limits import Limits
from appliance.settings import load_settings

app = Pool(load_settings(), Limits(**json.loads(os.environ["TEST_POOL_LIMITS"])))
