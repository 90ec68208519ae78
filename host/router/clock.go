package router

import (
	"sync/atomic"
	"time"
)

// clock is the time as of the last sweep, in nanoseconds since it was made: to
// read it costs nothing, and no step of the wall clock moves it.
type clock struct {
	began time.Time
	now   atomic.Int64
}

// expired stands where a due time was that has come.
const expired = -1

func (c *clock) tick() int64 {
	now := int64(time.Since(c.began)) + 1
	c.now.Store(now)
	return now
}

// load is the time; never 0.
func (c *clock) load() int64 { return c.now.Load() }

// exact is the time as it is, to measure by.
func (c *clock) exact() int64 { return int64(time.Since(c.began)) }

// in is the time when a wait of d nanoseconds is over.
func (c *clock) in(d int64) int64 { return c.now.Load() + d }

// wall gives a time that load gave, zero for 0.
func (c *clock) wall(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return c.began.Add(time.Duration(at))
}
