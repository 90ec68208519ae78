package store

import (
	"context"
	"database/sql"
	"fmt"
)

// applicationID marks a file as ours: "ten1".
const applicationID = 0x74656e31

// migrations bring a file from version i to version i+1. Entries are only ever
// added at the end: a file in the field has run those before.
var migrations = []string{
	`CREATE TABLE revision (
		id      INTEGER PRIMARY KEY,
		hash    TEXT NOT NULL,
		subject TEXT NOT NULL,
		author  TEXT NOT NULL,
		signer  TEXT NOT NULL,
		source  TEXT NOT NULL,
		at      INTEGER NOT NULL,
		outcome TEXT NOT NULL DEFAULT '',
		message TEXT NOT NULL DEFAULT '',
		took    INTEGER NOT NULL DEFAULT 0
	) STRICT;
	CREATE TABLE journal (
		id         INTEGER PRIMARY KEY,
		at         INTEGER NOT NULL,
		revision   TEXT NOT NULL,
		service    TEXT NOT NULL,
		instance   TEXT NOT NULL,
		generation INTEGER NOT NULL,
		op         TEXT NOT NULL,
		reason     TEXT NOT NULL,
		result     TEXT,
		took       INTEGER NOT NULL DEFAULT 0
	) STRICT;
	CREATE INDEX journal_service ON journal (service, id);
	CREATE INDEX journal_open ON journal (id) WHERE result IS NULL;
	CREATE TABLE pause (
		service TEXT PRIMARY KEY,
		reason  TEXT NOT NULL,
		by      TEXT NOT NULL,
		since   INTEGER NOT NULL,
		until   INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;
	CREATE TABLE approval (
		id       INTEGER PRIMARY KEY,
		revision TEXT NOT NULL UNIQUE,
		by       TEXT NOT NULL,
		at       INTEGER NOT NULL
	) STRICT;
	CREATE TABLE value (
		key  TEXT PRIMARY KEY,
		json TEXT NOT NULL
	) STRICT, WITHOUT ROWID;`,
	`CREATE TABLE hand (
		service  TEXT NOT NULL,
		instance TEXT NOT NULL,
		spawned  INTEGER NOT NULL,
		stopped  INTEGER NOT NULL,
		weight   INTEGER,
		restart  INTEGER NOT NULL,
		by       TEXT NOT NULL,
		at       INTEGER NOT NULL,
		PRIMARY KEY (service, instance)
	) STRICT, WITHOUT ROWID;`,
	// The wanted ones were one value until then, written whole by each wake.
	`CREATE TABLE rest (
		service  TEXT NOT NULL,
		instance TEXT NOT NULL,
		awake    INTEGER NOT NULL,
		PRIMARY KEY (service, instance)
	) STRICT, WITHOUT ROWID;
	INSERT OR IGNORE INTO rest (service, instance, awake)
		SELECT json_extract(value, '$.service'), json_extract(value, '$.id'), 1
		FROM json_each(coalesce((SELECT json FROM value WHERE key = 'awake'), '[]'));
	DELETE FROM value WHERE key = 'awake';`,
	// The triggers make the log append-only to every command of this package: an
	// act gets its result once.
	`CREATE TABLE token (
		id          TEXT PRIMARY KEY,
		tenant      TEXT NOT NULL,
		description TEXT NOT NULL,
		prefix      TEXT NOT NULL,
		hash        TEXT NOT NULL,
		created     INTEGER NOT NULL,
		expires     INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;
	CREATE UNIQUE INDEX token_admin ON token (tenant) WHERE tenant = '';
	CREATE TABLE audit (
		id     INTEGER PRIMARY KEY AUTOINCREMENT,
		at     INTEGER NOT NULL,
		who    TEXT NOT NULL,
		source TEXT NOT NULL,
		action TEXT NOT NULL,
		target TEXT NOT NULL,
		detail TEXT NOT NULL,
		result TEXT,
		took   INTEGER NOT NULL DEFAULT 0
	) STRICT;
	CREATE TRIGGER audit_once BEFORE UPDATE ON audit WHEN OLD.result IS NOT NULL
		OR NEW.at <> OLD.at OR NEW.who <> OLD.who OR NEW.source <> OLD.source
		OR NEW.action <> OLD.action OR NEW.target <> OLD.target OR NEW.detail <> OLD.detail
	BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;`,

	// What was refused has a share of its own: anybody can be refused often.
	`ALTER TABLE audit ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
	CREATE INDEX audit_by_kind ON audit (refused, id);
	CREATE TRIGGER audit_kind BEFORE UPDATE ON audit WHEN NEW.refused <> OLD.refused
	BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;`,
}

// migrate runs what the file has not run yet, all of it or nothing.
func migrate(ctx context.Context, db *sql.DB, list []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var have int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have > len(list) {
		return fmt.Errorf("%w: layout %d, this one knows up to %d", ErrNewer, have, len(list))
	}
	if have == len(list) {
		return nil
	}
	for i, script := range list[have:] {
		if _, err := tx.ExecContext(ctx, script); err != nil {
			return fmt.Errorf("change layout %d to %d: %w", have+i, have+i+1, err)
		}
	}
	pragmas := fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, len(list))
	if _, err := tx.ExecContext(ctx, pragmas); err != nil {
		return err
	}
	return tx.Commit()
}
