-- Rows are narrow and indexes few: every page that a transaction touches is written to the log and synced.
-- Numbers of events, work and deliveries come from `counters`: never used twice, also after a deletion.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, next) VALUES ('rows', 1);

-- Control plane ---------------------------------------------------------------------------------------------

-- `control`: 1 where documents, releases or keys changed, so that other processes read them again.
CREATE TABLE control_changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    what TEXT NOT NULL,
    control INTEGER NOT NULL
) STRICT;
CREATE INDEX control_changes_control ON control_changes (control, seq);

CREATE TABLE documents (
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    secret BLOB,
    -- Of a connection: random, the same from its switching on until its deletion. What a plugin keeps hangs on it, so
    -- that a connection made again begins with nothing.
    connection BLOB,
    PRIMARY KEY (kind, scope, name)
) STRICT;
CREATE UNIQUE INDEX documents_connection ON documents (connection) WHERE connection IS NOT NULL;

CREATE TABLE releases (
    digest BLOB PRIMARY KEY,
    plugin TEXT NOT NULL,
    version TEXT NOT NULL,
    partner TEXT NOT NULL,
    manifest TEXT NOT NULL,
    provenance TEXT,
    size INTEGER NOT NULL,
    published_ms INTEGER NOT NULL,
    -- The partner's public key, and what it signed the release with.
    signed_by TEXT NOT NULL,
    signature TEXT NOT NULL,
    -- Parts of the interface that its component imports: a JSON array.
    interfaces TEXT NOT NULL,
    UNIQUE (plugin, version)
) STRICT;

-- Apart from `releases`, so that a listing does not read megabytes.
CREATE TABLE components (
    digest BLOB PRIMARY KEY REFERENCES releases (digest),
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    secret_digest BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    brand TEXT,
    partner TEXT,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

-- Consumers -------------------------------------------------------------------------------------------------

CREATE TABLE consumers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    brand TEXT NOT NULL,
    subject BLOB NOT NULL,
    pseudonym BLOB NOT NULL,
    wrapped_key BLOB NOT NULL,
    engaged INTEGER NOT NULL,
    UNIQUE (subject, brand)
) STRICT;

CREATE UNIQUE INDEX consumers_pseudonym ON consumers (pseudonym);

-- What a partner already received of a consumer, in lines: a purpose and a label, or a set of collection conditions. Rows are
-- only added.
CREATE TABLE exposures (
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    partner TEXT NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (consumer, partner, what)
) STRICT, WITHOUT ROWID;

-- What a connection's plugin received of a consumer from its partner: one document, encrypted.
CREATE TABLE received (
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    connection BLOB NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (consumer, connection)
) STRICT, WITHOUT ROWID;
CREATE INDEX received_connection ON received (connection);

-- Partners' messages that were taken, by keyed digest of (brand, plugin, webhook-id).
CREATE TABLE messages (
    key BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Of those, what is to be worked on; what is done is deleted. `payload` lies under the master key: whom a message is
-- about is not looked up before it is answered.
CREATE TABLE inbox (
    uid BLOB PRIMARY KEY,
    brand TEXT NOT NULL,
    plugin TEXT NOT NULL,
    connection BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_due ON inbox (due_ms);

-- By digest and not by consumer: a choice outlives the consumer's deletion. `changed` grows with every change of any
-- choice or link, so that other processes read again what they hold.
CREATE TABLE choices (
    subject BLOB NOT NULL,
    brand TEXT NOT NULL,
    choices TEXT NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (subject, brand)
) STRICT;
CREATE UNIQUE INDEX choices_changed ON choices (changed);

-- Consumers of a brand who are one person. By digest, as choices are: a link outlives a deletion too. `person` is
-- the digest of one of them; each of them has a row in `choices`.
CREATE TABLE links (
    subject BLOB NOT NULL,
    brand TEXT NOT NULL,
    person BLOB NOT NULL,
    PRIMARY KEY (subject, brand)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_person ON links (person, brand);

-- Events and work -------------------------------------------------------------------------------------------

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    key BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL,
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    brand TEXT NOT NULL,
    kind TEXT NOT NULL,
    accepted_ms INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX events_recent ON events (brand, kind, id);
CREATE INDEX events_consumer ON events (consumer, id);

-- What is done is deleted: the table holds what is to be done, and stays small.
CREATE TABLE work (
    id INTEGER PRIMARY KEY,
    event INTEGER NOT NULL REFERENCES events (id),
    plugin TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    due_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX work_due ON work (due_ms);

-- By the event's uid, which grows with time: an index over random keys would touch another page for each row.
CREATE TABLE decisions (
    event BLOB NOT NULL REFERENCES events (uid),
    slot TEXT NOT NULL,
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    payload BLOB NOT NULL,
    PRIMARY KEY (event, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE returns (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    flow BLOB NOT NULL,
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    brand TEXT NOT NULL,
    plugin TEXT NOT NULL,
    event BLOB NOT NULL,
    payload BLOB NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX returns_brand ON returns (brand, position);
-- Those of one consumer are found through the ledger.
CREATE INDEX returns_flow ON returns (flow);

-- What a connection's plugin remembers about a consumer; the payload lies under the consumer's key and dies with it.
CREATE TABLE memories (
    id INTEGER PRIMARY KEY,
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    connection BLOB NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (consumer, connection)
) STRICT;
CREATE INDEX memories_connection ON memories (connection);

CREATE TABLE call_logs (
    id INTEGER PRIMARY KEY,
    flow BLOB NOT NULL,
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    text BLOB NOT NULL
) STRICT;
CREATE INDEX call_logs_flow ON call_logs (flow);

-- The outbox ------------------------------------------------------------------------------------------------

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    consumer INTEGER NOT NULL REFERENCES consumers (id),
    plugin TEXT NOT NULL,
    event BLOB NOT NULL,
    endpoint TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;

-- Where a delivery stands; apart from its request, so that an attempt does not write the request again.
-- `state`: 0 pending, 1 delivered, 2 dead, 3 dropped.
CREATE TABLE delivery_states (
    uid BLOB PRIMARY KEY,
    delivery INTEGER NOT NULL REFERENCES deliveries (id),
    brand TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    last TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_states_due ON delivery_states (due_ms) WHERE state = 0;
CREATE INDEX delivery_states_dead ON delivery_states (brand, uid) WHERE state >= 2;

-- Aggregates ------------------------------------------------------------------------------------------------

-- The answers of one day's events of one type: counted once, and kept as they are.
CREATE TABLE aggregates (
    brand TEXT NOT NULL,
    event TEXT NOT NULL,
    day TEXT NOT NULL,
    counted_ms INTEGER NOT NULL,
    answers BLOB NOT NULL,
    PRIMARY KEY (brand, event, day)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER aggregates_update BEFORE UPDATE ON aggregates BEGIN SELECT RAISE(ABORT, 'a count is made once'); END;

-- Questions asked: `day` is the day of asking.
CREATE TABLE aggregate_questions (
    asker TEXT NOT NULL,
    brand TEXT NOT NULL,
    day TEXT NOT NULL,
    asked INTEGER NOT NULL,
    PRIMARY KEY (asker, brand, day)
) STRICT, WITHOUT ROWID;

-- Disclosures -----------------------------------------------------------------------------------------------

-- Who asked for an export to an authority, and who approved it. `subject`: the consumer's keyed digest. `body` and
-- `approval_body`: reason, scope, authority, reference, persons, encrypted under the master key. They outlive the consumer.
CREATE TABLE disclosures (
    id BLOB PRIMARY KEY,
    brand TEXT NOT NULL,
    subject BLOB NOT NULL,
    requested_ms INTEGER NOT NULL,
    requester TEXT NOT NULL,
    body BLOB NOT NULL,
    approved_ms INTEGER,
    approver TEXT,
    approval_body BLOB,
    CHECK (approver IS NULL OR approver <> requester)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER disclosures_update BEFORE UPDATE ON disclosures
WHEN OLD.approved_ms IS NOT NULL OR NEW.body IS NOT OLD.body OR NEW.requester IS NOT OLD.requester OR NEW.subject IS NOT OLD.subject
BEGIN SELECT RAISE(ABORT, 'a disclosure is approved once, as it was asked for'); END;
CREATE TRIGGER disclosures_delete BEFORE DELETE ON disclosures BEGIN SELECT RAISE(ABORT, 'the record of disclosures is append-only'); END;

-- The ledger ------------------------------------------------------------------------------------------------

-- What flows have in common, verdicts above all: a small set of rows, by the SHA-256 of their content.
CREATE TABLE flow_shapes (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    stage TEXT NOT NULL,
    flow TEXT NOT NULL,
    recipient TEXT NOT NULL,
    plugin TEXT NOT NULL,
    partner TEXT NOT NULL,
    release BLOB NOT NULL,
    policy BLOB NOT NULL,
    purpose TEXT NOT NULL,
    event_type TEXT NOT NULL,
    endpoint TEXT,
    outcome TEXT NOT NULL,
    verdicts TEXT NOT NULL
) STRICT;

-- The categories in a shape's verdicts with what was decided, for queries. Category is empty where a field has none.
CREATE TABLE flow_shape_categories (
    category TEXT NOT NULL,
    decision TEXT NOT NULL,
    shape INTEGER NOT NULL REFERENCES flow_shapes (id),
    PRIMARY KEY (category, decision, shape)
) STRICT, WITHOUT ROWID;

CREATE TABLE flows (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    shape INTEGER NOT NULL REFERENCES flow_shapes (id),
    brand TEXT NOT NULL,
    consumer BLOB NOT NULL,
    event BLOB NOT NULL,
    facts INTEGER NOT NULL,
    delivery BLOB,
    attempt INTEGER NOT NULL,
    payload BLOB,
    fuel INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    -- Of a call: budgets of which it used most, or all: `[[name, used, allowed], …]`.
    spent TEXT
) STRICT;
CREATE INDEX flows_brand ON flows (brand, id);
CREATE INDEX flows_consumer ON flows (consumer, id);

-- What came of attempts: a row of its own, since rows of the ledger never change.
CREATE TABLE flow_results (
    flow BLOB PRIMARY KEY REFERENCES flows (id),
    at_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    code TEXT
) STRICT, WITHOUT ROWID;

CREATE TRIGGER flows_update BEFORE UPDATE ON flows BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER flows_delete BEFORE DELETE ON flows BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER flow_shapes_update BEFORE UPDATE ON flow_shapes BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER flow_shapes_delete BEFORE DELETE ON flow_shapes BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER flow_shape_categories_update BEFORE UPDATE ON flow_shape_categories BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER flow_shape_categories_delete BEFORE DELETE ON flow_shape_categories BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER flow_results_update BEFORE UPDATE ON flow_results BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER flow_results_delete BEFORE DELETE ON flow_results BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER control_changes_update BEFORE UPDATE ON control_changes BEGIN SELECT RAISE(ABORT, 'the record of changes is append-only'); END;
CREATE TRIGGER control_changes_delete BEFORE DELETE ON control_changes BEGIN SELECT RAISE(ABORT, 'the record of changes is append-only'); END;
