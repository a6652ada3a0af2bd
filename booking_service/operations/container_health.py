"""`HEALTHCHECK` of the image: exit code 0 while this container's web server answers. Needs nothing but Python."""

import os
import sys
from http.client import HTTPConnection, HTTPException

SECONDS = 2.5


def is_alive(port: int) -> bool:
    """Whether `/health/live` on this machine's `port` answers 200 in time."""
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive(int(os.environ.get("PORT") or 3001)) else 1)
