//! The one list of metrics. Names follow `im_<part>_<noun>_<unit>[_total]`; no id is ever a label.
//!
//! A label with values listed has no others, and each of its series exists from the start, at 0; one with `[]` is open
//! (a lane, a route).

use super::metric::{Entry, Kind, Label, Part};

macro_rules! metrics {
    ($($variant:ident = $part:ident $kind:ident $name:literal [$($label:literal: $values:expr),*] $help:literal;)*) => {
        /// A metric of an edge, a worker, or any process.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// Every metric.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub(super) const fn entry(self) -> Entry {
                match self {
                    $(Self::$variant => Entry {
                        part: Part::$part,
                        kind: Kind::$kind,
                        name: $name,
                        labels: &[$(Label { name: $label, values: &$values }),*],
                        help: $help,
                    },)*
                }
            }
        }
    };
}

const OPEN: [&str; 0] = [];
const RESULT: [&str; 2] = ["ok", "error"];
const CODES: [&str; 20] = {
    let mut codes = [""; 20];
    let mut at = 0;
    while at < codes.len() {
        codes[at] = crate::command::Code::ALL[at].as_str();
        at += 1;
    }
    codes
};

metrics! {
    EdgeConnections = Edge Gauge "im_edge_connections" [] "Connections open, logged in or not.";
    EdgeConnectionsOpened = Edge Counter "im_edge_connections_opened_total" ["result": ["accepted", "refused"]]
        "Connections accepted, and refused above the limit.";
    EdgeConnectionsClosed = Edge Counter "im_edge_connections_closed_total" ["reason": OPEN] "Connections closed, by reason.";
    EdgeSessions = Edge Gauge "im_edge_sessions" [] "Sessions logged in.";
    EdgeLogins = Edge Counter "im_edge_logins_total" ["result": ["ok", "refused", "unavailable", "timeout"]]
        "Logins over TCP, by result.";
    EdgeLoginSeconds = Edge Histogram "im_edge_login_seconds" [] "From a login frame to its answer.";
    EdgeFramesAccepted = Edge Counter "im_edge_frames_accepted_total" ["kind": ["m", "gm", "r"]]
        "Entries accepted for publishing, by kind.";
    EdgeFramesRefused = Edge Counter "im_edge_frames_refused_total" ["code": CODES] "Frames refused by the edge itself.";
    EdgeFramesVanished = Edge Counter "im_edge_frames_vanished_total" []
        "Accepted frames given up before the broker took them; never acknowledged.";
    EdgeStreamsWiped = Edge Counter "im_edge_streams_wiped_total" []
        "Times that the broker's stream was found to be another one, and every session was ended to send again.";
    EdgeFramesWritten = Edge Counter "im_edge_frames_written_total" [] "Frames written to clients.";
    EdgeHeartbeatsAnswered = Edge Counter "im_edge_client_heartbeats_total" [] "Heartbeats of clients, answered in kind.";
    EdgePublishBatches = Edge Counter "im_edge_publish_batches_total" [] "Batches that the broker confirmed.";
    EdgePublishFrames = Edge Counter "im_edge_publish_frames_total" [] "Frames in confirmed batches.";
    EdgePublishQueuedAcks = Edge Counter "im_edge_publish_queued_acks_total" []
        "Messages confirmed by the broker whose senders wanted an ack `queued`.";
    EdgePublishBytes = Edge Counter "im_edge_publish_bytes_total" [] "Bytes of confirmed batches.";
    EdgePublishRetries = Edge Counter "im_edge_publish_retries_total" [] "Batches published again for want of a confirmation.";
    EdgePublishSeconds = Edge Histogram "im_edge_publish_seconds" [] "From publishing a batch to its confirmation.";
    EdgePublishBatchFrames = Edge Histogram "im_edge_publish_batch_frames" [] "Frames in one batch.";
    EdgeQueueFrames = Edge Gauge "im_edge_queue_frames" ["lane": OPEN] "Frames that wait for the broker, by lane.";
    EdgePausedSessions = Edge Gauge "im_edge_paused_sessions" [] "Sessions not read because their frames wait.";
    EdgeDeliveries = Edge Counter "im_edge_deliveries_total"
        ["kind": ["push", "answer", "receipt", "replaced", "revoked", "resync"]] "Deliveries from workers, by kind.";
    EdgeDeliveryBatches = Edge Counter "im_edge_delivery_batches_total" ["result": RESULT] "Delivery batches from workers.";
    EdgeDrops = Edge Counter "im_edge_drops_total" ["reason": OPEN] "Deliveries not written live, by reason.";
    EdgeBacklogReads = Edge Counter "im_edge_backlog_reads_total" ["result": RESULT] "Backlog reads from workers.";
    EdgeBacklogFrames = Edge Counter "im_edge_backlog_frames_total" [] "Deliveries that came from the backlog.";
    EdgeBacklogSessions = Edge Gauge "im_edge_backlog_sessions" [] "Sessions in backlog mode.";
    EdgeBacklogEntered = Edge Counter "im_edge_backlog_entered_total" ["reason": OPEN] "Times that a session entered backlog mode.";
    EdgeOutboxOverflows = Edge Counter "im_edge_outbox_overflows_total" [] "Times that a session's outbox was full.";
    EdgeAcks = Edge Counter "im_edge_acks_total" ["level": ["ack", "read"]] "Acknowledgements from clients.";
    EdgeAcksUnmatched = Edge Counter "im_edge_acks_unmatched_total" [] "Acknowledgements of nothing that waits for one.";
    EdgeNotesDropped = Edge Counter "im_edge_notes_dropped_total" []
        "Cursor moves, reads and receipts dropped because no worker took them for too long; deliveries repeat.";
    EdgeSessionPanics = Edge Counter "im_edge_session_panics_total" [] "Sessions ended by a bug of this process.";
    EdgeCursorMoves = Edge Counter "im_edge_cursor_moves_total" ["result": RESULT] "Cursor moves passed to workers.";
    EdgeRegisters = Edge Counter "im_edge_registers_total" ["result": RESULT] "Calls that registered sessions again.";
    EdgeHeartbeats = Edge Counter "im_edge_heartbeats_total" ["result": RESULT] "Heartbeats to the workers.";
    EdgeHeartbeatSeconds = Edge Histogram "im_edge_heartbeat_seconds" [] "From a heartbeat to the first worker's answer.";
    EdgeBrokerConnected = Edge Gauge "im_edge_broker_connected" [] "1 while the broker is connected.";
    EdgeBrokerLosses = Edge Counter "im_edge_broker_losses_total" ["reason": ["disconnected", "slow_consumer", "lease"]]
        "Times that deliveries may have been missed.";
    EdgeDraining = Edge Gauge "im_edge_draining" [] "1 once this node drains.";
    EdgeDrainSessions = Edge Counter "im_edge_drain_sessions_total" ["result": ["moved", "sent_away", "stayed", "cut_off"]]
        "Sessions of a node that drains: gone where it told them to, closed with nowhere to go, closed because they \
         stayed, still there at the deadline.";
    EdgeRpcCalls = Edge Counter "im_edge_rpc_calls_total" ["call": OPEN, "result": RESULT] "Calls to workers.";
    EdgeRpcSeconds = Edge Histogram "im_edge_rpc_seconds" ["call": OPEN] "From a call to a worker to its answer, retries included.";
    EdgeHttpRequests = Edge Counter "im_edge_http_requests_total" ["route": OPEN, "status": OPEN] "HTTP requests.";
    EdgeHttpSeconds = Edge Histogram "im_edge_http_seconds" ["route": OPEN] "From an HTTP request to its answer.";
    EdgeHttpConnections = Edge Gauge "im_edge_http_connections" [] "Open HTTP connections.";

    WorkerLaneOwned = Worker Gauge "im_worker_lane_owned" ["lane": OPEN] "1 while this worker owns the lane.";
    WorkerLaneLosses = Worker Counter "im_worker_lane_losses_total" [] "Lanes lost, not handed over.";
    WorkerTakeoverSeconds = Worker Histogram "im_worker_takeover_seconds" [] "From gaining a lane's lock to its first pull.";
    WorkerChunks = Worker Counter "im_worker_chunks_total" ["result": ["ok", "retried", "lost"]] "Chunks, by what became of them.";
    WorkerChunkFrames = Worker Histogram "im_worker_chunk_frames" [] "Frames in one chunk.";
    WorkerChunkSeconds = Worker Histogram "im_worker_chunk_seconds"
        ["step": ["decode", "rules", "store", "routes", "deliver", "ack", "all"]] "Time of a chunk, by step.";
    WorkerFrames = Worker Counter "im_worker_frames_total" ["outcome": ["stored", "duplicate", "refused", "dead"]]
        "Accepted frames, by outcome.";
    WorkerRefusals = Worker Counter "im_worker_refusals_total" ["code": CODES] "Frames refused by a rule.";
    WorkerDeliveries = Worker Counter "im_worker_deliveries_total" ["result": ["confirmed", "timeout", "unreachable"]]
        "Delivery batches to nodes, by result.";
    WorkerDeliveryFrames = Worker Counter "im_worker_delivery_frames_total" [] "Deliveries sent to nodes.";
    WorkerDeliveryBytes = Worker Counter "im_worker_delivery_bytes_total" [] "Bytes of deliveries sent to nodes.";
    WorkerAnswersDropped = Worker Counter "im_worker_answers_dropped_total" ["reason": ["node_gone", "full"]]
        "Answers whose node has not come back in time, or of too many; a client that sends again gets the same one.";
    WorkerDeliverySeconds = Worker Histogram "im_worker_delivery_seconds" [] "From a delivery to its node's confirmation.";
    WorkerNodes = Worker Gauge "im_worker_nodes" [] "Nodes alive.";
    WorkerNodesDead = Worker Counter "im_worker_nodes_dead_total" [] "Nodes declared dead.";
    WorkerResyncs = Worker Counter "im_worker_resyncs_total" [] "Nodes asked to read every backlog again.";
    WorkerDirectoryErrors = Worker Counter "im_worker_directory_errors_total" [] "Failed calls to Redis.";
    WorkerDirectorySeconds = Worker Histogram "im_worker_directory_seconds" [] "From a call to Redis to its answer.";
    WorkerBroadcasts = Worker Counter "im_worker_broadcast_chunks_total" [] "Chunks delivered to all nodes for want of routes.";
    WorkerStoreErrors = Worker Counter "im_worker_store_errors_total" [] "Failed calls to PostgreSQL.";
    WorkerPoolConnections = Worker Gauge "im_worker_pool_connections" ["state": ["used", "idle"]]
        "Connections of the PostgreSQL pool.";
    WorkerRpcCalls = Worker Counter "im_worker_rpc_calls_total" ["call": OPEN, "result": RESULT] "Calls of edges.";
    WorkerRpcSeconds = Worker Histogram "im_worker_rpc_seconds" ["call": OPEN] "From a call of an edge to its answer.";
    WorkerPasswordSeconds = Worker Histogram "im_worker_password_seconds" [] "Digesting one password, waiting included.";
    WorkerTokenChecks = Worker Counter "im_worker_token_checks_total" ["result": ["cache", "store", "refused"]]
        "Tokens checked, by who knew.";
    WorkerAcksFailed = Worker Counter "im_worker_acks_failed_total" [] "Acknowledgements that the broker did not take.";

    ProcessResidentBytes = Process Gauge "im_process_resident_bytes" [] "Memory in RAM.";
    ProcessCpuSeconds = Process Counter "im_process_cpu_seconds_total" [] "CPU time, user and system.";
    ProcessOpenFiles = Process Gauge "im_process_open_files" [] "Open file descriptors.";
    WorkerDrainsCutOff = Worker Counter "im_worker_drains_cut_off_total" [] "Drains that did not end within their deadline.";
    WorkerMisfits = Worker Counter "im_worker_misfits_total" [] "Nodes heard of whose contract this worker does not understand.";
    ProcessContract = Process Gauge "im_process_contract" [] "The contract between edges and workers that this build speaks.";
    ProcessBuildInfo = Process Gauge "im_process_build_info" ["version": OPEN, "part": OPEN] "Always 1; says which build runs.";
}
