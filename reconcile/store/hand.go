package store

import (
	"context"
	"database/sql"
	"time"
)

// Hand is what a person did to one instance by hand. It lasts until a person
// takes it back; no revision does.
type Hand struct {
	Service  string
	Instance string
	Spawned  bool   // it is to exist, whether git declares it or not
	Stopped  bool   // it is to stand still
	Weight   *int   // its share of requests; nil = what git says
	Restart  uint64 // a newer incarnation than this one is wanted; 0 = none
	By       string // who did the last of it
	At       time.Time
}

// Lasting reports that something of it is left to remember.
func (h Hand) Lasting() bool { return h.Spawned || h.Stopped || h.Weight != nil || h.Restart != 0 }

// SetHands keeps what was done to instances, all of them or none, in place of
// what was kept of the same ones; one without anything left is forgotten. It
// outlives a power cut.
func (s *Store) SetHands(ctx context.Context, hands ...Hand) error {
	return s.write(ctx, "keep what was done by hand", throughPower, func(tx *sql.Tx) error {
		for _, h := range hands {
			if err := setHand(ctx, tx, h); err != nil {
				return err
			}
		}
		return nil
	})
}

func setHand(ctx context.Context, tx *sql.Tx, h Hand) error {
	if !h.Lasting() {
		_, err := tx.ExecContext(ctx, "DELETE FROM hand WHERE service = ? AND instance = ?", h.Service, h.Instance)
		return err
	}
	if h.At.IsZero() {
		h.At = time.Now()
	}
	weight := sql.NullInt64{}
	if h.Weight != nil {
		weight = sql.NullInt64{Int64: int64(*h.Weight), Valid: true}
	}
	_, err := tx.ExecContext(ctx,
		"INSERT OR REPLACE INTO hand (service, instance, spawned, stopped, weight, restart, by, at) VALUES (?,?,?,?,?,?,?,?)",
		h.Service, h.Instance, h.Spawned, h.Stopped, weight, int64(h.Restart), h.By, toNanos(h.At))
	return err
}

// Hands returns all that was done by hand, sorted by service and instance.
func (s *Store) Hands(ctx context.Context) ([]Hand, error) {
	return rows(ctx, s, "read what was done by hand", func(r *sql.Rows) (h Hand, err error) {
		var weight sql.NullInt64
		var restart, at int64
		err = r.Scan(&h.Service, &h.Instance, &h.Spawned, &h.Stopped, &weight, &restart, &h.By, &at)
		if weight.Valid {
			n := int(weight.Int64)
			h.Weight = &n
		}
		h.Restart, h.At = uint64(restart), fromNanos(at)
		return h, err
	}, "SELECT service, instance, spawned, stopped, weight, restart, by, at FROM hand ORDER BY service, instance")
}
