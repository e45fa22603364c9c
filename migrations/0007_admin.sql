-- What operators do: accounts that are shut, and who did what.

-- Disabled since then: no login, no token. A worker of before this migration does not look.
ALTER TABLE users ADD COLUMN disabled_at timestamptz;

-- One row a command of `simple-im admin`, written before it does anything; `result` follows when it has ended. A row without
-- one: the command was cut short. Never a password, a token, or a text of a user's.
CREATE TABLE audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    os_user     text NOT NULL,                 -- as the operating system knows who ran it
    host        text NOT NULL,                 -- and where
    said        text,                          -- who they said they were: --as
    action      text NOT NULL,                 -- users disable
    target      text NOT NULL,                 -- user 7
    ended_at    timestamptz,
    result      text                           -- ok: …, or failed: …
);
