package router

import "time"

// Limits bound what a client may take. Zero values mean the defaults.
type Limits struct {
	Header      time.Duration // from the first byte of a request's head to its last: 10 s
	Idle        time.Duration // between two requests of a connection: 75 s
	Progress    time.Duration // a body that doesn't move, and a client that doesn't read: 60 s
	Silence     time.Duration // a backend that says nothing in the middle of an answer, and a tunnel nobody uses: 1 h
	HeaderBytes int           // of a request's or an answer's head: 64 KB
	HeaderCount int           // fields of a head: 128
	Body        int64         // bytes of a request's body; 0 = as many as it likes
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{{&l.Header, 10 * time.Second}, {&l.Idle, 75 * time.Second}, {&l.Progress, time.Minute}, {&l.Silence, time.Hour}} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = 64 << 10
	}
	if l.HeaderCount <= 0 {
		l.HeaderCount = 128
	}
	return l
}

// What limits time besides.
const (
	sweepEvery     = 100 * time.Millisecond // how exact limits of time are
	idleUpstream   = 4 * time.Second        // a connection to a backend is kept so long; many servers close theirs after 5 s
	freshUpstream  = time.Second            // one unused for longer is not trusted with what can't be sent twice
	maxIdle        = 128                    // connections kept for each incarnation
	lingerFor      = time.Second            // a refused client may go on sending so long, else it would not see the answer
	lingerBytes    = 256 << 10
	defaultStartup = 10 * time.Second
	defaultRequest = 30 * time.Second
	defaultQueue   = 10_000
)
