-- The journal: one SQLite file holds the life of one account, across restarts.
--
-- application_id 1212434263 ("HDGW") marks the file as a journal, user_version is the version of this schema (4). A change
-- that older programs can't read raises it; a journal of another version is refused, not converted.
--
-- Money, prices and rates are TEXT: exact decimals, never floats. Quantities are whole lots, 10 ** -size_decimals coins
-- (table instrument). `…_ms` are milliseconds UTC by the market's clock, which runs fast in a simulation;
-- `…_wall_ms` are by the computer's. Scores are REAL, because opinions are.
--
-- One program writes, guarded by a lock on <file>.lock; a cycle is two transactions: the decision with the orders it
-- asks for ('planned') before any of them is sent, and all that came of it together with the venue's checkpoint after.

-- Who may write: whoever opened the journal last. One who finds an epoch above its own here has been replaced and stops.
CREATE TABLE lease (
    epoch INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL,
    taken_wall_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    config TEXT NOT NULL,                       -- JSON, every default filled in
    source TEXT NOT NULL,                       -- JSON: which market and account these books belong to
    pid INTEGER NOT NULL,
    started_wall_ms INTEGER NOT NULL,
    ended_wall_ms INTEGER,                      -- NULL while it runs, and after a crash
    cycles INTEGER NOT NULL DEFAULT 0,
    last_ms INTEGER,                            -- of the last cycle written down
    last_wall_ms INTEGER
) STRICT;

CREATE TABLE instrument (
    name TEXT PRIMARY KEY,
    size_decimals INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A decision that repeats the one before it, asking for nothing, is this row only: is_full = 0.
CREATE TABLE decision (
    id TEXT PRIMARY KEY,                        -- of its snapshot; the orders' client ids begin with it
    run_id INTEGER NOT NULL REFERENCES run (id),
    time_ms INTEGER NOT NULL,
    state TEXT NOT NULL,                        -- active, reducing, halted
    equity_usd TEXT NOT NULL,
    is_full INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX decision_by_time ON decision (time_ms);
CREATE INDEX decision_in_full ON decision (time_ms) WHERE is_full = 1;

-- Nonzero scores, and those that have just become zero.
CREATE TABLE forecast (
    decision_id TEXT NOT NULL REFERENCES decision (id),
    strategy TEXT NOT NULL,
    instrument TEXT NOT NULL,
    score REAL NOT NULL,                        -- −1 … +1
    because TEXT NOT NULL,
    wanted_lots INTEGER NOT NULL,               -- the strategy's part of the target, before and after the rules
    allowed_lots INTEGER NOT NULL,
    PRIMARY KEY (decision_id, strategy, instrument)
) STRICT, WITHOUT ROWID;

-- Nonzero targets, and those that have just become zero.
CREATE TABLE target (
    decision_id TEXT NOT NULL REFERENCES decision (id),
    instrument TEXT NOT NULL,
    wanted_lots INTEGER NOT NULL,
    allowed_lots INTEGER NOT NULL,
    PRIMARY KEY (decision_id, instrument)
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    decision_id TEXT NOT NULL REFERENCES decision (id),
    number INTEGER NOT NULL,                    -- in the order of the rules
    rule TEXT NOT NULL,
    instrument TEXT NOT NULL,                   -- empty: the whole book
    detail TEXT NOT NULL,
    PRIMARY KEY (decision_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    client_id TEXT PRIMARY KEY,
    decision_id TEXT REFERENCES decision (id),  -- NULL: not asked for by a decision
    instrument TEXT NOT NULL,
    side TEXT NOT NULL,
    lots INTEGER NOT NULL,
    limit_price TEXT,
    time_in_force TEXT NOT NULL,
    reduce_only INTEGER NOT NULL,
    trigger_kind TEXT,
    trigger_price TEXT,
    purpose TEXT NOT NULL,
    status TEXT NOT NULL,                       -- planned until the venue has answered
    order_id INTEGER,                           -- the venue's
    filled_lots INTEGER NOT NULL DEFAULT 0,
    average_price TEXT,
    reason TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_by_decision ON orders (decision_id);
CREATE INDEX orders_by_time ON orders (created_ms);
CREATE INDEX orders_open ON orders (created_ms) WHERE status IN ('planned', 'resting', 'waiting');

-- What was signed to place orders: an action with a nonce of its own, on disk before any of it leaves, sent at most once.
-- Of its body only the hash is kept.
CREATE TABLE action (
    nonce INTEGER PRIMARY KEY,
    body_sha256 TEXT NOT NULL,
    expires_ms INTEGER,                         -- by the venue's clock
    sent_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL REFERENCES lease (epoch)
) STRICT;

-- One order of an action. Its life is told in bot/model/attempt.py; evidence is JSON, NULL while there is none.
CREATE TABLE attempt (
    cloid TEXT PRIMARY KEY,
    nonce INTEGER NOT NULL REFERENCES action (nonce),
    client_id TEXT NOT NULL,
    decision_id TEXT,
    coin TEXT NOT NULL,
    side TEXT NOT NULL,
    lots INTEGER NOT NULL,
    price TEXT NOT NULL,                        -- as it was signed
    reduce_only INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    state TEXT NOT NULL,
    evidence TEXT,
    resolved_ms INTEGER                         -- of the evidence that ended it; NULL while it is open
) STRICT;
CREATE INDEX attempt_open ON attempt (nonce) WHERE resolved_ms IS NULL;
CREATE INDEX attempt_by_client_id ON attempt (client_id);

CREATE TABLE cancel (
    decision_id TEXT NOT NULL REFERENCES decision (id),
    client_id TEXT NOT NULL,
    order_id INTEGER NOT NULL,
    instrument TEXT NOT NULL,
    because TEXT NOT NULL,
    PRIMARY KEY (decision_id, order_id, instrument)
) STRICT, WITHOUT ROWID;

CREATE TABLE fill (
    trade_id INTEGER NOT NULL,                  -- the venue's; two venues, or two markets of one, may give the same
    time_ms INTEGER NOT NULL,
    instrument TEXT NOT NULL,
    side TEXT NOT NULL,
    lots INTEGER NOT NULL,
    price TEXT NOT NULL,
    notional_usd TEXT NOT NULL,
    fee_usd TEXT NOT NULL,
    is_maker INTEGER NOT NULL,
    client_id TEXT NOT NULL,                    -- of an order here, or of one that the venue made
    order_id INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    closed_pnl_usd TEXT NOT NULL,
    PRIMARY KEY (trade_id, instrument)
) STRICT;
CREATE INDEX fill_by_client_id ON fill (client_id);
CREATE INDEX fill_by_time ON fill (time_ms);

CREATE TABLE funding (
    time_ms INTEGER NOT NULL,
    instrument TEXT NOT NULL,
    lots INTEGER NOT NULL,
    oracle TEXT NOT NULL,
    rate TEXT NOT NULL,                         -- of notional, for the whole interval
    usd TEXT NOT NULL,                          -- received > 0
    interval_h INTEGER,                         -- hours that the settlement is for; NULL where not known
    PRIMARY KEY (time_ms, instrument)
) STRICT, WITHOUT ROWID;

CREATE TABLE liquidation (
    time_ms INTEGER NOT NULL,
    instrument TEXT NOT NULL,
    kind TEXT NOT NULL,
    lots INTEGER NOT NULL,
    price TEXT NOT NULL,
    forfeited_usd TEXT NOT NULL,
    UNIQUE (time_ms, instrument, kind, lots, price)
) STRICT;

CREATE TABLE transfer (
    time_ms INTEGER NOT NULL,
    reference TEXT NOT NULL,                    -- the venue's own name for it
    kind TEXT NOT NULL,
    usd TEXT NOT NULL,                          -- brought in > 0
    PRIMARY KEY (time_ms, reference, kind)
) STRICT, WITHOUT ROWID;

-- The ledger, by double entry; bot/journal/ledger.py says what the accounts are. The postings of an entry sum to 0.
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,                   -- when it happened
    cycle_ms INTEGER NOT NULL,                  -- the cycle in which it was booked
    kind TEXT NOT NULL,                         -- opening, fill, funding, transfer, forfeit, lots, suspense
    reference TEXT NOT NULL,
    UNIQUE (kind, reference)
) STRICT;

CREATE TABLE posting (
    entry_id INTEGER NOT NULL REFERENCES entry (id),
    account TEXT NOT NULL,
    usd TEXT NOT NULL,
    lots INTEGER NOT NULL,
    PRIMARY KEY (entry_id, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE balance (                          -- the sums of postings
    account TEXT PRIMARY KEY,
    usd TEXT NOT NULL,
    lots INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Amounts since the account was opened: equity = opening balance + price_pnl + funding_pnl − fees.
CREATE TABLE equity (
    time_ms INTEGER PRIMARY KEY,
    equity_usd TEXT NOT NULL,
    cash_usd TEXT NOT NULL,
    price_pnl_usd TEXT NOT NULL,
    funding_pnl_usd TEXT NOT NULL,
    fees_usd TEXT NOT NULL,
    gross_usd TEXT NOT NULL,
    net_usd TEXT NOT NULL
) STRICT;

-- What each strategy answers for, since the account was opened: the last word only.
CREATE TABLE strategy_pnl (
    strategy TEXT PRIMARY KEY,
    price_pnl_usd TEXT NOT NULL,
    funding_pnl_usd TEXT NOT NULL,
    fees_usd TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What the account holds: the last word only.
CREATE TABLE position (
    instrument TEXT PRIMARY KEY,
    lots INTEGER NOT NULL,
    size_decimals INTEGER NOT NULL,
    entry_price TEXT NOT NULL,
    mark TEXT NOT NULL,
    notional_usd TEXT NOT NULL,
    unrealised_usd TEXT NOT NULL,
    liquidation_price TEXT,
    margin_mode TEXT NOT NULL,
    opened_ms INTEGER NOT NULL,
    funding_usd TEXT NOT NULL,                  -- since it was opened
    because TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What a restart continues from, each of the last cycle. The checksum is codec.checksum's, of time_ms and content.
CREATE TABLE memory (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    time_ms INTEGER NOT NULL,
    content TEXT NOT NULL,                      -- JSON, by the names of strategies and instruments
    checksum TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    time_ms INTEGER NOT NULL,
    content TEXT NOT NULL,                      -- JSON, the venue's own and the trader's
    checksum TEXT NOT NULL
) STRICT;

-- Rows of the market as they were seen live, which no venue tells again: what a restart remembers and a replay reads.
CREATE TABLE market (
    time_ms INTEGER PRIMARY KEY,
    content BLOB NOT NULL                       -- see bot/journal/market.py
) STRICT;

-- What the operator asked of the running daemon, and its answer. Other programs add rows; the daemon answers them.
CREATE TABLE command (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,                      -- JSON
    asked_wall_ms INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'asked',        -- asked, begun, done, refused
    answer TEXT,                                -- JSON
    answered_wall_ms INTEGER
) STRICT;
CREATE INDEX command_asked ON command (id) WHERE state = 'asked';

-- What is allowed: the last word of the operator, and of the watchdog. What allows least holds. A program that does not
-- know this table would trade through a halt, so it is of version 3.
CREATE TABLE standing (
    author TEXT PRIMARY KEY,                    -- operator, watchdog
    state TEXT NOT NULL,                        -- active, reducing, halted
    is_flattening INTEGER NOT NULL,             -- everything is being closed until the venue says that nothing is left
    since_wall_ms INTEGER NOT NULL,
    why TEXT NOT NULL,
    accepted TEXT NOT NULL                      -- JSON: what the books could not explain when the operator last resumed
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    run_id INTEGER REFERENCES run (id),
    time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
