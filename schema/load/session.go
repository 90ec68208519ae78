package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// evalTime bounds one session with the child, from start to last reply.
const evalTime = 30 * time.Second

// session is a child process that evaluates the repository's CUE. It is opened
// for the first question of a load and closed at its end.
type session struct {
	parent   context.Context
	ctx      context.Context
	cancel   context.CancelFunc
	limit    time.Duration
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	requests *json.Encoder
	replies  *json.Decoder
	errs     *capped
	done     error // how the child ended; set by end
	late     bool  // it ended because its time was over
	ended    bool
}

// openSession starts the child. The only thing it gets of this process's
// environment is nothing: no registry, no home, no proxy.
func openSession(ctx context.Context, command func(context.Context) *exec.Cmd, limit time.Duration) (*session, error) {
	s := &session{parent: ctx, limit: limit, errs: &capped{max: 16 << 10}}
	s.ctx, s.cancel = context.WithTimeout(ctx, limit)
	s.cmd = command(s.ctx)
	s.cmd.Env = []string{"CUE_REGISTRY=none", "CUE_CACHE_DIR=/nonexistent", "HOME=/nonexistent"}
	s.cmd.Stderr = s.errs
	s.cmd.WaitDelay = time.Second
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		s.cancel()
		return nil, fmt.Errorf("start the evaluation of CUE: %w", err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("start the evaluation of CUE: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		s.cancel()
		return nil, fmt.Errorf("start the evaluation of CUE: %w", err)
	}
	s.requests = json.NewEncoder(s.stdin)
	s.replies = json.NewDecoder(&io.LimitedReader{R: stdout, N: maxEvalWire})
	return s, nil
}

// tooMuchError says which limit the repository's CUE broke.
type tooMuchError struct{ what string }

func (e *tooMuchError) Error() string { return e.what }

// ask sends a request and waits for its reply. A *tooMuchError is the fault of
// the repository.
func (s *session) ask(q evalRequest) (evalReply, error) {
	var reply evalReply
	sent := make(chan error, 1)
	go func() { sent <- s.requests.Encode(q) }()
	err := s.replies.Decode(&reply)
	if err == nil {
		return reply, <-sent
	}
	s.end()
	<-sent // the pipe is closed, so it ends
	return reply, s.why(err)
}

// why turns the child's end into words.
func (s *session) why(err error) error {
	text := s.errs.String()
	switch {
	case s.parent.Err() != nil:
		return s.parent.Err()
	case s.late:
		return &tooMuchError{fmt.Sprintf("it takes longer than %v", s.limit)}
	case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"),
		strings.Contains(text, "stack exceeds"), strings.Contains(text, "newosproc"):
		return &tooMuchError{fmt.Sprintf("it needs more than %d MB of memory", evalMemory>>20)}
	case s.killedBy(syscall.SIGKILL), s.killedBy(syscall.SIGXCPU):
		return &tooMuchError{fmt.Sprintf("it needs more than %d s of processor time", evalCPU)}
	case s.replies.InputOffset() >= maxEvalWire-1:
		return &tooMuchError{fmt.Sprintf("its result is larger than %d MB", maxEvalWire>>20)}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
		return &tooMuchError{"the evaluator fails on it: " + line}
	}
	return fmt.Errorf("evaluate CUE in a child process: %w (%v) %s", err, s.done, line)
}

func (s *session) killedBy(sig syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(s.done, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == sig
}

// end lets the child go and waits until it has.
func (s *session) end() {
	if s.ended {
		return
	}
	s.ended = true
	s.stdin.Close()
	s.done = s.cmd.Wait()
	s.late = s.ctx.Err() != nil
	s.cancel()
}

// capped keeps the first bytes written to it.
type capped struct {
	kept bytes.Buffer
	max  int
}

func (c *capped) String() string { return c.kept.String() }

func (c *capped) Write(p []byte) (int, error) {
	if room := c.max - c.kept.Len(); room > 0 {
		c.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
