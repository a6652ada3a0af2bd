from tests.integration.patients.callers import api, asha, registered

__all__ = ["api", "asha", "registered"]
