-- Contacts, requests, blocks, groups.

CREATE TABLE contact_versions (
    user_id     bigint PRIMARY KEY REFERENCES users,
    version     bigint NOT NULL
);

-- One row a direction. A deleted contact stays, so that the version delta can say so.
CREATE TABLE contacts (
    user_id     bigint NOT NULL,
    contact_id  bigint NOT NULL,
    version     bigint NOT NULL,               -- user_id's version when this row changed
    deleted     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, contact_id)
);
CREATE INDEX contacts_by_version ON contacts (user_id, version);

-- A request that waits: from asked to.
CREATE TABLE contact_requests (
    to_id       bigint NOT NULL,
    from_id     bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (to_id, from_id)
);

CREATE TABLE blocks (
    user_id     bigint NOT NULL,               -- who blocks
    blocked_id  bigint NOT NULL,
    PRIMARY KEY (user_id, blocked_id)
);

CREATE TABLE groups (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    creator_id  bigint NOT NULL REFERENCES users,
    created_at  timestamptz NOT NULL DEFAULT now(),
    dissolved   boolean NOT NULL DEFAULT false
);
