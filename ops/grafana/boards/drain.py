"""Rolls, drains and what clients feel of them."""
from boards.panels import gauge, panel, quantile, quantiles, rate, stat, used

TITLE = "simple-im: drain and reconnects"
ABOUT = "Rolls, drains and outages as clients feel them: why sessions ended, how many came back, and what was read again."

ROWS = [
    ("Who runs what", [
        stat("Draining", "short", "Edges that were asked to stop.", gauge("im_edge_draining", legend="draining"),
             steps=[(1, "orange")], width=6),
        stat("Not ready", "short", "Processes that say so.",
             ("count(im_process_ready == 0) or vector(0)", "not ready"), steps=[(1, "red")], width=6),
        stat("Do not answer", "short", "Targets that Prometheus does not reach.",
             ("count(up == 0) or vector(0)", "down"), steps=[(1, "red")], width=6),
        stat("Restarts", "short", "Of processes that came back under the same address, in the time shown.",
             ("sum(changes(im_process_start_seconds[$__range]))", "restarts"), width=6),
        panel("Versions", "short", "Processes by part and version.",
              ("count by (part, version) (im_process_build_info)", "{{part}} {{version}}"), stack=True),
        panel("Up since", "s", "How long each has run.",
              ("time() - max by (job, instance) (im_process_start_seconds)", "{{job}} {{instance}}")),
        panel("Ready", "bool", "What /readyz says.", gauge("im_process_ready", "job, instance", how="min"), high=1),
    ]),
    ("Sessions that end and come back", [
        panel("Ended, by cause", "ops",
              "What clients reconnect for: drain is a roll, stream_wiped is NATS, reset and mid_frame the network.",
              rate("im_edge_sessions_ended_total", "reason"), stack=True),
        panel("Told to move", "ops", "Sessions of draining edges that were given another address.",
              rate("im_edge_moves_total", "instance")),
        panel("Logins", "ops", "They come back as these.", rate("im_edge_logins_total", "result")),
        panel("Sessions", "short", "By edge.", gauge("im_edge_sessions", "instance"), stack=True),
        panel("A login", "s", "From its frame to its answer.", *quantiles("im_edge_login_seconds")),
        panel("Connections that ended before a login, or with it", "ops", "All connections, by cause.",
              rate("im_edge_connections_closed_total", "reason")),
    ]),
    ("What is read again", [
        panel("Why sessions read their backlog", "ops", "By cause.", rate("im_edge_backlog_entered_total", "reason"),
              stack=True),
        panel("In backlog mode", "short", "Sessions that get nothing live at the moment.",
              gauge("im_edge_backlog_sessions", "instance"), stack=True),
        panel("Reads", "ops", "Pages of backlog.", rate("im_edge_backlog_reads_total", "result")),
        panel("A read", "s", "Waiting and trying again included.", *quantiles("im_edge_backlog_read_seconds")),
        panel("Reads under way", "short",
              "Reading, waiting for a call to go with, and the most that read at a time on one edge.",
              gauge("im_edge_backlog_reads_under_way", "state"),
              gauge("im_edge_backlog_reads_limit", legend="limit", how="max")),
        panel("From the backlog", "ops", "Deliveries.", rate("im_edge_backlog_frames_total", "instance")),
    ]),
    ("What workers do meanwhile", [
        panel("Lanes", "short", "By owner.", gauge("im_worker_lane_owned", "instance"), stack=True),
        panel("Edges declared dead, resyncs", "ops", "An edge that is silent, or does not confirm.",
              rate("im_worker_nodes_dead_total", legend="dead"), rate("im_worker_resyncs_total", legend="resyncs"),
              rate("im_edge_broker_losses_total", "reason", legend="lost the broker:")),
        panel("Answers kept and dropped", "percentunit", "Kept, of the most there may be.",
              used("im_worker_answers_kept", "im_worker_answers_limit"), high=1),
        panel("To the answer, p99", "s", "What those who stay feel.", quantile(0.99, "im_edge_ack_seconds"),
              quantile(0.99, "im_edge_delivery_seconds", legend="delivery")),
        panel("Deliveries not confirmed", "ops", "By what became of them.",
              rate("im_worker_deliveries_total", "result", 'result!="confirmed"')),
    ]),
]
