package systemd

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// TestGatesHold runs what a start waits for: it goes on while the program is not
// well, and ends as soon as it is.
func TestGatesHold(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed")
	}
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" && asked.Add(1) < 3 || r.URL.Path == "/down" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	port := strconv.Itoa(server.Listener.Addr().(*net.TCPAddr).Port)
	gate := func(patience time.Duration, words ...string) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", append([]string{"-c"}, words...)...)
		cmd.WaitDelay = time.Second
		return cmd.Run()
	}
	if err := gate(30*time.Second, httpGate, "probe", port, "/up"); err != nil || asked.Load() != 3 {
		t.Errorf("the gate ended with %v after %d answers, want the third", err, asked.Load())
	}
	if err := gate(30*time.Second, connectGate, "probe", port); err != nil {
		t.Errorf("the gate of a port that listens: %v", err)
	}
	if err := gate(time.Second, httpGate, "probe", port, "/down"); err == nil {
		t.Error("the gate opened for a program that is not well")
	}
	if err := gate(time.Second, connectGate, "probe", "1"); err == nil {
		t.Error("the gate opened where nobody listens")
	}
}
