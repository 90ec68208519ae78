package store

import (
	"context"
	"database/sql"
	"time"
)

// The audit log keeps so many acts, each for so long at most.
const (
	KeepActs    = 50_000
	KeepRefused = 10_000 // of those that were not done, beside them
	KeepActsFor = 400 * 24 * time.Hour
	trimActs    = 256 // how many acts come between two trims
)

const droppedKey = ownKeys + "audit-dropped"

// Act is something that somebody did, or tried to do, to this host.
type Act struct {
	ID     int64
	At     time.Time // BeginAct takes zero as now
	Who    string
	Source string // where it came from: an address, "socket", "command line"
	Action string
	Target string
	Detail string
	Result string // "ok", or what went wrong; "" while it is under way, or when the daemon died in it
	Took   time.Duration
}

// Dropped is what the audit log no longer has.
type Dropped struct {
	Count  int64     `json:"count"`
	Before time.Time `json:"before"` // nothing older is left
}

// BeginAct notes an act before it is done and returns the id for EndAct.
func (s *Store) BeginAct(ctx context.Context, a Act) (id int64, err error) {
	if a.At.IsZero() {
		a.At = time.Now()
	}
	err = s.write(ctx, "audit "+a.Action, throughPower, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "INSERT INTO audit (at, who, source, action, target, detail) VALUES (?,?,?,?,?,?) RETURNING id",
			toNanos(a.At), a.Who, a.Source, a.Action, a.Target, a.Detail).Scan(&id)
		if err != nil || id%trimActs != 0 {
			return err
		}
		return dropActs(ctx, tx, a.At.Add(-KeepActsFor))
	})
	return id, err
}

// Refused notes an act that was not done. These have room of their own: however
// many there are, they push out none that was done.
func (s *Store) Refused(ctx context.Context, a Act) error {
	return s.write(ctx, "audit what was refused", throughKill, func(tx *sql.Tx) error {
		var id int64
		err := tx.QueryRowContext(ctx, "INSERT INTO audit (at, who, source, action, target, detail, result, refused) VALUES (?,?,?,?,?,?,?,1) RETURNING id",
			toNanos(a.At), a.Who, a.Source, a.Action, a.Target, a.Detail, a.Result).Scan(&id)
		if err != nil || id%trimActs != 0 {
			return err
		}
		return dropActs(ctx, tx, a.At.Add(-KeepActsFor))
	})
}

// dropActs forgets acts that are too many or from before a time, and notes how
// many those were that had been done.
func dropActs(ctx context.Context, tx *sql.Tx, before time.Time) error {
	const surplus = "DELETE FROM audit WHERE refused = ? AND (at < ? OR id <= (SELECT id FROM audit WHERE refused = ? ORDER BY id DESC LIMIT 1 OFFSET ?))"
	if _, err := tx.ExecContext(ctx, surplus, 1, toNanos(before), 1, KeepRefused); err != nil {
		return err
	}
	r, err := tx.ExecContext(ctx, surplus, 0, toNanos(before), 0, KeepActs)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil || n == 0 {
		return err
	}
	var d Dropped
	if _, err := get(ctx, tx, droppedKey, &d); err != nil {
		return err
	}
	var oldest int64
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(min(at), 0) FROM audit WHERE refused = 0").Scan(&oldest); err != nil {
		return err
	}
	return put(ctx, tx, droppedKey, Dropped{Count: d.Count + n, Before: fromNanos(oldest)})
}

// EndAct notes, once, how an act ended.
func (s *Store) EndAct(ctx context.Context, id int64, result string, took time.Duration) error {
	_, err := s.exec(ctx, "audit the end of an act", throughKill,
		"UPDATE audit SET result = ?, took = ? WHERE id = ?", result, int64(took), id)
	return err
}

// Acts returns the newest acts, newest first, and what was dropped before them.
func (s *Store) Acts(ctx context.Context, limit int) ([]Act, Dropped, error) {
	scan := func(r *sql.Rows) (a Act, err error) {
		var at int64
		var result sql.NullString
		err = r.Scan(&a.ID, &at, &a.Who, &a.Source, &a.Action, &a.Target, &a.Detail, &result, &a.Took)
		a.At, a.Result = fromNanos(at), result.String
		return a, err
	}
	list, err := rows(ctx, s, "read audit log", scan,
		"SELECT id, at, who, source, action, target, detail, result, took FROM audit ORDER BY id DESC LIMIT ?", limit)
	if err != nil {
		return nil, Dropped{}, err
	}
	var d Dropped
	_, err = s.value(ctx, droppedKey, &d)
	return list, d, err
}
