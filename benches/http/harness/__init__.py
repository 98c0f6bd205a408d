"""The benchmark's parts; `run` puts them together."""


class Refused(Exception):
    """A server cannot be given figures."""


class Stalled(Refused):
    """Something took seconds, which may be the machine's fault: worth another try."""
