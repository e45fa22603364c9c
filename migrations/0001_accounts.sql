-- Users, their tokens and devices.

CREATE TABLE users (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone       text NOT NULL UNIQUE,
    name        text NOT NULL,
    avatar      text NOT NULL DEFAULT '',
    password    text NOT NULL,                 -- argon2id, PHC format
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- One row a token. The token itself is nowhere: only its digest.
CREATE TABLE sessions (
    digest      text COLLATE "C" PRIMARY KEY,
    user_id     bigint NOT NULL REFERENCES users,
    device      text,                          -- NULL until the token binds at its first TCP login
    created_at  timestamptz NOT NULL DEFAULT now(),
    used_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_of_user ON sessions (user_id, device);

-- Numbers one connection of one device; only grows, over all nodes.
CREATE SEQUENCE session_numbers;

CREATE TABLE devices (
    user_id     bigint NOT NULL REFERENCES users,
    device      text COLLATE "C" NOT NULL,
    session     bigint NOT NULL DEFAULT 0,     -- the newest connection's number
    digest      text COLLATE "C",              -- and of the token it logged in with; NULL before the first one
    seen_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, device)
);
