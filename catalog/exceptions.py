"""What the catalog refuses."""

from booking_service.api.errors import Conflict, NotFound, Unprocessable


class ServiceNotFound(NotFound):
    """No service of that id, slug or name, or none that patients may see."""

    code = "SERVICE_NOT_FOUND"
    message = "There is no such service."


class ServiceNotSound(Unprocessable):
    """The document breaks rules of the catalog; `errors` has them all."""

    code = "SERVICE_NOT_SOUND"
    message = "The service cannot be saved like this."


class NameTaken(Conflict):
    """Another service has the name or the slug."""

    code = "NAME_TAKEN"
    message = "Another service has this name or this address."


class ServiceChanged(Conflict):
    """Somebody else saved the service since it was read; nothing was written."""

    code = "SERVICE_CHANGED"
    message = "Somebody else has saved this service in the meantime. Nothing of yours was saved."
