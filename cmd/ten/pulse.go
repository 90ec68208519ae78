package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// heartbeat is how long a command says nothing before it says that it still works.
const heartbeat = 10 * time.Second

// pulse tells a person that silence is work.
type pulse struct {
	w     io.Writer
	what  string
	every time.Duration
	began time.Time

	mu   sync.Mutex
	last time.Time
}

func newPulse(w io.Writer, what string, every time.Duration) *pulse {
	now := time.Now()
	return &pulse{w: w, what: what, every: every, began: now, last: now}
}

// during runs work with a pulse beside it, and returns when both have ended.
func (p *pulse) during(ctx context.Context, work func() error) error {
	watch, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(watch)
	}()
	err := work()
	stop()
	<-done
	return err
}

// beat notes that something was said.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

// run prints a line whenever nothing was said for long, until ctx ends.
func (p *pulse) run(ctx context.Context) {
	for {
		p.mu.Lock()
		wait := time.Until(p.last.Add(p.every))
		p.mu.Unlock()
		if wait <= 0 {
			fmt.Fprintf(p.w, "still %s, %s\n", p.what, took(time.Since(p.began)))
			p.beat()
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}
