-- What the lanes have done, and what they must not do twice.

-- Requests with their answers: one asked again is answered as it was.
CREATE TABLE requests (
    digest      bytea PRIMARY KEY,
    seq         bigint,
    ts          bigint NOT NULL,
    contact_version bigint,
    group_id    bigint
);

-- How far each lane has committed in which stream, and its counts, written in the chunk's own transaction.
CREATE TABLE lanes (
    lane        integer PRIMARY KEY,
    stream      text NOT NULL DEFAULT '',      -- the stream's creation: another stream counts from 1 again
    committed   bigint NOT NULL DEFAULT 0,     -- the newest stream sequence committed
    stored      bigint NOT NULL DEFAULT 0,
    duplicate   bigint NOT NULL DEFAULT 0,
    refused     bigint NOT NULL DEFAULT 0,
    dead        bigint NOT NULL DEFAULT 0
);

-- Chunks begun after a lane was taken, counted by the first stream sequence they hold: what crashes its chunk again
-- and again is found by trying frame by frame, and set aside.
CREATE TABLE lane_attempts (
    lane        integer NOT NULL,
    stream_seq  bigint NOT NULL,
    frame       integer NOT NULL,              -- -1: the chunk; otherwise the frame's place in its batch
    attempts    integer NOT NULL,
    PRIMARY KEY (lane, stream_seq, frame)
);
