"""Real servers and stand-in partners for `make run` and the tests; no part of the service itself."""
