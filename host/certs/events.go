package certs

import (
	"context"
	"fmt"

	"go.uber.org/zap"
)

// silent is the logger that certmagic is given: what people need to know comes
// from its events, in our words.
func silent() *zap.Logger { return zap.NewNop() }

// maxEvents bounds what is remembered of names.
const maxEvents = 10_000

// note hears what certmagic does.
func (s *Store) note(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	if name == "" {
		if cert, ok := data["sans"].([]string); ok && len(cert) > 0 {
			name = cert[0]
		}
	}
	if name == "" {
		return nil
	}
	c := Certificate{Name: name, Source: "acme"}
	switch event {
	case "cert_obtaining":
		s.cfg.Log.Info("certificate asked for", "host", name)
		return nil
	case "cert_obtained":
		s.cfg.Log.Info("certificate obtained", "host", name)
	case "cert_failed":
		err, _ := data["error"].(error)
		c.Error = fmt.Sprint(err)
		s.cfg.Log.Warn("certificate not obtained", "host", name, "err", err)
	case "cached_managed_cert":
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, seen := s.events[name]; seen || len(s.events) < maxEvents {
		s.events[name] = c
	}
	return nil
}
