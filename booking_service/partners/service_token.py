"""The token by which the platform's services know each other."""

import time

import jwt
from django.conf import settings

LIFETIME_SECONDS = 300


def service_token() -> str:
    """An `X-Service-Token`: HS256 with `SERVICE_SECRET`, claims `type` and `serviceName`, good for five minutes."""
    now = int(time.time())
    claims = {"type": "service", "serviceName": settings.SERVICE_NAME, "iat": now, "exp": now + LIFETIME_SECONDS}
    return jwt.encode(claims, settings.SERVICE_SECRET, algorithm="HS256")
