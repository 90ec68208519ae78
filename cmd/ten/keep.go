package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/tokens"
	"github.com/tenement/ten/reconcile/store"
)

// tokenKeeper keeps tokens in the store.
type tokenKeeper struct{ store *store.Store }

var _ tokens.Keeper = tokenKeeper{}

// Tokens returns all tokens.
func (k tokenKeeper) Tokens(ctx context.Context) ([]tokens.Record, error) {
	list, err := k.store.Tokens(ctx)
	records := make([]tokens.Record, len(list))
	for i, t := range list {
		records[i] = tokens.Record(t)
	}
	return records, err
}

// PutToken keeps a token.
func (k tokenKeeper) PutToken(ctx context.Context, r tokens.Record) error {
	return k.store.PutToken(ctx, store.Token(r))
}

// RevokeToken forgets a token.
func (k tokenKeeper) RevokeToken(ctx context.Context, id string) (bool, error) {
	return k.store.RevokeToken(ctx, id)
}

// auditLog keeps acts in the store.
type auditLog struct{ store *store.Store }

var _ api.Audit = auditLog{}

// BeginAct notes an act before it is done.
func (l auditLog) BeginAct(ctx context.Context, a api.Act) (int64, error) {
	return l.store.BeginAct(ctx, store.Act(a))
}

// EndAct notes how it ended.
func (l auditLog) EndAct(ctx context.Context, id int64, result string, took time.Duration) error {
	return l.store.EndAct(ctx, id, result, took)
}

// Refused notes an act that was not done.
func (l auditLog) Refused(ctx context.Context, a api.Act) error {
	return l.store.Refused(ctx, store.Act(a))
}

// Acts returns the newest acts and says what is no more there.
func (l auditLog) Acts(ctx context.Context, limit int) (api.AuditLog, error) {
	list, dropped, err := l.store.Acts(ctx, limit)
	if err != nil {
		return api.AuditLog{}, err
	}
	v := api.AuditLog{Acts: make([]api.Act, len(list)), Dropped: dropped.Count}
	for i, a := range list {
		v.Acts[i] = api.Act(a)
	}
	if dropped.Count > 0 {
		v.Note = fmt.Sprintf("%d older acts, from before %s, were dropped: %d are kept, for %d days",
			dropped.Count, dropped.Before.UTC().Format(time.DateTime), store.KeepActs, store.KeepActsFor/(24*time.Hour))
	}
	return v, nil
}
