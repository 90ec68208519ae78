package probe

import (
	"context"
	"fmt"
	"time"
)

// The pace of WaitReady: what has taken long so far is asked less often, so
// that waiting adds at most a twentieth to the time a program takes to start.
const (
	fastest = time.Millisecond
	slowest = 25 * time.Millisecond
	share   = 20
)

// WaitReady asks until the target is healthy, or ctx ends: then the last
// verdict comes with the reason. It asks at once, then quickly, then at most
// every interval (zero is 25 ms).
func (p Prober) WaitReady(ctx context.Context, t Target, interval time.Duration) (Result, error) {
	if interval <= 0 {
		interval = slowest
	}
	begun := time.Now()
	pause := time.NewTimer(0)
	defer pause.Stop()
	last := Result{Text: "never asked"}
	for {
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("not ready after %s: %s: %w", time.Since(begun).Round(time.Millisecond), last.Text, context.Cause(ctx))
		case <-pause.C:
		}
		r := p.Probe(ctx, t)
		if r.Healthy {
			return r, nil
		}
		if !over(ctx) {
			last = r // not the verdict that the end of ctx spoiled
		}
		pause.Reset(min(max(time.Since(begun)/share, fastest), interval))
	}
}

// over reports whether ctx has ended or is about to say so: a dialler keeps the
// deadline by its own clock and may be the first to notice.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}
