"""NATS, PostgreSQL and Redis, as the workers see them."""
from boards.panels import gauge, panel, quantile, quantiles, rate, used

TITLE = "simple-im: stores"
ABOUT = ("NATS, PostgreSQL and Redis as workers and edges see them: no exporter is needed. Each worker asks each store a "
         "small question every five seconds, and measures what it does with it besides.")

ROWS = [
    ("All three", [
        panel("Answers", "bool", "1 while every worker gets its answer within two seconds.",
              gauge("im_worker_store_up", "store", how="min"), high=1),
        panel("A small question, p99", "s", "From asking to the answer, or to giving up.",
              quantile(0.99, "im_worker_probe_seconds", "store")),
        panel("Failed calls", "ops", "Of workers, beside the small questions.",
              rate("im_worker_store_errors_total", legend="PostgreSQL"),
              rate("im_worker_directory_errors_total", legend="Redis"),
              rate("im_worker_acks_failed_total", legend="NATS acknowledgements"),
              rate("im_edge_publish_retries_total", legend="NATS publishes")),
    ]),
    ("NATS: the stream of accepted frames", [
        panel("Messages", "short", "Not finished, and set aside on im.dead.",
              gauge("im_worker_stream_messages", "stream", how="max")),
        panel("How full", "percentunit", "Full, the broker refuses and edges stop reading.",
              used("im_worker_stream_bytes", "im_worker_stream_limit_bytes", "stream"), high=1),
        panel("Oldest message", "s", "Of accepted frames: the lag of all lanes.",
              gauge("im_worker_stream_oldest_seconds", where='stream="accepted"', legend="oldest", how="max")),
        panel("Publishing", "s", "A batch of an edge, to the broker's confirmation.",
              *quantiles("im_edge_publish_seconds")),
        panel("Connected edges", "short", "Edges, and those of them that are connected.",
              gauge("im_edge_broker_connected", legend="connected"), ("count(im_edge_broker_connected)", "edges")),
        panel("Not pulled", "short", "Batches that wait, by lane.",
              gauge("im_worker_lane_waiting_batches", "lane", legend="lane"), stack=True),
    ]),
    ("PostgreSQL", [
        panel("A chunk's transaction", "s", "From its first statement to its commit.",
              *quantiles("im_worker_chunk_seconds", 'step="store"')),
        panel("A statement", "s", "Of chunks and of calls, to its last row.",
              *quantiles("im_worker_statement_seconds")),
        panel("Statements", "ops", "By worker.", rate("im_worker_statement_seconds_count", "instance")),
        panel("The calls' pool", "percentunit", "Connections used of the most there are, by worker.",
              ('max by (instance) (im_worker_pool_connections{state="used"}) / max by (instance) (im_worker_pool_limit_connections)', "{{instance}}"), high=1),
        panel("Waiting for a connection", "s", "Of the pool.", *quantiles("im_worker_pool_wait_seconds")),
        panel("Connections", "percentunit", "Of the whole server, of the most that it takes.",
              ("max(im_worker_postgres_connections) / max(im_worker_postgres_connections_limit)", "used"), high=1),
        panel("Transactions", "ops", "Of the whole database, as PostgreSQL counts them.",
              ("max by (result) (rate(im_worker_postgres_transactions_total[$__rate_interval]))", "{{result}}"),
              ("max(rate(im_worker_postgres_deadlocks_total[$__rate_interval]))", "deadlocks")),
        panel("Size", "bytes", "Of the database.", gauge("im_worker_postgres_bytes", legend="size", how="max")),
    ]),
    ("Redis", [
        panel("A pipeline", "s", "To its answer.", *quantiles("im_worker_directory_seconds")),
        panel("Pipelines", "ops", "By worker, and those that failed.",
              rate("im_worker_directory_seconds_count", "instance"),
              rate("im_worker_directory_errors_total", legend="failed")),
        panel("Routes not known", "ops", "Chunks delivered to every edge.",
              rate("im_worker_broadcast_chunks_total", legend="broadcast")),
        panel("Memory", "bytes", "Used, and the most that may be.",
              gauge("im_worker_redis_bytes", legend="used", how="max"),
              gauge("im_worker_redis_limit_bytes", legend="limit", how="max")),
        panel("Evicted", "ops", "Keys, for want of memory.",
              ("max(rate(im_worker_redis_evicted_keys_total[$__rate_interval]))", "evicted")),
        panel("Connections", "short", "Of everybody.",
              gauge("im_worker_redis_clients", legend="connections", how="max")),
    ]),
]
