-- Messages, who takes part, and how far each device is.

-- One row a message, group or not; a forwarded request is a message too.
CREATE TABLE messages (
    conv        text COLLATE "C" NOT NULL,     -- dm:1:2 or g:9
    seq         bigint NOT NULL,
    sender      bigint NOT NULL,
    ts          bigint NOT NULL,               -- when an edge accepted it, Unix seconds
    kind        smallint NOT NULL,             -- 0 text; 1.. requests, see workers::store::messages
    want        smallint NOT NULL,             -- 0 stored, 1 queued, 2 delivered, 3 read
    device      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,     -- the sender's own
    content     text NOT NULL,                 -- the text; for a request its own keys as TOML lines
    digest      bytea NOT NULL,                -- of sender, device, id, kind, target, content: what makes a retry harmless
    version_sender bigint,                     -- contact_version of the sender, where the request changed it
    version_target bigint,                     -- and of the other side
    PRIMARY KEY (conv, seq),
    UNIQUE (conv, digest)
);
CREATE INDEX messages_wanting_read ON messages (conv, seq) WHERE want = 3;

-- Which conversations a user has, and which part of each: from_seq to to_seq, open while to_seq is null.
-- For a group this is its membership; a user who left and came back has two rows.
CREATE TABLE participants (
    user_id     bigint NOT NULL,
    conv        text COLLATE "C" NOT NULL,
    from_seq    bigint NOT NULL,
    to_seq      bigint,
    group_id    bigint,                        -- null for two users
    PRIMARY KEY (user_id, conv, from_seq)
);
CREATE INDEX participants_of_group ON participants (group_id, user_id) WHERE group_id IS NOT NULL;

-- A device's cursor: everything up to seq is acknowledged.
CREATE TABLE cursors (
    user_id     bigint NOT NULL,
    device      text COLLATE "C" NOT NULL,
    conv        text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    PRIMARY KEY (user_id, device, conv)
);

-- A user's read position.
CREATE TABLE reads (
    user_id     bigint NOT NULL,
    conv        text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    PRIMARY KEY (user_id, conv)
);

-- Receipts a sender has not been told yet.
CREATE TABLE receipts (
    user_id     bigint NOT NULL,               -- the sender of the message
    device      text COLLATE "C" NOT NULL,     -- which sent it
    conv        text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    by_id       bigint NOT NULL,               -- who acknowledged
    read        boolean NOT NULL,
    id          text COLLATE "C" NOT NULL,     -- the sender's id for the message
    PRIMARY KEY (user_id, device, conv, seq, by_id, read)
);

-- What the last pages of GET /offline returned to a token: what DELETE /offline clears, exactly.
CREATE TABLE offline_pages (
    digest      text COLLATE "C" NOT NULL REFERENCES sessions ON DELETE CASCADE,
    page        bigint NOT NULL,
    conv        text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    PRIMARY KEY (digest, page, conv)
);
CREATE SEQUENCE offline_page_numbers;

-- What a token without a device has cleared, beyond start_seq up to seq; goes with it when it binds.
CREATE TABLE offline_marks (
    digest      text COLLATE "C" NOT NULL REFERENCES sessions ON DELETE CASCADE,
    conv        text COLLATE "C" NOT NULL,
    start_seq   bigint NOT NULL,               -- where the user's furthest device was: up to there nothing was shown
    seq         bigint NOT NULL,
    PRIMARY KEY (digest, conv)
);
