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

-- Chunks begun after a crash, counted by the first stream sequence they hold.
CREATE TABLE lane_attempts (
    lane        integer NOT NULL,
    stream_seq  bigint NOT NULL,
    attempts    integer NOT NULL,
    PRIMARY KEY (lane, stream_seq)
);
