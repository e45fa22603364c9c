-- Conservation as one query: SELECT * FROM conservation.
--
-- A row a lane, and one for all of them, whose lane is null. Of every frame that a lane has taken from the stream it says
-- what became of it; at rest the edges' accepted frames are the sum `taken`, and those that vanished on the way there.
-- `kept`, in the row for all, is what is there of the stored ones: a text is a row of `messages`, a request one of
-- `requests` (whether or not a message tells others of it). Counts and rows are written in one transaction, so
-- stored = kept at any moment, until retention removes messages. It counts rows: leave it out of `SELECT` on a large
-- table, and it costs nothing.
CREATE VIEW conservation AS
SELECT lane,
       coalesce(sum(stored), 0)::bigint AS stored,
       coalesce(sum(duplicate), 0)::bigint AS duplicate,
       coalesce(sum(refused), 0)::bigint AS refused,
       coalesce(sum(dead), 0)::bigint AS dead,
       coalesce(sum(stored + duplicate + refused + dead), 0)::bigint AS taken,
       CASE WHEN grouping(lane) = 1
            THEN (SELECT count(*) FROM messages WHERE kind = 0) + (SELECT count(*) FROM requests) END AS kept
FROM lanes
GROUP BY GROUPING SETS ((lane), ());
