-- What a contact request said, and the requests that a user has made: both are shown by GET /contact/request. A worker
-- of before this migration writes no message.
ALTER TABLE contact_requests ADD COLUMN message text NOT NULL DEFAULT '';
CREATE INDEX contact_requests_of ON contact_requests (from_id, to_id);
