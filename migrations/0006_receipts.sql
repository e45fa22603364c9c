-- Messages that ask for both receipts: messages.want = 4. Who reads looks for 3 and 4 together; the older query, for 3
-- alone, is served by the new index too.

CREATE INDEX messages_wanting_receipts ON messages (conv, seq) WHERE want >= 3;
DROP INDEX messages_wanting_read;
