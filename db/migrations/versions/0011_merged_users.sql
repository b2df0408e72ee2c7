-- Users that turned out to be another user. `into_id` is never itself a `user_id` here: a merge follows chains at once.
-- Until `settled_at` is set, late events of the old id are assigned to the other user.
CREATE TABLE merged_users (
    user_id text PRIMARY KEY,
    into_id text NOT NULL CHECK (into_id <> user_id),
    merged_at timestamptz NOT NULL DEFAULT now(),
    merged_by text NOT NULL,  -- the client or the operator
    settled_at timestamptz
);
CREATE INDEX merged_users_of_user ON merged_users (into_id);
CREATE INDEX merged_users_unsettled ON merged_users (merged_at) WHERE settled_at IS NULL;
