-- GraphQL documents that a client may run by their ids: its trusted documents.
CREATE TABLE documents (
    client_id text NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),  -- SHA-256 of the text
    body text NOT NULL CHECK (octet_length(body) BETWEEN 1 AND 65536),
    name text NOT NULL,  -- of its operations, with commas between; empty without one
    kind text NOT NULL,  -- query, mutation, subscription, or several with commas between
    pushed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, digest)
);

-- Other ids of theirs, such as those that the client's build tool gave them.
CREATE TABLE document_aliases (
    client_id text NOT NULL,
    alias text NOT NULL CHECK (char_length(alias) BETWEEN 1 AND 128),
    digest bytea NOT NULL,
    PRIMARY KEY (client_id, alias),
    FOREIGN KEY (client_id, digest) REFERENCES documents (client_id, digest) ON DELETE CASCADE
);
CREATE INDEX document_aliases_of ON document_aliases (client_id, digest);

ALTER TABLE oauth_clients
    ADD COLUMN documents_required boolean NOT NULL DEFAULT false,  -- it may send no texts
    ADD COLUMN documents_version bigint NOT NULL DEFAULT 0;  -- grows with each change of its documents
