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
/// How a connection can end, see `edge::session::end::End`.
const ENDS: [&str; 12] = [
    "clean",
    "kicked",
    "mid_frame",
    "reset",
    "login_deadline",
    "idle",
    "write_stalled",
    "bad_stream",
    "replaced",
    "revoked",
    "drain",
    "stream_wiped",
];
/// The same, and how it can end before it is one of ours, see `edge::tls::handshake::Refused`.
const CLOSED: [&str; ENDS.len() + 3] = {
    let (mut all, mut at) = ([""; ENDS.len() + 3], 0);
    while at < ENDS.len() {
        all[at] = ENDS[at];
        at += 1;
    }
    (all[at], all[at + 1], all[at + 2]) = ("tls_plaintext", "tls_timeout", "tls_failed");
    all
};
/// Why a session reads its backlog.
const BEHIND: [&str; 11] = [
    "login",
    "registered",
    "gap",
    "own_gap",
    "unacked",
    "overflow",
    "lease",
    "disconnected",
    "slow_consumer",
    "asked",
    "unreadable",
];
const STORES: [&str; 3] = ["nats", "postgres", "redis"];
/// Of accepted frames, and of those set aside.
const STREAMS: [&str; 2] = ["accepted", "dead"];
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
    EdgeConnectionsLimit = Edge Gauge "im_edge_connections_limit" [] "The most connections it takes.";
    EdgeConnections = Edge Gauge "im_edge_connections" [] "Connections open, logged in or not.";
    EdgeWayConnections = Edge Gauge "im_edge_way_connections" ["way": ["tcp", "websocket", "compat"]]
        "The same by the way they came: the port for frames, WebSocket, the port for original clients.";
    EdgeConnectionsOpened = Edge Counter "im_edge_connections_opened_total" ["result": ["accepted", "refused"]]
        "Connections accepted, and refused above the limit.";
    EdgeConnectionsClosed = Edge Counter "im_edge_connections_closed_total" ["reason": CLOSED] "Connections closed, by reason.";
    EdgeSessionsEnded = Edge Counter "im_edge_sessions_ended_total" ["reason": ENDS]
        "Sessions that were logged in and ended, by reason: what clients reconnect for.";
    EdgeSessions = Edge Gauge "im_edge_sessions" [] "Sessions logged in.";
    EdgeLogins = Edge Counter "im_edge_logins_total" ["result": ["ok", "refused", "unavailable", "timeout"]]
        "Logins over TCP, by result.";
    EdgeLoginSeconds = Edge Histogram "im_edge_login_seconds" [] "From a login frame to its answer.";
    EdgeFramesAccepted = Edge Counter "im_edge_frames_accepted_total" ["kind": ["m", "gm", "r"]]
        "Entries accepted for publishing, by kind.";
    EdgeAckSeconds = Edge Histogram "im_edge_ack_seconds" ["kind": ["m", "gm", "r"]]
        "From accepting a frame to its answer's being written to its sender; one of each kind a batch of deliveries, counted from the oldest frame of its chunk.";
    EdgeDeliverySeconds = Edge Histogram "im_edge_delivery_seconds" ["kind": ["m", "gm", "r"]]
        "From accepting a frame to its being written to a recipient that is live; one of each kind a batch of deliveries, counted from the oldest frame of its chunk.";
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
    EdgePublishesUnderWay = Edge Gauge "im_edge_publishes_under_way" [] "Batches sent that the broker has not confirmed.";
    EdgePublishesLimit = Edge Gauge "im_edge_publishes_limit" [] "The most batches under way at a time: one a lane.";
    EdgeQueueLimit = Edge Gauge "im_edge_queue_limit_frames" [] "The most frames that may wait for the broker in one lane.";
    EdgeQueueFrames = Edge Gauge "im_edge_queue_frames" ["lane": OPEN] "Frames that wait for the broker, by lane.";
    EdgePausedSessions = Edge Gauge "im_edge_paused_sessions" [] "Sessions not read because their frames wait, or a crowd has not all had them yet.";
    EdgeDeliveries = Edge Counter "im_edge_deliveries_total"
        ["kind": ["push", "answer", "receipt", "replaced", "revoked", "resync"]] "Deliveries from workers, by kind.";
    EdgeDeliveriesLate = Edge Counter "im_edge_deliveries_late_total" ["kind": ["push", "answer"]]
        "Deliveries that came more than a second after the oldest frame of their chunk was accepted.";
    EdgeDeliveryBatches = Edge Counter "im_edge_delivery_batches_total" ["result": RESULT] "Delivery batches from workers.";
    EdgeDrops = Edge Counter "im_edge_drops_total" ["reason": ["noted", "duplicate", "nobody"]]
        "Deliveries not written live: noted for the backlog, written before, or nobody is here.";
    EdgeBacklogReads = Edge Counter "im_edge_backlog_reads_total" ["result": RESULT] "Backlog reads from workers.";
    EdgeBacklogReadSeconds = Edge Histogram "im_edge_backlog_read_seconds" []
        "From wanting a page of the backlog to having it, waiting and trying again included.";
    EdgeBacklogReadsUnderWay = Edge Gauge "im_edge_backlog_reads_under_way" ["state": ["waiting", "reading"]]
        "Backlog reads that wait for a call to go with, and those under way.";
    EdgeBacklogReadsLimit = Edge Gauge "im_edge_backlog_reads_limit" [] "The most backlog reads under way at a time.";
    EdgeBacklogFrames = Edge Counter "im_edge_backlog_frames_total" [] "Deliveries that came from the backlog.";
    EdgeBacklogSessions = Edge Gauge "im_edge_backlog_sessions" [] "Sessions in backlog mode.";
    EdgeBacklogEntered = Edge Counter "im_edge_backlog_entered_total" ["reason": BEHIND] "Times that a session entered backlog mode.";
    EdgeOutboxOverflows = Edge Counter "im_edge_outbox_overflows_total" [] "Times that a session's outbox was full.";
    EdgeAcks = Edge Counter "im_edge_acks_total" ["level": ["ack", "read"]] "Acknowledgements from clients.";
    EdgeAcksUnmatched = Edge Counter "im_edge_acks_unmatched_total" [] "Acknowledgements of nothing that waits for one.";
    EdgeNotesWaiting = Edge Gauge "im_edge_notes_waiting" []
        "Cursor moves, reads, receipts and ended sessions that are being told to a worker.";
    EdgeNotesLimit = Edge Gauge "im_edge_notes_limit" [] "The most of them that gather meanwhile, before more are dropped.";
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
    EdgeMoves = Edge Counter "im_edge_moves_total" [] "Sessions told to move to another node.";
    EdgeHttpConnectionsLimit = Edge Gauge "im_edge_http_connections_limit" [] "The most HTTP connections at a time.";
    EdgeTlsHandshakes = Edge Counter "im_edge_tls_handshakes_total"
        ["result": ["ok", "plaintext", "failed", "timeout", "gone"]] "TLS handshakes, by result.";
    EdgeTlsHandshaking = Edge Gauge "im_edge_tls_handshakes" [] "TLS handshakes under way.";
    EdgeTlsHandshakeSeconds = Edge Histogram "im_edge_tls_handshake_seconds" [] "From accept to the end of a handshake.";
    EdgeTlsReloads = Edge Counter "im_edge_tls_reloads_total" ["result": RESULT]
        "Times that the certificate was read again, after a change or when told.";
    EdgeTlsExpiry = Edge Gauge "im_edge_tls_expiry_timestamp_seconds" []
        "When the certificate in use ends, in seconds since 1970; 0 without TLS.";
    EdgeHttpConnections = Edge Gauge "im_edge_http_connections" [] "Open HTTP connections.";

    WorkerLaneOwned = Worker Gauge "im_worker_lane_owned" ["lane": OPEN] "1 while this worker owns the lane.";
    WorkerLanes = Worker Gauge "im_worker_lanes" [] "Lanes that the system has, as this worker is configured.";
    WorkerLaneWaiting = Worker Gauge "im_worker_lane_waiting_batches" ["lane": OPEN]
        "Batches of an owned lane that have not been pulled.";
    WorkerLaneUnacked = Worker Gauge "im_worker_lane_unacked_batches" ["lane": OPEN]
        "Batches of an owned lane that were pulled and are not acknowledged to the broker.";
    WorkerLaneWaitSeconds = Worker Histogram "im_worker_lane_wait_seconds" []
        "From accepting a frame to the beginning of its chunk: the lanes' lag; of each chunk its oldest frame.";
    WorkerCommitters = Worker Gauge "im_worker_committers" [] "Committers that have a session at PostgreSQL.";
    WorkerCommittersLimit = Worker Gauge "im_worker_committers_limit" [] "Committers that are to have one.";
    WorkerPulled = Worker Gauge "im_worker_pulled_batches" [] "Batches pulled ahead of the chunks under way.";
    WorkerPulledLimit = Worker Gauge "im_worker_pulled_limit_batches" [] "The most batches pulled ahead.";
    WorkerUnfinished = Worker Gauge "im_worker_unfinished_chunks" []
        "Chunks committed, and not yet confirmed by all nodes and acknowledged to the broker.";
    WorkerUnfinishedLimit = Worker Gauge "im_worker_unfinished_limit_chunks" [] "The most of them before committers wait.";
    WorkerLaneLosses = Worker Counter "im_worker_lane_losses_total" [] "Lanes lost, not handed over.";
    WorkerTakeoverSeconds = Worker Histogram "im_worker_takeover_seconds" [] "From gaining a lane's lock to its first pull.";
    WorkerChunks = Worker Counter "im_worker_chunks_total" ["result": ["ok", "retried", "lost"]] "Chunks, by what became of them.";
    WorkerChunkFrames = Worker Histogram "im_worker_chunk_frames" [] "Frames in one chunk.";
    WorkerChunkSeconds = Worker Histogram "im_worker_chunk_seconds"
        ["step": ["decode", "store", "routes", "deliver", "ack", "all"]] "Time of a chunk, by step.";
    WorkerFrames = Worker Counter "im_worker_frames_total" ["outcome": ["stored", "duplicate", "refused", "dead"], "kind": ["m", "gm", "r", "unknown"]]
        "Accepted frames, by outcome and kind; unknown where a frame could not be read.";
    WorkerRefusals = Worker Counter "im_worker_refusals_total" ["code": CODES] "Frames refused by a rule.";
    WorkerDeliveries = Worker Counter "im_worker_deliveries_total" ["result": ["confirmed", "timeout", "unreachable"]]
        "Delivery batches to nodes, by result.";
    WorkerDeliveryFrames = Worker Counter "im_worker_delivery_frames_total" [] "Deliveries sent to nodes.";
    WorkerDeliveryBytes = Worker Counter "im_worker_delivery_bytes_total" [] "Bytes of deliveries sent to nodes.";
    WorkerAnswersDropped = Worker Counter "im_worker_answers_dropped_total" ["reason": ["node_gone", "full"]]
        "Answers whose node has not come back in time, or of too many; a client that sends again gets the same one.";
    WorkerAnswersKept = Worker Gauge "im_worker_answers_kept" [] "Answers kept for nodes that have not confirmed them.";
    WorkerAnswersLimit = Worker Gauge "im_worker_answers_limit" [] "The most answers that are kept.";
    WorkerDeliverySeconds = Worker Histogram "im_worker_delivery_seconds" [] "From a delivery to its node's confirmation.";
    WorkerNodes = Worker Gauge "im_worker_nodes" [] "Nodes alive.";
    WorkerNodesDead = Worker Counter "im_worker_nodes_dead_total" [] "Nodes declared dead.";
    WorkerResyncs = Worker Counter "im_worker_resyncs_total" [] "Nodes asked to read every backlog again.";
    WorkerDirectoryErrors = Worker Counter "im_worker_directory_errors_total" [] "Failed calls to Redis.";
    WorkerDirectorySeconds = Worker Histogram "im_worker_directory_seconds" [] "From a call to Redis to its answer.";
    WorkerStoreUp = Worker Gauge "im_worker_store_up" ["store": STORES]
        "1 while the store answers this worker's probe in time, 0 when the last one failed.";
    WorkerProbeSeconds = Worker Histogram "im_worker_probe_seconds" ["store": STORES]
        "One small question to the store, from asking to its answer or to giving up.";
    WorkerStreamMessages = Worker Gauge "im_worker_stream_messages" ["stream": STREAMS] "Messages that the broker's stream holds.";
    WorkerStreamBytes = Worker Gauge "im_worker_stream_bytes" ["stream": STREAMS] "Bytes that the broker's stream holds.";
    WorkerStreamLimit = Worker Gauge "im_worker_stream_limit_bytes" ["stream": STREAMS]
        "The most bytes that it may hold; 0 for no limit.";
    WorkerStreamOldest = Worker Gauge "im_worker_stream_oldest_seconds" ["stream": STREAMS]
        "Age of the oldest message in the broker's stream; 0 where it is empty.";
    WorkerPostgresConnections = Worker Gauge "im_worker_postgres_connections" [] "Connections that PostgreSQL has, of everybody.";
    WorkerPostgresConnectionsLimit = Worker Gauge "im_worker_postgres_connections_limit" [] "The most that it takes.";
    WorkerPostgresBytes = Worker Gauge "im_worker_postgres_bytes" [] "Size of the database.";
    WorkerPostgresTransactions = Worker Counter "im_worker_postgres_transactions_total" ["result": ["commit", "rollback"]]
        "Transactions of the database, of everybody, as PostgreSQL counts them.";
    WorkerPostgresDeadlocks = Worker Counter "im_worker_postgres_deadlocks_total" [] "Deadlocks, as PostgreSQL counts them.";
    WorkerRedisBytes = Worker Gauge "im_worker_redis_bytes" [] "Memory that Redis uses for data.";
    WorkerRedisLimit = Worker Gauge "im_worker_redis_limit_bytes" [] "The most that it may use; 0 for no limit.";
    WorkerRedisClients = Worker Gauge "im_worker_redis_clients" [] "Connections that Redis has, of everybody.";
    WorkerRedisEvicted = Worker Counter "im_worker_redis_evicted_keys_total" [] "Keys evicted for want of memory, as Redis counts them.";
    WorkerBroadcasts = Worker Counter "im_worker_broadcast_chunks_total" [] "Chunks delivered to all nodes for want of routes.";
    WorkerStoreErrors = Worker Counter "im_worker_store_errors_total" [] "Failed calls to PostgreSQL.";
    WorkerPoolConnections = Worker Gauge "im_worker_pool_connections" ["state": ["used", "idle"]]
        "Connections of the PostgreSQL pool.";
    WorkerPoolLimit = Worker Gauge "im_worker_pool_limit_connections" [] "The most connections of the PostgreSQL pool.";
    WorkerPoolWaitSeconds = Worker Histogram "im_worker_pool_wait_seconds" [] "Waiting for a connection of the pool.";
    WorkerStatementSeconds = Worker Histogram "im_worker_statement_seconds" []
        "One statement, from sending it to PostgreSQL to its last row.";
    WorkerRpcCalls = Worker Counter "im_worker_rpc_calls_total" ["call": OPEN, "result": RESULT] "Calls of edges.";
    WorkerRpcUnderWay = Worker Gauge "im_worker_rpc_under_way" [] "Calls of edges under way.";
    WorkerRpcLimit = Worker Gauge "im_worker_rpc_limit" [] "The most calls under way at a time.";
    WorkerRpcSeconds = Worker Histogram "im_worker_rpc_seconds" ["call": OPEN] "From a call of an edge to its answer.";
    WorkerPasswordsUnderWay = Worker Gauge "im_worker_passwords_under_way" [] "Passwords being digested or waiting for it.";
    WorkerPasswordsLimit = Worker Gauge "im_worker_passwords_limit" [] "The most of them; one more call is told to try again.";
    WorkerPasswordSeconds = Worker Histogram "im_worker_password_seconds" [] "Digesting one password, waiting included.";
    WorkerTokenChecks = Worker Counter "im_worker_token_checks_total" ["result": ["cache", "store", "refused"]]
        "Tokens checked, by who knew.";
    WorkerAcksFailed = Worker Counter "im_worker_acks_failed_total" [] "Acknowledgements that the broker did not take.";

    ProcessReady = Process Gauge "im_process_ready" [] "1 while /readyz says that it is ready.";
    ProcessStartSeconds = Process Gauge "im_process_start_seconds" [] "When it started, Unix time.";
    ProcessResidentBytes = Process Gauge "im_process_resident_bytes" [] "Memory in RAM.";
    ProcessCpuSeconds = Process Counter "im_process_cpu_seconds_total" [] "CPU time, user and system.";
    ProcessSpans = Process Counter "im_process_spans_total" ["result": ["exported", "failed", "overwritten"]]
        "Spans for the collector of traces; records that were overwritten before they could become any.";
    ProcessOpenFiles = Process Gauge "im_process_open_files" [] "Open file descriptors.";
    WorkerDrainsCutOff = Worker Counter "im_worker_drains_cut_off_total" [] "Drains that did not end within their deadline.";
    WorkerMisfits = Worker Counter "im_worker_misfits_total" [] "Nodes heard of whose contract this worker does not understand.";
    ProcessContract = Process Gauge "im_process_contract" [] "The contract between edges and workers that this build speaks.";
    ProcessOpenFilesLimit = Process Gauge "im_process_open_files_limit" [] "The most open file descriptors.";
    ProcessBuildInfo = Process Gauge "im_process_build_info" ["version": OPEN, "part": OPEN] "Always 1; says which build runs.";
}
