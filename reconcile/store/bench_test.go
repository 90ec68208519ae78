package store

import (
	"path/filepath"
	"testing"
)

func openBench(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "tenement.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkJournal is what an operation pays for its Begin and End.
func BenchmarkJournal(b *testing.B) {
	s := openBench(b)
	b.ReportAllocs()
	for b.Loop() {
		id, err := s.Begin(b.Context(), Intent{Revision: "0123456789abcdef0123456789abcdef01234567", Service: "web", Instance: "prod", Op: "restart", Reason: "env.A changed"})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.End(b.Context(), id, "ok", 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAnchor is its peer: one commit that waits for the disk.
func BenchmarkAnchor(b *testing.B) {
	s := openBench(b)
	for b.Loop() {
		if err := s.SetAnchor(b.Context(), "0123456789abcdef0123456789abcdef01234567"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNextGeneration(b *testing.B) {
	s := openBench(b)
	for b.Loop() {
		if _, err := s.NextGeneration(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a store whose journal is full.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "tenement.db")
	s, err := Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.db.ExecContext(b.Context(), `INSERT INTO journal (at, revision, service, instance, generation, op, reason, result)
		SELECT i, '0123456789abcdef0123456789abcdef01234567', 'web', 'prod', i, 'restart', 'env.DATABASE_URL changed', 'ok'
		FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 10000) SELECT i FROM n)`); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadJournal(b *testing.B) {
	s := openBench(b)
	for range 1000 {
		id, err := s.Begin(b.Context(), Intent{Service: "web", Instance: "prod", Op: "restart", Reason: "env.A changed"})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.End(b.Context(), id, "ok", 0); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Journal(b.Context(), "web", 100); err != nil {
			b.Fatal(err)
		}
	}
}
