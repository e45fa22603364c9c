-- Retention, restored backups, and dead frames that are put back.

-- Where direct conversations begin that have no row of `messages`: the first is floor + 1. Above 0 only after a restored
-- backup (`simple-im admin after-restore`): clients may have seen such a conversation begin, and the backup does not know
-- it. Groups begin at 1 whatever it says, as no group's id is ever used again.
CREATE TABLE numbering (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    floor       bigint NOT NULL DEFAULT 0
);
INSERT INTO numbering DEFAULT VALUES;

-- Runs of after-restore: how far the one under way is, so that one that was cut short goes on where it was.
CREATE TABLE restores (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    step        bigint NOT NULL,               -- by how much every number goes up
    users_done  bigint NOT NULL DEFAULT 0,     -- contact versions of users up to this one are up
    conv_done   text COLLATE "C" NOT NULL DEFAULT '',  -- and conversations up to this one
    conversations bigint NOT NULL DEFAULT 0
);

-- Texts that retention has removed, so that the account still comes out: stored = kept + removed.
CREATE TABLE removed (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    texts       bigint NOT NULL DEFAULT 0,
    others      bigint NOT NULL DEFAULT 0      -- forwarded requests, whose answers stay in `requests`
);
INSERT INTO removed DEFAULT VALUES;

-- Dead frames put back into their lane: no longer counted as dead, since the lane counts them once more.
CREATE TABLE replays (
    stream      text NOT NULL,                 -- which stream of dead frames, by its creation
    seq         bigint NOT NULL,               -- the frame's place there
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, seq)
);

CREATE OR REPLACE VIEW conservation AS
SELECT lane,
       coalesce(sum(stored), 0)::bigint AS stored,
       coalesce(sum(duplicate), 0)::bigint AS duplicate,
       coalesce(sum(refused), 0)::bigint AS refused,
       coalesce(sum(dead), 0)::bigint AS dead,
       coalesce(sum(stored + duplicate + refused + dead), 0)::bigint AS taken,
       CASE WHEN grouping(lane) = 1
            THEN (SELECT count(*) FROM messages WHERE kind = 0) + (SELECT count(*) FROM requests) END AS kept,
       CASE WHEN grouping(lane) = 1 THEN (SELECT sum(texts) FROM removed)::bigint END AS removed
FROM lanes
GROUP BY GROUPING SETS ((lane), ());
