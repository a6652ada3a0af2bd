"""The environment of a test run, set before Django reads its settings (`-p tests.environment` in pyproject.toml).

`TEST_MONGODB_URI`, `TEST_REDIS_URL` and `TEST_RABBITMQ_URL` name running servers. Never `MONGODB_URI` and the like: a test
run empties what it is given.
"""

import os

os.environ["ENVIRONMENT"] = "test"
os.environ["DJANGO_SETTINGS_MODULE"] = "booking_service.settings"
for name in ("MONGODB_URI", "REDIS_URL", "RABBITMQ_URL"):
    if running := os.environ.get(f"TEST_{name}"):
        os.environ[name] = running
