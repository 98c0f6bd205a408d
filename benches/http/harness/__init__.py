"""The parts of the benchmark; `run` puts them together."""


class Rejected(Exception):
    """A server gets no figures."""


class Stalled(Rejected):
    """Something took seconds, which may be the machine's fault: worth another try."""
