"""All rounds of all servers."""

from contextlib import ExitStack
from functools import partial

from . import Rejected
from .loads import again_if_stalled, load, memory_with_connections, warm_up
from .process import CPUS, Process, start_up
from .report import summarize
from .requests import EDGES, PUBLIC, asked_of, check_all, scenarios
from .servers import size_on_disk

# The multiples of bare hyper are also divided by this server's in the same round.
NEIGHBOUR = "hyper-jsonwebtoken"


class Run:
    """The figures of each server, one dictionary per round, and why servers were rejected."""

    def __init__(self, servers, options):
        self.servers = servers
        self.options = options
        self.rounds = {server.name: [] for server in servers}
        self.others = {server.name: {} for server in servers}  # lists of figures beside the rounds
        self.rejected = {}

    def measure(self, reference):
        for server in self.servers:
            self.others[server.name] = self.attempt(server, start_up, server) or {}
            for key, measure in ("size_mib", size_on_disk), ("connections_mib", memory_with_connections):
                self.others[server.name][key] = [self.attempt(server, measure, server)]
        for number in range(1, self.options.rounds + 1):
            servers = [s for s in self.servers if number <= s.rounds]
            with ExitStack() as stack:
                found = self.one_round(servers, number, reference, stack)
            for server in servers:
                if server.auth:
                    found[server.name].update(self.attempt(server, two_workers, server) or {})
            for name, figures in found.items():
                figures.update(ratios(figures, found.get(NEIGHBOUR, {})))
                self.rounds[name].append(figures)

    def one_round(self, servers, number, reference, stack):
        """Every server is up, and gets each load in turn: a drift of the machine meets all alike."""
        processes, requests, found = {}, {}, {}
        for server in servers:
            process = self.attempt(server, stack.enter_context, Process(server))
            self.attempt(server, lambda: check_all(process.port, server))
            processes[server.name], requests[server.name] = process, asked_of(server)
            found[server.name] = {}
        for scenario, request in scenarios().items():
            asked = [s for s in servers if scenario in requests[s.name]]
            asked = [s for s in asked if s.name not in self.rejected]
            if not asked:
                continue
            reference.use(request)
            for server in asked:
                process, request = processes[server.name], requests[server.name][scenario]
                # The edges ask for the public route again; the first round has checked their responses.
                is_warm = scenario in EDGES and number > 1
                run = self.attempt(server, self.one_load, process, request, is_warm, reference)
                if run is None:
                    continue
                found[server.name].update({f"{scenario}_{key}": run[key] for key in run})
                if scenario not in EDGES:
                    found[server.name]["loaded_mib"] = process.memory_mib("VmHWM")
                cost = f"{run['relative']:.2f} × bare hyper"
                print(f"round {number}: {request.what}: {server.name}: {cost}", flush=True)
        return found

    def one_load(self, process, request, is_warm, reference):
        if not is_warm:
            warm_up(process, request)
        run = load(process, request, self.options.seconds)
        return {**run, "relative": run["cpu_us"] / reference.probe()}

    def attempt(self, server, measure, *arguments):
        """Returns what was measured, or nothing for a server that is rejected now or was before."""
        if server.name in self.rejected:
            return None
        try:
            return again_if_stalled(partial(measure, *arguments))
        except (Rejected, OSError) as error:
            self.rejected[server.name] = str(error)
            print(f"{server.name}: REJECTED: {error}", flush=True)
            return None

    def summaries(self):
        summary = {}
        for name, rounds in self.rounds.items():
            if name not in self.rejected:
                # A ratio has no figure where the other server was rejected.
                lists = {key: [f[key] for f in rounds if key in f] for key in rounds[0]}
                lists |= self.others[name]
                summary[name] = {key: summarize(values) for key, values in lists.items()}
        return summary


def two_workers(server):
    """What one worker and two cost, on kept connections and with a new one for each request. Both have two
    cores; wrk shares one of them where the machine has no third."""
    figures = {}
    for workers in (1, 2):
        with Process(server, frozenset(CPUS[:2]), API_WORKERS=str(workers)) as process:
            for name, request in {"kept": PUBLIC, "close": EDGES["close"]}.items():
                run = load(process, request, 1)
                figures |= {f"{name}_{workers}_{key}": run[key] for key in ("cpu_us", "p99_us")}
    for name in ("kept", "close"):
        figures[f"{name}_two_of_one"] = figures[f"{name}_2_cpu_us"] / figures[f"{name}_1_cpu_us"]
    return figures


def ratios(figures, neighbour):
    """Figures as multiples of others of the same round."""
    found = {}
    for scenario in ("public", "good", "bad"):
        key = f"{scenario}_relative"
        if key in figures and key in neighbour:
            found[f"{scenario}_of_neighbour"] = figures[key] / neighbour[key]
    if "auth_relative" in figures:
        found["auth_of_good"] = figures["auth_relative"] / figures["good_relative"]
    return found
