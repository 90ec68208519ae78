package certs

import (
	"log/slog"
	"testing"
)

// TestChallengesComeWhereTheDoorIs: what answers an authority is the front door,
// on its own ports. Where it doesn't take plain HTTP, nothing opens port 80.
func TestChallengesComeWhereTheDoorIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		http, https int
		off         bool
	}{{8080, 8443, false}, {0, 8443, true}} {
		s := New(Config{Known: func(string) bool { return true }, Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler)})
		st, err := s.build(Settings{Domain: "ten.test", Email: "ops@ten.test", Dir: t.TempDir(), HTTPPort: tt.http, HTTPSPort: tt.https})
		if err != nil {
			t.Fatal(err)
		}
		defer st.close()
		for _, issuer := range st.issuers {
			if issuer.DisableHTTPChallenge != tt.off || issuer.AltHTTPPort != tt.http || issuer.AltTLSALPNPort != tt.https || issuer.DisableTLSALPNChallenge {
				t.Errorf("http %d, https %d: challenges by HTTP off %v on %d, by TLS-ALPN off %v on %d",
					tt.http, tt.https, issuer.DisableHTTPChallenge, issuer.AltHTTPPort, issuer.DisableTLSALPNChallenge, issuer.AltTLSALPNPort)
			}
		}
	}
}
