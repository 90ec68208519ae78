package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ownKeys is the prefix of the keys that this package keeps for itself.
const ownKeys = "store/"

// maxValue bounds one value; what is larger belongs in a table.
const maxValue = 4 << 20

// Value reads the JSON kept under key into v and reports whether there was any.
func (s *Store) Value(ctx context.Context, key string, v any) (bool, error) {
	return s.value(ctx, key, v)
}

// SetValue keeps v as JSON under key; nil forgets the key. It outlives any
// death of the daemon; a power cut may lose the last moments.
func (s *Store) SetValue(ctx context.Context, key string, v any) error {
	if key == "" || strings.HasPrefix(key, ownKeys) {
		return fmt.Errorf("keep value %q: the key is reserved", key)
	}
	return s.write(ctx, fmt.Sprintf("keep value %q", key), throughKill, func(tx *sql.Tx) error { return put(ctx, tx, key, v) })
}

func (s *Store) value(ctx context.Context, key string, v any) (bool, error) {
	found, err := get(ctx, s.db, key, v)
	if err != nil {
		return false, fmt.Errorf("read value %q: %w", key, err)
	}
	return found, nil
}

func get(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, key string, v any) (bool, error) {
	var data []byte
	err := q.QueryRowContext(ctx, "SELECT json FROM value WHERE key = ?", key).Scan(&data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, json.Unmarshal(data, v)
}

func put(ctx context.Context, tx *sql.Tx, key string, v any) error {
	if v == nil {
		_, err := tx.ExecContext(ctx, "DELETE FROM value WHERE key = ?", key)
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) > maxValue {
		return fmt.Errorf("%d bytes, at most %d fit", len(data), maxValue)
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO value (key, json) VALUES (?,?)", key, string(data))
	return err
}
