"""Which fault sets off which alarms, and how it is injected and healed. A fault is a generator: what stands before its
`yield` injects it, what stands behind heals it."""
import signal
import socket
import time

from common import eventually

FAULTS = []


def fault(text, *alarms, limit=120):
    """`limit`: seconds in which the alarms must fire, and then clear."""
    def add(work):
        FAULTS.append((text, alarms, limit, work))
        return work
    return add


@fault("nothing at all", "ImWatchdog")
def nothing(world):
    yield


@fault("edge e2 frozen", "ImScrapeDown", "ImNodeDead", "ImDeliveriesUnconfirmed", "ImAnswersDropped")
def frozen_edge(world):
    workers = world.stack.names("w")
    for worker in workers:
        world.stack.freeze(worker)
    # Time for frames to be accepted at e2, whose answers then find it frozen.
    time.sleep(0.5)
    world.stack.freeze("e2")
    for worker in workers:
        world.stack.thaw(worker)
    yield
    world.stack.thaw("e2")


@fault("worker w2 cut off from PostgreSQL", "ImStorePartlyDown", "ImCommittersDown", "ImLanesLost")
def cut_worker(world):
    world.stack.way.cut = True
    yield
    world.stack.way.cut = False


@fault("the way of w2 to PostgreSQL takes 0.25 s each way", "ImAckLatencyBurnFast", "ImAckLatencyBurnSlow",
       "ImDeliveryLatencyBurnFast", limit=240)
def slow_way(world):
    world.stack.way.delay = 0.25
    yield
    world.stack.way.delay = 0.0


@fault("PostgreSQL down", "ImPostgresDown", "ImLaneUnowned", "ImLanesLagging", "ImStoredBurnFast", "ImStoredBurnSlow",
       "ImFramesStuck", "ImLoginsFailing", "ImHttpFailing", "ImCallsFailing", "ImStreamFilling", "ImBrokerRefuses",
       limit=240)
def postgres_down(world):
    world.stack.down("postgres")
    yield
    world.stack.up("postgres")


@fault("NATS down", "ImNatsDown", "ImNotReady", "ImQueueFilling")
def nats_down(world):
    world.stack.down("nats")
    yield
    world.stack.up("nats")


@fault("PostgreSQL down, NATS started again", "ImSessionsBehind", "ImBacklogReadsFailing")
def behind(world):
    world.stack.down("postgres")
    world.stack.restart("nats")
    yield
    world.stack.up("postgres")


@fault("NATS killed for 10 s, its files removed", "ImStreamWiped", "ImFramesVanished", "ImReconnectStorm")
def wiped(world):
    world.stack.down("nats")
    # Time for frames to gather at the edges.
    time.sleep(10)
    world.remove("nats/jetstream")
    world.stack.up("nats")
    yield


@fault("Redis down", "ImRedisDown", "ImBroadcasting")
def redis_down(world):
    world.stack.down("redis")
    yield
    world.stack.up("redis")


@fault("Redis filled with what may be evicted", "ImRedisFull", "ImRedisEvicting")
def redis_full(world):
    stop = world.again(0.1, lambda number: world.stack.ask_redis(
        *[("SET", f"trial{number}.{part}", b"x" * 1_000_000, "EX", 600) for part in range(10)]))
    yield
    stop()
    world.stack.ask_redis(("FLUSHALL",))


@fault("all workers down", "ImNoWorker")
def no_workers(world):
    world.stack.down(*world.stack.names("w"))
    yield
    world.stack.up(*world.stack.names("w"))


@fault("all edges down", "ImNoEdge")
def no_edges(world):
    world.stack.down(*world.stack.names("e"))
    yield
    world.stack.up(*world.stack.names("e"))


@fault("worker w1 killed four times", "ImRestarting")
def restarts(world):
    for _ in range(4):
        world.stack.restart("w1")
        eventually("w1 is measured", 60, lambda: world.value('up{job="worker"} == 1', world.at("w1")))
        # Prometheus must see each of them.
        time.sleep(2)
    yield


@fault("a batch that cannot be read", "ImFrameSetAside")
def garbage(world):
    batch = b"#1\nneither TOML nor anything\n"
    world.stack.ask_nats(b"PUB im.in.0.m %d\r\n%s\r\n" % (len(batch), batch))
    yield


@fault("connections that do nothing", "ImConnectionsFull", "ImConnectionsRefused")
def crowd(world):
    host, port = world.stack.processes()["e1"]["tcp"].split(":")
    held = [socket.create_connection((host, int(port))) for _ in range(300)]
    stop = world.again(1, lambda _: socket.create_connection((host, int(port))).close())
    yield
    stop()
    for one in held:
        one.close()


@fault("160 connections to PostgreSQL", "ImPostgresConnections")
def connections(world):
    held = [world.stack.psql("SELECT pg_sleep(600)") for _ in range(160)]
    yield
    for one in held:
        one.kill()
        one.wait()
    # A server does not notice that a sleeper's client is gone.
    world.stack.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'").wait()


@fault("a table locked while 60 callers want it", "ImPoolExhausted", "ImCallsFull")
def locked(world):
    lock = world.stack.psql("BEGIN; LOCK TABLE contacts IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(601)")
    stop = world.people.crowd(60, "/contact/version/0")
    yield
    stop()
    lock.kill()
    lock.wait()
    world.stack.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(601)'").wait()


@fault("e1 may open hardly more files than it has", "ImFilesNearLimit")
def files(world):
    was = world.value("im_process_open_files_limit", world.at("e1"))
    now = world.value("im_process_open_files", world.at("e1"))
    world.stack.limit_files("e1", int(now) + 2)
    yield
    world.stack.limit_files("e1", int(was))


@fault("e1 told to stop while NATS hangs", "ImDrainSlow")
def slow_drain(world):
    world.stack.freeze("nats")
    before = world.stack.pid("e1")
    world.stack.tell("e1", signal.SIGTERM)
    yield
    world.stack.thaw("nats")
    eventually("e1 is back", 120, lambda: world.stack.pid("e1") != before)


@fault("stand-in: a panic, notes dropped, chunks unfinished", "ImSessionPanic", "ImNotesDropped", "ImChunksUnfinished")
def shown(world):
    world.show(panics=1, notes=9, unfinished=1500)
    yield
    world.show(panics=1, notes=9)


@fault("stand-in: a certificate that ends soon, and a new one that is of no use", "ImCertificateEnds",
       "ImCertificateUnusable")
def certificate(world):
    world.show(certificate=time.time() + 86400, unusable=1)
    yield
    world.show(unusable=1)


@fault("stand-in: another version for an hour", "ImVersionsDiffer", limit=400)
def versions(world):
    world.show(version="0.0.1")
    yield
    world.show()


@fault("stand-in: 100 frames accepted that nobody finishes, all quiet", "ImFramesUnaccounted", limit=900)
def unaccounted(world):
    world.people.talking = False
    eventually("nothing is under way", 60,
               lambda: world.value('max(im_worker_stream_messages{stream="accepted"}) == 0') is not None)
    # Until all was quiet, with the same processes, for as long as the rules look back.
    time.sleep(world.hour)
    eventually("the counts are settled", 600, lambda: world.value("im:settled") == 1)
    world.show(accepted=100)
    yield
    world.show()
    world.people.talking = True
