package docker

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tenement/ten/export"
)

// TestHealthchecksAsk runs the commands that Docker would, against servers that
// answer well, badly and not at all.
func TestHealthchecksAsk(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case "/up?a=$HOME&b=c":
			w.WriteHeader(http.StatusNoContent)
		case "/moved":
			http.Redirect(w, r, "/down", http.StatusFound)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		probe    export.Probe
		request  string
		port     int
		anyImage bool
		well     bool
	}{
		{export.ProbeHTTP, "/up?a=$HOME&b=c", port, false, true},
		{export.ProbeHTTP, "/moved", port, false, true},
		{export.ProbeHTTP, "/down", port, false, false},
		{export.ProbeHTTP, "/up?a=$HOME&b=c", port, true, true},
		{export.ProbeHTTP, "/down", port, true, false},
		{export.ProbeConnect, "", port, false, true},
		{export.ProbeConnect, "", 1, false, false},
		{export.ProbeHTTP, "/up", 1, true, false},
	} {
		words := Test(tt.probe, tt.port, tt.request, tt.anyImage)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		out, err := exec.CommandContext(ctx, words[1], words[2:]...).CombinedOutput()
		cancel()
		if well := err == nil; well != tt.well {
			t.Errorf("%s %s at %s: well is %v, %v\n%s", tt.probe, tt.request, strconv.Itoa(tt.port), well, err, out)
		}
	}
}
